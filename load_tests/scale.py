"""Scale curves: how a check's cost grows with what is configured and with who asks. `make bench-scale` draws one picture for each.

Costs are processor time of `Check.__call__` in this process, on requests that were written before; only the curve of streams goes
through a door, and the one of reloads through a running server.
"""

import argparse
import itertools
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from signal import SIGHUP
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import disturbances
import targets
import yaml
from curve import Curve, Line
from document import PERFORMANCE, replace_block
from in_process import Generation, check_of, per_call
from machine import MissingError, cores, description
from measurement import Lengths, measure
from names import Names
from processes import end_children_on_sigterm
from traffic import Load
from workload import HOST, Workload, check_request, configuration

from authz_server.envoy.stubs import CheckResponse
from authz_server.server.check import Check
from authz_server.testing import UserPool

PICTURES = Path(__file__).with_name("pictures")
DAY = 86_400
BUDGETS_MIB = (64, 8)
ENOUGH = 150_000  # random checks after which a cache of so many MiB holds what it can
SAMPLE = 20_000
TURNS = 5
DIFFERENT = 5_000  # paths; far more than are remembered, so that each is looked up
OPTIONAL_CLAIMS = ("auth_time", "origin_jti", "event_id", "jti")
LENGTHS = Lengths(warm_up=0.5, run=1.5)
RELOAD_LOAD, RELOAD_SECONDS = Load(connections=8, streams=16, rate=1_000), 6.0


