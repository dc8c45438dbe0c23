"""Of all resource templates that match a whole path and declare the method, the best is found segment by segment."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core import routes
from authz_server.core.routes import ANY, MAX_SEGMENTS, Routes, parse


def index(*templates: str) -> Routes[str]:
    """Build an index in which each template leads to its own name."""
    made: Routes[str] = Routes()
    for template in templates:
        made.add(template, {"GET": template})
    return made


def tree(resources: dict[str, str]) -> Routes[str]:
    """Build an index of templates and the methods that each declares, separated by spaces; a route is named `METHOD template`."""
    made: Routes[str] = Routes()
    for template, methods in resources.items():
        made.add(template, {method: f"{method} {template}" for method in methods.split()})
    return made


def find(made: Routes[str], path: str, method: str = "GET") -> str | None:
    """Find what a request leads to."""
    return made.find(path[1:].split("/"), method)


@pytest.mark.parametrize(
    ("template", "kinds"),
    [
        ("/", []),
        ("/pets", ["literal"]),
        ("/{petId}", ["parameter"]),
        ("/{proxy+}", ["greedy"]),
        ("/a-b_c.d,e:f~1/{pet.Id:x-y_1}", ["literal", "parameter"]),
        ("/...", ["literal"]),
        ("/" + "a/" * (MAX_SEGMENTS - 1) + "{p+}", ["literal"] * (MAX_SEGMENTS - 1) + ["greedy"]),
    ],
    ids=["root", "literal", "parameter", "greedy", "every character", "three dots", "longest"],
)
def test_templates_are_literals_and_parameters(template: str, kinds: list[str]) -> None:
    """A segment is a literal, `{name}`, or `{name+}` at the end."""
    segments = parse(template)

    assert ["greedy" if segment.greedy else "parameter" if segment.parameter else "literal" for segment in segments] == kinds
    assert "/" + "/".join(segment.text for segment in segments) == template


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "does not start with `/`"),
        ("pets", "does not start with `/`"),
        ("/bar/", "resource '/bar/' ends with a slash; API Gateway deploys it as '/bar'"),
        ("/a/{p+}/", "API Gateway deploys it as '/a/{p+}'"),
        ("/pets//", "empty segment"),
        ("//pets", "empty segment"),
        ("/pets//toys", "empty segment"),
        ("/./pets", "dot segment"),
        ("/pets/..", "dot segment"),
        ("/{proxy+}/toys", "greedy parameter must be the last"),
        ("/a{id}", "must be a whole segment"),
        ("/{id}a", "must be a whole segment"),
        ("/{id", "must be a whole segment"),
        ("/id}", "must be a whole segment"),
        ("/{}", "must be a whole segment"),
        ("/{+}", "must be a whole segment"),
        ("/{a+b}", "must be a whole segment"),
        ("/{a}{b}", "must be a whole segment"),
        ("/{a b}", "must be a whole segment"),
        ("/pets;v=1", "letters, digits and _ - . , : ~ only"),
        ("/p%65ts", "letters, digits and _ - . , : ~ only"),
        ("/pets?x", "letters, digits and _ - . , : ~ only"),
        ("/pets*", "letters, digits and _ - . , : ~ only"),
        ("/pets\n", "letters, digits and _ - . , : ~ only"),
        ("/bücher", "letters, digits and _ - . , : ~ only"),
        ("/" + "/".join("a" * (MAX_SEGMENTS + 1)), "resource has 65 segments, the limit is 64"),
    ],
)
def test_templates_that_api_gateway_refuses_are_refused(template: str, message: str) -> None:
    """What API Gateway would not take, and what could never match, is an error that says why."""
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(template)


@pytest.mark.parametrize(
    ("templates", "path", "found"),
    [
        pytest.param(["/"], "/", "/", id="root"),
        pytest.param(["/"], "/pets", None, id="root is no prefix"),
        pytest.param(["/pets"], "/", None, id="no root"),
        pytest.param(["/{id}"], "/", None, id="a parameter needs a segment"),
        pytest.param(["/{proxy+}"], "/", None, id="a greedy parameter needs a segment"),
        pytest.param(["/{proxy+}"], "/a", "/{proxy+}", id="greedy takes one segment"),
        pytest.param(["/{proxy+}"], "/a/b/c", "/{proxy+}", id="greedy takes all segments"),
        pytest.param(["/a/{proxy+}"], "/a", None, id="greedy below a literal needs a segment"),
        pytest.param(["/a/{proxy+}"], "/a/", None, id="greedy below a literal takes no empty segment"),
        pytest.param(["/a/{proxy+}"], "/a/b/", "/a/{proxy+}", id="slash at the end below greedy"),
        pytest.param(["/pets"], "/pets/", "/pets", id="slash at the end of a literal"),
        pytest.param(["/{id}"], "/a/", "/{id}", id="slash at the end of a parameter"),
        pytest.param(["/a/{id}"], "/a/", None, id="a slash at the end is no empty value"),
        pytest.param(["/a", "/a/{id}"], "/a/", "/a", id="with its slash a path is still its resource"),
        pytest.param(["/pets", "/{proxy+}"], "/pets/", "/pets", id="a slash at the end does not lead around a resource"),
        pytest.param(["/pets"], "/Pets", None, id="literals are compared exactly"),
        pytest.param(["/pets"], "/pets/1", None, id="too long"),
        pytest.param(["/pets/{id}/toys"], "/pets/1", None, id="too short"),
        pytest.param(["/{id}"], "/{id}", "/{id}", id="a segment that looks like a parameter is just text"),
        pytest.param(["/{id}"], "/a%20b", "/{id}", id="a parameter takes escapes"),
        pytest.param(["/pets", "/{id}"], "/pets", "/pets", id="literal beats parameter"),
        pytest.param(["/pets", "/{id}"], "/cats", "/{id}", id="parameter where no literal fits"),
        pytest.param(["/pets", "/{proxy+}"], "/pets", "/pets", id="literal beats greedy"),
        pytest.param(["/pets/{id}", "/{proxy+}"], "/pets/1", "/pets/{id}", id="parameter beats greedy of the root"),
        pytest.param(["/a/{proxy+}", "/{x}/b/c"], "/a/b/c", "/a/{proxy+}", id="the first segment decides: literal before parameter"),
        pytest.param(["/{x}/b", "/{x}/{proxy+}"], "/a/b", "/{x}/b", id="the second segment decides"),
        pytest.param(["/{x}/b", "/{x}/{proxy+}"], "/a/b/c", "/{x}/{proxy+}", id="greedy where the literal is too short"),
        pytest.param(["/a/b", "/{proxy+}"], "/a/c", "/{proxy+}", id="only whole matches compete: a dead end under a literal"),
        pytest.param(["/a/b", "/{proxy+}"], "/a", "/{proxy+}", id="a resource that is only on the way does not match"),
        pytest.param(["/a/b/c", "/{x}/b/d"], "/a/b/d", "/{x}/b/d", id="a dead end two levels down"),
        pytest.param(["/a/{x}/c", "/a/b/d", "/{p+}"], "/a/b/c", "/a/{x}/c", id="a dead end under a literal, beside a parameter"),
    ],
)
def test_the_best_template_wins(templates: list[str], path: str, found: str | None) -> None:
    """Among templates that match the whole path a literal beats `{name}`, which beats `{name+}`; an empty segment never matches."""
    assert find(index(*templates), path) == found
    assert find(index(*reversed(templates)), path) == found


def test_the_segments_behind_a_whole_base_path_are_the_root() -> None:
    """`/prod` and `/prod/` of an api with that base path are both its `/`."""
    made = index("/", "/pets")

    assert made.find([], "GET") == made.find([""], "GET") == "/"


MEASURED = {"/{proxy+}": "ANY", "/jobs": "", "/jobs/{operation_type}": "GET", "/cors_only": "OPTIONS"}
USERS = {"/users/me": "PATCH", "/users/{userId}": "GET"}
ROLES = {"/roles/provision": "POST", "/roles/{roleId}": "GET"}
THINGS = {"/things/real": "GET", "/things/{proxy+}": "POST"}


@pytest.mark.parametrize(
    ("resources", "method", "path", "found"),
    [
        (MEASURED, "POST", "/jobs/reboot", "ANY /{proxy+}"),
        (MEASURED, "GET", "/jobs", "ANY /{proxy+}"),
        (MEASURED, "GET", "/cors_only", "ANY /{proxy+}"),
        (MEASURED, "GET", "/jobs/reboot", "GET /jobs/{operation_type}"),
        (USERS, "GET", "/users/me", "GET /users/{userId}"),
        (USERS, "POST", "/users/me", None),
        (ROLES, "GET", "/roles/provision", "GET /roles/{roleId}"),
        (THINGS, "POST", "/things/real", "POST /things/{proxy+}"),
    ],
)
def test_resource_and_method_are_found_together(resources: dict[str, str], method: str, path: str, found: str | None) -> None:
    """Live REST APIs choose the best resource that declares the method, as two owners of accounts measured it."""
    assert find(tree(resources), path, method) == found
    assert find(tree(dict(reversed(resources.items()))), path, method) == found


@pytest.mark.parametrize(
    ("resources", "method", "path", "found"),
    [
        pytest.param({"/a": "ANY", "/{x}": "GET"}, "GET", "/a", "ANY /a", id="ANY of a better resource beats a named method"),
        pytest.param({"/a": "ANY GET"}, "GET", "/a", "GET /a", id="a named method beats ANY of its resource"),
        pytest.param(
            {"/a/b": "GET", "/a/{x}": "PUT", "/{p+}": "POST"}, "POST", "/a/b", "POST /{p+}", id="two resources without the method"
        ),
        pytest.param({"/a/b": "GET", "/{p+}": "POST"}, "DELETE", "/a/b", None, id="no resource declares it"),
        pytest.param({"/": "GET", "/{p+}": "ANY"}, "POST", "/", None, id="the root has no parameter beside it"),
    ],
)
def test_only_resources_with_the_method_compete(resources: dict[str, str], method: str, path: str, found: str | None) -> None:
    """A resource that declares neither the method nor ANY does not end the search, wherever it stands."""
    assert find(tree(resources), path, method) == found


@pytest.mark.parametrize(
    ("path", "matches"),
    [("/jobs/reboot", True), ("/jobs", True), ("/", False), ("/cors_only/", True)],
)
def test_whether_any_resource_matches_is_known_apart_from_the_method(path: str, matches: bool) -> None:  # noqa: FBT001 - the answer
    """A path that resources match, none of which declares the method, is told from one that none of them matches."""
    assert tree(MEASURED).matches(path[1:].split("/")) is matches


def test_a_resource_without_methods_matches_nothing() -> None:
    """A resource that is only on the way to others is no route for any method."""
    assert not tree({"/jobs": "", "/jobs/{id}": "GET"}).matches(["jobs"])


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("/pets", "/pets", "resource '/pets' stands twice"),
        ("/", "/", "resource '/' stands twice"),
        ("/{id}", "/{id}", "stands twice"),
        ("/{id}", "/{name}", r"\{name\} collides with its sibling \{id\}"),
        ("/{id}", "/{proxy+}", r"\{proxy\+\} collides with its sibling \{id\}"),
        ("/{proxy+}", "/{id}/toys", r"\{id\} collides with its sibling \{proxy\+\}"),
        ("/{proxy+}", "/{all+}", r"\{all\+\} collides with its sibling \{proxy\+\}"),
        ("/{id}", "/{id+}", r"\{id\+\} collides with its sibling \{id\}"),
        ("/pets/{id}/toys", "/pets/{petId}", r"\{petId\} collides with its sibling \{id\}"),
    ],
)
def test_a_level_has_one_parameter(first: str, second: str, message: str) -> None:
    """Two templates with different parameters at one level, or one template twice, are an error."""
    made = index(first)

    with pytest.raises(ValueError, match=message):
        made.add(second, {})


@pytest.mark.parametrize(("first", "second"), [("/a/{id}", "/b/{name}"), ("/{id}/x", "/{id}/{name}"), ("/pets", "/{id}")])
def test_parameters_of_different_levels_do_not_collide(first: str, second: str) -> None:
    """Names matter among siblings only."""
    made = index(first, second)

    assert find(made, first) == first
    assert find(made, second) == second


segment = st.sampled_from(["a", "b", "{x}", "{y}", "{p+}"])
template = st.lists(segment, max_size=4).map(lambda parts: parts[: parts.index("{p+}") + 1] if "{p+}" in parts else parts).map(tuple)
path = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=5)


def text(parts: tuple[str, ...]) -> str:
    """Write a template."""
    return "/" + "/".join(parts)


def collide(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Tell whether two templates are the same, or part ways at two different parameters."""
    for left, right in zip(one, other, strict=False):
        if left != right:
            return left.startswith("{") and right.startswith("{")
    return len(one) == len(other)


