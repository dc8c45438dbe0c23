"""`authz-server demo` answers the lines it prints as printed, and shows why."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from authz_server.config import load
from authz_server.demo.process import authz_server, free_port
from tests.waiting import PATIENCE

READY = "Decisions, as they are made:"
PRINTED = re.compile(r"^# (?:(\d{3}): )?(.+)\n((?:.+\n)+)$", re.MULTILINE)
COLUMNS = 98


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Run lines in one shell, with the machine's curl or our stand-in for it."""
    folder = tmp_path_factory.mktemp("bin")
    if not shutil.which("curl"):
        stand_in = folder / "curl"
        stand_in.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.e2e.curl "$@"\n')
        stand_in.chmod(0o755)
    script = f'PATH="$PATH:{folder}"\n'

    def run(lines):
        return subprocess.run(["sh", "-c", script + "\n".join(lines)], capture_output=True, text=True, timeout=PATIENCE, check=True).stdout

    return run


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start demos in a directory of their own, one after the other, and wait until each has printed its lines."""
    directory = tmp_path / "directory"
    directory.mkdir()
    monkeypatch.chdir(directory)
    demos = []

    def run(*arguments):
        demo = authz_server("demo", *arguments, log=tmp_path / f"{len(demos)}.log")
        demos.append(demo)
        return demo.wait_until(lambda: READY in demo.log.read_text(), PATIENCE)

    yield run
    for demo in demos:
        demo.stop()


@pytest.fixture(scope="module")
def pasted(shell, tmp_path_factory):
    """A demo, started beside settings that are meant for another server, and what came back for each of its lines."""
    log = tmp_path_factory.mktemp("demo") / "demo.log"
    with authz_server("demo", "--port", "0", log=log, environment={"AUTHZ_TLS_CERT": "/nowhere"}) as demo:
        wait_for(demo, READY)
        yield demo, answers(demo, shell)


def wait_for(demo, text):
    """Wait until a demo has printed a text."""
    demo.wait_until(lambda: text in demo.log.read_text(), PATIENCE)


def answers(demo, shell):
    """Paste what a demo has printed, and list what it says, in words and status, beside what came back."""
    steps = PRINTED.findall(demo.log.read_text())
    marked = [line for _, _, command in steps for line in (command.rstrip(), "printf '\\n=====\\n'")]
    return [(status, meaning, came) for (status, meaning, _), came in zip(steps, shell(marked).split("\n=====\n"), strict=False)]


def test_the_demo_answers_its_own_lines_as_printed(pasted):
    """Every printed line answers with the status that stands above it, whatever is set for another server."""
    _, answered = pasted

    assert [status for status, _, _ in answered if status] == ["401", "200", "401", "401", "200", "200", "403"]
    for status, meaning, came in answered:
        assert came.startswith(f"HTTP/1.1 {status}" if status else ""), (meaning, came)
    by_meaning = {meaning: came for _, meaning, came in answered}
    assert '"x-auth-sub"' not in by_meaning["a public route, and the forged identity header does not reach the upstream"]


def test_the_upstream_of_the_demo_is_read_by_people(pasted):
    """It shows identity headers first and a token by its beginning, each on a line of its own, and ends the last line."""
    came = next(came for status, _, came in pasted[1] if status == "200")
    body = came[came.index("{") :]
    headers = json.loads(body)["headers"]

    assert list(headers)[:3] == ["x-auth-sub", "x-auth-email", "x-auth-groups"]
    assert re.fullmatch(r"eyJ\S{9}\.\.\. \(\d{3,4} characters\)", headers["authorization"])
    assert '\n    "x-auth-email": "ada@example.com",\n' in body
    assert body.endswith("}\n")


def test_decisions_appear_in_the_window_with_their_reasons(pasted):
    """Each pasted line is followed by a decision with its reason in the window of the demo."""
    demo, _ = pasted
    wait_for(demo, "no_route")
    shown = demo.log.read_text().partition(READY)[2]

    for reason in ("token_missing", "wrong_token_use", "scope_unmet", "no_route"):
        assert reason in shown
    assert shown.count(" allow ") == 3


def test_what_the_demo_prints_fits_and_can_be_pasted(pasted):
    """Nothing is warned of, no line is wider than a window, and a comment is plain words, since zsh reads a pasted comment as a command."""
    before, _, rest = pasted[0].log.read_text().partition("\n\n")
    printed = rest.partition(READY)[0]

    assert [line for line in printed.splitlines() if len(line) > COLUMNS and "authz-demo-" not in line] == []
    assert "warning" not in before
    for _, meaning, _ in PRINTED.findall(printed):
        assert re.fullmatch(r"[A-Za-z0-9 ,/-]+", meaning)


def test_each_demo_prints_the_same_and_trusts_no_earlier_one(start, shell):
    """Ids, password and secret can be learnt by heart; a token of one demo opens nothing at the next, whose keys are new."""
    free = free_port()
    first = start("--port", str(free))
    taken = shell([*(command for _, _, command in PRINTED.findall(first.log.read_text())[:3]), "printf '\\n%s' $ID"]).splitlines()[-1]
    first.stop()
    second = start("--port", str(free))
    printed = [demo.log.read_text().partition("\nAPI ")[2].partition(READY)[0].splitlines() for demo in (first, second)]
    lines = [
        [re.sub(r"127.0.0.1:\d+", "", line) for line in each if "authz-demo-" not in line] for each in printed
    ]  # its neighbours may be taken
    came = shell([f"curl -i http://127.0.0.1:{free}/prod/pets -H 'Authorization: {taken}'"])

    assert taken.startswith("eyJ")
    assert lines[0] == lines[1]
    assert len(lines[0]) > 30
    assert came.startswith("HTTP/1.1 401")


def test_a_taken_port_is_told_and_another_one_used(start):
    """The second demo says why its address is not the one that was asked for."""
    port = free_port()
    start("--port", str(port))
    second = start("--port", str(port)).log.read_text()

    assert "is taken" in second
    assert f"API=http://127.0.0.1:{port}/" not in second


def test_an_edited_configuration_is_told_before_it_is_deleted(start, tmp_path, monkeypatch):
    """Without --keep the demo says in advance and at its end what it deletes; an edit is in force at once, and gone afterwards."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    demo = start("--port", "0")
    (folder,) = tmp_path.glob("authz-demo-*")
    with (folder / "authz.yaml").open("a") as file:
        file.write("# mine\n")
    wait_for(demo, "generation 2")
    demo.send(signal.SIGINT)

    assert demo.wait(PATIENCE) == 0
    assert f"Ctrl-C ends the demo and deletes {folder}; start with --keep to keep it." in demo.log.read_text()
    assert f"deleting {folder}, with your changes to authz.yaml\nended\n" in demo.log.read_text()
    assert not folder.exists()


