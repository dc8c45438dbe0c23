"""Regular expressions: linear time or none at all."""

import subprocess
import sys
import time

import pytest

from authz_server.config import expressions
from authz_server.config.expressions import expression

LACKING = "look-around, back-references and possessive repetition are not supported, so that matching takes linear time"


def test_the_whole_text_must_match():
    """An expression matches from the first to the last character."""
    compiled = expression("web[0-9a-z]+")

    assert compiled.fullmatch("webclient01") is not None
    assert compiled.fullmatch("a webclient01") is None
    assert compiled.fullmatch("webclient01 ") is None


@pytest.mark.parametrize("text", ["(?=a)a", "(?!a)b", "(?<=a)b", "(?<!a)b", r"(a)\1", r"(?P<a>b)\k<a>", "(?P<a>b)(?P=a)", "a++", "(?>a)"])
def test_what_can_not_be_linear_is_refused_with_the_reason(text):
    """Look-around, back-references and possessive repetition are refused, and the message says why."""
    with pytest.raises(ValueError, match="RE2") as error:
        expression(text)

    assert str(error.value).startswith(f"{text!r} is no regular expression of RE2 (")
    assert str(error.value).endswith(LACKING)


@pytest.mark.parametrize(
    ("text", "wrong"), [("(", "missing )"), ("[a", "missing ]"), ("*a", "no argument"), ("x{1000}" * 2_000, "too large")]
)
def test_a_broken_expression_is_refused(text, wrong):
    """Any other mistake is told in the words of the library, and nothing is written to stderr by it."""
    with pytest.raises(ValueError, match="RE2") as error:
        expression(text)

    assert wrong in str(error.value)
    assert LACKING not in str(error.value)


def test_nested_repetition_is_linear():
    """An expression that takes a backtracking library until the end of time is answered at once."""
    compiled = expression("(a*)*b")
    start = time.process_time()

    assert compiled.fullmatch("a" * 16_000) is None
    assert time.process_time() - start < 5


def test_a_bad_expression_writes_nothing_to_stderr(capfd):
    """The library's own log line is silenced, the problem says it."""
    with pytest.raises(ValueError, match="RE2"):
        expression("(silence")

    assert capfd.readouterr().err == ""


@pytest.fixture
def absent(monkeypatch):
    """Take google-re2 away."""
    for cached in (expressions._library, expression):
        cached.cache_clear()
    monkeypatch.setitem(sys.modules, "re2", None)
    yield
    expressions._library.cache_clear()


@pytest.mark.usefixtures("absent")
def test_an_expression_without_its_library_is_an_error():
    """The message names what is missing and the next step: a new Python has no wheel of it for a while."""
    with pytest.raises(ValueError, match=r"^an expression needs google-re2, which cannot be imported here .*`pip install google-re2`"):
        expression("web.*")


def test_a_configuration_without_an_expression_needs_no_library(tmp_path):
    """google-re2 is imported when an expression is compiled, and not before."""
    file = tmp_path / "authz.yaml"
    file.write_text("version: 1\napis: {pets: {routes: {/pets: {GET: {authorization_type: NONE}}}}}\n")
    program = f"""
import sys
sys.modules["re2"] = None
import authz_server.server.serve
from pathlib import Path
from authz_server.config import load
load(Path({str(file)!r}), {{}})
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.stderr, done.returncode) == ("", 0)
