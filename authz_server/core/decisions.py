"""Decisions: allow, or deny for one reason out of a closed table."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Final

from authz_server.core.reasons import Reason
from authz_server.core.responses import BUILT_IN, Response

if TYPE_CHECKING:
    from authz_server.core.evaluation import Evaluation


Details = tuple[tuple[str, str], ...]  # what was expected and found, by name; never a value of a token or a part of a path
MAX_LISTED: Final = 10
MAX_LISTED_LENGTH: Final = 1_000  # of a line of the log, of which a pipe takes 4 KiB whole


def listed(names: Collection[str]) -> str:
    """Join names from the configuration for the details of a denial.

    Args:
        names: in the order in which they are told.

    Returns:
        The first ten that fit into 1,000 characters, separated by spaces, and how many more there are.
    """
    ends = accumulate(len(name) + 1 for name in names)
    first = [name for name, end in islice(zip(names, ends, strict=True), MAX_LISTED) if end <= MAX_LISTED_LENGTH]
    more = len(names) - len(first)
    return " ".join([*first, f"and {more} more"] if more else first)


class Denied(Exception):  # noqa: N818 - a denial is an answer, not an error
    """End the search for a route, or for a key, with a denial.

    Args:
        reason: of the denial.
        details: for the operator; they never reach the caller.
    """

    def __init__(self, reason: Reason, details: Details = ()) -> None:
        super().__init__(reason.label)
        self.reason = reason
        self.details = details


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """The request may not pass.

    Args:
        reason: the rule that failed.
        api: name of the api, or "" when none was found.
        route: label of the route, or "" when none was found.
        details: what was expected and found, for the operator.
        responses: of the api, by reason.
        evaluation: of the token, or None when the check ended before it.
    """

    reason: Reason
    api: str = ""
    route: str = ""
    details: Details = field(default=(), compare=False)
    responses: Mapping[Reason, Response] = field(default_factory=lambda: BUILT_IN, compare=False, repr=False)
    evaluation: "Evaluation | None" = field(default=None, compare=False, repr=False)

    @property
    def response(self) -> Response:
        """What the caller gets."""
        return self.responses[self.reason]

    @property
    def decision(self) -> str:
        """`deny`, or `unavailable` where the fault is ours and not the caller's."""
        return "unavailable" if self.reason.is_ours else "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """The request may pass.

    Args:
        api: name of the api.
        route: label of the route.
        headers: name and value of each header set for the upstream, ASCII.
        remove: names of the headers stripped from the client's request.
        metadata: claims for Envoy's dynamic metadata; an array is a tuple of texts.
        logged: claims that the api lets into the decision log.
        dropped: names of the claim headers that did not fit.
        evaluation: of the token; None on a public route.
    """

    api: str
    route: str
    headers: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()
    metadata: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    logged: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    evaluation: "Evaluation | None" = field(default=None, compare=False, repr=False)

    @property
    def decision(self) -> str:
        """Always `allow`."""
        return "allow"
