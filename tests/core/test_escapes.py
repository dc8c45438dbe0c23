"""Escapes in a path are refused where undoing them leads to another route, and are values everywhere else."""

from itertools import product
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from authz_server.core import paths
from authz_server.core.decisions import Deny
from authz_server.core.gateway import Api, Claims, Gateway, Route
from authz_server.core.hosts import Hosts
from authz_server.core.reasons import Reason
from authz_server.core.request import Request
from authz_server.core.routes import Routes


def api(name: str, base_path: tuple[str, ...], resources: dict[str, str]) -> Api:
    """Make an api of public routes: templates, and the methods of each, separated by spaces."""
    routes: Routes[Route] = Routes()
    for template, methods in resources.items():
        routes.add(template, {method: Route(label=f"{method} {template}", authorizer=None) for method in methods.split()})
    return Api(name=name, base_path=base_path, routes=routes, authorizers={}, claims=Claims(), identity_headers=())


def gateway(*apis: Api) -> Gateway:
    """Put apis behind any host."""
    return Gateway(apis={each.name: each for each in apis}, hosts=Hosts(("", each.base_path, each) for each in apis))


def reached(made: Gateway, path: str, method: str = "GET") -> str:
    """Name the route that a request reaches, or the reason why it reaches none."""
    match = made.match(Request(method, "api.test", path))
    return match.reason.label if isinstance(match, Deny) else match[1].label


PETS = api("pets", (), {"/pets/mine": "GET", "/pets/{petId}": "GET PUT", "/pets/{petId}/toys": "GET", "/a:b/{p+}": "ANY", "/{x}/c": "GET"})


@pytest.mark.parametrize(
    ("path", "method", "route"),
    [
        pytest.param("/pets/%6dine", "GET", "escape_refused", id="a letter of a sibling"),
        pytest.param("/pets/%6D%69ne", "GET", "escape_refused", id="two letters of a sibling"),
        pytest.param("/pets/%6dine/", "GET", "escape_refused", id="a letter of a sibling, and a slash"),
        pytest.param("/pets/%6dine", "PUT", "PUT /pets/{petId}", id="the sibling does not declare the method"),
        pytest.param("/pets/%6dine/toys", "GET", "GET /pets/{petId}/toys", id="the sibling has no such child"),
        pytest.param("/pets/%6dinx", "GET", "GET /pets/{petId}", id="no sibling"),
        pytest.param("/pets/eu-west-1%3A0f6b", "GET", "GET /pets/{petId}", id="an identity id"),
        pytest.param("/pets/a%2Cb%7E%2D%5F", "GET", "GET /pets/{petId}", id="comma, tilde, hyphen, underscore"),
        pytest.param("/pets/100%25", "GET", "GET /pets/{petId}", id="a per cent sign"),
        pytest.param("/pets/a%20b", "GET", "GET /pets/{petId}", id="a space"),
        pytest.param("/pets/%C3%A9", "GET", "GET /pets/{petId}", id="beyond ASCII"),
        pytest.param("/a%3Ab/c", "GET", "escape_refused", id="an escaped colon of a literal, where a parameter takes it"),
        pytest.param("/a%3Ab/d", "GET", "no_route", id="an escaped colon of a literal, where nothing takes it"),
        pytest.param("/a:b/d%3Ae", "POST", "ANY /a:b/{p+}", id="below a greedy parameter"),
        pytest.param("/p%65ts/mine", "GET", "no_route", id="escaped, the path leads nowhere"),
    ],
)
def test_an_escape_is_refused_only_where_it_leads_elsewhere(path: str, method: str, route: str) -> None:
    """The path as sent is served where its reading with escapes undone once leads to the same route."""
    assert reached(gateway(PETS), path, method) == route


def test_what_is_refused_is_named() -> None:
    """The denial names the api and the first escape of a character that resources are written with; nothing else of the path."""
    denied = gateway(PETS).match(Request("GET", "api.test", "/pets/%6d%69n%65"))

    assert denied == Deny(reason=Reason.ESCAPE_REFUSED, api="pets")
    assert isinstance(denied, Deny)
    assert denied.details == (("escape", "%6d"),)


def test_an_escape_in_a_base_path_leads_to_no_other_api() -> None:
    """`/pro%64/x` is refused where an api without base path would take it and the api below /prod would take it undone."""
    made = gateway(api("prod", ("prod",), {"/x": "GET"}), api("all", (), {"/{proxy+}": "GET"}))

    assert reached(made, "/pro%64/x") == "escape_refused"
    assert reached(made, "/pro%64/y") == "escape_refused"
    assert reached(made, "/pro%65/x") == "GET /{proxy+}"


def test_a_refused_escape_is_refused_again() -> None:
    """A path that was served does not let another spelling of it pass, nor the other way round."""
    made = gateway(PETS)

    for _ in range(2):
        assert reached(made, "/pets/mine") == "GET /pets/mine"
        assert reached(made, "/pets/%6dine") == "escape_refused"
        assert reached(made, "/pets/%6dinx") == "GET /pets/{petId}"


# What the encoders of clients make of a segment: encodeURIComponent, Python's quote and Go's PathEscape differ in what they leave alone.
@pytest.mark.parametrize(
    "safe", [pytest.param("!'()*", id="encodeURIComponent"), pytest.param("", id="Python"), pytest.param("$&+:=@", id="Go")]
)
@pytest.mark.parametrize(
    "value", ["eu-west-1:0f6b", "2026-12-01T10:00:00Z", "arn:aws:sns:eu-west-1:1:t", "a,b", "Ada Lovelace", "é!", "a@b.c"]
)
def test_values_pass_whatever_a_client_escapes(value: str, safe: str) -> None:
    """Identity ids, times, ARNs, names and addresses reach `{petId}` escaped as usual encoders escape them."""
    assert reached(gateway(PETS), "/pets/" + quote(value, safe=safe)) == "GET /pets/{petId}"


segment = st.sampled_from(["a", "b", "a:b", "{x}", "{p+}"])
templates = st.lists(segment, min_size=1, max_size=3).map(lambda parts: parts[: parts.index("{p+}") + 1] if "{p+}" in parts else parts)
sent = st.lists(st.sampled_from(["a", "b", "%61", "%62", "a%3Ab", "%61%3Ab", "a:b", "%20", "c", "%63"]), min_size=1, max_size=4)


@given(st.lists(st.tuples(templates, st.sampled_from(["GET", "PUT", "ANY"])), max_size=8), sent)
def test_no_upstream_is_led_to_another_route(resources: list[tuple[list[str], str]], path: list[str]) -> None:
    """Whichever escapes of a path that passes are undone on the way, segment by segment, the same route is found."""
    routes: Routes[Route] = Routes()
    for parts, method in resources:
        template = "/" + "/".join(parts)
        try:
            routes.add(template, {method: Route(label=f"{method} {template}", authorizer=None)})
        except ValueError:
            continue
    made = gateway(Api(name="a", base_path=(), routes=routes, authorizers={}, claims=Claims(), identity_headers=()))
    match = made.match(Request("GET", "api.test", "/" + "/".join(path)))
    assume(not isinstance(match, Deny))

    for reading in product(*({part, paths.unescape([part])[0]} for part in path)):
        assert routes.find(list(reading), "GET") is match[1]
