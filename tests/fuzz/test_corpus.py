"""What fuzzing begins with, what it once found, and a little of what it would try next, without a fuzzer."""

import random
from importlib import import_module
from pathlib import Path

import pytest

from fuzz.seeds import TARGETS

CORPUS = Path(__file__).parents[2] / "fuzz/corpus"
INPUTS = {f"{name}/{file.name}": file.read_bytes() for name in TARGETS for file in sorted((CORPUS / name).iterdir())}
CHANGES = 40


def anyhow(octets, chance):
    """Change octets as libFuzzer would: put some in, take some out, flip a bit."""
    at = chance.randrange(len(octets) + 1)
    match chance.randrange(3):
        case 0:
            return octets[:at] + chance.randbytes(chance.randrange(1, 5)) + octets[at:]
        case 1:
            return octets[:at] + octets[at + chance.randrange(1, 9) :]
        case _:
            return octets[:at] + bytes(octet ^ 1 << chance.randrange(8) for octet in octets[at : at + 1]) + octets[at + 1 :]


@pytest.mark.parametrize("name", INPUTS)
def test_promises_hold_against_the_corpus(name):
    """Every input that is worth keeping keeps what its target promises."""
    import_module(f"fuzz.{name.partition('/')[0]}").run(INPUTS[name])


@pytest.mark.parametrize("name", INPUTS)
def test_promises_hold_near_the_corpus(name):
    """So do inputs that a few changes make of it; the same ones in each run."""
    target, chance = import_module(f"fuzz.{name.partition('/')[0]}"), random.Random(name)  # noqa: S311 - chooses tests
    octets = INPUTS[name]
    for number in range(CHANGES):
        octets = target.mutate(octets, chance, lambda part: anyhow(part, chance)) if number % 5 else INPUTS[name]
        target.run(octets[:20_000])


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_begins_with_the_seeds(target):
    """It has grown from the inputs that the target makes, which hold whatever the keys of the day."""
    seeds = import_module(f"fuzz.{target}").seeds()

    assert {f"{target}/{name}" for name in seeds} <= INPUTS.keys()
    for octets in seeds.values():
        import_module(f"fuzz.{target}").run(octets)
