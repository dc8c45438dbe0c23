"""What a server says about its readiness: to probes, to people, and a worker to its supervisor."""

from typing import Final, NamedTuple

READY: Final = b"ready\n"


class Report(NamedTuple):
    """Whether checks can be answered, and why.

    Args:
        ready: whether they can.
        lines: what there is to say, such as one for each user pool.
    """

    ready: bool
    lines: tuple[str, ...]

    @classmethod
    def read(cls, text: bytes) -> "Report":
        """Read what `text` has written."""
        return cls(text.startswith(READY), tuple(text.decode().splitlines()[1:]))

    def text(self) -> bytes:
        """Write it for people and probes: `ready` or `not ready`, then the lines."""
        return "".join(f"{line}\n" for line in ("ready" if self.ready else "not ready", *self.lines)).encode()
