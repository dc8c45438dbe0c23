"""An oracle: it knows for each question which answers are permitted at the moment."""

import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from authz_server.envoy.stubs import CheckRequest

NO_ANSWER = 0  # a connection that broke, a gRPC error, or no answer in time
UNAVAILABLE = {NO_ANSWER, 503}
QUIET_SECONDS = 0.6  # after which things have settled, if each kind of question was answered as it must be
MAX_TOLD = 20
REQUEST_ID = "5f0c8b8e-2f1a-4d0e-9b6c-7a8d9e0f1a2b"  # comes back in denials: those of one kind are alike

Statuses = Collection[int]
DENIED = frozenset({401})
Permitted = Mapping[str, Statuses]  # by kind of question; of other kinds only the answer of better times


@dataclass(frozen=True, kw_only=True)
class Question:
    """A check, and how it is answered when nothing is wrong.

    Args:
        kind: what is asked, in a few words.
        status: HTTP status of the right answer; 200 for an allow.
        claims: headers that an allow must set, no more and no less.
    """

    kind: str
    status: int
    method: str = "GET"
    path: str = "/prod/pets"
    host: str = "api.example.com"
    token: str | None = None
    claims: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def octets(self) -> bytes:
        """The question as Envoy writes it."""
        request = CheckRequest()
        http = request.attributes.request.http
        http.method, http.path, http.host = self.method, self.path, self.host
        http.headers["x-request-id"] = REQUEST_ID
        if self.token is not None:
            http.headers["authorization"] = self.token
        return request.SerializeToString()


class Answer(NamedTuple):
    """What came back.

    Args:
        status: HTTP status, or `NO_ANSWER`.
        claims: headers of an allow.
        detail: why there is no answer.
        flaw: what no answer may have, whatever was asked and whatever goes on.
    """

    status: int
    claims: Mapping[str, str] = {}
    detail: str = ""
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is permitted for a while.

    Args:
        permitted: any of these may permit an answer.
        failures: statuses that are permitted for each kind of question, too.
    """

    permitted: tuple[Permitted, ...] = ({},)
    failures: Statuses = ()

    def permits(self, question: Question, status: int) -> bool:
        """Whether a question may be answered so."""
        return status in self.failures or any(status in each.get(question.kind, (question.status,)) for each in self.permitted)


class Oracle:
    """Judge answers from any thread; an answer is right if it was permitted at some moment between its question and itself."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()  # permitted, and yet not the answer of better times
        self.wrong: list[str] = []
        self.untrue = 0  # of the wrong ones: answers that no busy machine explains
        self._rules = [Rule()]
        self._target = Rule()
        self._since = self._deviated = time.monotonic()
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"wrong: {self.wrong}, failed: {dict(self.failed)}, answered: {dict(self.answered)}, as demanded: {sorted(self._seen)}"

    def moment(self) -> int:
        """Name the present, for a question that is asked now."""
        return len(self._rules) - 1

    def turn(self, demanded: Permitted, failures: Statuses = ()) -> None:
        """Let the world change from what is demanded now to something else, with failures on the way."""
        with self._lock:
            before, self._target = self._target, Rule((demanded,))
            self._rules.append(Rule((*before.permitted, demanded), failures))
            self._since = self._deviated = time.monotonic()
            self._seen.clear()

    def insist(self) -> None:
        """From now on only what the last turn demanded is right."""
        with self._lock:
            self._rules.append(self._target)

    def settled(self, kinds: Collection[str]) -> bool:
        """Whether for some time each of these kinds of questions was answered as the last turn demanded."""
        with self._lock:
            return time.monotonic() - self._deviated >= QUIET_SECONDS and self._seen >= set(kinds)

    def took(self) -> float:
        """Tell for how many seconds after the last turn something else was answered."""
        with self._lock:
            return self._deviated - self._since

    def judge(self, question: Question, asked: int, answer: Answer) -> None:
        """Judge an answer to a question that was asked at a `moment`."""
        with self._lock:
            rules = self._rules[asked:]
            self.answered[question.kind] += 1
            if not any(rule.permits(question, answer.status) for rule in rules):
                self._blame(
                    f"{question.kind}: {answer.status} {answer.detail}, permitted: {rules}", untrue=answer.status not in UNAVAILABLE
                )
            elif answer.status == 200 and answer.claims != question.claims:
                self._blame(f"{question.kind}: allowed with {dict(answer.claims)} in place of {dict(question.claims)}")
            elif answer.flaw:
                self._blame(f"{question.kind}: {answer.status} with {answer.flaw}")
            if answer.status != question.status:
                self.failed[question.kind] += 1
            if self._target.permits(question, answer.status):
                self._seen.add(question.kind)
            else:
                self._deviated = time.monotonic()
                self._seen.clear()

    def _blame(self, told: str, *, untrue: bool = True) -> None:
        self.untrue += untrue
        if len(self.wrong) < MAX_TOLD:
            self.wrong.append(told)
