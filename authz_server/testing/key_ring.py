"""A key ring: the signing keys of one user pool, over their rotations."""

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from authz_server.testing.signing_key import SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """The two keys that a pool signs with at one time.

    Args:
        id: signs ID tokens.
        access: signs access tokens.
    """

    id: SigningKey
    access: SigningKey


class KeyRing:
    """The keys of one pool, made when they are first needed; any thread may ask.

    Args:
        random: from a number of bytes to that many random bytes; the names of the keys come from here.
        new_key: makes an RSA key.
    """

    def __init__(self, *, random: Callable[[int], bytes], new_key: Callable[[], RSAPrivateKey]) -> None:
        self._random = random
        self._new_key = new_key
        self._lock = threading.Lock()
        self._pairs: tuple[KeyPair, ...] = ()

    @property
    def newest(self) -> KeyPair:
        """The keys that sign now."""
        return self._published()[0]

    @property
    def published(self) -> tuple[SigningKey, ...]:
        """The keys that can verify, the newest first."""
        return tuple(key for pair in self._published() for key in (pair.id, pair.access))

    def rotate(self) -> None:
        """Sign with new keys and go on publishing the old ones."""
        old = self._published()
        with self._lock:
            self._pairs = (self._new_pair(), *old)

    def forget(self) -> None:
        """Publish only the newest keys."""
        with self._lock:
            self._pairs = self._pairs[:1]

    def _published(self) -> tuple[KeyPair, ...]:
        with self._lock:
            if not self._pairs:
                self._pairs = (self._new_pair(),)
            return self._pairs

    def _new_pair(self) -> KeyPair:
        return KeyPair(id=self._new_signing_key(), access=self._new_signing_key())

    def _new_signing_key(self) -> SigningKey:
        return SigningKey(kid=base64.b64encode(self._random(32)).decode(), private=self._new_key())
