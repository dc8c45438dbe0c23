"""The running certificate is swapped whole, and kept when the new one is bad."""

import re
import time

import pytest

from authz_server.observe.metrics import Metrics
from authz_server.server import certificates
from authz_server.server.certificates import Certificates
from authz_server.transport.tls import TlsError, TlsFiles, read
from tests.authority import Authority, files

DAY = 86_400


@pytest.fixture(scope="module")
def authority():
    """A CA."""
    return Authority()


def test_bad_files_at_the_start_are_an_error(tmp_path):
    """Nothing runs without a certificate."""
    with pytest.raises(TlsError, match=r"absent\.crt"):
        Certificates(TlsFiles(certificate=tmp_path / "absent.crt", key=tmp_path / "absent.key"), time.time)


def test_a_new_pair_is_used(authority, tmp_path):
    """From then on, and the metrics show from when it is valid and when it expires."""
    running = Certificates(files(tmp_path, authority.server(days=2)), time.time)
    before = running.current()
    new = authority.server(days=4).write(tmp_path)
    running.reload()
    sample = running.sample()

    assert running.current() != before
    assert running.current().chain == new.certificate
    assert sample.good
    assert sample.expires == pytest.approx(time.time() + 4 * DAY, abs=60)
    assert sample.valid_from == pytest.approx(time.time() - DAY, abs=60)


def test_a_bad_pair_keeps_the_old_one(authority, tmp_path, caplog):
    """The log names the file and what stays, the metrics tell, and a good pair later is used."""
    when = iter([time.time(), time.time() + 10, time.time() + 20])
    running = Certificates(files(tmp_path, authority.server()), lambda: next(when))
    before, began = running.current(), running.sample()
    (tmp_path / "tls.key").write_bytes(authority.server().key)
    running.reload()
    kept, sample = running.current(), running.sample()
    authority.server().write(tmp_path)
    running.reload()

    assert kept is before
    assert (began.good, sample.good, running.sample().good) == (True, False, True)
    assert sample.expires == before.expires
    assert sample.reloaded_at > began.reloaded_at
    assert running.current() != before
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "tls.key: is not the key of" in errors[0]
    assert "stays in use" in errors[1]


def test_a_bug_keeps_the_old_one(authority, tmp_path, monkeypatch, caplog):
    """Whatever a file brings does not end the server: it is a failed reload, and the log has the place of the bug but no values."""
    running = Certificates(files(tmp_path, authority.server()), time.time)
    before = running.current()
    monkeypatch.setattr(certificates, "read", lambda *_: {}["a value"])
    running.reload()
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]

    assert running.current() is before
    assert not running.sample().good
    assert "bug: KeyError while reading the certificate; please report it\n" in errors[0]
    assert "certificates.py" in errors[0]
    assert "stays in use" in errors[1]
    monkeypatch.undo()
    running.reload()
    assert running.sample().good


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_key_that_everybody_may_read_is_told(authority, tmp_path, caplog, mode, told):
    """As a warning: a group, as Kubernetes gives one to a mounted secret, is fine."""
    stored = files(tmp_path, authority.server())
    stored.key.chmod(mode)
    Certificates(stored, time.time)

    assert any("tls.key: everybody" in record.getMessage() for record in caplog.records if record.levelname == "WARNING") is told


def test_a_key_that_goes_away_meanwhile_is_no_bug(authority, tmp_path, monkeypatch):
    """Between its reading and the look at its permissions somebody may replace it."""
    stored = files(tmp_path, authority.server())

    def read_and_remove(*arguments):
        found = read(*arguments)
        stored.key.unlink()
        return found

    monkeypatch.setattr(certificates, "read", read_and_remove)

    assert Certificates(stored, time.time).sample().good


def test_a_reload_of_the_same_certificate_changes_no_time(authority, tmp_path):
    """When the certificate that is in use began and expires does not move with an edit of the configuration, as the time of the reload does."""
    when = iter([time.time(), time.time() + DAY])
    running = Certificates(files(tmp_path, authority.server(days=2)), lambda: next(when))
    began = running.sample()
    running.reload()
    reloaded = running.sample()

    assert (reloaded.valid_from, reloaded.expires) == (began.valid_from, began.expires)
    assert reloaded.reloaded_at > began.reloaded_at


def test_metrics_show_the_certificate(authority, tmp_path):
    """From when it is valid, when it expires, and how the last reload went; without TLS there is nothing to show."""
    metrics = Metrics("")
    assert b"authz_tls" not in metrics.text()
    running = Certificates(files(tmp_path, authority.server()), lambda: 0.0)
    metrics.show_certificate(running.sample)
    (tmp_path / "tls.crt").unlink()
    running.reload()

    shown = dict(re.findall(r"^authz_tls_certificate_(\w+)_timestamp_seconds (\S+)$", metrics.text().decode(), re.MULTILINE))
    assert float(shown["expiry"]) == running.current().expires
    assert float(shown["not_before"]) == running.current().valid_from
    assert b"authz_tls_last_reload_successful 0.0" in metrics.text()
    assert b"authz_tls_last_reload_timestamp_seconds 0.0" in metrics.text()
