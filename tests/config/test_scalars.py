"""Plain scalars: which of them are not text."""

import math

import pytest

from authz_server.config.scalars import resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, None) for text in ("", "~", "null", "Null", "NULL")),
        *((text, True) for text in ("true", "True", "TRUE")),
        *((text, False) for text in ("false", "False", "FALSE")),
        ("0", 0),
        ("-17", -17),
        ("+5", 5),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("9" * 5_000, math.inf),
    ],
)
def test_the_core_schema_has_null_booleans_and_numbers(text, value):
    """Null, booleans, integers and floats are what YAML 1.2 says they are, at any length."""
    resolved = resolve(text)

    assert resolved == value
    assert type(resolved) is type(value)


def test_not_a_number_is_a_number():
    """`.nan` is a float."""
    number = resolve(".NaN")

    assert isinstance(number, float)
    assert math.isnan(number)


@pytest.mark.parametrize(
    "text", ["no", "No", "on", "yes", "y", "NONE", "nULL", "2001-01-01", "12:30", "1_000", "0b1", "1.2.3", "+", ".", "-", "e3", "<<", "="]
)
def test_everything_else_is_text(text):
    """What older YAML versions took for booleans, dates or numbers stays text."""
    assert resolve(text) == text
