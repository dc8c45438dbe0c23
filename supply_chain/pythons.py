"""Try the server on other Pythons, and with the newest releases of all that it needs: `make test-pythons`.

On each: import, keys, TLS at both doors, and the contract through both transports where it is beside the checkout.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
NEWEST: Final = "newest"  # releases, not those of the lock; on the newest Python that is there
LOCK: Final = "requirements-pythons.lock"
CONTRACT: Final = ROOT / "../shared/contract"
TRANSPORTS: Final = ("grpcio", "asyncio")
TESTS: Final = (
    "tests/test_trust.py",
    "tests/keys",
    "tests/config/test_expressions.py",
    "tests/server/test_certificates.py",
    "tests/transport/test_doors_tls.py",
    "tests/transport/test_releases.py",
)
IMPORTED: Final = (
    "authz_server, authz_server.server.serve, authz_server.testing, authz_server.transport.event_loop, authz_server.transport.grpcio"
)
# A release of grpcio that was not tested is served with a warning, which is right.
UNTESTED: Final = ("--deselect", "tests/transport/test_releases.py::test_a_release_that_was_tested_is_guarded_silently")

_VERSION: Final = re.compile(r"3\.\d+")


class Trial(NamedTuple):
    """One Python to try the server on.

    Args:
        name: of its environment.
        python: that makes it.
        locked: whether it holds what the lock names.
    """

    name: str
    python: Path
    locked: bool = True


def find(version: str, path: str, pyenv: Path) -> Path | None:
    """Find an interpreter.

    Args:
        version: such as `3.12`.
        path: folders to look in, separated by colons.
        pyenv: pyenv's folder.

    Returns:
        One that starts and is of this version: of pyenv's shims some do neither. None when there is none.
    """
    releases = sorted(pyenv.glob(f"versions/{version}.*/bin/python"), key=lambda python: _numbers(python.parents[1].name), reverse=True)
    named = shutil.which(f"python{version}", path=path)
    candidates = [*([] if named is None else [Path(named)]), *releases]
    return next((python for python in candidates if _version(python) == version), None)


def trials(wanted: Iterable[str], found: dict[str, Path]) -> list[Trial]:
    """Say what is to be tried.

    Args:
        wanted: versions, and `newest`.
        found: interpreters by version.

    Returns:
        A trial for each that can be made.
    """
    made = [Trial(version, found[version]) for version in wanted if version in found]
    if NEWEST in wanted and found:
        made.append(Trial(NEWEST, found[max(found, key=_numbers)], locked=False))
    return made


def install(trial: Trial) -> Path:
    """Make the environment of a trial, and give its folder for programs."""
    programs = ROOT / f".venv-python-{trial.name}" / "bin"
    uv = (Path(sys.executable).parent / "uv", "--quiet")
    into = ("pip", "install", "--python", programs / "python")
    _run(*uv, "venv", "--clear", "--no-python-downloads", "--python", trial.python, programs.parent)
    if trial.locked:
        _run(*uv, *into, "--no-deps", "--require-hashes", "--requirement", LOCK)
        _run(*uv, *into, "--no-deps", "--editable", ".")
    else:
        _run(*uv, *into, "--upgrade", "--refresh", "--group", "pythons", "--editable", ".[fast,redis]")
    return programs


def try_out(trial: Trial, kit: Path | None) -> None:
    """Try the server in an environment of its own.

    Args:
        trial: says on which Python, and with what.
        kit: the contract's program, or None where it is not here.

    Raises:
        subprocess.CalledProcessError: when anything fails.
    """
    programs = install(trial)
    python = programs / "python"
    _run(python, "-W", "error", "-c", f"import {IMPORTED}")
    _run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(() if trial.locked else UNTESTED), *TESTS)
    for transport in () if kit is None else TRANSPORTS:
        _run(contract_python(), kit, "--server", programs / "authz-server", "--extra", f"--transport {transport}")


def contract_python() -> Path:
    """Make the environment that the contract's program needs, unless it is there."""
    python = ROOT / ".venv-contract/bin/python"
    if not python.exists():
        _run(sys.executable, "-m", "venv", python.parents[1])
        _run(python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--requirement", CONTRACT / "requirements.txt")
    return python


def main(arguments: Sequence[str] | None = None) -> int:
    """Try each Python that is there, and name those that are not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wanted", nargs="+", help=f"versions, such as 3.12, and {NEWEST}")
    wanted = parser.parse_args(arguments).wanted
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = {version: find(version, os.environ["PATH"], pyenv) for version in wanted if _VERSION.fullmatch(version)}
    own = "{}.{}".format(*sys.version_info)
    found = {own: Path(sys.executable)} | {version: python for version, python in places.items() if python is not None}
    kit = CONTRACT / "kit.py" if (CONTRACT / "kit.py").exists() else None
    for trial in trials(wanted, found):
        print(f"== {trial.name}: {trial.python}, {'with the lock' if trial.locked else 'with the newest releases'}", flush=True)
        try_out(trial, kit)
    print(f"tried: {', '.join(trial.name for trial in trials(wanted, found)) or 'none'}")
    for version in places.keys() - found.keys():
        print(f"not tried: Python {version}, of which there is none in PATH or in {pyenv / 'versions'}")
    if kit is None:
        print(f"not tried: the contract, which is not beside this checkout ({CONTRACT})")
    return 0


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def _version(python: Path) -> str:
    program = "import sys, venv; print('{}.{}'.format(*sys.version_info))"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _run(*command: str | Path) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
