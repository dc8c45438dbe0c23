"""Reading: from octets to data with places, and everything that is refused on the way."""

from pathlib import Path

import pytest
import yaml

from authz_server.config import documents, reader
from authz_server.config.documents import from_file
from authz_server.config.problems import ConfigurationError
from authz_server.config.reader import compose
from authz_server.config.source import HOLE, Source

CLOSED_BOOK = "this is not YAML: while parsing a flow mapping, did not find expected ',' or '}'"


@pytest.fixture
def source(tmp_path):
    """Read a text."""

    def source(text: str | bytes, **environment: str) -> Source:
        path = tmp_path / "a.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return compose(from_file(path), environment)

    return source


@pytest.fixture
def told(source):
    """Read a text: what is wrong with it, as `line:column: message`, whether or not it was read to its end."""

    def told(text: str | bytes, **environment: str) -> list[str]:
        try:
            found = source(text, **environment).problems
        except ConfigurationError as error:
            found = error.problems
        return [f"{problem.line}:{problem.column}: {problem.message}" for problem in found]

    return told


@pytest.fixture(params=["libyaml", "python"])
def parser(request, monkeypatch):
    """Both parsers that PyYAML may have."""
    monkeypatch.setattr(reader, "LOADER", yaml.CBaseLoader if request.param == "libyaml" else yaml.BaseLoader)


@pytest.mark.usefixtures("parser")
def test_yaml_becomes_plain_data(source):
    """Mappings, lists and core scalars become what Python has for them; quoted scalars are text."""
    text = "a: [1, 2.5, true, no, '3', \"4\"]\nb: {c: 2001-01-01}\nd: |\n  one\n  two\n'5': x\n"

    read = source(text)

    assert read.data == {"a": [1, 2.5, True, "no", "3", "4"], "b": {"c": "2001-01-01"}, "d": "one\ntwo\n", "5": "x"}
    assert read.problems == ()


@pytest.mark.usefixtures("parser")
def test_anchors_aliases_and_merges(source):
    """An alias stands for its anchor's value; `<<` adds the entries that a mapping lacks, the first of a list first."""
    text = """
a: &a {x: 1, y: 1}
b: &b {y: 2, z: 2}
c: {<<: *a, y: 3}
d: {<<: [*b, *a], w: 4}
e: [*a, *b]
f: {"<<": 5}
g: &a 6
h: *a
"""

    read = source(text)

    assert read.problems == ()
    assert read.data["c"] == {"x": 1, "y": 3}
    assert read.data["d"] == {"w": 4, "y": 2, "z": 2, "x": 1}
    assert read.data["e"] == [{"x": 1, "y": 1}, {"y": 2, "z": 2}]
    assert read.data["f"] == {"<<": 5}
    assert read.data["h"] == 6


@pytest.mark.usefixtures("parser")
def test_every_part_has_a_place(source):
    """Keys and values are found by line and column in characters, also in flow style, behind aliases and in merges."""
    read = source("ä: {b: 1, 'ç':   [x, {d: e}]}\nf: &f\n  g: h\ni:\n  <<: *f\nj: *f\n")

    def places(*path: str | int) -> tuple[int, int, int, int]:
        key, value = read.at_key(path, ""), read.at_value(path, "")
        return key.line, key.column, value.line, value.column

    assert places() == (1, 1, 1, 1)
    assert places("ä", "b") == (1, 5, 1, 8)
    assert places("ä", "ç") == (1, 11, 1, 18)
    assert places("ä", "ç", 1) == (1, 22, 1, 22)
    assert places("ä", "ç", 1, "d") == (1, 23, 1, 26)
    assert places("f", "g") == places("i", "g") == places("j", "g") == (3, 3, 3, 6)


