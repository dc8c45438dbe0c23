"""What the proofs share: requests as a client sends them, load, servers that stand in for pods, and a report of what is not as expected."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

from authz_server.demo.process import Process, authz_server

HOST, PETS = "api.example.com", "/prod/pets"
CLIENTS = 8
LITTLE = 0.03  # the share of requests that a hanging server may cost: those in flight when it hangs; unprotected it is a quarter


class Report:
    """Print what was expected and what came, and remember what differs."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def expect(self, what: str, value: object, wanted: object = True, detail: object = "") -> bool:  # noqa: FBT002 - the value that most have
        """Compare a value with the one that is wanted."""
        good = value == wanted
        shown = detail if detail != "" or wanted is True else value
        print(f"{'ok ' if good else 'BAD'} {what}{f': {shown}' if shown != '' else ''}", flush=True)
        if not good:
            self.failed.append(what)
        return good

    def exit_status(self) -> int:
        """Say what was not as expected."""
        print("not as expected:", self.failed or "nothing", flush=True)
        return 1 if self.failed else 0


def run_cases(cases: Mapping[str, Callable[[Path], bool]], arguments: list[str]) -> int:
    """Run cases one after the other, those that are named or all.

    Args:
        cases: what each one does with the lab's folder; false when something is not as expected.
        arguments: the lab's folder, then names of cases.

    Returns:
        An exit status.
    """
    folder, report = Path(arguments[0]).resolve(), Report()
    for name in arguments[1:] or cases:
        print(f"== {name}", flush=True)
        start = time.monotonic()
        try:
            good = cases[name](folder)
        except Exception as error:  # noqa: BLE001 - the next case may do better
            print(repr(error)[:600])
            good = False
        report.expect(f"case {name}", good, detail=f"{time.monotonic() - start:.0f} s")
    return report.exit_status()


def wait_until(what: str, ready: Callable[[], bool], seconds: float) -> float:
    """Wait until something holds; an error counts as "not yet".

    Returns:
        How many seconds that took.

    Raises:
        TimeoutError: when it takes longer than the seconds given.
    """
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        with suppress(Exception):
            if ready():
                return time.monotonic() - start
        time.sleep(0.1)
    raise TimeoutError(f"{what}: not within {seconds:g} s")


def fetch(url: str) -> str:
    """Read what a URL of this machine answers."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def status(port: int, path: str = PETS, **headers: str) -> int:
    """Ask an Envoy without a token; the status of its answer, or 0 without one."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": HOST, **headers})
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def tokens(folder: Path) -> dict[str, str]:
    """Read the lab's tokens."""
    return json.loads((folder / "tokens.json").read_text())


def ports(folder: Path) -> dict[str, int]:
    """Read where the lab's upstream and user pool listen."""
    return json.loads((folder / "ports.json").read_text())


def serve(folder: Path, work: Path, address: str, *options: str) -> Process:
    """Start a server at an address of the loopback network, with the ports of the samples, and wait until it is ready."""
    arguments = ("--config", str(folder / "authz.yaml"), "--listen", f"{address}:9000", "--admin", f"{address}:9001")
    server = authz_server("serve", *arguments, "--drain-seconds", "0", "--decision-log", "off", *options, log=work / f"{address}.log")
    return server.wait_until(lambda: is_ready(f"http://{address}:9001/readyz"), 60)


def is_ready(url: str) -> bool:
    """Whether an admin port says that its server is ready."""
    with suppress(OSError):
        return bool(fetch(url))
    return False


def load(port: int, folder: Path, seconds: float) -> Counter[str]:
    """Ask an Envoy with a good token again and again, from several connections, and count the statuses."""
    token, end = tokens(folder)["id"], time.monotonic() + seconds
    answers: list[tuple[str, float]] = []

    def ask() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        while (start := time.monotonic()) < end:
            try:
                connection.request("GET", PETS, headers={"Host": HOST, "Authorization": token})
                response = connection.getresponse()
                response.read()
                outcome = str(response.status)
            except (OSError, HTTPException) as error:
                outcome = type(error).__name__
                connection.close()
            answers.append((outcome, time.monotonic() - start))
            time.sleep(0.01)

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts, times = Counter(outcome for outcome, _ in answers), sorted(took for _, took in answers)
    print(f"    {dict(counts)}, p50 {1000 * times[len(times) // 2]:.0f} ms, slowest {1000 * times[-1]:.0f} ms", flush=True)
    return counts


def refused_while_one_hangs(port: int, folder: Path, hanging: Process) -> float:
    """Stop one of the servers as if its node had gone, and tell which share of good requests is refused then."""
    load(port, folder, 3)
    os.kill(hanging.pid, SIGSTOP)
    counts = [load(port, folder, 5) for _ in range(3)]
    os.kill(hanging.pid, SIGCONT)
    refused, total = (sum(each.total() - each["200"] for each in counts), sum(each.total() for each in counts))
    print(f"    {refused} of {total} refused", flush=True)
    return refused / total


def kubectl(*arguments: str, text: str | None = None) -> str:
    """Ask the API server.

    Raises:
        RuntimeError: when it refuses.
    """
    run = subprocess.run([tool("kubectl"), *arguments], input=text, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"kubectl {' '.join(arguments)}: {run.stderr.strip()}")
    return run.stdout


def tool(name: str) -> str:
    """Find a program that build.sh has built."""
    return f"{os.environ.get('BIN', 'build/kube/bin')}/{name}"


def start_all(stack: ExitStack, processes: Iterable[Process]) -> list[Process]:
    """Have processes end with a stack."""
    return [stack.enter_context(each) for each in processes]


def main(cases: Mapping[str, Callable[[Path], bool]]) -> None:
    """Run a script of cases."""
    sys.exit(run_cases(cases, sys.argv[1:]))


def first(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Find the first object of a kind."""
    return next(each for each in objects if each["kind"] == kind)


def without(kind: str) -> Callable[[list[dict[str, Any]]], None]:
    """Leave out the first object of a kind."""
    return lambda objects: objects.remove(first(objects, kind))
