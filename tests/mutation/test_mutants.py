"""Mutants: each has one fault, and the faults are those that people make."""

import ast

import pytest

from mutation.mutants import mutants


def made(source):
    """Write the text of every mutant."""
    return [ast.unparse(mutant.tree) for mutant in mutants("m", source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["a <= b"]),
        ("a is b not in c", ["a is not b not in c", "a is b in c"]),
        ("a and b", ["a or b"]),
        ("not a", ["a"]),
        ("a + b", ["a - b"]),
        ("a -= b", ["a += b"]),
        ("a = True", ["a = False"]),
        ("a = 1", ["a = 2"]),
        ("a = 'ab'", ["a = 'a'"]),
        ("a = b''", ["a = b'x'"]),
        ("a = b.lower()", ["a = b"]),
        ("a()", ["pass"]),
        ("raise A", ["pass"]),
        ("a = b if c else d", ["a = b if True else d", "a = b if False else d"]),
        ("while a:\n    break", ["while True:\n    break", "while False:\n    break", "while a:\n    continue"]),
        ("def f():\n    return a", ["def f():\n    return None"]),
        ("[a for b in c if d]", ["[a for b in c]"]),
    ],
)
def test_each_fault_is_made(source, expected):
    """One mutant for each way in which a line may be wrong."""
    assert made(source) == expected


@pytest.mark.parametrize(
    "source", ['"""A docstring."""', "def f(a: Literal['x']) -> 'y':\n    return None", "@dataclass(slots=True)\nclass A:\n    ..."]
)
def test_what_decides_nothing_is_left_alone(source):
    """Docstrings, annotations and layout in memory are no faults."""
    assert made(source) == []


def test_a_mutant_says_where_it_is_and_what_it_is():
    """In one line that a person can look up."""
    (mutant,) = mutants("authz_server.core.x", "a = b\nc = d < e")

    assert str(mutant) == "authz_server.core.x:2: d < e  ->  d <= e"
    assert ast.unparse(mutant.tree) == "a = b\nc = d <= e"
