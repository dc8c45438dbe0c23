"""Who follows a list in Redis: two who have signed out, and what is told about it."""

from math import inf

from authz_server.core.revocations import Revocation

ADA = Revocation("sub", "ada", 900.0, 4e9)
EVE = Revocation("jti", "eve", inf, 4e9)


class Told:
    """Who is told how it goes."""

    def __init__(self):
        self.ends = []
        self.details = []
        self.losses = []

    def ended(self, outcome, detail):
        """Take note of a look at the list."""
        self.ends.append((outcome, detail))

    def unreadable(self, detail):
        """Take note of an entry."""
        self.details.append(detail)

    def lost(self, detail):
        """Take note of a loss."""
        self.losses.append(detail)


def refused(revocations, **claims):
    """Whether the list refuses such a token."""
    return revocations.refuse({"iat": 800, "token_use": "id", **claims}, 1_000.0)
