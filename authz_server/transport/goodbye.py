"""How a connection is left, without I/O: no call is lost, neither one under way nor one that the peer is about to send.

Source: RFC 9113 section 6.8: first the highest stream id, then, a round trip later, the last one served.
"""

from typing import Final

GOAWAY_SECONDS: Final = 2.0  # before each of the two steps, if the ping before it is not answered
MAX_WITHHELD: Final = 2**20  # octets that are held back for the first of them
FAREWELL_SECONDS: Final = 30.0  # after them, for calls to be finished and answers to be taken

# Steps. While it pauses, the peer reads all before the goodbye; then it leaves, and every stream is served; in the end it has named the last one.
STAYING, PAUSING, LEAVING, LEFT = range(4)

_GOAWAY: Final = b"\0\0\x08\x07\0\0\0\0\0" + b"\x7f\xff\xff\xff" + bytes(4)  # every stream is served; no error
_PING: Final = b"\0\0\x08\x06\0\0\0\0\0"
_READ: Final = b"read it?"
_HEARD: Final = b"goodbye."


class Goodbye:
    """What to write, and when.

    The goodbye must be the first that the peer reads when it reads on. Envoy puts a waiting call in the place of each whose answer
    it reads, and sends those calls when it has read all that there is: if a goodbye is among it, it fails them instead. So a ping
    asks whether all was read, and until the answer comes, what is written is held back.

    Args:
        due: when it begins by itself, seconds of a monotonic clock.
    """

    def __init__(self, due: float) -> None:
        self.step = STAYING
        self.due = due  # when the next step comes by itself; after the last one, when there is an end to waiting
        self._withheld = bytearray()

    def pause(self, now: float) -> bytes:
        """Ask whether all was read."""
        self.step, self.due = PAUSING, now + GOAWAY_SECONDS
        return _PING + _READ

    def withhold(self, octets: bytes) -> bool:
        """Hold octets back; tell whether there are too many."""
        self._withheld += octets
        return len(self._withheld) > MAX_WITHHELD

    def announce(self, now: float) -> bytes:
        """Say that every stream is served, ask whether that was heard, and go on with what was held back."""
        self.step, self.due = LEAVING, now + GOAWAY_SECONDS
        said = _GOAWAY + _PING + _HEARD + self._withheld
        self._withheld.clear()
        return said

    def leave(self, now: float) -> None:
        """Note that the last stream was named."""
        self.step, self.due = LEFT, now + FAREWELL_SECONDS

    def is_answer(self, acknowledged: bytes) -> bool:
        """Whether this acknowledges the last ping."""
        return (self.step, acknowledged) in ((PAUSING, _READ), (LEAVING, _HEARD))
