"""Configuration: a file, loaded with every mistake told at once, and compiled into a gateway."""

from authz_server.config.compile import compile_gateway, user_pools
from authz_server.config.load import load
from authz_server.config.loaded import Loaded
from authz_server.config.problems import ConfigurationError, Problem
from authz_server.config.schema import json_schema

__all__ = ["ConfigurationError", "Loaded", "Problem", "compile_gateway", "json_schema", "load", "user_pools"]
