"""`authz-server demo` answers the lines it prints as printed."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from authz_server.demo.process import authz_server

PRINTED = re.compile(r"# (?:(\d{3}): )?(.+)\n((?:curl|ANSWER=|ID=|READ=|WRITE=).+)\n")


@pytest.fixture
def shell(tmp_path):
    """Run lines in one shell, with the machine's curl or our stand-in for it."""
    if not shutil.which("curl"):
        stand_in = tmp_path / "curl"
        stand_in.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.e2e.curl "$@"\n')
        stand_in.chmod(0o755)
    script = f'PATH="$PATH:{tmp_path}"\n'

    def run(lines):
        return subprocess.run(["sh", "-c", script + "\n".join(lines)], capture_output=True, text=True, timeout=60, check=True).stdout

    return run


def test_the_demo_answers_its_own_lines_as_printed(tmp_path, shell):
    """Every printed line answers with the status that stands above it, and Ctrl-C ends all of it."""
    with authz_server("demo", "--port", "0", log=tmp_path / "demo.log") as demo:
        demo.wait_until(lambda: "Ctrl-C" in demo.log.read_text(), 60)
        steps = PRINTED.findall(demo.log.read_text())
        ended = "printf '\\n=====\\n'"
        output = shell([line for _, _, command in steps for line in (command, ended)]).split("\n=====\n")
        demo.send(signal.SIGINT)

        assert demo.wait(20) == 0

    assert len(steps) == 11
    for (status, meaning, command), answer in zip(steps, output, strict=False):
        assert not status or answer.startswith(f"HTTP/1.1 {status}"), (meaning, command, answer)
    by_meaning = {meaning: answer for (_, meaning, _), answer in zip(steps, output, strict=False)}
    assert '"x-auth-email":"ada@example.com"' in by_meaning["ID token: see the x-auth-* headers at the upstream"]
    assert "root" not in by_meaning["public; the forged header is gone"]


SECRETS = ("App client for sign-in", "App client for machines", "  its secret", "User and password")


def test_each_demo_has_secrets_of_its_own(tmp_path):
    """Client ids, the client secret and the password are random: what one demo printed opens nothing at the next."""
    printed = []
    for number in range(2):
        with authz_server("demo", "--port", "0", log=tmp_path / f"{number}.log") as demo:
            demo.wait_until(lambda: "Ctrl-C" in demo.log.read_text(), 60)
            lines = demo.log.read_text().splitlines()
        printed.append({name: next(line.split()[-1] for line in lines if line.startswith(name)) for name in SECRETS})
    first, second = printed

    assert all(len(value) >= 16 for value in first.values()), first
    assert not set(first.values()) & set(second.values())


def children(pid):
    """List the processes that a process has started."""
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_demo_that_is_ended_while_it_starts_leaves_nothing_behind(tmp_path, number):
    """Neither Ctrl-C nor a terminal that is closed waits for all parts to come up, or orphans those that did."""
    with authz_server("demo", "--port", "0", log=tmp_path / "demo.log", environment={"TMPDIR": str(tmp_path)}) as demo:
        demo.wait_until(lambda: bool(children(demo.pid)))
        started = children(demo.pid)
        demo.send(number)

        assert demo.wait(20) == 0
    assert "Ctrl-C" not in demo.log.read_text()
    assert demo.log.read_text().endswith("ended\n")
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
    assert not list(tmp_path.glob("authz-demo-*"))
