"""A fault, how it is let loose on a server under load, and the figure that comes out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from tests.chaos.figure import Figure
from tests.chaos.load import Ask, Load
from tests.chaos.memory import resident_mib
from tests.chaos.oracle import Oracle, Permitted, Question, Statuses

WARM_UP_SECONDS = 0.5
GROWTH_MIB = 16.0
LEAST_HELD = 0.8  # of the rate, or the machine was too busy to tell anything


class WrongAnswerError(AssertionError):
    """An answer that nothing excuses, however busy the machine was."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong.

    Args:
        name: for the table.
        begin: lets it happen.
        end: puts it right; None for what rights itself.
        felt: whether the server has met it by now, where answers do not show it; a fault that nobody felt proves nothing.
        asked: further questions, from its beginning on.
        permitted: by kind of question, what the answers must be while it lasts, where they are others than in better times.
        failures: statuses that any question may meet while things change.
        within: seconds after each change in which answers must be as demanded.
        growth: MiB of memory that it may cost.
    """

    name: str
    begin: Callable[[], None]
    end: Callable[[], None] | None = None
    felt: Callable[[], bool] = lambda: True
    asked: Sequence[Question] = ()
    permitted: Permitted = field(default_factory=dict)
    failures: Statuses = ()
    within: float = 15.0
    growth: float = GROWTH_MIB


@dataclass(frozen=True, kw_only=True)
class Chaos:
    """What a fault is let loose on.

    Args:
        ask: asks the server.
        questions: that are asked all the time.
        pid: of the server, at the head of its session.
        rate: questions per second.
        seconds: for which a fault lasts, at least.
        record: takes the figure.
    """

    ask: Ask
    questions: Sequence[Question]
    pid: int
    rate: float
    seconds: float
    record: Callable[[Figure], None]

    def meet(self, fault: Fault) -> Self:
        """Let a fault happen under load: no answer may be wrong, memory is bounded, and in the end all is well again."""
        oracle = Oracle()
        with Load(self.ask, self.questions, self.rate, oracle) as load:
            time.sleep(WARM_UP_SECONDS)
            before = resident_mib(self.pid)
            self._turn(oracle, load, fault, fault.begin, fault.permitted)
            if fault.end is not None:
                self._turn(oracle, load, fault, fault.end, {})
            held, after = oracle.answered.total() / load.seconds(), resident_mib(self.pid)
        figure = Figure(
            fault=fault.name,
            held=held,
            wrong=len(oracle.wrong),
            failed=oracle.failed.total(),
            recovered=oracle.took(),
            before=before,
            after=after,
        )
        self.record(figure)
        if oracle.untrue:
            raise WrongAnswerError(oracle.wrong)
        assert not oracle.wrong, oracle.wrong
        assert held > LEAST_HELD * self.rate
        assert after - before < fault.growth
        assert oracle.answered.keys() == load.kinds
        return self

    def _turn(self, oracle: Oracle, load: Load, fault: Fault, change: Callable[[], None], demanded: Permitted) -> None:
        """Change something, wait until answers are as demanded from then on, and insist on that for a while."""
        oracle.turn(demanded, fault.failures)
        change()
        load.questions = [*self.questions, *fault.asked]
        until = time.monotonic() + fault.within
        while not (oracle.settled(load.kinds) and fault.felt()):
            assert time.monotonic() < until, f"{fault.name}: not as demanded within {fault.within} s; {oracle}"
            time.sleep(0.05)
        oracle.insist()
        time.sleep(self.seconds)
