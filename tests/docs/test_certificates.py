"""What docs/certificates.md says is true."""

import re
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from authz_server.trust import client_context
from tests.authority import Pair
from tests.shapes import BAD
from tests.trusting import serving, shake_hands

PAGE = (Path(__file__).parents[2] / "docs/certificates.md").read_text()
HOST = "keys.example.com"
USAGE = " \\\n    -addext keyUsage=critical,keyCertSign,cRLSign"


@pytest.fixture
def made(tmp_path):
    """Run the page's commands, changed or not, in a folder of their own."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    (script,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)

    def make(without: str = "") -> subprocess.CompletedProcess[str]:
        assert without in script
        return subprocess.run(["sh", "-ec", script.replace(without, "")], cwd=tmp_path, text=True, capture_output=True, check=False)

    return make


def believe(context: ssl.SSLContext, folder: Path) -> None:
    """Let a context meet a server that shows what the commands made."""
    pair = Pair((folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes())
    shake_hands(context, serving(pair, folder / "server"), HOST)


def test_the_commands_make_a_ca_that_everybody_takes(made, tmp_path):
    """This server does, and so does a client that is strict about the form of certificates."""
    done = made()

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("tls.crt: OK\n")
    strict = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    for context in (client_context(str(tmp_path / "ca.crt")), strict):
        believe(context, tmp_path)


def test_a_plain_ca_is_taken_and_the_page_says_who_refuses_it(made, tmp_path):
    """`openssl req -x509` alone states no key usage, which only a strict client minds."""
    done = made(without=USAGE)

    assert "CA cert does not include key usage extension" in done.stderr
    believe(client_context(str(tmp_path / "ca.crt")), tmp_path)


def test_every_text_of_the_log_is_explained():
    """The table has each refusal that the tests meet, and no other."""
    rows = re.findall(r"^\| (`.*?) \|", PAGE.partition("## What the log says")[2], re.MULTILINE)
    explained = {text.removesuffix(" …") for row in rows for text in re.findall("`(.*?)`", row)}

    met = {shape.error for shape in BAD}
    assert {text for text in explained if not any(text.startswith(error) for error in met)} == set()
    assert {error for error in met if not any(text.startswith(error) for text in explained)} == set()
