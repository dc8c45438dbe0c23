"""Where the time of a check goes: `make profile` measures each stage and rewrites its table in docs/performance.md.

Every stage is called in a tight loop as the check calls it, with the objects of a real check. The transport is the no-op of the same door
under load. Loops keep caches warm, so stages add up to less than a check costs a server; the difference has its own row.

Beside each stands what cProfile says of the whole check: its share, of what the check takes without a profile. A profile slows whatever
calls much and flatters what is compiled, and a loop may time what the check does not do; where both agree, the figure can be believed.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import machine
import profiled
import targets
import yaml
from document import PERFORMANCE, replace_block
from in_process import Generation, check_of, per_call
from measurement import Lengths, measure
from processes import end_children_on_sigterm
from report import row
from targets import OVER_GRPC
from workload import Workload

from authz_server.core import claims as core_claims
from authz_server.core import paths, rules, tokens
from authz_server.core.cognito_user_pools import SCOPE, TOKEN_USE
from authz_server.core.evaluation import Evaluation
from authz_server.core.gateway import Api, Gateway
from authz_server.engine.verdicts import Verdict, Verdicts
from authz_server.envoy import request as envoy_request
from authz_server.envoy import response as envoy_response
from authz_server.keys.store import PoolKeys
from authz_server.observe import correlation
from authz_server.observe.entry import Entry, as_json, brief
from authz_server.observe.metrics import Metrics
from authz_server.server.check import Check

LENGTHS = Lengths(warm_up=1.0, run=2.0)
REPETITIONS = 3

AFTER_SIGNATURE = (rules.SIGNED_ISSUER, rules.TIMES, rules.EXPIRY, rules.NOT_BEFORE, rules.TEXTS, TOKEN_USE, SCOPE)

Stages = Mapping[str, float]

FUNCTIONS: Mapping[str, Sequence[profiled.Function]] = {
    "read the request": [envoy_request.parse],
    "route: path, host, resource": [Gateway.match],
    "of it: cut the path": [paths.split],
    "name the token (header, SHA-256)": [Verdicts.digest],
    "find the verdict": [Verdicts.find],
    "read the token (base64url, JSON)": [tokens.from_header, tokens.parse, tokens.claims_of],
    "find the key": [PoolKeys.find],
    "verify the signature": [tokens.verify],
    "check claims, write claim headers": [*(rule.met for rule in AFTER_SIGNATURE), core_claims.headers],
    "write the answer": [envoy_response.allow],
    "count it": [Metrics.repeated, Metrics.check],
}


class Timed(NamedTuple):
    """A kind of check in this process.

    Args:
        stages: microseconds of each in a loop.
        whole: microseconds of all of it.
        profile: microseconds of each, of the whole, by its share in a profile.
    """

    stages: Stages
    whole: float
    profile: Stages


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A check with everything that comes about on its way.

    Args:
        generation: that decides.
        data: the CheckRequest.
    """

    generation: Generation
    data: bytes

    def stages(self) -> Mapping[str, Timed]:
        """Time the stages of a hit and of a miss, and each check as a whole; profile both."""
        gateway = self.generation.gateway
        engine = self.generation.engine()
        hit, miss = check_of(engine), check_of(self.generation.engine(cache_mib=0))
        hit(self.data)
        request = envoy_request.parse(self.data)
        match: Any = gateway.match(request)
        api, route = match
        header = request.headers["authorization"]
        token = tokens.parse(tokens.from_header(header))
        claims = tokens.claims_of(token.payload)
        decision: Any = gateway.judge(match, request, time.time())
        now = time.time()
        evaluation = Evaluation(request, now, route.authorizer, route.scopes)
        route.authorizer.judge(evaluation)
        metrics = Metrics("0")
        entry = Entry(now, 0.00001, *brief(request.method, request.host), correlation.request_id(request.headers), decision)
        labels = (decision.api, decision.route, "allow", "")
        kept = engine.generation
        allowed = kept.allowed
        name = allowed.digest(route.tag, header)
        verdict: Any = allowed.find(name, now)

        common = {
            "read the request": _once(lambda: envoy_request.parse(self.data)),
            "route: path, host, resource": _once(lambda: gateway.match(request)),
            "of it: cut the path": _once(lambda: paths.split(paths.path_of(request.path))),
        }
        look_up = {
            "name the token (header, SHA-256)": _once(lambda: allowed.digest(route.tag, request.headers.get("authorization") or "")),
            "find the verdict": _once(lambda: allowed.find(name, now)),
        }
        repeated = {"count it": _once(lambda: metrics.repeated(labels, 0.00001))}
        decided = {"count it": _once(lambda: metrics.check(decision, 0.00001))}
        log = {"write a line of the decision log (only if on)": _once(lambda: as_json(entry))}
        keys = route.authorizer.issuers[claims["iss"]]
        key = keys.find(token.kid)
        verify = {
            "read the token (base64url, JSON)": _once(lambda: _read(header)),
            "find the key": _once(lambda: keys.find(token.kid)),
            "verify the signature": _once(lambda: tokens.verify(token, key)),
            "check claims, write claim headers": _once(lambda: _claims(api, evaluation)),
            "write the answer": _once(lambda: envoy_response.allow(decision)),
            "keep the verdict": _once(lambda: kept.denied.keep(name, _fresh(verdict))),
        }
        return {
            "hit": self._timed({**common, **look_up, **repeated, **log}, hit),
            "miss": self._timed({**common, **look_up, **verify, **decided, **log}, miss),
        }

    def _timed(self, stages: Stages, check: Check) -> Timed:
        whole = _once(lambda: check(self.data))
        parts = profiled.shares(lambda: check(self.data), Check.__call__, FUNCTIONS)
        return Timed(stages, whole, {name: part * whole for name, part in parts.items()})


