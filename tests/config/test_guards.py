"""Guards: where a resource lacks a method, the route that answers in its place is found if it asks for less."""

import itertools
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz_server.config import guards as search
from authz_server.config.cognito_user_pools import CognitoUserPools
from authz_server.config.guards import MAX_FOUND, Guards
from authz_server.config.schema import Method
from authz_server.core.routes import METHODS, Routes, parse

ARNS = [f"arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Home0000{number}" for number in range(2)]
AUTHORIZERS = {
    "one": CognitoUserPools(type="cognito_user_pools", provider_arns=(ARNS[0],)),
    "both": CognitoUserPools(type="cognito_user_pools", provider_arns=tuple(ARNS)),
    "web": CognitoUserPools(type="cognito_user_pools", provider_arns=(ARNS[0],), app_clients=("web",)),
    "webs": CognitoUserPools(type="cognito_user_pools", provider_arns=(ARNS[0],), app_clients=("web", "app")),
    "expression": CognitoUserPools(type="cognito_user_pools", provider_arns=(ARNS[0],), identity_validation_expression="web"),
    "updated": CognitoUserPools(type="cognito_user_pools", provider_arns=(ARNS[0],), accept_updated_issuer=True),
}
PUBLIC = Method(authorization_type="NONE")


def guarded(authorizer: str = "one", *scopes: str) -> Method:
    """A method with an authorizer."""
    return Method(authorizer=authorizer, authorization_scopes=scopes)


def leaks(routes: Mapping[str, Mapping[str, Method]]) -> list[tuple[Any, ...]]:
    """Find leaks: template, guarded method, missing methods, path, other template and its method."""
    return [leak[:-1] for leak in Guards(routes, AUTHORIZERS).leaks()]


def pairs(routes: Mapping[str, Mapping[str, Method]]) -> list[tuple[str, str]]:
    """Find leaks: from which template to which."""
    return [(leak.template, leak.other) for leak in Guards(routes, AUTHORIZERS).leaks()]


def exemptions(routes: Mapping[str, Mapping[str, Method]]) -> list[tuple[str, str, str, str]]:
    """Find exemptions: public method, and the greedy one."""
    return [(found.template, found.method, found.other, found.by) for found in Guards(routes, AUTHORIZERS).exemptions()]


def test_methods_that_a_resource_lacks_go_to_a_public_one() -> None:
    """Each missing method but OPTIONS is told once, with the method that is guarded and the one that answers."""
    routes = {"/pets": {"GET": guarded()}, "/{proxy+}": {"POST": PUBLIC, "ANY": PUBLIC}}

    assert leaks(routes) == [
        ("/pets", "GET", ("HEAD", "PATCH", "PUT", "DELETE"), "/pets", "/{proxy+}", "ANY"),
        ("/pets", "GET", ("POST",), "/pets", "/{proxy+}", "POST"),
    ]


@pytest.mark.parametrize(
    "routes",
    [
        {"/pets": {"GET": guarded(), "ANY": guarded()}, "/{proxy+}": {"ANY": PUBLIC}},
        {"/pets": {"GET": PUBLIC}, "/{proxy+}": {"ANY": PUBLIC}},
        {"/pets": dict.fromkeys(METHODS, guarded()), "/{proxy+}": {"ANY": PUBLIC}},
        {"/a/{y+}": {"GET": guarded()}, "/{x}/b": {"OPTIONS": PUBLIC}, "/{x}/c": {"GET": PUBLIC}},
        {"/pets": {"GET": guarded()}, "/{proxy+}": {"OPTIONS": PUBLIC}},
        {"/pets": {"GET": guarded()}, "/{proxy+}": {"GET": PUBLIC}},
        {"/pets": {"GET": guarded()}, "/{proxy+}": {"ANY": guarded()}},
        {"/pets": {"GET": guarded()}, "/toys/{proxy+}": {"ANY": PUBLIC}},
        {"/pets": {}, "/{proxy+}": {"ANY": PUBLIC}},
        {"/": {"GET": guarded()}, "/{proxy+}": {"ANY": PUBLIC}},
        {"/pets/{id}": {"GET": guarded()}, "/pets/mine": {"ANY": PUBLIC}},
        {"/pets/{p+}": {"GET": guarded()}, "/pets/mine": {"ANY": PUBLIC}},
        {"/a/b": {"GET": guarded()}, "/a/{x}": {"ANY": guarded()}, "/{p+}": {"ANY": PUBLIC}},
        {"/a/b": {"GET": guarded()}, "/a/{x}": {"ANY": guarded("both")}, "/{p+}": {"ANY": PUBLIC}} | {"/a/b": {"ANY": guarded()}},
    ],
    ids=[
        "ANY",
        "public",
        "named",
        "preflight below",
        "preflight",
        "same method",
        "same guard",
        "elsewhere",
        "no method",
        "root",
        "literal",
        "below",
        "between",
        "all",
    ],
)
def test_what_is_no_leak(routes: Mapping[str, Mapping[str, Method]]) -> None:
    """Nothing is told where each method is named, where nothing else answers, or where what answers asks for as much."""
    assert leaks(routes) == []


