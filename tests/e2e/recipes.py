"""The recipes of docs/recipes.md, put where they say they belong."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from authz_server.demo import envoy
from tests.e2e.stack import CONFIGURATION, ext_authz, manager

PAGE = Path(__file__).parents[2] / "docs/recipes.md"


def sections() -> dict[str, str]:
    """Give the text of each section of the page, by its title."""
    _, *parts = re.split(r"^## (.+)\n", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def blocks(section: str, language: str = "yaml") -> list[tuple[str, str]]:
    """Find the blocks of a section: where each belongs, and what it is."""
    return re.findall(rf"^```{language}\n# ([^\n]+)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Recipe:
    """Two configurations with a recipe in them.

    Args:
        envoy: Envoy's.
        server: this server's, with the placeholders of `stack.CONFIGURATION`.
    """

    envoy: dict[str, Any]
    server: dict[str, Any]

    @classmethod
    def of(cls, title: str) -> Self:
        """Put every block of a section in its place."""
        recipe = cls(envoy.template(), yaml.safe_load(CONFIGURATION))
        found = blocks(sections()[title])
        assert found
        for place, text in found:
            PLACES[place](recipe, yaml.safe_load(text))
        return recipe

    def filters(self) -> list[dict[str, Any]]:
        """Envoy's http_filters; the first is ext_authz in the sample, the last the router."""
        return manager(self.envoy)["http_filters"]

    def position(self) -> int:
        """Where ext_authz stands among them."""
        return next(number for number, entry in enumerate(self.filters()) if entry["name"].endswith("ext_authz"))


def _before(recipe: Recipe, more: list[dict[str, Any]]) -> None:
    recipe.filters()[recipe.position() : recipe.position()] = more


def _after(recipe: Recipe, more: list[dict[str, Any]]) -> None:
    recipe.filters()[recipe.position() + 1 : recipe.position() + 1] = more


def _mutations(recipe: Recipe, more: list[dict[str, Any]]) -> None:
    (extension,) = manager(recipe.envoy)["early_header_mutation_extensions"]
    extension["typed_config"]["mutations"] += more


def _host(recipe: Recipe) -> dict[str, Any]:
    (host,) = manager(recipe.envoy)["route_config"]["virtual_hosts"]
    return host


def _access_log(recipe: Recipe, more: dict[str, str]) -> None:
    (log,) = manager(recipe.envoy)["access_log"]
    log["typed_config"]["log_format"]["json_format"].update(more)


def _clusters(recipe: Recipe, more: list[dict[str, Any]]) -> None:
    recipe.envoy["static_resources"]["clusters"] += more


PLACES: dict[str, Callable[[Recipe, Any], None]] = {
    "in authz.yaml, in the api": lambda recipe, more: recipe.server["apis"]["petstore"].update(more),
    "in authz.yaml, among authorizers": lambda recipe, more: recipe.server["authorizers"].update(more),
    "in http_filters, before ext_authz": _before,
    "in http_filters, after ext_authz": _after,
    "in the ext_authz filter": lambda recipe, more: ext_authz(recipe.envoy).update(more),
    "in patterns of allowed_headers": lambda recipe, more: ext_authz(recipe.envoy)["allowed_headers"]["patterns"].extend(more),
    "in mutations of strip-identity-headers": _mutations,
    "in the HttpConnectionManager": lambda recipe, more: manager(recipe.envoy).update(more),
    "in the virtual host": lambda recipe, more: _host(recipe).update(more),
    "in json_format of the access log": _access_log,
    "in static_resources": lambda recipe, more: recipe.envoy["static_resources"].update(more),
    "in clusters": _clusters,
}
