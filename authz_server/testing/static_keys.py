"""Static keys: the twin of a key source that never fetches."""

from authz_server.core.decisions import Denied
from authz_server.core.reasons import Reason
from authz_server.core.tokens import Key
from authz_server.testing.user_pool import UserPool


class StaticKeys:
    """The keys that a pool published at the moment of construction, as a check sees them.

    Args:
        pool: what it does later, such as `rotate`, goes unseen, like between two fetches.
    """

    def __init__(self, pool: UserPool) -> None:
        self._keys = {key.kid: Key(kid=key.kid, rsa=key.public) for key in pool.published_keys}

    def find(self, kid: str) -> Key:
        """Find a key.

        Args:
            kid: the key's name.

        Returns:
            The key.

        Raises:
            Denied: KEY_UNKNOWN.
        """
        try:
            return self._keys[kid]
        except KeyError:
            raise Denied(Reason.KEY_UNKNOWN) from None

    def holds(self, key: Key) -> bool:
        """Whether *key* is one of them."""
        return self._keys.get(key.kid) is key
