"""Problems: how they are told."""

import pytest

from authz_server.config.problems import ConfigurationError, Problem, did_you_mean, one_of, show


def problem(line: int, column: int = 1, message: str = "bad") -> Problem:
    """Make a problem."""
    return Problem(file="authz.yaml", line=line, column=column, message=message)


def test_a_problem_reads_like_a_compilers():
    """A problem is written as file:line:column: message, which editors and terminals can follow."""
    assert str(problem(3, 7, "unknown key 'x'")) == "authz.yaml:3:7: unknown key 'x'"


def test_problems_are_told_in_file_order_and_once():
    """Problems are sorted by line and column as numbers, and equal ones are one."""
    error = ConfigurationError([problem(10), problem(9, 20), problem(9, 3), problem(10)])

    assert str(error) == "authz.yaml:9:3: bad\nauthz.yaml:9:20: bad\nauthz.yaml:10:1: bad"
    assert error.problems == (problem(9, 3), problem(9, 20), problem(10))


def test_at_most_a_hundred_are_listed():
    """The text lists a hundred problems and counts the rest; the value holds all."""
    error = ConfigurationError([problem(line) for line in range(1, 104)])
    lines = str(error).splitlines()

    assert lines[99:] == ["authz.yaml:100:1: bad", "… and 3 more"]
    assert len(error.problems) == 103
    assert len(str(ConfigurationError([problem(line) for line in range(1, 101)])).splitlines()) == 100


@pytest.mark.parametrize(
    ("word", "clause"),
    [
        ("authoriser", "; did you mean 'authorizer'?"),
        ("AUTHORIZER", "; did you mean 'authorizer'?"),
        ("hosts", ""),
    ],
)
def test_a_guess_is_made_only_when_one_is_close(word, clause):
    """A misspelt word gets the closest choice whatever the case, a strange one none."""
    assert did_you_mean(word, ["authorizer", "routes"]) == clause


def test_guessing_has_a_limit():
    """Only the first thousand choices are compared, so that a large file with many mistakes is told soon."""
    choices = [f"api-{number}" for number in range(1_000)]

    assert did_you_mean("orders", [*choices, "orders"]) == ""


@pytest.mark.parametrize(
    ("choices", "clause"),
    [
        ([], ", there are none"),
        (["green"], ", expected green"),
        (["red", "blue"], ", expected one of red, blue; did you mean 'red'?"),
        (list("abcdefghijklm"), ", expected one of a, b, c, d, e, f, g, h, i, j, k, l, …"),
    ],
)
def test_expected_words_are_listed_as_far_as_it_helps(choices, clause):
    """What was expected is said with up to twelve words and a guess."""
    assert one_of("rde", choices) == clause


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "'a'"),
        ("a" * 61, "'" + "a" * 60 + "…'"),
        ("a\nb", "'a\\nb'"),
        (True, "true"),
        (False, "false"),
        (5, "the number 5"),
        (1.5, "the number 1.5"),
        ({}, "a mapping"),
        ([], "a list"),
    ],
)
def test_values_are_named_in_the_words_of_the_file(value, shown):
    """A message names a value as YAML does, short and on one line."""
    assert show(value) == shown