def test_a_part_that_is_absent_has_the_place_of_what_should_hold_it(source):
    """Parts of a path that the file lacks are passed over."""
    read = source("a:\n  b: [c]\n")

    assert (read.at_key(["a", "x"], "").line, read.at_key(["a", "x"], "").column) == (1, 1)
    assert (read.at_value(["a", "b", 7], "").line, read.at_value(["a", "b", 7], "").column) == (2, 6)
    assert (read.at_value(["a", "b", "list", 0, "x"], "").line, read.at_value(["a", "b", "list", 0, "x"], "").column) == (2, 7)


def test_variables_are_replaced_in_scalars_only(source):
    """`${NAME}` is replaced in values of any style, not in keys and comments, and what it holds is not read as YAML."""
    read = source("${A}: ${A} # ${B}\nb: '${A}'\nc: [\"${A}\", '$${A}']\nd: >\n  ${A}\n", A="[1, ${B}]")

    assert read.data == {"${A}": "[1, ${B}]", "b": "[1, ${B}]", "c": ["[1, ${B}]", "${A}"], "d": "[1, ${B}]\n"}
    assert read.problems == ()


def test_stage_variables_stay_in_provider_arns(source):
    """A stage variable is kept in the values of provider_arns and a problem elsewhere."""
    read = source("provider_arns: ['${stageVariables.A}']\nhosts: ['${stageVariables.A}']\n")

    assert read.data == {"provider_arns": ["${stageVariables.A}"], "hosts": [HOLE]}
    assert [(problem.line, problem.column) for problem in read.problems] == [(2, 9)]


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1:1: the file is empty, expected `version: 1` and more"]),
        ("# nothing\n", ["1:1: the file is empty, expected `version: 1` and more"]),
        ("a:\nb: ~\nc: [null]\n", [f"{place}: the value is empty; write one, or leave the key out" for place in ("1:3", "2:4", "3:5")]),
        ("a: 1\nb: 2\na: 3\na: 4", [f"{line}:1: key 'a' stands twice, first on line 1" for line in (3, 4)]),
        ("a: {b: 1, b: 2}", ["1:11: key 'b' stands twice, first on line 1"]),
        ("1: a\ntrue: b\n~: c\n1.5: d", [f"{n}:1: key {key} is not text; quote it" for n, key in enumerate(("1", "true", "~", "1.5"), 1)]),
        (
            "? [a, b]\n: 1\n? {a: b}\n: 2\n!!str c: 3\n&d d: 4\n",
            [f"{place}: a key must be plain or quoted text, without tag, anchor or alias" for place in ("1:3", "3:3", "5:1", "6:1")],
        ),
        ("a: &a b\n*a : c", ["2:1: a key must be plain or quoted text, without tag, anchor or alias"]),
        (
            "a: !!int 1\nb: !!python/name:os.system x\nc: !d [e]\nf: ! g\n",
            [
                "1:4: tag 'tag:yaml.org,2002:int' is not supported, leave it out",
                "2:4: tag 'tag:yaml.org,2002:python/name:os.system' is not supported, leave it out",
                "3:4: tag '!d' is not supported, leave it out",
                "4:4: tag '!' is not supported, leave it out",
            ],
        ),
        ("a: *b\nb: &b 1", ["1:4: alias *b has no anchor before it"]),
        ("a: &a [1, *a]\nb: &b {c: *b}", ["1:11: alias *a stands inside its own anchor", "2:11: alias *b stands inside its own anchor"]),
        (
            "a: {<<: 1}\nb: {<<: [1, {c: d}]}",
            [f"{place}: << takes an alias of a mapping, or a list of such aliases" for place in ("1:9", "2:9")],
        ),
        ("a: {<<: *b}", ["1:9: alias *b has no anchor before it"]),
        ("a: 1\n---\nb: 2\n", ["2:1: a second document begins here, expected one"]),
        ("a: 1\n...\n---\n", ["3:1: a second document begins here, expected one"]),
        ("a: ${B}", ["1:4: environment variable 'B' is not set"]),
        ("a: [" + "[" * 40, ["1:36: values are nested more than 32 deep here"]),
    ],
)
def test_what_the_format_does_without_is_told(told, text, expected):
    """Nulls, double or strange keys, tags, loops, further documents and deep nesting are problems at their place."""
    assert told(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {b: c\n", f"2:1: {CLOSED_BOOK}"),
        ("a: {b: ${C}/d}\n", f"1:9: {CLOSED_BOOK}; a value with `${{` must be quoted inside {{ }} and [ ]"),
        ("a:\n\t- b", "2:1: this is not YAML: while scanning for the next token, found character that cannot start any token"),
        ("a: b: c", "1:5: this is not YAML: mapping values are not allowed in this context"),
        ('a: "\\ud800"', "1:7: this is not YAML: while parsing a quoted scalar, found invalid Unicode character escape code"),
    ],
)
def test_what_is_not_yaml_is_told_where_it_breaks(told, text, expected):
    """A syntax error has the place and words of the parser."""
    assert told(text) == [expected]