@pytest.mark.parametrize(
    ("template", "other", "path"),
    [
        ("/a/b", "/a/{x}", "/a/b"),
        ("/a/b", "/{x}/b", "/a/b"),
        ("/a/b", "/{x}/{p+}", "/a/b"),
        ("/a/b", "/{p+}", "/a/b"),
        ("/a/{y}", "/{x}/b", "/a/b"),
        ("/a/{y}", "/{x}/{z}", "/a/{y}"),
        ("/a/{y+}", "/{x}/b/c", "/a/b/c"),
        ("/a/{y+}", "/{x}/b/{c}", "/a/b/{name}"),
        ("/a/{y+}", "/{p+}", "/a/{y+}"),
        ("/a/{y+}", "/{x}/{p+}", "/a/{name}"),
        ("/{y}", "/{p+}", None),
        ("/{a}/x", "/{a}/{p+}", "/{a}/x"),
    ],
)
def test_templates_that_match_the_same_path(template: str, other: str, path: str | None) -> None:
    """A less specific template that matches some path of the other one takes its missing methods, and such a path is told."""
    found = leaks({template: {"GET": guarded()}, other: {"ANY": PUBLIC}})

    assert [leak[3] for leak in found] == ([path] if path else ["/{y}"])
    assert leaks({other: {"GET": guarded()}, template: {"ANY": PUBLIC}}) == []


@pytest.mark.parametrize(
    ("more", "less"),
    [
        (guarded(), PUBLIC),
        (guarded("one", "a"), guarded()),
        (guarded("one", "a"), guarded("one", "a", "b")),
        (guarded("one", "a"), guarded("both", "a")),
        (guarded("one", "a"), guarded("both")),
        (guarded(), guarded("both")),
        (guarded("web"), guarded()),
        (guarded("web"), guarded("webs")),
        (guarded("expression"), guarded()),
        (guarded(), guarded("updated")),
    ],
)
def test_what_asks_for_less(more: Method, less: Method) -> None:
    """Less is: no token, any ID token in place of a scope, more scopes to choose from, or all tokens that the other takes and more."""
    assert pairs({"/a": {"GET": more}, "/{p+}": {"ANY": less}}) == [("/a", "/{p+}")]
    assert pairs({"/a": {"GET": less}, "/{p+}": {"ANY": more}}) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (guarded("one", "a"), guarded("one", "b")),
        (guarded("one", "a", "b"), guarded("one", "b", "c")),
        (guarded("both", "a"), guarded("one")),
        (guarded("both", "a"), guarded("one", "a", "b")),
        (guarded("webs"), guarded("expression")),
        (guarded("web"), guarded("updated", "a")),
    ],
)
def test_what_can_not_be_compared_is_not_told(one: Method, other: Method) -> None:
    """Where each of two takes a token that the other refuses, the file may well be meant so."""
    assert pairs({"/a": {"GET": one}, "/{p+}": {"ANY": other}}) == []
    assert pairs({"/a": {"GET": other}, "/{p+}": {"ANY": one}}) == []


def test_public_methods_below_a_protected_proxy() -> None:
    """A public method is told with the protected `{proxy+}` that would answer; not below a public one, another resource, or for preflights."""
    routes = {
        "/health": {"GET": PUBLIC, "OPTIONS": PUBLIC, "PUT": guarded()},
        "/all": {"ANY": PUBLIC},
        "/web/index": {"GET": PUBLIC},
        "/web/{p+}": {"GET": PUBLIC, "PUT": guarded()},
        "/pets/mine": {"GET": PUBLIC, "DELETE": PUBLIC},
        "/pets/{id}": {"GET": guarded()},
        "/full": {"ANY": PUBLIC, **dict.fromkeys(METHODS - {"GET"}, guarded())},
        "/{p+}": {"GET": guarded(), "DELETE": guarded()},
    }

    assert exemptions(routes) == [
        ("/health", "GET", "/{p+}", "GET"),
        ("/all", "ANY", "/{p+}", "GET"),
        ("/web/{p+}", "GET", "/{p+}", "GET"),
        ("/pets/mine", "DELETE", "/{p+}", "DELETE"),
        ("/full", "ANY", "/{p+}", "GET"),
    ]


def test_a_public_method_without_a_rival() -> None:
    """Without a greedy resource around it there is nothing to tell."""
    assert exemptions({"/": {"GET": PUBLIC}, "/{id}": {"OPTIONS": PUBLIC, "ANY": PUBLIC}, "/a": {"GET": guarded()}}) == []


def test_not_more_than_a_thousand_are_told() -> None:
    """Who has more than that sees what is meant, and the list is bounded."""
    many = {f"/a{number}": {"GET": guarded()} for number in range(2 * MAX_FOUND)}
    public = {f"/a{number}": {"GET": PUBLIC} for number in range(2 * MAX_FOUND)}

    assert len(leaks({**many, "/{p+}": {"ANY": PUBLIC}})) == MAX_FOUND
    assert len(exemptions({**public, "/{p+}": {"ANY": guarded()}})) == MAX_FOUND


