"""What signals ask a server to do."""

from typing import Literal

Event = Literal["reload", "drain", "stop"]
