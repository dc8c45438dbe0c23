"""Who may write to the list cannot fill the memory of those who follow it."""

import pytest

from authz_server.core.revocations import Revocation
from authz_server.revocations import server as servers
from authz_server.revocations import shared
from authz_server.revocations.server import MAX_ANSWER, _Counting
from authz_server.revocations.shared import KEY, STREAM
from authz_server.revocations.source import RevocationsError
from tests.revocations.following import ADA, refused
from tests.waiting import until

LARGE = b"x" * (MAX_ANSWER + 1)


class Socket:
    """A socket whose peer sends without an end, and counts what is read."""

    def __init__(self):
        self.read = 0

    def sendall(self, data):
        """Send nothing."""

    def recv(self, size):
        """Give as much as is asked for."""
        self.read += size
        return b"x" * size

    def recv_into(self, buffer):
        """The same."""
        self.read += len(buffer)
        return len(buffer)

    def fileno(self):
        """Be a file."""
        return 7


@pytest.mark.parametrize("read", [lambda counting: counting.recv(65_536), lambda counting: counting.recv_into(bytearray(65_536))])
def test_an_answer_is_read_up_to_its_bound(read):
    """Each command has an answer of its own, and no more than the bound is read of one."""
    inner = Socket()
    counting = _Counting(inner)
    for _ in range(3):
        counting.sendall(b"a command")
        for _ in range(MAX_ANSWER // 65_536):
            read(counting)
    assert counting.fileno() == 7
    with pytest.raises(RevocationsError, match="an answer is larger than 33,554,432 bytes"):
        read(counting)
    assert inner.read == 3 * MAX_ANSWER + 65_536


@pytest.mark.parametrize("where", ["set", "stream"])
def test_a_large_member_is_refused_and_told(server, follow, revocations, told, where):
    """What is known stays, the log says why nothing new is learned, and all is well once the member is gone."""
    shared.add(server, ADA, 1_000.0)
    follow()
    until(lambda: refused(revocations, sub="ada"))
    with server.client as client:
        if where == "set":
            client.zadd(KEY, {LARGE: 4e9})
            client.xadd(STREAM, {"read": "again"})
        else:
            client.xadd(STREAM, {"entry": LARGE})
        until(lambda: any("an answer is larger than" in detail for _, detail in told.ends))
        assert refused(revocations, sub="ada")
        client.zrem(KEY, LARGE)
        client.delete(STREAM)
    shared.add(server, Revocation("jti", "later"), 1_000.0)
    until(lambda: refused(revocations, jti="later"))


def test_no_other_scheme_is_tried():
    """A URL of another kind is an error that says which there are."""
    with pytest.raises(RevocationsError, match="expected rediss://"):
        servers.connect("http://localhost", None)
