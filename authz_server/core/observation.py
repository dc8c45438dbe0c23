"""Observation: one check and its decision, as those see it who watch."""

from collections.abc import Callable
from typing import NamedTuple

from authz_server.core.decisions import Allow, Deny
from authz_server.core.request import Request


class Observation(NamedTuple):
    """One check and its decision.

    Args:
        time: Unix time of the answer.
        seconds: how long it took, waiting for keys included.
        request: what was asked about; its headers may hold a token.
        decision: how it was answered. Its `evaluation` tells how a token was judged; there is none where a decision was repeated.
        request_id: the UUID that the answer carries, or "".
        repeated: whether the decision was remembered.
    """

    time: float
    seconds: float
    request: Request
    decision: Allow | Deny
    request_id: str
    repeated: bool


Observer = Callable[[Observation], None]
