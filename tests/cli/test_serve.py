"""`authz-server serve`: what keeps it from serving, and what it says then."""

import subprocess
import sys

import pytest

from authz_server.demo.process import free_port

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