def matches(parts: tuple[str, ...], segments: list[str]) -> bool:
    """Tell whether a template matches a whole path."""
    if parts and parts[-1] == "{p+}":
        return len(segments) >= len(parts) and matches(parts[:-1], segments[: len(parts) - 1])
    return len(parts) == len(segments) and all(part in {name, "{x}", "{y}"} for part, name in zip(parts, segments, strict=True))


def rank(parts: tuple[str, ...]) -> list[int]:
    """Say how good each segment of a template is; smaller is better."""
    return [2 if part == "{p+}" else 1 if part.startswith("{") else 0 for part in parts]


methods = st.sets(st.sampled_from(["GET", "POST", ANY]))


def naive(resources: dict[tuple[str, ...], set[str]], segments: list[str], method: str) -> str | None:
    """Search all templates for the best one that matches and declares the method."""
    able = [parts for parts, declared in resources.items() if matches(parts, segments) and declared & {method, ANY}]
    best = min(able, key=rank, default=None)
    return None if best is None else f"{method if method in resources[best] else ANY} {text(best)}"


@given(
    st.lists(st.tuples(template, methods), max_size=12),
    st.lists(st.tuples(path, st.sampled_from(["GET", "POST", "PUT"]), st.booleans()), min_size=1, max_size=8),
)
def test_the_index_agrees_with_a_naive_matcher(
    templates: list[tuple[tuple[str, ...], set[str]]], requests: list[tuple[list[str], str, bool]]
) -> None:
    """The index finds what a search of all templates finds, whatever the order in which they were added, with a slash at the end or not."""
    kept: dict[tuple[str, ...], set[str]] = {}
    for parts, declared in templates:
        if not any(collide(parts, other) for other in kept):
            kept[parts] = declared
    made = tree({text(parts): " ".join(declared) for parts, declared in kept.items()})

    for segments, method, slash in requests:
        assert made.find([*segments, ""] if slash else segments, method) == naive(kept, segments, method)
        assert made.matches(segments) == any(naive(kept, segments, each) for each in ("GET", "POST", "PUT"))


