"""Fuzz one target with libFuzzer: `make fuzz`, or `.venv-fuzz/bin/python fuzz/run.py TARGET [libFuzzer's arguments]`."""

import random
import sys
from importlib import import_module
from pathlib import Path

import atheris

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))


def main() -> None:
    """Run until a promise is broken or libFuzzer's arguments say stop."""
    name, *rest = sys.argv[1:]
    with atheris.instrument_imports(include=["authz_server"]):
        target = import_module(f"fuzz.{name}")
    known, found = REPOSITORY / "fuzz/corpus" / name, REPOSITORY / "build/fuzz" / name
    found.mkdir(parents=True, exist_ok=True)

    def mutate(octets: bytes, greatest: int, seed: int) -> bytes:
        return target.mutate(octets, random.Random(seed), lambda part: bytes(atheris.Mutate(part, greatest)))[:greatest]  # type: ignore[no-any-return]

    arguments = ["-max_len=20000", "-timeout=20", "-rss_limit_mb=2048", f"-artifact_prefix={found}-"]
    atheris.Setup([sys.argv[0], *arguments, *rest, str(found), str(known)], target.run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
