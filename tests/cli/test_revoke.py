"""`authz-server revoke`: what it writes, and what it does not take."""

import math
import sys
import time

import pytest
from click.testing import CliRunner

from authz_server.cli import main
from authz_server.revocations import file

DAY = 86_400


@pytest.fixture
def path(tmp_path):
    """A list that is not there yet."""
    return tmp_path / "revoked"


def revoke(*arguments):
    """Run the command."""
    return CliRunner().invoke(main, ["revoke", *map(str, arguments)])


@pytest.mark.parametrize("flag", ["--sub", "--client-id", "--pool"])
def test_what_was_issued_until_now_is_refused(path, flag):
    """The very second counts, since `iat` tells no more; a day later every such token has expired."""
    before = time.time()
    done = revoke("--revocations", path, flag, "x")
    (entry,) = file.read(path)

    assert (done.exit_code, entry.kind, entry.value) == (0, flag.removeprefix("--").replace("-", "_"), "x")
    assert before < entry.issued_before <= time.time() + 1
    assert entry.issued_before == int(entry.issued_before)
    assert entry.until == entry.issued_before + DAY
    assert "refused: " in done.output


@pytest.mark.parametrize("flag", ["--jti", "--origin-jti"])
def test_a_token_and_a_sign_in_are_refused_whenever_issued(path, flag):
    """For a day: the longest that a token lives which is there now."""
    revoke("--revocations", path, flag, "x")
    (entry,) = file.read(path)

    assert entry.issued_before == math.inf
    assert DAY <= entry.until - time.time() <= DAY + 1


@pytest.mark.parametrize(
    ("more", "issued_before", "until"),
    [
        (("--issued-before", "never"), math.inf, math.inf),
        (("--issued-before", "4000000000"), 4e9, 4e9 + DAY),
        (("--issued-before", "2096-10-02T07:06:40Z", "--until", "never"), 4e9, math.inf),
        (("--issued-before", "never", "--until", "4000000000"), math.inf, 4e9),
    ],
)
def test_other_times(path, more, issued_before, until):
    """Never means that there is no such moment: also tokens that are issued later are refused, or for ever."""
    revoke("--revocations", path, "--sub", "x", *more)
    (entry,) = file.read(path)

    assert (entry.issued_before, entry.until) == (issued_before, until)


def test_what_is_past_is_refused_for_a_day_from_now(path):
    """A token that was issued before then may still be good."""
    revoke("--revocations", path, "--sub", "x", "--issued-before", "5")
    (entry,) = file.read(path)

    assert (entry.issued_before, entry.until > time.time() + DAY - 1) == (5, True)


def test_a_revocation_is_taken_back(path):
    """Whatever its times are, and also those that are over."""
    revoke("--revocations", path, "--sub", "x", "--issued-before", "never")
    done = revoke("--revocations", path, "--sub", "x", "--until", "5", "--undo")

    assert (done.output, file.read(path)) == ("taken back: sub=x\n", [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sub", "x"), "give --revocations"),
        (("--revocations", "f"), "give --revocations, and one of --jti"),
        (("--revocations", "f", "--sub", "x", "--jti", "y"), "and one of --jti"),
        (("--revocations", "f", "--jti", "x", "--issued-before", "5"), "says nothing about a jti"),
        (("--revocations", "f", "--sub", "x y"), "printable ASCII"),
        (("--revocations", " ", "--sub", "x"), "--revocations is empty"),
        (("--revocations", "f", "--sub", "x", "--revocations-password-file", "p"), "is for a list in Redis"),
        (("--revocations", "f", "--sub", "x", "--until", "3600"), "--until is over already"),
        (("--revocations", "f", "--sub", "x", "--until", "tomorrow"), "Unix seconds"),
        (("--revocations", "f", "--sub", "x", "--until", "2026-01-31T12:00:00"), "2026-01-31T12:00:00Z"),
    ],
)
def test_what_can_not_be_meant(arguments, words):
    """The message says what is wrong."""
    done = revoke(*arguments)

    assert done.exit_code == 2
    assert words in " ".join(done.output.split())


def test_a_list_that_can_not_be_written_is_told(tmp_path):
    """And the status says so: whoever signs a user out must know."""
    done = revoke("--revocations", tmp_path / "absent" / "revoked", "--sub", "x")

    assert done.exit_code == 1
    assert "cannot be written" in done.output


def test_without_the_extra_a_list_in_redis_is_told_how_to_get_it(monkeypatch):
    """The command that installs it."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "authz_server.revocations.shared", raising=False)
    done = revoke("--revocations", "redis://127.0.0.1:1", "--sub", "x")

    assert done.exit_code == 1
    assert "pip install 'authz-server[redis]'" in done.output


@pytest.mark.parametrize("url", ["redis://h/0?ssl_ca_certs=/x", "redis://h?unknown=1", "redis://h/shop", "redis://h:port/0"])
def test_a_url_that_redis_would_not_take_is_told(url):
    """Before anything is sent: an option that this scheme does not have, or a database that is no number."""
    done = revoke("--revocations", url, "--sub", "x")

    assert (done.exit_code, "the URL of Redis can not be read" in done.output) == (1, True)
