"""What one thread makes and others read can not be changed."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import authz_server.core
import authz_server.keys


def values() -> Iterator[type]:
    """Find every dataclass of the rooms that checks walk through."""
    for room in (authz_server.core, authz_server.keys):
        for module in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
            for thing in vars(importlib.import_module(module.name)).values():
                if dataclasses.is_dataclass(thing) and thing.__module__ == module.name:
                    yield thing


@pytest.mark.parametrize("value", list(values()), ids=lambda value: value.__name__)
def test_values_are_frozen(value: type) -> None:
    """A value has no attribute that could be set, neither its own nor a new one."""
    assert value.__dataclass_params__.frozen
    assert "__slots__" in vars(value)


@pytest.mark.parametrize("value", [value for value in values() if len(dataclasses.fields(value)) > 2], ids=lambda value: value.__name__)
def test_values_of_many_parts_are_made_by_name(value: type) -> None:
    """Nobody can mix up the order of three parts or more."""
    assert all(field.kw_only for field in dataclasses.fields(value))
