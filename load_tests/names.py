"""Names: requests of many tokens, whose verdicts a cache keeps apart."""

import itertools
from collections.abc import Callable

from authz_server.testing import UserPool


class Names:
    """Requests whose tokens have different names in the cache, without minting a token for each, which would take minutes.

    The identity source is part of the name as it was sent, so each token counts as 64 when the letters of `Bearer ` differ in case.

    Args:
        pool: mints tokens.
        request: writes a CheckRequest with a token.
        count: how many names are needed.
    """

    def __init__(self, pool: UserPool, request: Callable[[str], bytes], count: int) -> None:
        self._spellings = ["".join(letters) + " " for letters in itertools.product(*zip("bearer", "BEARER", strict=True))]
        claims = pool.id_claims()
        numbers = range(-(-count // len(self._spellings)))
        signed = [pool.id_key.sign(claims | {"custom:number": f"{number:09}"}) for number in numbers]
        self._requests = [request(token).partition(b"Bearer ") for token in signed]

    def request(self, number: int) -> bytes:
        """Write one of them."""
        token, spelling = divmod(number, len(self._spellings))
        before, _, after = self._requests[token]
        return before + self._spellings[spelling].encode() + after
