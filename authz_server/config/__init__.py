"""Configuration: a file, loaded with every mistake told at once, and compiled into a gateway."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from authz_server.config.compile import compile_gateway, user_pools
    from authz_server.config.loaded import Loaded
    from authz_server.config.loading import load
    from authz_server.config.problems import ConfigurationError, Problem
    from authz_server.config.schema import json_schema

__all__ = ["ConfigurationError", "Loaded", "Problem", "compile_gateway", "json_schema", "load", "user_pools"]

_HOMES = {
    "ConfigurationError": "problems",
    "Loaded": "loaded",
    "Problem": "problems",
    "compile_gateway": "compile",
    "json_schema": "schema",
    "load": "loading",
    "user_pools": "compile",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: a process that serves checks needs no schema."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
