"""Reload: whatever files come in whatever order, each check is answered by exactly one generation, the last good one."""

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from authz_server.config import ConfigurationError, load
from authz_server.config.compile import parts
from authz_server.config.parts import Part
from authz_server.core.gateway import Api, Gateway, Route
from authz_server.core.routes import Routes
from authz_server.engine.generation import Generation
from authz_server.engine.generations import Generations
from authz_server.engine.verdicts import Verdict
from authz_server.envoy.stubs import CheckRequest, CheckResponse
from authz_server.keys.jwks import parse
from authz_server.keys.life_cycle import Good, fetched
from authz_server.keys.store import KeyStore, PoolKeys
from authz_server.observe.metrics import Metrics
from authz_server.testing import UserPool
from tests.checking import ControlledCheck

NOW = 1_800_000_000.0
POOLS = [UserPool(f"eu-west-1_Reload00{number}") for number in range(3)]
TOKENS = [pool.id_token(exp=NOW + 600) for pool in POOLS]
BAD = ["", "version: 1\napis: {", "version: 2", "version: 1\napis: {a: {routes: {/x: {GET: {authorizer: nobody}}}}}", "\x00", "- a"]
POOL_SETS = st.sets(st.integers(0, len(POOLS) - 1), min_size=1)


def written(number: int, pools: set[int], clients: list[str] | None) -> str:
    """Write a configuration that names its number in the header that it fills, and in a public route."""
    arns = ", ".join(f'"{POOLS[pool].arn}"' for pool in sorted(pools))
    accepted = "" if clients is None else f", app_clients: {clients}"
    return f"""\
version: 1
authorizers:
  users: {{type: cognito_user_pools, provider_arns: [{arns}]{accepted}}}
apis:
  a:
    claim_headers: {{x-generation-{number}: sub}}
    routes:
      /private: {{GET: {{authorizer: users}}}}
      /public-{number}: {{GET: {{authorization_type: NONE}}}}
"""


class Prompt:
    """A refresher that fetches at once, and counts."""

    def __init__(self) -> None:
        self.watched: set[str] = set()
        self.fetches = 0

    def watch(self, keys: PoolKeys) -> None:
        """Fetch."""
        self.watched.add(keys.pool.id)
        self.ask(keys)

    def unwatch(self, keys: PoolKeys) -> None:
        """Note that nobody needs them."""
        self.watched.remove(keys.pool.id)

    def ask(self, keys: PoolKeys) -> None:
        """Fetch."""
        self.fetches += 1
        pool = next(pool for pool in POOLS if pool.id == keys.pool.id)
        keys.put(fetched(keys.state, Good(parse(pool.jwks_document())), 0.0, 0.0))