def test_a_kept_configuration_is_the_next_start(start, shell, tmp_path):
    """With --keep an edit survives, and the next demo runs with it, wherever its Cognito listens by then."""
    kept = tmp_path / "directory/authz-demo/authz.yaml"
    first = start("--port", "0", "--keep")
    kept.write_text(kept.read_text().replace("x-auth-email: email", "x-auth-mail: email"))
    first.send(signal.SIGINT)
    assert first.wait(PATIENCE) == 0
    second = start("--port", "0", "--keep")
    came = next(came for status, _, came in answers(second, shell) if status == "200")

    assert "authz-demo/authz.yaml is kept" in first.log.read_text()
    assert '"x-auth-mail": "ada@example.com"' in came
    assert load(kept, {}).configuration.version == 1


def test_a_kept_configuration_that_is_bad_is_named(tmp_path, monkeypatch):
    """The mistakes are listed with their places, and the last line says how to go on."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "authz-demo").mkdir()
    (tmp_path / "authz-demo/authz.yaml").write_text("version: 2\n")
    with authz_server("demo", "--port", "0", "--keep", log=tmp_path / "demo.log") as demo:
        assert demo.wait(PATIENCE) == 1
    last = "authz-server did not start, for the reason above; mend authz-demo/authz.yaml, or delete it to begin with a new one\n"

    assert "authz-demo/authz.yaml:1:10: version 2" in demo.log.read_text()
    assert demo.log.read_text().endswith(last)


def children(pid):
    """List the processes that a process has started."""
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_demo_that_is_ended_while_it_starts_leaves_nothing_behind(tmp_path, number):
    """Neither Ctrl-C nor a terminal that is closed waits for all parts to start, or orphans those that did."""
    with authz_server("demo", "--port", "0", log=tmp_path / "demo.log", environment={"TMPDIR": str(tmp_path)}) as demo:
        demo.wait_until(lambda: bool(children(demo.pid)), PATIENCE)
        started = children(demo.pid)
        demo.send(number)

        assert demo.wait(PATIENCE) == 0
    assert "Ctrl-C" not in demo.log.read_text()
    assert demo.log.read_text().endswith("ended\n")
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
    assert not list(tmp_path.glob("authz-demo-*"))
