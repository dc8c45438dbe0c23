"""Parts of the report beside its table: what goals want to know and no run of one target tells."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import disturbances
import memory
import targets
from scale import DIFFERENT, TURNS, Bench

FEW_ROUTES = 10


class Found(NamedTuple):
    """What a part found out.

    Args:
        text: Markdown.
        figures: for the goals, by what they are.
    """

    text: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured.

    Args:
        tokens: that a server gets to know.
        routes: of a large configuration.
        paths: that are asked for there.
        turns: in which it is compared with a small one.
        repetitions: of each disturbance.
        seconds: that each of them lasts.
    """

    tokens: int
    routes: int
    paths: int
    turns: int
    repetitions: int
    seconds: float


FULL = Extent(tokens=100_000, routes=100_000, paths=DIFFERENT, turns=TURNS, repetitions=3, seconds=4.0)
SMOKE = Extent(tokens=1_000, routes=1_000, paths=200, turns=1, repetitions=1, seconds=1.5)

Part = Callable[[targets.Stage, Extent], Found]


def memory_of(metadata: str, tokens: int) -> str:
    """Name a figure: MiB that known tokens take."""
    return f"asyncio, dynamic metadata {metadata}: MiB more with {tokens:,} tokens known"


def cost_of(kind: str, routes: int) -> str:
    """Name a figure: processor time of a check with many routes, in those with few."""
    return f"{kind} in the process, CPU: with {routes:,} routes, of that with {FEW_ROUTES}"


def delay_of(door: str, meanwhile: str) -> str:
    """Name a figure: p99 while something else happens, in those of the quiet one."""
    return f"{door}, p99 at half load while {meanwhile}: of the quiet one"


def known_tokens(stage: targets.Stage, extent: Extent) -> Found:
    """Measure memory."""
    some = memory.measure(stage, extent.tokens)
    return Found(memory.markdown(some), {memory_of(one.metadata, extent.tokens): one.more for one in some})


def many_routes(stage: targets.Stage, extent: Extent) -> Found:
    """Measure the cost of many routes."""
    found = Bench(stage.folder).wider(FEW_ROUTES, extent.routes, extent.paths, extent.turns)
    figures = {cost_of(kind, extent.routes): ratio for kind, ratio in found.items()}
    return Found("\n".join(f"{name}: {ratio:.2f}" for name, ratio in figures.items()) + "\n", figures)


def disturbed(door: str) -> Part:
    """Measure a door while something else happens."""

    def part(stage: targets.Stage, extent: Extent) -> Found:
        found = disturbances.measure(stage, door, extent.repetitions, extent.seconds)
        return Found(found.markdown(), {delay_of(door, name): ratio for name, ratio in found.ratios().items()})

    return part


PARTS: Mapping[str, Part] = {
    "Memory of known tokens": known_tokens,
    "Many routes": many_routes,
    **{f"While something else happens, {door}": disturbed(door) for door in targets.DOORS},
}
