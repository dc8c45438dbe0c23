"""`authz-server serve`: what keeps it from serving, and what it says then."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from authz_server.cli import main
from authz_server.cli.serve import _line
from authz_server.demo.process import free_port
from authz_server.observe.entry import as_coloured_text, as_json, as_text

CONFIGURATION = "version: 1\napis: {shop: {routes: {/: {GET: {authorization_type: NONE}}}}}\n"


@pytest.mark.parametrize("library", ["uvloop", "zttp"])
def test_without_the_extra_the_asyncio_transport_is_told_how_to_get_it(tmp_path, library):
    """What is missing, and the command that installs it."""
    config = tmp_path / "authz.yaml"
    config.write_text(CONFIGURATION)
    command = ["serve", "--config", str(config), "--listen", f"127.0.0.1:{free_port()}", "--transport", "asyncio"]
    program = f"import sys; sys.modules[{library!r}] = None; from authz_server.cli import main; main({command})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 1
    assert f"--transport asyncio needs {library}: pip install 'authz-server[fast]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "variable",
    [
        "AUTHZ_TLS_CERT",
        "AUTHZ_TLS_KEY",
        "AUTHZ_TLS_CLIENT_CA",
        "AUTHZ_TLS_ALLOW_SAN",
        "AUTHZ_REVOCATIONS",
        "AUTHZ_REVOCATIONS_MAX_AGE",
        "AUTHZ_REVOCATIONS_PASSWORD_FILE",
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_protecting_variable_that_is_empty_ends_the_start(variable, workers, monkeypatch):
    """Somebody forgot to fill it: without it the port would be open, or what is revoked would pass."""
    monkeypatch.setenv(variable, "")
    done = CliRunner().invoke(main, ["serve", "--config", "absent.yaml", "--workers", workers])

    assert (done.exit_code, f"{variable} is empty" in done.output) == (2, True)


@pytest.mark.parametrize("flag", ["--drain-seconds", "--grace-seconds", "--revocations-max-age"])
def test_nan_is_no_duration(flag):
    """Nothing is longer than that, so that it would bound nothing."""
    done = CliRunner().invoke(main, ["serve", "--config", "absent.yaml", "--revocations", "redis://h", flag, "nan"])

    assert (done.exit_code, "no number of seconds" in done.output) == (2, True)


def test_flags_that_do_not_fit_are_told_before_workers_start():
    """With the status of a wrong command, as with one process."""
    done = CliRunner().invoke(main, ["serve", "--config", "absent.yaml", "--workers", "2", "--revocations-max-age", "5"])

    assert (done.exit_code, "need --revocations" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("chosen", "terminal", "no_color", "line"),
    [
        ("auto", True, None, as_coloured_text),
        ("auto", True, "", as_coloured_text),
        ("auto", True, "1", as_text),
        ("auto", False, None, as_json),
        ("text", True, None, as_coloured_text),
        ("text", False, None, as_text),
        ("json", True, None, as_json),
        ("off", True, None, None),
    ],
)
def test_the_decision_log_has_colours_on_a_terminal_alone(chosen, terminal, no_color, line, monkeypatch):
    """And not there where NO_COLOR is set to anything (no-color.org)."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)

    assert _line(chosen) is line