class Bench:
    """What the curves are measured with.

    Args:
        folder: for files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pool = UserPool("eu-west-1_Bench0001")
        self.user = self.pool.add_user("ada", groups=["admins"], attributes={"email": "ada@example.com", "email_verified": True})
        self.pool.add_client("web", lifetime=DAY)

    def configuration(self) -> dict[str, Any]:
        """Write the configuration of all benchmarks, with the keys in a file."""
        return configuration(self.pool, "") | {"user_pools": {self.pool.id: self.keys(self.pool)}}

    def keys(self, pool: UserPool) -> dict[str, str]:
        """Write a pool's keys into a file."""
        name = f"{pool.id}.json"
        (self.folder / name).write_bytes(pool.jwks_document())
        return {"jwks_file": name}

    def request(self, token: str, path: str = "/prod/orders/7f3a", host: str = HOST) -> bytes:
        """Write a CheckRequest with a token."""
        return check_request({"x-request-id": "5f0c8b8e-2f1a-4d0e-9b6c-7a8d9e0f1a2b", "authorization": f"Bearer {token}"}, path, host)

    def hit_and_miss(self, written: dict[str, Any], requests: Sequence[bytes]) -> tuple[float, float]:
        """Measure a configuration: the cost of a check whose token is known, and of one that is verified."""
        with Generation(written, self.folder) as generation:
            return _cost(check_of(generation.engine()), requests), _cost(check_of(generation.engine(cache_mib=0)), requests)

    def routes(self, counts: Sequence[int]) -> Curve:
        """Grow one api."""
        token = self.pool.id_token()

        def point(count: int) -> tuple[float, float]:
            return self.hit_and_miss(self._wide(count), self._spread_over(count, token, DIFFERENT))

        return _hit_miss("routes", "routes of one api", counts, point)

    def wider(self, few: int, many: int, different: int = DIFFERENT, turns: int = TURNS) -> Mapping[str, float]:
        """Compare two numbers of routes, in turns within the same minute.

        Args:
            few: routes of one configuration.
            many: routes of the other.
            different: paths to ask for.
            turns: of which the medians count.

        Returns:
            The cost of a check with many, in those with few: of a hit and of a miss.
        """
        token = self.pool.id_token()
        with ExitStack() as stack:
            asked = {count: self._spread_over(count, token, different) for count in (few, many)}
            made = {count: stack.enter_context(Generation(self._wide(count), self.folder)) for count in asked}
            found = {}
            for kind, mib in (("hit", 64), ("miss", 0)):
                checks = {count: check_of(generation.engine(cache_mib=mib)) for count, generation in made.items()}
                rounds = [{count: _cost(check, asked[count]) for count, check in checks.items()} for _ in range(turns)]
                found[kind] = median(costs[many] / costs[few] for costs in rounds)
            return found

    def _wide(self, count: int) -> dict[str, Any]:
        written = self.configuration()
        written["apis"]["shop"]["routes"] = many_routes(count)
        return written

    def _spread_over(self, count: int, token: str, different: int) -> list[bytes]:
        asked = zip(range(different), itertools.cycle(_spread(count)))
        return [self.request(token, f"/prod/v{each % 10}/resource{each}/{number:06}") for number, each in asked]

    def apis(self, counts: Sequence[int]) -> Curve:
        """Add apis, each with hosts of its own."""
        token = self.pool.id_token()

        def point(count: int) -> tuple[float, float]:
            written = self.configuration()
            (api,) = written["apis"].values()
            written["apis"] = {f"api{each}": api | {"hosts": [f"api{each}.example.com"]} for each in range(count)}
            return self.hit_and_miss(written, [self.request(token, host=f"api{each}.example.com") for each in _spread(count)])

        return _hit_miss("apis", "apis with 20 routes each", counts, point)

    def pools(self, counts: Sequence[int]) -> Curve:
        """Add user pools to one authorizer."""
        key = self.pool.id_key
        claims = self.pool.id_claims()

        def point(count: int) -> tuple[float, float]:
            written = self.configuration()
            ids = [f"eu-west-1_Pool{each:05}" for each in range(count)]
            arns = [f"arn:aws:cognito-idp:eu-west-1:123456789012:userpool/{each}" for each in ids]
            written["authorizers"]["users"]["provider_arns"] = arns
            written["user_pools"] = {each: self.keys(self.pool) for each in ids}
            issuers = [f"https://cognito-idp.eu-west-1.amazonaws.com/{ids[each]}" for each in _spread(count)]
            return self.hit_and_miss(written, [self.request(key.sign(claims | {"iss": issuer})) for issuer in issuers])

        return _hit_miss("pools", "user pools of one authorizer", counts, point)

    def claims(self, counts: Sequence[int]) -> Curve:
        """Add claims to the token, short ones: a thousand of the usual length would be more than the 16 KiB that are read."""

        def point(count: int) -> tuple[float, float]:
            claims = {name: value for name, value in self.pool.id_claims().items() if name not in OPTIONAL_CLAIMS}
            claims |= {f"c{each}": 1 for each in range(count - len(claims))}
            return self.hit_and_miss(self.configuration(), [self.request(self.pool.id_key.sign(claims))])

        return _hit_miss("claims", "claims in the token", counts, point)

    def tokens(self, counts: Sequence[int]) -> Curve:
        """Spread checks over ever more tokens, at random and evenly: the worst for a cache."""
        names = Names(self.pool, self.request, max(counts))
        lines = [Line(f"cache of {mib} MiB", [self._tokens(names, count, mib) for count in counts]) for mib in BUDGETS_MIB]
        return Curve(name="tokens", label="different tokens, asked for evenly", counts=counts, lines=lines)

    def _tokens(self, names: Names, count: int, mib: int) -> float:
        with Generation(self.configuration(), self.folder) as generation:
            engine = generation.engine(cache_mib=mib)
            check = check_of(engine)
            budget = mib * 1_048_576
            first = range(count) if count <= ENOUGH else random.sample(range(count), ENOUGH)
            for number in first:
                check(names.request(number))
            took, left = 0.0, SAMPLE
            while left:
                some = [names.request(random.randrange(count)) for _ in range(min(left, 1_000))]  # noqa: S311 - chooses a load
                began = time.thread_time()
                for data in some:
                    check(data)
                took += time.thread_time() - began
                left -= len(some)
            allowed = engine.generation.allowed
            if allowed.size > budget:
                raise RuntimeError(f"the cache takes {allowed.size} bytes of {budget}")
            cost = took / SAMPLE * 1e6
            _say(f"tokens {count:,}, {mib} MiB: {cost:.1f} µs, {len(allowed):,} kept, {allowed.size / 2**20:.0f} MiB")
            return cost


def many_routes(count: int) -> dict[str, Any]:
    """Write resources, as in the configuration."""
    return {f"/v{each % 10}/resource{each}/{{id}}": {"GET": {"authorizer": "users"}} for each in range(count)}


