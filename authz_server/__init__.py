"""The Amazon API Gateway Cognito authorizer, for people who run Envoy: what Python programs embed.

Example:
    with authz_server.load("authz.yaml") as gateway:
        decision = gateway.decide(Request("GET", "api.example.com", "/prod/pets", {"authorization": token}))
"""

TYPE_CHECKING = False  # as typing has it: its import would delay the handlers of signals, see __main__

if TYPE_CHECKING:
    from typing import Any

    from authz_server.config import ConfigurationError
    from authz_server.core.decisions import Allow, Deny
    from authz_server.core.observation import Observation
    from authz_server.core.reasons import Reason
    from authz_server.core.request import Request
    from authz_server.live import LiveGateway, load
    from authz_server.revocations.source import RevocationsError

__version__ = "0.1.0"
__all__ = ["Allow", "ConfigurationError", "Deny", "LiveGateway", "Observation", "Reason", "Request", "RevocationsError", "load"]

_HOMES = {
    "Allow": "core.decisions",
    "ConfigurationError": "config",
    "Deny": "core.decisions",
    "LiveGateway": "live",
    "Observation": "core.observation",
    "Reason": "core.reasons",
    "Request": "core.request",
    "RevocationsError": "revocations.source",
    "load": "live",
}


def __getattr__(name: str) -> "Any":
    """Import a public name when it is first asked for, so that importing one room does not import them all."""
    from importlib import import_module  # noqa: PLC0415 - as said

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