def test_a_search_that_takes_too_many_steps_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found until then is told; nothing else happens."""
    routes = {
        "/a/b": {"GET": guarded()},
        "/c/d": {"GET": PUBLIC},
        "/{x}/{p+}": {"PUT": PUBLIC, "GET": guarded()},
        "/e/{y+}": {"GET": guarded()},
    }
    whole = Guards(routes, AUTHORIZERS)
    monkeypatch.setattr(search, "STEPS_PER_ROUTE", 0)

    for steps in range(40):
        monkeypatch.setattr(search, "STEPS", steps)
        assert set(Guards(routes, AUTHORIZERS).exemptions()) <= set(whole.exemptions())
        assert len(leaks(routes)) <= 2
    assert len(leaks(routes)) == 2


@pytest.mark.parametrize("depth", [1, 12])
def test_the_search_ends_where_templates_match_each_others_paths(depth: int) -> None:
    """Thousands of templates that overlap are searched in steps that grow with their number, and no faster."""
    names = ["/".join(path) for path in itertools.product(["a", "{x}"], repeat=depth)]
    names += [f"b{number}/{{x}}" for number in range(1000)] + [f"{{x}}/c{number}" for number in range(1000)]
    routes = {f"/{name}": {"GET" if index % 2 else "PUT": guarded("one", "a")} for index, name in enumerate(names)}
    guards = Guards({**routes, "/elsewhere": {"GET": PUBLIC}}, AUTHORIZERS)

    assert list(guards.leaks()) == []
    assert -2 * len(names) < guards._steps < 0


SEGMENTS = ["a", "b", "{x}", "{p+}"]
TEMPLATES = ["/" + "/".join(path) for length in (1, 2, 3) for path in itertools.product(SEGMENTS, repeat=length) if "{p+}" not in path[:-1]]
PATHS = [path for length in (1, 2, 3, 4) for path in itertools.product(["a", "b", "c"], repeat=length)]
ASKED = st.sampled_from([PUBLIC, guarded(), guarded("one", "a"), guarded("both")])
ROUTES = st.dictionaries(
    st.sampled_from(TEMPLATES), st.dictionaries(st.sampled_from(["GET", "PUT", "ANY"]), ASKED, max_size=2), min_size=1, max_size=7
)


def rank(template: str, path: tuple[str, ...]) -> tuple[int, ...] | None:
    """Say how well a template matches a path, smaller is better; None if it does not."""
    segments = parse(template)
    greedy = segments[-1].greedy
    if len(path) < len(segments) or (len(path) > len(segments) and not greedy):
        return None
    if any(not segment.parameter and segment.text != text for segment, text in zip(segments, path, strict=False)):
        return None
    return tuple(segment.parameter + segment.greedy for segment in segments)


def naive(routes: Mapping[str, Mapping[str, Method]], path: tuple[str, ...], method: str) -> tuple[str, Method] | None:
    """Find the template that answers, and what it asks for, by looking at all of them."""
    ranks = {template: rank(template, path) for template, methods in routes.items() if method in methods or "ANY" in methods}
    matching = {template: found for template, found in ranks.items() if found is not None}
    if not matching:
        return None
    best = min(matching, key=matching.__getitem__)
    return best, routes[best].get(method) or routes[best]["ANY"]


@given(ROUTES)
@settings(max_examples=80, deadline=None)
def test_a_leak_is_found_exactly_where_a_request_shows_it(routes: Mapping[str, Mapping[str, Method]]) -> None:
    """Of all paths and methods, those that end at another resource which asks for less are the ones that are told, and no others."""
    guards = Guards(routes, AUTHORIZERS)
    expected = set()
    for path, method, own in itertools.product(PATHS, METHODS - {"OPTIONS"}, ["GET", "PUT", "DELETE"]):
        here, there = naive(routes, path, own), naive(routes, path, method)
        if here and there and here[0] != there[0] and here[1].authorizer is not None:
            lacks = method not in routes[here[0]] and "ANY" not in routes[here[0]]
            less_specific = (rank(here[0], path) or ()) < (rank(there[0], path) or ())
            if lacks and less_specific and guards._asks_less(there[1], here[1]):
                expected.add((here[0], there[0], method))

    assert {(leak.template, leak.other, method) for leak in guards.leaks() for method in leak.methods} == expected


@given(ROUTES)
@settings(max_examples=80, deadline=None)
def test_a_leak_is_where_the_server_sends_the_request(routes: Mapping[str, Mapping[str, Method]]) -> None:
    """The index of a running server finds the other template for the path that is told, and the guarded one for its method."""
    index: Routes[str] = Routes()
    deployed = {}
    for template, methods in routes.items():
        with suppress(ValueError):  # two parameters at one level
            index.add(template, dict.fromkeys(methods, template))
            deployed[template] = methods

    for leak in Guards(deployed, AUTHORIZERS).leaks():
        path = re.sub(r"\{.*?\}", "value", leak.path)[1:].split("/")
        assert {index.find(path, method) for method in leak.methods} == {leak.other}
        assert index.find(path, leak.guarded) == leak.template