def streams(counts: Sequence[int], folder: Path) -> Curve:
    """Ask with ever more requests at once on eight connections."""
    lines: Mapping[str, list[float]] = {door: [] for door in targets.DOORS}
    with Workload(folder) as work:
        stage = targets.Stage(work=work, cores=cores(), folder=folder)
        for door, values in lines.items():
            with targets.direct(targets.HIT[door]).start(stage) as running:
                for count in counts:
                    load = Load(connections=min(8, count), streams=max(1, count // 8))
                    values.append(measure(running, load, LENGTHS).traffic.rate)
                    _say(f"{door}, {count} streams: {values[-1]:.0f}/s")
    return Curve(
        name="streams", label="requests at once", counts=counts, lines=[Line(*line) for line in lines.items()], unit="requests/s, one core"
    )


def reloads(counts: Sequence[int], folder: Path) -> Curve:
    """Load a configuration of ever more routes again while checks arrive: the longest that one of them took."""
    kinds = [(f"{door}, {what}", door, action) for door in targets.DOORS for what, action in (("reloads", SIGHUP), ("no reload", None))]
    longest: dict[str, list[float]] = {line: [] for line, *_ in kinds}
    for count in counts:
        with TemporaryDirectory(dir=folder) as own, Workload(Path(own)) as work:
            written = yaml.safe_load(work.config.read_text())
            written["apis"]["shop"]["routes"] |= many_routes(count)
            work.config.write_text(yaml.dump(written, Dumper=yaml.CSafeDumper))
            stage = targets.Stage(work=work, cores=cores(), folder=Path(own))
            for line, door, action in kinds:
                with targets.direct(targets.HIT[door]).start(stage) as running:
                    took = disturbances.traffic(running, RELOAD_LOAD, RELOAD_SECONDS, disturbances.signals(running, action))
                longest[line].append(took.longest / 1_000)
                _say(f"{count:,} routes, {line}: longest {took.longest / 1_000:.1f} ms, p99 {took.p99 / 1_000:.2f} ms")
    lines = [Line(*line) for line in longest.items()]
    return Curve(name="reload", label="routes in the file", counts=counts, lines=lines, unit="longest check, ms")


def _hit_miss(name: str, label: str, counts: Sequence[int], point: Callable[[int], tuple[float, float]]) -> Curve:
    points = []
    for count in counts:
        points.append(point(count))
        _say(f"{name} {count:,}: hit {points[-1][0]:.1f} µs, miss {points[-1][1]:.1f} µs")
    hits, misses = zip(*points, strict=True)
    return Curve(name=name, label=label, counts=counts, lines=[Line("hit", hits), Line("miss", misses)])


def _cost(check: Check, requests: Sequence[bytes]) -> float:
    for data in requests:
        _require_allow(check(data))
    return per_call(check, requests, seconds=0.5)


def _require_allow(answer: object) -> None:
    if not isinstance(answer, bytes) or CheckResponse.FromString(answer).status.code:
        raise RuntimeError(f"not allowed: {answer!r}")


def _spread(count: int, most: int = 100) -> list[int]:
    """Choose numbers below *count*, evenly."""
    step = max(1, count // most)
    return list(range(0, count, step))[:most]


def draw(curve: Curve) -> None:
    """Draw a curve, or say why not."""
    try:
        curve.draw(PICTURES)
    except MissingError as error:
        _say(str(error))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and draw."""
    end_children_on_sigterm()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("curves", nargs="*", metavar="CURVE", help="some of: routes apis pools claims tokens streams reload")
    parser.add_argument("--document", action="store_true", help="rewrite the tables in docs/performance.md, too")
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="authz-scale-") as name:
        folder = Path(name)
        bench = Bench(folder)
        curves: Mapping[str, Callable[[], Curve]] = {
            "routes": lambda: bench.routes((10, 100, 1_000, 10_000, 100_000)),
            "apis": lambda: bench.apis((1, 10, 100, 1_000)),
            "pools": lambda: bench.pools((1, 10, 100, 1_000)),
            "claims": lambda: bench.claims((10, 30, 100, 300, 1_000)),
            "tokens": lambda: bench.tokens((1, 100, 10_000, 20_000, 50_000, 100_000, 300_000, 1_000_000)),
            "streams": lambda: streams((1, 8, 32, 128, 512, 1_000), folder),
            "reload": lambda: reloads((10, 1_000, 10_000, 100_000), folder),
        }
        texts = [description()]
        for curve in arguments.curves or curves:
            measured = curves[curve]()
            draw(measured)
            texts.append(measured.markdown())
            print(measured.markdown(), flush=True)
    if arguments.document:
        replace_block(PERFORMANCE, "scale", "\n\n".join(texts))


if __name__ == "__main__":
    main()
