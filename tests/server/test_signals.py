"""Signals become events, whichever thread they hit."""

import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import authz_server
from tests.waiting import PATIENCE

PROGRAM = """
import threading
from queue import SimpleQueue
from authz_server.server.signals import Signals

def start_threads():
    while True:
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()

events = SimpleQueue()
Signals(events.put)
threading.Thread(target=start_threads, daemon=True).start()
print("ready", flush=True)
while True:
    print(events.get(), flush=True)
"""


@pytest.fixture
def process():
    """A process that prints events, while it starts one thread after the other."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE) as started:
        started.stdout.readline()
        yield started
        started.kill()


def test_each_signal_is_an_event(process):
    """SIGHUP reloads, SIGTERM drains, SIGINT stops."""
    for number, event in ((signal.SIGHUP, b"reload\n"), (signal.SIGTERM, b"drain\n"), (signal.SIGINT, b"stop\n")):
        process.send_signal(number)

        assert process.stdout.readline() == event


def test_no_signal_sleeps_until_the_next_one(process):
    """The kernel may give a signal to a thread that is just starting another one; the main thread must hear of it all the same."""
    for _ in range(2_000):
        process.send_signal(signal.SIGTERM)

        assert select.select([process.stdout], [], [], PATIENCE)[0]
        assert process.stdout.readline() == b"drain\n"


def test_what_takes_long_to_import_comes_after_the_handlers():
    """A signal that comes before them ends the process as the system has it, and is lost to PID 1."""
    folder = Path(authz_server.__file__).parent.parent
    heavy = {"typing", "logging", "click", "grpc", "uvloop", "authz_server.cli"}
    program = f"import sys; sys.path.append({str(folder)!r}); import authz_server.__main__; print(sorted({heavy} & sys.modules.keys()))"

    assert subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