def main() -> int:
    """Measure, and rewrite the table."""
    end_children_on_sigterm()
    cores = machine.cores()
    with tempfile.TemporaryDirectory(prefix="authz-profile-") as folder, Workload(Path(folder)) as work:
        served = _served(targets.Stage(work=work, cores=cores, folder=Path(folder)))
        machine_description = machine.description()
        os.sched_setaffinity(0, {cores.server})
        with Generation(yaml.safe_load(work.config.read_text()), Path(folder)) as generation:
            table = markdown(Example(generation=generation, data=work.request).stages(), served)
    print(table)
    replace_block(PERFORMANCE, "stages", f"{machine_description}\n\n{table}")
    return 0


def markdown(kinds: Mapping[str, Timed], served: Mapping[str, float]) -> str:
    """Write the table.

    Args:
        kinds: of checks in this process, a hit and a miss.
        served: microseconds of a check under load, by kind.
    """
    hit, miss = kinds["hit"], kinds["miss"]
    lines = [row(("stage", "hit µs", "by profile", "miss µs", "by profile")), row(("---", *["--:"] * 4))]
    lines.append(_line("transport: HTTP/2 and gRPC (the no-op under load)", served["no-op"], None, served["no-op"], None))
    lines += [_line(name, hit.stages.get(name), hit.profile.get(name), cost, miss.profile.get(name)) for name, cost in miss.stages.items()]
    lines.append(_line("**the whole check in this process**, log off", hit.whole, hit.whole, miss.whole, miss.whole))
    lines.append(_line("**under load**, log off", served["hit"], None, served["miss"], None))
    rest = [served[kind] - served["no-op"] - kinds[kind].whole for kind in ("hit", "miss")]
    lines.append(_line("of it: beyond transport and check (cold caches, garbage collection)", rest[0], None, rest[1], None))
    return "\n".join(lines)


def _line(name: str, *values: float | None) -> str:
    return row((name, *("" if value is None else f"{value:.1f}" for value in values)))


def _served(stage: targets.Stage) -> Mapping[str, float]:
    """Measure the asyncio door under load: the least of some runs."""
    least: dict[str, float] = {}
    for _ in range(REPETITIONS):
        for kind, servers in (("no-op", targets.NOOP), ("hit", targets.HIT), ("miss", targets.MISS)):
            with targets.direct(servers["asyncio"]).start(stage) as running:
                cost = measure(running, OVER_GRPC[0], LENGTHS).cpu["server"]
                least[kind] = min(cost, least.get(kind, cost))
                print(f"{kind}: {cost:.1f} µs", file=sys.stderr, flush=True)
    return least


def _once(call: Callable[[], object]) -> float:
    return per_call(lambda _: call(), (None,), seconds=0.4)


def _read(header: str) -> None:
    """Read a token and its claims."""
    tokens.claims_of(tokens.parse(tokens.from_header(header)).payload)


def _claims(api: Api, evaluation: Evaluation) -> Sequence[object]:
    """Do what stands between the signature and the answer."""
    if not all(rule.met(evaluation) for rule in AFTER_SIGNATURE):
        raise ValueError("the token of the example is good")
    return core_claims.headers(evaluation.claims, api.claims.headers)


def _fresh(verdict: Verdict[bytes]) -> Verdict[bytes]:
    return Verdict(answer=verdict.answer, reason=None, proof=verdict.proof, since=verdict.since, until=verdict.until)


if __name__ == "__main__":
    raise SystemExit(main())
