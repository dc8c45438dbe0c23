"""However a path is spelled, what reaches the upstream met the rule of every route that the spelling can be read as."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Final
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authz_server.core.routes import ANY, Routes
from tests.e2e.stack import Edge, Server

# Every route takes another credential, so that a request which passes shows whose rule it met.
RESOURCES: Final[Mapping[str, Mapping[str, str]]] = {
    "/mine": {"GET": "id"},
    "/{name}": {"GET": "a"},
    "/mine/{p+}": {"GET": "b"},
    "/{name}/b:c": {"GET": "id"},
    "/{name}/{part}": {"GET": "none", "POST": "a"},
    "/a/b": {"POST": "id"},
    "/a/b,c": {ANY: "b"},
}
CONFIGURATION: Final = """\
version: 1
authorizers:
  users: {type: cognito_user_pools, provider_arns: [ARN]}
apis:
  spelled:
    routes:
ROUTES
user_pools:
  POOL: {jwks_uri: JWKS}
"""
TAKES: Final = {
    "none": "{authorization_type: NONE}",
    "id": "{authorizer: users}",
    "a": "{authorizer: users, authorization_scopes: [pets/read]}",
    "b": "{authorizer: users, authorization_scopes: [pets/write]}",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory, pool, cognito, transport) -> Iterator[Server]:
    """A server whose routes each take another credential."""
    lines = [
        f"      {template!r}: {{{', '.join(f'{method}: {TAKES[kind]}' for method, kind in methods.items())}}}"
        for template, methods in RESOURCES.items()
    ]
    configuration = CONFIGURATION.replace("ROUTES", "\n".join(lines))
    started = Server.start(tmp_path_factory.mktemp("server"), pool, cognito, "--transport", transport, configuration=configuration)
    yield started
    started.process.stop()


@pytest.fixture(scope="module")
def credentials(pool) -> Mapping[str, list[tuple[str, str]]]:
    """The headers that meet each rule, and no other rule but that of public routes."""
    tokens = {"id": pool.id_token(), "a": pool.access_token(scope="pets/read"), "b": pool.access_token(scope="pets/write")}
    return {"none": [], **{kind: [("authorization", token)] for kind, token in tokens.items()}}


def index() -> Routes[str]:
    """The same routes, leading to the credential that each takes."""
    made: Routes[str] = Routes()
    for template, methods in RESOURCES.items():
        made.add(template, methods)
    return made


ROUTES: Final = index()


def rules(path: str, method: str) -> set[str]:
    """List the credentials that the routes ask for which a path can be read as, each segment as it stands or undone once or twice."""
    segments = path.partition("?")[0][1:].split("/")
    readings = product(*({segment, unquote(segment), unquote(unquote(segment))} for segment in segments))
    return {rule for reading in readings if (rule := ROUTES.find("/".join(reading).split("/"), method)) is not None}


HARDENED: Final = {
    "%3A": "%3A",
    "%2C": "%2C",
    "%25": "%25",
    "%7E": "~",  # Envoy undoes the escapes of letters, digits and - . _ ~
    "%2D": "-",
    "%3B": 403,
    "%2F": 400,
    "%5C": 400,
    "%252F": 403,
    "%253A": 403,
}
PLAIN: Final = {**HARDENED, "%7E": "%7E", "%2D": "%2D", "%2F": 403, "%5C": 403}
ISTIO: Final = {**HARDENED, "%2F": "/", "%5C": "/"}  # decodes slashes, for the check and for the upstream
ESCAPES: Final = {"plain": PLAIN, "Istio": ISTIO}


@pytest.mark.parametrize("escape", HARDENED)
def test_what_the_upstream_gets_for_an_escape(edge: Edge, credentials: Mapping[str, list[tuple[str, str]]], escape: str) -> None:
    """An escape in a value reaches the upstream as it was sent, or as Envoy normalised it before the check; or the request ends here."""
    expected = ESCAPES.get(edge.variant, HARDENED)[escape]
    answer = edge.send("GET", f"/x{escape}y", credentials["a"])

    if isinstance(expected, int):
        assert (answer.status, answer.upstream) == (expected, None)
    else:
        assert answer.upstream is not None
        assert answer.upstream["path"] == f"/x{expected}y"


def test_an_escape_that_leads_elsewhere_ends_here_or_is_normalised_before(
    edge: Edge, credentials: Mapping[str, list[tuple[str, str]]]
) -> None:
    """`/m%69ne` never meets the rule of `/{name}`: it is refused as sent, and Envoy's normalisation makes `/mine` of it."""
    statuses = {kind: edge.send("GET", "/m%69ne", headers).status for kind, headers in credentials.items()}

    refused = dict.fromkeys(credentials, 403)
    assert statuses == (refused if edge.variant == "plain" else {"none": 401, "id": 200, "a": 401, "b": 401})


@pytest.mark.parametrize("path", ["/mine/", "/x/", "/mine/a/", "/x/y/"])
def test_a_slash_at_the_end_reaches_the_upstream_as_sent(edge: Edge, credentials: Mapping[str, list[tuple[str, str]]], path: str) -> None:
    """The route is that of the path without its slash, and the upstream gets the path with it."""
    (rule,) = rules(path, "GET")
    answer = edge.send("GET", path, credentials[rule])

    assert answer.upstream is not None
    assert answer.upstream["path"] == path
    assert rule == "none" or edge.send("GET", path).status == 401


pieces = st.sampled_from(
    [
        *["mine", "m%69ne", "%6Dine", "min%65", "a", "%61", "b:c", "b%3Ac", "b%3ac", "b,c", "b%2Cc", "%62,c", "b", "%62", "x", "%2D"],
        *[
            "",
            ".",
            "..",
            "%2e",
            "%2E%2E",
            "%2F",
            "%5C",
            "%3B",
            ";",
            ";x=1",
            "%00",
            "%25",
            "%2525",
            "%252F",
            "%256d",
            "%C3%A9",
            "%c0%af",
            "%zz",
            "~",
        ],
    ]
)
spellings = st.lists(st.lists(pieces, min_size=1, max_size=2).map("".join), min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=spellings, method=st.sampled_from(["GET", "POST"]), kind=st.sampled_from(sorted(TAKES)))
def test_no_spelling_reaches_a_route_under_another_routes_rule(
    edge: Edge, credentials: Mapping[str, list[tuple[str, str]]], path: str, method: str, kind: str
) -> None:
    """Whatever passes with a credential leads, read in any way, to routes which that credential opens."""
    answer = edge.send(method, path, credentials[kind])

    if answer.upstream is not None:
        asked = rules(answer.upstream["path"], method)
        assert asked - {"none"} <= {kind}
        assert asked
    else:
        assert answer.status in {307, 400, 401, 403, 404}
