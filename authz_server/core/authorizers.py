"""Authorizers: which token a route takes, and the rules that the token must meet. Each type of authorizer has a module that makes one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from authz_server.core.evaluation import Evaluation
from authz_server.core.revocations import Revocations
from authz_server.core.rules import Rule
from authz_server.core.tokens import Key


class Keys(Protocol):
    """The current keys of one user pool, as a check sees them."""

    def find(self, kid: str) -> Key:
        """Find a key without waiting.

        Args:
            kid: the key's name.

        Returns:
            The key.

        Raises:
            Denied: KEY_UNKNOWN, or KEYS_UNAVAILABLE when nothing can be said.
            KeysPending: when a fetch that is under way will tell.
        """
        ...

    def holds(self, key: Key) -> bool:
        """Whether *key* is still in the set, and the set is not too old."""
        ...


class KeysPending(Exception):  # noqa: N818 - waiting is an answer, not an error
    """End a check because the keys it needs are being fetched; ask again once they are there.

    Args:
        fetch: what the key source offers to wait for; opaque to the core.
    """

    def __init__(self, fetch: Any) -> None:
        super().__init__()
        self.fetch = fetch


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorizer:
    """An authorizer of any type.

    Args:
        name: as configured.
        identity_source: name of the header that holds the token, lower case.
        issuers: the keys of each issuer whose tokens are accepted.
        rules: what a token must meet; the first that it does not meet is the reason of the denial.
        result_ttl: seconds for which a decision may be repeated; 0 for never.
        revocations: tokens that are refused all the same, or None.
        steps: the rules, each behind its condition, which a check asks for more quickly so.
    """

    name: str
    identity_source: str
    issuers: Mapping[str, Keys]
    rules: tuple[Rule, ...]
    result_ttl: int = 0
    revocations: Revocations | None = None
    steps: tuple[tuple[Callable[[Evaluation], bool], Rule], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple((rule.met, rule) for rule in self.rules))

    def judge(self, evaluation: Evaluation) -> Rule | None:
        """Hold the rules against a request, one after the other.

        Args:
            evaluation: of the request; takes in what the rules find, and the first one that is not met.

        Returns:
            That first rule, or None when every rule is met.

        Raises:
            KeysPending: when the key is being fetched.
        """
        for met, rule in self.steps:
            if not met(evaluation):
                evaluation.failed = rule
                return rule
        return None
