"""What docs/recipes.md promises, through a real Envoy that was set up as it says."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from authz_server.demo import envoy
from authz_server.demo.process import free_port
from authz_server.demo.upstream import Upstream
from authz_server.testing import LocalCognito, UserPool
from tests.e2e.recipes import PLACES, Recipe, blocks, sections
from tests.e2e.stack import Edge, Server, patient


class Cooked(NamedTuple):
    """A recipe that runs.

    Args:
        edge: Envoy.
        server: this server.
        stop: ends both.
    """

    edge: Edge
    server: Server
    stop: Callable[[], None]


Cook = Callable[[str], Cooked]


@pytest.fixture(scope="module")
def cook(tmp_path_factory, pool: UserPool, cognito: LocalCognito) -> Iterator[Cook]:
    """Start this server and Envoy with a recipe; what ran before ends."""
    folder: Path = tmp_path_factory.mktemp("recipes")
    upstream = Upstream()
    running: dict[str, Cooked] = {}

    def start(title: str) -> Cooked:
        if title not in running:
            end()
            recipe = Recipe.of(title)
            configuration = yaml.safe_dump(recipe.server)
            server = Server.start(folder, pool, cognito, "--transport", "asyncio", configuration=configuration)
            port = free_port()
            moved = envoy.moved(recipe.envoy, listener=port, authz=server.port, upstream=upstream.port)
            process = envoy.start(patient(moved), port=port, folder=folder)

            def stop() -> None:
                process.stop()
                server.process.stop()
                assert "deprecated" not in process.log.read_text().lower()
                process.log.unlink()

            running[title] = Cooked(Edge(port=port, variant=title), server, stop)
        return running[title]

    def end() -> None:
        for title in list(running):
            running.pop(title).stop()

    yield start
    end()
    upstream.close()


def bearer(token: str) -> tuple[str, str]:
    """Write the header that holds a token."""
    return "authorization", f"Bearer {token}"


def test_every_block_says_where_it_belongs() -> None:
    """A block of a recipe that no test puts anywhere would be text that nobody has tried."""
    for title, text in sections().items():
        assert text.count("```yaml") == len(blocks(text)), title
        assert {place for place, _ in blocks(text)} <= PLACES.keys(), title


@pytest.mark.parametrize(
    ("groups", "status"),
    [(["admins"], 200), (["staging", "admins"], 200), (["a,admins"], 403), (["admin"], 403), ([], 403), (None, 403)],
    ids=str,
)
def test_rbac_matches_one_of_several_groups(cook: Cook, pool: UserPool, groups: list[str] | None, status: int) -> None:
    """Envoy's RBAC lets in who is in a group, whatever else they are in, and takes a group's name with a comma for one name."""
    edge = cook("Groups in Envoy's RBAC").edge
    answer = edge.send("GET", "/prod/pets", [bearer(pool.id_token(**{"cognito:groups": groups}))])

    assert answer.status == status
    assert (answer.body == "RBAC: access denied") == (status == 403)


FORGED = [(f"x-forwarded-{name}", "root") for name in ("user", "email", "groups", "preferred-username")]


def test_the_headers_of_oauth2_proxy_carry_claims(cook: Cook, pool: UserPool) -> None:
    """Each holds the claim of the token, and nothing of what the client sent by that name."""
    ada = pool.users["ada"]
    seen = cook("Headers of oauth2-proxy").edge.send("GET", "/prod/pets", [bearer(pool.id_token()), *FORGED]).upstream

    assert {name: seen["headers"][name] for name, _ in FORGED} == {
        "x-forwarded-user": ada.sub,
        "x-forwarded-email": "ada@example.com",
        "x-forwarded-groups": "admins,staging",
        "x-forwarded-preferred-username": "ada",
    }


def test_the_headers_of_oauth2_proxy_are_stripped(cook: Cook) -> None:
    """A public route has nothing to put in their place, and passes none of a client's: this server sees to it, and so does the edge."""
    cooked = cook("Headers of oauth2-proxy")
    seen = cooked.edge.send("GET", "/prod/status", FORGED).upstream
    answer = cooked.server.check("GET", "/prod/status", dict(FORGED))

    assert not any(name in seen["headers"] for name, _ in FORGED)
    assert "x-forwarded-for" in seen["headers"]
    assert {name for name, _ in FORGED} <= set(answer.ok_response.headers_to_remove)
