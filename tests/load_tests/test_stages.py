"""The table of stages: loops and a profile side by side."""

from pathlib import Path

import stages

SERVED = {"no-op": 10.0, "hit": 30.0, "miss": 120.0}


def test_what_one_way_did_not_see_is_left_empty():
    """And the last row is what neither transport nor check explain."""
    kinds = {
        "hit": stages.Timed({"read": 3.0}, 8.0, {"read": 2.5}),
        "miss": stages.Timed({"read": 3.0, "verify": 20.0}, 70.0, {"verify": 21.0}),
    }
    assert stages.markdown(kinds, SERVED).splitlines()[3:] == [
        "| read | 3.0 | 2.5 | 3.0 |  |",
        "| verify |  |  | 20.0 | 21.0 |",
        "| **the whole check in this process**, log off | 8.0 | 8.0 | 70.0 | 70.0 |",
        "| **under load**, log off | 30.0 |  | 120.0 |  |",
        "| of it: beyond transport and check (cold caches, garbage collection) | 12.0 |  | 40.0 |  |",
    ]


def test_what_is_profiled_is_what_is_timed():
    """By the names of the same stages, so that each finds its row."""
    source = Path(stages.__file__).read_text()
    assert all(source.count(f'"{name}"') == 2 for name in stages.FUNCTIONS if name != "count it")
