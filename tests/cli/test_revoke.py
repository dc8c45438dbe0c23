"""`authz-server revoke`: what it writes, and what it does not take."""

import math
import sys
import time

import pytest
from click.testing import CliRunner

from authz_server.cli import main
from authz_server.revocations import file
from authz_server.testing import UserPool

DAY = 86_400


@pytest.fixture
def path(tmp_path):
    """A list that is not there yet."""
    return tmp_path / "revoked"


def revoke(*arguments, stdin=None):
    """Run the command."""
    return CliRunner().invoke(main, ["revoke", *map(str, arguments)], input=stdin)


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
    before = time.time()
    revoke("--revocations", path, flag, "x")
    (entry,) = file.read(path)

    assert entry.issued_before == math.inf
    assert before + DAY <= entry.until <= time.time() + DAY + 1


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


@pytest.mark.parametrize("flags", [(), ("--issued-before", "5")])
def test_taking_back_nothing_is_told(path, flags):
    """Somebody may have mistyped a name; the list is as it was, and a file is not made."""
    first = revoke("--revocations", path, "--sub", "y", "--undo", *flags)
    assert not path.exists()
    revoke("--revocations", path, "--sub", "x")
    second = revoke("--revocations", path, "--jti", "x", "--undo")

    assert (first.exit_code, first.output) == (1, "nothing to take back: sub=y is not in the list\n")
    assert (second.exit_code, second.output) == (1, "nothing to take back: jti=x is not in the list\n")
    assert [entry.value for entry in file.read(path)] == ["x"]


@pytest.mark.parametrize(("span", "seconds"), [("90s", 90), ("1h", 3_600), ("1h30m", 5_400), ("7d", 7 * DAY), ("2w", 14 * DAY)])
def test_an_end_may_be_counted_from_now(path, span, seconds):
    """In seconds, minutes, hours, days and weeks, to a whole second."""
    before = time.time()
    revoke("--revocations", path, "--sub", "x", "--until", span)
    (entry,) = file.read(path)

    assert before <= entry.until - seconds <= time.time() + 1
    assert entry.until == int(entry.until)


def test_times_can_be_read(path):
    """What is printed and what is written are dates."""
    done = revoke("--revocations", path, "--sub", "x", "--issued-before", "1790000000", "--until", "4000000000")

    assert done.output == "refused: sub=x issued_before=2026-09-21T14:13:20Z until=2096-10-02T07:06:40Z\n"
    assert done.output == f"refused: {path.read_text()}"


def test_the_list_is_printed(path):
    """What is in force, or what of it has a name, in a form that a file could hold; what is over is not."""
    path.write_text("sub=x until=4000000000\njti=x\nsub=y until=5\n")
    everything, one, nothing = (revoke("--revocations", path, "--list", *name) for name in ((), ("--jti", "x"), ("--sub", "y")))

    assert (everything.exit_code, everything.output) == (0, "sub=x until=2096-10-02T07:06:40Z\njti=x\n")
    assert (one.exit_code, one.output) == (0, "jti=x\n")
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "nothing with this name is refused\n")
    path.write_text("")
    assert revoke("--revocations", path, "--list").stderr == "nothing is refused\n"


def test_a_list_that_can_not_be_read_is_told(path):
    """It is no empty list."""
    done = revoke("--revocations", path, "--list")

    assert (done.exit_code, "cannot be read" in done.output) == (1, True)


@pytest.fixture(scope="module")
def pool():
    """Make one pool for all tests: keys take time to make."""
    return UserPool("eu-west-1_Revoke001")


@pytest.mark.parametrize("written", ["{}", "Bearer {}\n", "  {}\n\n"])
def test_a_token_on_standard_input_is_refused_by_its_jti(path, pool, written):
    """Nobody else on the machine gets to see it, and it is told nowhere."""
    token = pool.id_token(jti="f1b6")
    done = revoke("--revocations", path, "--token", "-", stdin=written.format(token))
    (entry,) = file.read(path)

    assert (done.exit_code, entry.kind, entry.value) == (0, "jti", "f1b6")
    assert token[:20] not in done.output + path.read_text()
    assert revoke("--revocations", path, "--token", "-", "--undo", stdin=token).output == "taken back: jti=f1b6\n"


def test_a_token_that_has_expired_can_be_taken_back(path, pool):
    """It may have been good when it was refused."""
    path.write_text("jti=f1b6\n")
    token = pool.id_token(jti="f1b6", exp=1)
    refused, undone = (revoke("--revocations", path, "--token", "-", *flag, stdin=token) for flag in ((), ("--undo",)))

    assert (refused.exit_code, "the token has expired" in refused.output) == (2, True)
    assert (undone.exit_code, undone.output) == (0, "taken back: jti=f1b6\n")


@pytest.mark.parametrize(
    ("given", "stdin", "words"),
    [
        ("-", "", "no token"),
        ("-", "secret", "holds no token that could be accepted (token_malformed)"),
        ("-", b"\xff\xfe.a.b", "holds no token"),
        ("-", "unsigned", "holds no token that could be accepted (algorithm_refused)"),
        ("-", "without jti", "the token has no jti"),
        ("eyJsecret", "", "give - here"),
    ],
)
def test_what_is_no_token_is_told_without_it(path, pool, given, stdin, words):
    """A mistake does not put a secret on a screen."""
    made = {"without jti": pool.id_token(jti=None), "unsigned": pool.id_key.sign(pool.id_claims(), header={"alg": "none"})}
    sent = made.get(stdin, stdin)
    done = revoke("--revocations", path, "--token", given, stdin=sent)

    assert (done.exit_code, words in " ".join(done.output.replace("│", "").split())) == (2, True)
    assert "secret" not in done.output
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sub", "x"), "give --revocations"),
        (("--revocations", "f", "--list", "--undo"), "--list changes nothing"),
        (("--revocations", "f", "--list", "--until", "1h"), "--list changes nothing"),
        (("--revocations", "f", "--list", "--sub", "x", "--jti", "y"), "and one of --jti"),
        (("--revocations", "f", "--sub", "x", "--until", "1 h"), "or from now such as 1h"),
        (("--revocations", "f", "--sub", "x", "--until", "1y"), "or from now such as 1h"),
        (("--revocations", "f", "--sub", "x y", "--undo"), "printable ASCII"),
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
    for name in ("server", "shared"):
        monkeypatch.delitem(sys.modules, f"authz_server.revocations.{name}", raising=False)
    done = revoke("--revocations", "redis://127.0.0.1:1", "--sub", "x")

    assert done.exit_code == 1
    assert "pip install 'authz-server[redis]'" in done.output


@pytest.mark.parametrize("url", ["redis://h/0?ssl_ca_certs=/x", "redis://h?unknown=1", "redis://h/shop", "redis://h:port/0"])
def test_a_url_that_redis_would_not_take_is_told(url):
    """Before anything is sent: an option that this scheme does not have, or a database that is no number."""
    done = revoke("--revocations", url, "--sub", "x")

    assert (done.exit_code, "the URL of Redis can not be read" in done.output) == (1, True)
