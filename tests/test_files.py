"""Files that others write are read without waiting, and no further than they may go."""

import hashlib
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from authz_server import files
from authz_server.cli.validate import _document
from authz_server.config.documents import from_file
from authz_server.config.problems import ConfigurationError
from authz_server.core.revocations import Revocations
from authz_server.engine.revoked import Place, following
from authz_server.engine.watch import _digest
from authz_server.keys.fetch import FetchError, _read
from authz_server.revocations.file import read as read_revocations
from authz_server.revocations.source import RevocationsError
from authz_server.transport.tls import TlsError, TlsFiles
from authz_server.transport.tls import read as read_tls
from authz_server.trust import client_context

HUGE = 2**40


def pipe(path):
    """Make a named pipe, which nobody writes to."""
    os.mkfifo(path)


def device(path):
    """Link to a device that never ends."""
    path.symlink_to("/dev/zero")


def listening(path):
    """Make a socket."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def sparse(path):
    """Make a file that is larger than any disk."""
    path.touch()
    os.truncate(path, HUGE)


READERS = {
    "configuration": (from_file, ConfigurationError),
    "revocations": (read_revocations, RevocationsError),
    "keys": (_read, (FetchError, OSError)),
    "certificate": (lambda path: read_tls(TlsFiles(certificate=path, key=path), 0.0), TlsError),
    "authorities": (lambda path: client_context(str(path)), OSError),
    "password": (
        lambda path: following(Place(where="redis://localhost", password_file=path), Revocations(), None).__enter__(),
        RevocationsError,
    ),
}


@pytest.mark.parametrize(
    ("make", "told"),
    [(pipe, "it is a named pipe"), (device, "it is a device"), (sparse, "it is larger than"), (listening, "No such device or address")],
)
@pytest.mark.parametrize("name", READERS)
def test_whoever_reads_a_file_refuses_what_is_none(tmp_path, name, make, told):
    """A pipe, a device, a socket and a file beyond the limit are an error that says so, at once, for each kind of file that a server reads."""
    path = tmp_path / "given"
    make(path)
    read, error = READERS[name]
    with pytest.raises(error, match=told):
        read(path)


@pytest.mark.parametrize("make", [pipe, device, sparse, listening])
def test_a_watch_waits_for_none_of_them(tmp_path, make):
    """Its digest is the same as long as nothing changes, and another one than that of a file."""
    path = tmp_path / "given"
    make(path)

    assert _digest(path) == _digest(path) != hashlib.sha256(b"").digest()


def test_a_file_is_read_up_to_its_limit(tmp_path):
    """As many bytes as it may have are no error, one more is, also where it grew after it was opened."""
    path = tmp_path / "given"
    path.write_bytes(b"abc")
    assert files.read(path, 3) == b"abc"
    assert files.digest(path, 3) == hashlib.sha256(b"abc").digest()
    for act in (files.read, files.digest):
        with pytest.raises(files.UnusableFileError, match="larger than 2 bytes"):
            act(path, 2)


def test_a_file_that_grows_while_it_is_read_ends_at_the_limit(tmp_path, monkeypatch):
    """What was measured before the read is not relied on."""
    path = tmp_path / "given"
    path.write_bytes(b"abc")
    measured = os.stat_result((0o100644, *(0,) * 5, 1, 0, 0, 0))
    monkeypatch.setattr(files.os, "fstat", lambda _: measured)
    with pytest.raises(files.UnusableFileError, match="larger than 2 bytes"):
        files.read(path, 2)


def test_a_person_may_give_a_pipe():
    """`validate <(…)` reads what comes."""
    command = [sys.executable, "-m", "authz_server", "validate", "/dev/fd/0"]
    done = subprocess.run(command, input="version: 1\nnonsense: 1\n", capture_output=True, text=True, check=False)

    assert "/dev/fd/0:2:1: unknown key 'nonsense'" in done.stderr
    assert done.returncode == 1
    assert _document(str(Path(__file__))).path == Path(__file__)


def test_authorities_are_read_from_the_file_that_was_looked_at(tmp_path):
    """Whatever OpenSSL reads beside certificates stays readable, such as comments of any encoding."""
    path = tmp_path / "ca.pem"
    default = ssl.get_default_verify_paths()
    source = next(Path(each) for each in (default.cafile, "/etc/ssl/certs/ca-certificates.crt") if each and Path(each).exists())
    path.write_bytes("# Agência\n".encode() + source.read_bytes())

    assert client_context(str(path)).cert_store_stats()["x509_ca"] > 1
