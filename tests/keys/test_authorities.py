"""The authorities that key sets are checked against are those of the system or of a file, as they are now."""

import os
import ssl
from pathlib import Path

import pytest

from authz_server.keys import authorities
from authz_server.keys.authorities import Authorities
from authz_server.trust import client_context
from tests.authority import Authority


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of authorities that is not there yet, and is the system's."""
    file = tmp_path / "ca.crt"
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return file


def subjects(context: ssl.SSLContext) -> list[str]:
    """Name those that are trusted."""
    return [authority["subject"][0][0][1] for authority in context.get_ca_certs()]


def test_authorities_that_come_late_are_trusted(ca: Path) -> None:
    """A file that was not there at the start, or is renewed, counts from the next fetch on: no start is without authorities for good."""
    system = Authorities()
    assert subjects(system.context()) == []
    ca.write_bytes(Authority("first").certificate)
    assert subjects(system.context()) == ["first"]
    second = ca.with_suffix(".new")
    second.write_bytes(Authority("second").certificate)
    second.replace(ca)
    assert subjects(system.context()) == ["second"]
    ca.unlink()
    assert subjects(system.context()) == []


def test_authorities_are_not_read_for_each_fetch(ca: Path) -> None:
    """The system has hundreds: they are read once for as long as their file is the same."""
    ca.write_bytes(Authority("first").certificate)
    system = Authorities()

    assert system.context() is system.context()


def test_a_file_that_goes_meanwhile_is_none(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the question for its name and the look at it a file may go."""
    paths = ssl.get_default_verify_paths()._replace(cafile=str(ca))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)

    assert subjects(Authorities().context()) == []


def test_certificates_are_required_and_names_compared(ca: Path) -> None:
    """Whatever the authorities, an endpoint must show a certificate of its own name."""
    ca.write_bytes(Authority("first").certificate)
    for context in (Authorities().context(), client_context(str(ca))):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_variables_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """OpenSSL would say nothing, and trust nobody."""
    ca, empty = tmp_path / "ca.crt", tmp_path / "empty.crt"
    ca.write_bytes(Authority("first").certificate)
    empty.write_bytes(b"")

    assert authorities.warnings({}) == authorities.warnings({"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}) == []
    assert authorities.warnings({"SSL_CERT_FILE": str(ca), "SSL_CERT_DIR": f"{tmp_path}{os.pathsep}"}) == []
    for file in (empty, tmp_path / "none", tmp_path):
        (warning,) = authorities.warnings({"SSL_CERT_FILE": str(file)})
        assert warning.startswith(f"SSL_CERT_FILE names {file}, which holds no certificates to trust (")
    assert authorities.warnings({"SSL_CERT_DIR": f"{tmp_path}{os.pathsep}{ca}"}) == [f"SSL_CERT_DIR names {ca}, which is no folder"]


def test_variables_in_force_are_told() -> None:
    """Who reads the log sees whose certificates count."""
    assert authorities.in_force({"SSL_CERT_DIR": ""}) == []
    assert authorities.in_force({"SSL_CERT_FILE": "/a", "SSL_CERT_DIR": "/b"}) == [
        "SSL_CERT_FILE says whose certificates are trusted for key sets: /a",
        "SSL_CERT_DIR says whose certificates are trusted for key sets: /b",
    ]
