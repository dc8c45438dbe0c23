"""A soak: half of what a server can take, for minutes, with new keys, reloads and outages one after the other."""

import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from signal import Signals

import pytest

from authz_server import testing
from authz_server.testing import UserPool
from tests.chaos.crowd import Crowd
from tests.chaos.fault import LEAST_HELD, WrongAnswerError
from tests.chaos.load import id_tokens, questions
from tests.chaos.memory import resident_mib
from tests.chaos.oracle import Oracle, Permitted, Question
from tests.chaos.stage import Stage
from tests.e2e.stack import CONFIGURATION, Server, configured

NEW, STRANGE = "new key's", "unknown key's"
NEW_KEYS: Permitted = {NEW: {200, 401, 503}, STRANGE: {401, 503}}  # for the 10 s in which unseen keys are not asked for again
SETTLED: Permitted = {STRANGE: {401, 503}}
OUTAGE_SECONDS, PATIENCE_SECONDS = 2.0, 30.0
FAULTS = (testing.Fault(hang_up=True), testing.Fault(status=500), testing.Fault(body=b"{"), testing.Fault(delay=1.2))
GROWTH_MIB = 8.0
LATE_GROWTH_MIB = 4.0  # in the second half
FIRST_MINUTE = 60.0


@dataclass
class Memory:
    """How much memory a server takes as time goes.

    Args:
        pid: of the server.
        began: a moment of the monotonic clock.
    """

    pid: int
    began: float
    samples: list[tuple[float, float]] = field(default_factory=list)

    def look(self) -> None:
        """Take a sample."""
        self.samples.append((time.monotonic() - self.began, resident_mib(self.pid)))

    def since(self, seconds: float) -> list[tuple[float, float]]:
        """Give what was seen from a moment on."""
        return [sample for sample in self.samples if sample[0] >= seconds]


def slope(samples: Collection[tuple[float, float]]) -> float:
    """Fit a line to samples, and tell MiB per minute."""
    times, values = zip(*samples, strict=True)
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at - middle) ** 2 for at in times)
    return 60 * sum((at - middle) * (value - mean) for at, value in samples) / spread


def quarters(samples: Sequence[tuple[float, float]]) -> list[float]:
    """Pick the first sample, the last one and those between that part the others in four: noise goes up and down, a leak up."""
    return [samples[number * (len(samples) - 1) // 4][1] for number in range(5)]


class Troubles:
    """Whatever happens to a server in its life, one after the other, and what may be answered meanwhile.

    Args:
        stage: where.
        server: which.
        crowd: asks.
        oracle: judges.
    """

    def __init__(self, stage: Stage, server: Server, crowd: Crowd, oracle: Oracle) -> None:
        self._stage, self._server, self._crowd, self._oracle = stage, server, crowd, oracle
        stranger = UserPool(stage.pool.id).id_token()
        self._strange = [Question(kind=STRANGE, status=401, token=stranger)]
        self.rounds = 0
        crowd.questions = [*stage.questions, *self._strange]
        oracle.turn(SETTLED)

    def round(self) -> None:
        """Let each of them happen once."""
        self._outage()
        self._reload()
        self._rotation()
        self.rounds += 1

    def _outage(self) -> None:
        self._stage.cognito.faults[self._stage.pool.id] = FAULTS[self.rounds % len(FAULTS)]
        time.sleep(OUTAGE_SECONDS)

    def _reload(self) -> None:
        good = configured(CONFIGURATION, self._stage.pool, self._stage.cognito)
        for text in (good.replace("routes", "ruotes"), good + f"# {self.rounds}\n"):
            new = self._server.config.with_suffix(".new")
            new.write_text(text)
            new.rename(self._server.config)
            self._server.process.send(Signals.SIGHUP)
            time.sleep(1)

    def _rotation(self) -> None:
        """Sign with new keys while the endpoint is away, have it back, and withdraw the old ones when all is well with the new ones."""
        pool = self._stage.pool
        self._oracle.turn(NEW_KEYS)
        pool.rotate()
        self._crowd.questions = [*self._stage.questions, *id_tokens(pool, 8, NEW), *self._strange]
        self._stage.cognito.faults.clear()
        self._oracle.turn(SETTLED)
        kinds = {question.kind for question in self._crowd.questions}
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._oracle.settled(kinds):
            assert time.monotonic() < until, f"not well {PATIENCE_SECONDS} s after an outage: {self._oracle}"
            time.sleep(0.05)
        self._oracle.insist()
        self._stage.questions = questions(pool, self._stage.other)
        self._crowd.questions = [*self._stage.questions, *self._strange]
        self._crowd.forget()
        time.sleep(1)  # for what is under way with the old ones
        pool.forget()


@pytest.mark.soak
def test_a_soak(stage: Stage, request, record_property):
    """Not one answer is wrong, none is missing, and memory is flat: it hardly grows after the first minute, and less in the second half."""
    seconds = 60 * request.config.getoption("--minutes")
    server, oracle = stage.start("--state-dir", str(stage.folder / "state")), Oracle()
    crowd = Crowd(server.port, oracle)
    troubles = Troubles(stage, server, crowd, oracle)
    rate = crowd.capacity() / 2
    memory = Memory(server.process.pid, time.monotonic())
    over = threading.Event()
    before = oracle.answered.total()
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(crowd.keep_asking, rate, over)
        try:
            while time.monotonic() < memory.began + seconds and not asking.done():
                troubles.round()
                memory.look()
        finally:
            over.set()
            asking.result()
    held = (oracle.answered.total() - before) / (time.monotonic() - memory.began)
    samples = memory.since(min(FIRST_MINUTE, seconds / 4))
    first, _, middle, _, last = quarters(samples)
    told = f"{stage.transport}: {held:,.0f} checks/s of {2 * rate:,.0f} for {seconds / 60:g} min, {oracle.answered.total():,} checks, "
    told += (
        f"{len(oracle.wrong)} wrong, {troubles.rounds} rounds of trouble; RSS {' → '.join(f'{mib:.1f}' for mib in quarters(samples))} MiB, "
    )
    record_property("soak", f"{told}{slope(samples):+.2f} MiB/min")

    if oracle.untrue:
        raise WrongAnswerError(oracle.wrong)
    assert oracle.wrong == []
    assert held > LEAST_HELD * rate
    assert last - first < GROWTH_MIB
    assert last - middle < LATE_GROWTH_MIB
