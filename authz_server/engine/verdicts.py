"""Verdicts: decisions about tokens that may be repeated, kept by digest within a budget of bytes."""

import hashlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from authz_server.core.decisions import Details
from authz_server.core.proofs import Proof
from authz_server.core.reasons import Reason
from authz_server.core.recent import Recent

Answer = TypeVar("Answer")

OVERHEAD: Final = 440  # bytes that a verdict takes beside its answer, measured
LOGGED_OVERHEAD: Final = 200  # bytes that a text for the log takes beside itself
SLACK: Final = 1_000  # places of forgotten verdicts that are not worth tidying up
MAX_SEEDS: Final = 100_000


class Verdict(Generic[Answer]):
    """What was decided about a token on certain routes, and how long that may be repeated.

    Args:
        answer: the ready answer of an allow.
        reason: of a denial, or None.
        proof: what it rests on.
        since: Unix time of the decision; a clock that was put back does not revive it.
        until: Unix time after which it is forgotten.
        logged: for the decision log: claims of an allow, details of a denial.
        dropped: names of the claim headers that did not fit.
    """

    __slots__ = ("answer", "dropped", "logged", "proof", "reason", "seen", "since", "until")

    def __init__(
        self,
        *,
        answer: Answer,
        reason: Reason | None,
        proof: Proof,
        since: float,
        until: float,
        logged: Details = (),
        dropped: tuple[str, ...] = (),
    ) -> None:
        self.answer = answer
        self.reason = reason
        self.proof = proof
        self.since = since
        self.until = until
        self.logged = logged
        self.dropped = dropped
        self.seen = False


class Verdicts(Generic[Answer]):
    """Verdicts by token and kind of route; the least used give way.

    Neither tokens nor claims are kept, only a digest with a secret of this process. Reading takes no lock.

    Args:
        budget: bytes that all of them may take.
        secret: random bytes.
        size_of: bytes that an answer takes.
    """

    def __init__(self, budget: int, secret: bytes, size_of: Callable[[Answer], int]) -> None:
        self._budget = budget
        self._secret = secret
        self._size_of = size_of
        self._seeds = Recent[bytes, Any](MAX_SEEDS)
        self._kept: dict[bytes, Verdict[Answer]] = {}
        self._order: deque[bytes] = deque()
        self._lock = threading.Lock()
        self.size = 0
        self.evictions = 0

    def digest(self, tag: bytes, token: str) -> bytes:
        """Name the verdict about a token.

        Args:
            tag: kind of route, see `gateway.Route`.
            token: the identity source as sent.

        Returns:
            The name, 32 bytes.
        """
        seed = self._seeds.get(tag)
        if seed is None:
            seed = hashlib.sha256(self._secret + len(tag).to_bytes(4, "big") + tag)
            self._seeds.keep(tag, seed)
        named = seed.copy()
        named.update(token.encode() if token.isascii() else token.encode("utf-8", "surrogatepass"))
        name: bytes = named.digest()
        return name

    def find(self, name: bytes, now: float) -> Verdict[Answer] | None:
        """Find a verdict that may be repeated.

        Args:
            name: from `digest`.
            now: seconds since 1970.

        Returns:
            The verdict, or None.
        """
        verdict = self._kept.get(name)
        if verdict is None:
            return None
        if verdict.since <= now < verdict.until and verdict.proof.stands():
            verdict.seen = True
            return verdict
        self._forget(name, verdict)
        return None

    def keep(self, name: bytes, verdict: Verdict[Answer]) -> None:
        """Keep a verdict, and let others go when the budget is spent.

        Args:
            name: from `digest`.
            verdict: replaces one of the same name.
        """
        with self._lock:
            former = self._kept.get(name)
            if former is None:
                self._order.append(name)
            else:
                self.size -= self._size(former)
            self._kept[name] = verdict
            self.size += self._size(verdict)
            while self.size > self._budget:
                self._let_go()
            if len(self._order) > 2 * len(self._kept) + SLACK:
                self._order = deque(dict.fromkeys(kept for kept in self._order if kept in self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def _let_go(self) -> None:
        """Drop the oldest verdict that was not asked for since its last turn."""
        name = self._order.popleft()
        verdict = self._kept.get(name)
        if verdict is None:
            return
        if verdict.seen:
            verdict.seen = False
            self._order.append(name)
            return
        del self._kept[name]
        self.size -= self._size(verdict)
        self.evictions += 1

    def _forget(self, name: bytes, verdict: Verdict[Answer]) -> None:
        with self._lock:
            if self._kept.get(name) is verdict:
                del self._kept[name]  # its place in the order is passed over when its turn comes
                self.size -= self._size(verdict)

    def _size(self, verdict: Verdict[Answer]) -> int:
        logged = sum(len(name) + len(text) + LOGGED_OVERHEAD for name, text in verdict.logged) + len(verdict.dropped) * LOGGED_OVERHEAD
        return OVERHEAD + verdict.proof.size + self._size_of(verdict.answer) + logged
