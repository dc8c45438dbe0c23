"""Variables of the environment that look like options of ours and are read by none: an option that was meant is not in force."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from authz_server.cli.options import PREFIX
from authz_server.config.problems import closest

_PROTECTION: Final = re.compile(r"(?:^|_)(?:M?TLS|SSL|CERT|CAS?(?![^_])|SANS?(?![^_])|ALLOW|SPIFFE|SOCKET|REVO|PASSWORD|STATE)")

# What Kubernetes gives every container for a Service called `authz`, or anything that begins with `authz-`.
_OF_SERVICE: Final = re.compile(
    r"[A-Z0-9_]+_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_PORT_OF_SERVICE: Final = re.compile(r"(?:tcp|udp|sctp)://\S+")


class Unread(NamedTuple):
    """A variable that no option reads.

    Args:
        name: as it is set.
        meant: the variable of an option with much the same name, or None.
    """

    name: str
    meant: str | None

    @property
    def protects(self) -> bool:
        """Whether it resembles an option that keeps somebody or something out."""
        return any(_PROTECTION.search(name.upper().removeprefix(PREFIX)) for name in (self.name, self.meant or ""))

    def __str__(self) -> str:
        return f"{self.name!r} (did you mean {self.meant!r}?)" if self.meant else f"{self.name!r}"


def unread(environment: Mapping[str, str], variables: Collection[str], config: Path) -> list[Unread]:
    """Find the variables that begin with `AUTHZ_`, in any case, and that nothing reads.

    Args:
        environment: value by name.
        variables: that options read.
        config: the configuration, which may read others.

    Returns:
        In the order of the environment. Variables of Kubernetes' Services are left out.
    """
    found = [name for name, value in environment.items() if _is_ours(name) and name not in variables and not _is_of_service(name, value)]
    if not found:
        return []
    read = _read_by(config)
    short = [variable.removeprefix(PREFIX) for variable in variables]  # with the prefix, all of them resemble each other
    guesses = {name: closest(name[len(PREFIX) :], short) for name in found if name not in read}
    return [Unread(name, guess and PREFIX + guess) for name, guess in guesses.items()]


def _is_ours(name: str) -> bool:
    return name.upper().startswith(PREFIX)


def _is_of_service(name: str, value: str) -> bool:
    """Tell a variable of a Service, such as AUTHZ_PORT=tcp://10.0.0.1:9000, from AUTHZ_PORT=9000.

    Source: Kubernetes, "Service: Environment variables"; kubelet's `envvars.FromServices`.
    """
    return _OF_SERVICE.fullmatch(name) is not None or (name.endswith("_PORT") and _PORT_OF_SERVICE.fullmatch(value) is not None)


def _read_by(config: Path) -> frozenset[str]:
    from authz_server.config import ConfigurationError, documents, variables  # noqa: PLC0415 - brings parts that a supervisor does not need

    try:
        return variables.named(documents.from_file(config).text)
    except ConfigurationError:  # the load says why
        return frozenset()