class Reloading(RuleBasedStateMachine):
    """Files come and go, good and bad; checks come before, during and after each load."""

    @initialize(pools=POOL_SETS)
    def begin(self, pools: set[int]) -> None:
        """Start with a good file."""
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "authz.yaml"
        self.refresher = Prompt()
        self.store = KeyStore(lambda: 0.0, self.refresher)
        self.check = ControlledCheck(
            1_048_576,
            now=lambda: NOW,
            timer=lambda: 0.0,
            new_id=lambda: "11111111-2222-4333-8444-555555555555",
            metrics=Metrics("test"),
            log=None,
        )
        self.told: list[tuple[int, bool]] = []
        self.generations = Generations(
            self.path, self._parts, store=self.store, swap=self.check.swap, outcome=lambda number, good: self.told.append((number, good))
        )
        self.written = self.good = 0  # generations whose file was written, and that is in force
        self.pools: set[int] = set()
        self.clients: list[str] | None = None
        self.kept: dict[str, PoolKeys] = {}
        self._load(pools, None)

    def _parts(self) -> Iterator[Part]:
        """Load the file, with a check between any two of its parts."""
        for part in parts(load(self.path, {})):
            self._ask_all()
            yield part

    def _load(self, pools: set[int], clients: list[str] | None) -> None:
        self.written += 1
        self.path.write_text(written(self.written, pools, clients))
        self.generations.load() if not self.good else self.generations.reload()
        for keys in self.store.all():
            assert self.kept.get(keys.pool.id, keys) is keys, "a pool that stays keeps its keys"
        self.kept = {keys.pool.id: keys for keys in self.store.all()}
        self.good, self.pools, self.clients = self.written, pools, clients
        assert self.told[-1] == (self.generations.number, True)
        assert self.generations.number == sum(good for _, good in self.told)

    @rule(pools=POOL_SETS, nobody=st.booleans())
    def reload(self, pools: set[int], nobody: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """Write a good file and load it; sometimes one whose app clients no token names."""
        new, fetches = pools - self.pools, self.refresher.fetches
        self._load(pools, ["nobody"] if nobody else None)
        assert self.refresher.fetches - fetches == len(new), "keys that are there are not fetched again"

    @rule(text=st.sampled_from(BAD))
    def reload_what_is_bad(self, text: str) -> None:
        """Write a bad file; what runs goes on."""
        running, number = self.check.running, self.generations.number
        self.path.write_text(text)
        self.generations.reload()
        assert self.told[-1] == (number, False)
        assert self.check.running is running
        assert self.generations.number == number

    @rule()
    def lose_the_file(self) -> None:
        """Take the file away; what runs goes on."""
        self.path.unlink(missing_ok=True)
        self.generations.reload()
        assert not self.told[-1][1]

    @invariant()
    def checks_are_answered_by_the_last_good_generation(self) -> None:
        """By it alone: its header is set, its public route is there and no other's, and tokens of its pools pass."""
        self._ask_all()
        assert {keys.pool.id for keys in self.store.all()} == {POOLS[pool].id for pool in self.pools} == self.refresher.watched

    def _ask_all(self) -> None:
        if not self.good:
            return
        for pool, token in enumerate(TOKENS):
            for _ in range(2):  # decided, and repeated
                response = self._ask("/private", token)
                passes = pool in self.pools and self.clients is None
                assert (response.status.code == 0) == passes
                assert [option.header.key for option in response.ok_response.headers] == [f"x-generation-{self.good}"] * passes
        for number in (self.good - 1, self.good, self.good + 1):
            response = self._ask(f"/public-{number}", "")
            assert (response.status.code == 0) == (number == self.good)
            assert list(response.ok_response.headers_to_remove) == [f"x-generation-{self.good}"] * (number == self.good)

    def _ask(self, path: str, token: str) -> Any:
        request = CheckRequest()
        http = request.attributes.request.http
        http.method, http.path, http.host, http.headers["authorization"] = "GET", path, "a.test", token
        answer = self.check(request.SerializeToString())
        assert isinstance(answer, bytes), "keys are there before the generation is"
        return CheckResponse.FromString(answer)

    def teardown(self) -> None:
        """Take the folder away."""
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestReloading = Reloading.TestCase
TestReloading.settings = settings(max_examples=40, stateful_step_count=15)


def test_the_first_load_must_be_good(tmp_path):
    """There is nothing to keep: the error goes to whoever starts the server, and nothing was swapped."""
    path = tmp_path / "authz.yaml"
    path.write_text("version: 2")
    swapped = []
    generations = Generations(
        path,
        lambda: parts(load(path, {})),
        store=KeyStore(lambda: 0.0, Prompt()),
        swap=swapped.append,
        outcome=lambda *outcome: swapped.append(outcome),
    )
    with pytest.raises(ConfigurationError):
        generations.load()

    assert (swapped, generations.number) == ([], 0)


def test_a_bug_while_loading_keeps_what_runs(tmp_path, caplog):
    """The log has its place and no value, and the load counts as a failed one."""
    path, outcomes = tmp_path / "authz.yaml", []
    path.write_text(written(1, {0}, None))
    generations = Generations(
        path,
        Mock(side_effect=[parts(load(path, {})), KeyError("marked-value")]),
        store=KeyStore(lambda: 0.0, Prompt()),
        swap=lambda _: None,
        outcome=lambda *outcome: outcomes.append(outcome),
    )
    generations.load()
    generations.reload()

    assert outcomes == [(1, True), (1, False)]
    assert f"bug: KeyError while loading {path}" in caplog.text
    assert "marked-value" not in caplog.text


def test_a_file_that_breaks_off_leaves_no_pool_behind(tmp_path):
    """Of a load that fails halfway, no keys are ever watched."""
    path, refresher = tmp_path / "authz.yaml", Prompt()
    path.write_text(written(1, {0}, None))
    store = KeyStore(lambda: 0.0, refresher)
    broken = False

    def halfway() -> Iterator[Part]:
        yield from parts(load(path, {}))
        if broken:
            raise ConfigurationError([])

    generations = Generations(path, halfway, store=store, swap=lambda _: None, outcome=lambda *_: None)
    generations.load()
    path.write_text(written(2, {0, 1}, None))
    broken = True
    generations.reload()
    assert generations.number == 1
    assert refresher.watched == {POOLS[0].id}
    broken = False
    path.write_text(written(3, {0}, None))
    generations.reload()

    assert [keys.pool.id for keys in store.all()] == [POOLS[0].id]
    assert refresher.watched == {POOLS[0].id}


def test_a_generation_and_its_verdicts_go_without_the_garbage_collector():
    """Full collections are rare, and a reload each second must not pile up what is no longer in force."""
    kinds = (Api, Gateway, Route, Routes, Generation, Verdict)
    run = Reloading()
    run.begin(set(range(len(POOLS))))
    try:
        run._ask_all()
        gc.collect()
        before = sum(isinstance(found, kinds) for found in gc.get_objects())
        gc.disable()
        for _ in range(3):
            run._load(set(range(len(POOLS))), None)
            run._ask_all()
            assert sum(isinstance(found, kinds) for found in gc.get_objects()) == before
    finally:
        gc.enable()
        run.teardown()