def test_problems_before_a_syntax_error_are_told_too(told):
    """Nothing that was found is lost when the rest can not be read."""
    assert told("a: 1\na: 2\nb: [")[0] == "2:1: key 'a' stands twice, first on line 1"


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"a: 1\nb: \xff", "2:4: the file is not UTF-8"),
        ("ä: ".encode() + b"\xff", "1:4: the file is not UTF-8"),
        (b"\xef\xbb\xbf" + "ä: ".encode() + b"\xff", "1:4: the file is not UTF-8"),
        ("a: 1".encode("utf-16"), "1:1: the file is not UTF-8"),
        (b"a: 1\n# \x07", "2:3: the file holds the character '\\x07', which YAML does not allow"),
        ("a: ﻿".encode(), "1:4: the file holds the character '\\ufeff', which YAML does not allow"),
    ],
)
def test_what_is_not_text_is_told_where_it_begins(told, octets, expected):
    """Octets that are no UTF-8, and characters that YAML does not allow, are problems at their place."""
    assert told(octets) == [expected]


def test_a_byte_order_mark_is_passed_over(source):
    """A file may begin with a byte order mark."""
    assert source(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n").data == {"a": 1, "b": 2}


def test_a_file_that_can_not_be_read_is_a_problem(tmp_path: Path):
    """A missing file and a folder are told like any other problem, at 1:1."""
    with pytest.raises(ConfigurationError) as missing:
        from_file(tmp_path / "none.yaml")
    with pytest.raises(ConfigurationError) as folder:
        from_file(tmp_path)

    assert str(missing.value) == f"{tmp_path}/none.yaml:1:1: the file can not be read: No such file or directory"
    assert str(folder.value) == f"{tmp_path}:1:1: the file can not be read: Is a directory"


def test_a_file_has_a_largest_size(source, monkeypatch):
    """A file over the limit is refused before it is parsed."""
    monkeypatch.setattr(documents, "MAX_SIZE", 2**20)

    assert source("a: 1" + " " * (2**20 - 4)).data == {"a": 1}
    with pytest.raises(ConfigurationError, match="the file can not be read: it is larger than 1,048,576 bytes"):
        source("a: 1" + " " * (2**20 - 3))


@pytest.mark.usefixtures("parser")
def test_a_yaml_bomb_is_not_expanded(told):
    """Aliases of aliases that stand for a billion values are counted, not made."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    assert told("\n".join(levels)) == ["6:45: aliases stand for more than 1,000,000 values up to here"]


def test_merges_are_counted_as_well(told):
    """A mapping that is merged a hundred thousand times is refused like one that stands in as many places."""
    wide = "a: &a {" + ", ".join(f"k{n}: 1" for n in range(1_000)) + "}\n"

    assert told(wide + "b: {<<: [" + ", ".join(["*a"] * 2_000) + "]}") == [
        "2:4006: aliases stand for more than 1,000,000 values up to here"
    ]
