"""Mutation testing: put one fault at a time into `core/`, and see whether the tests notice; `make mutation`.

Everything but our own code is imported once; each mutant then lives in a fork.
"""

import argparse
import ast
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from itertools import count
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

import google.protobuf.json_format
import grpc
import httpx2
import hypothesis.stateful
import joserfc.jwk
import joserfc.jws
import jwt
import prometheus_client
import pydantic
import pytest
import re2
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import Phase, settings

REPOSITORY: Final = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from mutation.mutants import Mutant, mutants  # noqa: E402 - found by the line above

CORE: Final = REPOSITORY / "authz_server/core"
TESTS: Final = (
    "tests/core",
    "tests/server/test_check.py",
    "tests/server/test_cached_attacks.py",
    "tests/server/test_advisories.py",
    "tests/config/test_compile.py",
    "tests/docs/test_docs.py",
)
WITHOUT_DOORS: Final = "not grpcio and not asyncio"  # the same, slower
SECONDS: Final = 30  # a mutant that takes longer is noticed
FEWEST: Final = 15  # that a sample tries, whatever its time says: the score of fewer means nothing
PRELOADED: Final = (google.protobuf.json_format, grpc, httpx2, hypothesis.stateful, joserfc, jwt, prometheus_client, pydantic, re2, yaml)


class Infected(MetaPathFinder, Loader):
    """Imports the mutant in place of the module.

    Args:
        module: dotted name.
        code: of the mutant.
    """

    def __init__(self, module: str, code: CodeType) -> None:
        self._module = module
        self._code = code

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> ModuleSpec | None:
        """Find the one module."""
        return ModuleSpec(fullname, self, origin=str(CORE)) if fullname == self._module else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the mutant's code."""
        exec(self._code, module.__dict__)  # noqa: S102 - our own code


class Hasty:
    """A pytest plugin: a failing example need not be made small to count."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Set that before test modules are imported."""
        settings.register_profile("hasty", settings.default, phases=[Phase.explicit, Phase.generate])
        settings.load_profile("hasty")


def keys_made_before(number: int) -> None:
    """Make RSA keys once for all forks: they are slow to make, and tests want them new, not random."""
    make = rsa.generate_private_key
    made = [make(65_537, 2_048) for _ in range(number)]
    turn = count()

    def given(public_exponent: int, key_size: int, backend: object = None) -> rsa.RSAPrivateKey:
        at = next(turn)
        return made[at] if at < number and key_size == 2_048 else make(public_exponent, key_size, backend)  # noqa: PLR2004 - as above

    rsa.generate_private_key = given


def survives(mutant: Mutant) -> bool:
    """Whether no test notices a mutant: first those of its own module, then the others."""
    own = f"tests/core/test_{mutant.module.rpartition('.')[2]}.py"
    first = [own] if (REPOSITORY / own).exists() else []
    return all(_passes(mutant, tests) for tests in (first, list(TESTS)) if tests)


def _passes(mutant: Mutant, tests: Sequence[str]) -> bool:
    child = os.fork()
    if not child:
        _test(mutant, tests)
    _, status = os.waitpid(child, 0)
    return status == 0


def _test(mutant: Mutant, tests: Sequence[str]) -> None:
    """Run tests in a fork, and end it."""
    try:
        os.setpgid(0, 0)
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.meta_path.insert(0, Infected(mutant.module, compile(mutant.tree, mutant.module, "exec")))
        options = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", WITHOUT_DOORS]
        status = int(pytest.main([*options, *tests], plugins=[Hasty()]))
    except BaseException:  # noqa: BLE001 - whatever it is, it is noticed
        status = 1
    os._exit(1 if status else 0)


def all_mutants(modules: Iterable[str]) -> list[Mutant]:
    """Make the mutants of some modules, or of all."""
    files = sorted(CORE.glob("*.py"))
    wanted = set(modules) or {file.stem for file in files}
    return [mutant for file in files if file.stem in wanted for mutant in mutants(f"authz_server.core.{file.stem}", file.read_text())]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="modules of core; all without any")
    parser.add_argument("--part", default="1/1", metavar="N/OF", help="every OF-th mutant, beginning with the N-th")
    parser.add_argument("--sample", type=float, metavar="SECONDS", help="as many as this time allows, chosen by the seed")
    parser.add_argument("--seed", default="1", help="for --sample")
    parser.add_argument("--at-least", type=float, default=0.0, metavar="PERCENT", help="fail below this score")
    return parser.parse_args()


def main() -> int:
    """Try mutants, print those that survive, and the score."""
    chosen = arguments()
    os.chdir(REPOSITORY)
    first, step = (int(number) for number in chosen.part.split("/"))
    found = all_mutants(chosen.modules)[first - 1 :: step]
    if chosen.sample:
        random.Random(chosen.seed).shuffle(found)  # noqa: S311 - chooses tests
    keys_made_before(24)
    healthy = Mutant(module="authz_server.core.tokens", line=0, fault="none", tree=ast.parse((CORE / "tokens.py").read_text()))
    if not survives(healthy):
        print("the tests fail without any fault: run `make test` first")  # noqa: T201 - a program's output
        return 2
    until = time.monotonic() + chosen.sample if chosen.sample else float("inf")
    tried = survived = 0
    for mutant in found:
        if time.monotonic() > until and tried >= FEWEST:
            break
        tried += 1
        if survives(mutant):
            survived += 1
            print(mutant, flush=True)  # noqa: T201 - a program's output
    score = 100 * (tried - survived) / tried if tried else 100.0
    print(f"{tried - survived} of {tried} mutants noticed: {score:.1f} %")  # noqa: T201 - as above
    return 1 if score < chosen.at_least else 0


if __name__ == "__main__":
    sys.exit(main())
