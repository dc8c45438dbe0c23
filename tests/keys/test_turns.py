"""Turns at fetching: whoever fetches holds a place, and no crowd keeps another from its own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from authz_server.keys import turns
from authz_server.keys.turns import Turns


@dataclass(eq=False)
class Keys:
    """What turns need to know of keys."""

    name: str
    waiting: int = 0


class Room:
    """Fetches that take their turns, and end when a test says so."""

    def __init__(self, places: int) -> None:
        self.turns = Turns(places)
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *all_keys: Keys) -> None:
        """Let keys come, one after the other."""
        for keys in all_keys:
            self._ends[keys.name] = asyncio.Event()
            self.tasks[keys.name] = asyncio.create_task(self._fetch(keys))
        await self.settle()

    async def until(self, begun: int) -> None:
        """Wait until so many have begun."""
        while len(self.begun) < begun:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)

    async def end(self, *names: str) -> None:
        """Let fetches end."""
        for name in names:
            self._ends[name].set()
            await self.settle()

    async def settle(self) -> None:
        """Let everything happen that is going to."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def _fetch(self, keys: Keys) -> None:
        async with self.turns.turn(keys):
            self.begun.append(keys.name)
            await self._ends[keys.name].wait()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody lose a place by time, unless a test says otherwise."""
    monkeypatch.setattr(turns, "HOLD_SECONDS", 3_600.0)


def played(story: Callable[[Room], Awaitable[None]], places: int = 1) -> list[str]:
    """Let a story happen in a room, and tell who fetched, in order."""

    async def play() -> list[str]:
        room = Room(places)
        await story(room)
        for task in room.tasks.values():
            task.cancel()
        return room.begun

    return asyncio.run(play())


def test_so_many_fetch_at_once():
    """Whoever comes while a place is free has it; the next one has the place of the first to end."""

    async def story(room: Room) -> None:
        await room.come(*map(Keys, "abcd"))
        assert room.begun == ["a", "b"]
        await room.end("b")

    assert played(story, places=2) == ["a", "b", "c"]


def test_both_lines_move_whatever_the_other_one_holds():
    """Of a crowd that checks wait for and a crowd that is due each has every second place, so that one of the other kind is soon served."""

    async def story(room: Room) -> None:
        await room.come(Keys("first"), *(Keys(f"asked {number}", waiting=1) for number in range(3)))
        await room.come(*(Keys(f"due {number}") for number in range(3)))
        await room.end("first", "due 0", "asked 0", "due 1", "asked 1", "due 2")

    assert played(story) == ["first", "due 0", "asked 0", "due 1", "asked 1", "due 2", "asked 2"]


def test_keys_that_a_check_begins_to_wait_for_change_the_line():
    """A good pool behind thousands that are silent is fetched as soon as somebody asks for it."""

    async def story(room: Room) -> None:
        crowd = [Keys(f"silent {number}") for number in range(1_000)]
        wanted = Keys("wanted")
        await room.come(*crowd, wanted)
        room.turns.prefer(wanted)
        room.turns.prefer(wanted)
        room.turns.prefer(crowd[0])  # which is being fetched: nothing changes
        await room.end("silent 0", "silent 1")

    assert "wanted" in played(story)[1:3]


def test_a_place_is_held_for_a_while_only(monkeypatch):
    """Where nobody answers the next ones are tried all the same, and whoever ends later gives no place away twice."""
    monkeypatch.setattr(turns, "HOLD_SECONDS", 0.01)

    async def story(room: Room) -> None:
        await room.come(*map(Keys, "abc"))
        await room.until(begun=3)
        await asyncio.sleep(0.05)
        monkeypatch.setattr(turns, "HOLD_SECONDS", 3_600.0)
        await room.come(*map(Keys, "xyz"))
        await room.end("a", "b", "c")

    assert played(story) == ["a", "b", "c", "x"]


def test_a_place_that_was_given_back_is_not_taken_from_its_next_turn(monkeypatch):
    """The end of a turn ends its time, too."""
    monkeypatch.setattr(turns, "HOLD_SECONDS", 0.05)

    async def story(room: Room) -> None:
        keys = Keys("a")
        await room.come(keys)
        await room.end("a")
        monkeypatch.setattr(turns, "HOLD_SECONDS", 3_600.0)
        await room.come(keys, Keys("b"))
        await asyncio.sleep(0.1)

    assert played(story) == ["a", "a"]


def test_whoever_goes_gives_the_place_back():
    """A pool that leaves the configuration while it stands in line, or as its turn comes, or during its fetch, keeps no place."""

    async def story(room: Room) -> None:
        await room.come(*map(Keys, "abcd"))
        room.tasks["b"].cancel()
        await room.settle()
        room._ends["a"].set()
        await asyncio.sleep(0)  # its fetch ends
        room.tasks["c"].cancel()  # its turn has come, and it does not know
        await room.settle()
        assert room.begun == ["a", "d"]
        await room.come(Keys("e"))
        room.tasks["d"].cancel()
        await room.settle()

    assert played(story) == ["a", "d", "e"]


def test_many_that_go_at_one_moment_leave_nothing_behind():
    """Those whose turn would come next may be about to go themselves."""

    async def story(room: Room) -> None:
        await room.come(*map(Keys, "abc"))
        for name in "abc":
            room.tasks[name].cancel()
        await room.settle()
        assert all(task.cancelled() for task in room.tasks.values())
        await room.come(Keys("d"))

    assert played(story) == ["a", "d"]