@given(st.lists(template, max_size=6, unique=True), template)
def test_collisions_agree_with_a_naive_comparison(templates: list[tuple[str, ...]], last: tuple[str, ...]) -> None:
    """A template is refused exactly when it is there already or has another parameter than a sibling."""
    kept: list[tuple[str, ...]] = []
    for parts in templates:
        if not any(collide(parts, other) for other in kept):
            kept.append(parts)
    made = index(*map(text, kept))

    if any(collide(last, other) for other in kept):
        with pytest.raises(ValueError, match=r"stands twice|collides with its sibling"):
            made.add(text(last), {})
    else:
        made.add(text(last), {"GET": "added"})
        assert made.find(list(last) or [""], "GET") == "added"


@pytest.mark.parametrize("method", ["GET", "PUT"], ids=["declared", "not declared"])
@pytest.mark.parametrize("path", ["/r{n}/x/y", "/r{n}/x/none", "/r{n}/x/y/z"], ids=["found", "dead end", "too long"])
def test_a_lookup_costs_the_depth_of_the_path(path: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand routes are not slower than ten: the steps of a lookup depend on the path only."""
    steps = 0
    search = routes._search

    def counted(*arguments: object) -> object:
        nonlocal steps
        steps += 1
        return search(*arguments)

    costs = []
    for count in (10, 10_000):
        made = index("/{id}/{name}", *(f"/r{number}/{{id}}/y" for number in range(count)))
        monkeypatch.setattr(routes, "_search", counted)
        steps = 0
        find(made, path.format(n=count - 1), method)
        costs.append(steps)
        monkeypatch.undo()

    assert costs[0] == costs[1]
    assert 0 < costs[0] <= 2 * (path.count("/") + 1)


def test_a_long_path_is_no_burden() -> None:
    """A path is followed no deeper than the templates reach, so that tens of thousands of segments do not exhaust the stack."""
    long = ["a"] * 30_000

    assert index("/a/a/b").find(long, "GET") is None
    assert index("/a/{proxy+}").find(long, "GET") == "/a/{proxy+}"


@pytest.mark.parametrize(
    ("templates", "sentence"),
    [
        (["a"], "resource 'a' does not start with `/`"),
        (["/a/"], "resource '/a/' ends with a slash; API Gateway deploys it as '/a', write that"),
        (["/a//b"], "resource '/a//b' has an empty segment (a doubled slash)"),
        (["/.."], "resource '/..': a dot segment can never match"),
        (["/{p+}/a"], "resource '/{p+}/a': a greedy parameter must be the last segment"),
        (["/x{a}"], "resource '/x{a}': a parameter must be a whole segment, `{name}` or `{name+}`, not 'x{a}'"),
        (["/x/a;b"], "resource '/x/a;b': a segment holds letters, digits and _ - . , : ~ only, not 'a;b'"),
        (["/x", "/x"], "resource '/x' stands twice"),
        (["/{a}", "/{b}/c"], "resource '/{b}/c': {b} collides with its sibling {a}; a level can have one parameter"),
    ],
)
def test_an_error_names_the_resource_and_what_is_wrong(templates: list[str], sentence: str) -> None:
    """In one sentence, as `validate` prints it."""
    with pytest.raises(ValueError, match="resource") as error:
        index(*templates)

    assert str(error.value) == sentence
