"""How tests of the configuration write a file and read what is wrong with it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from authz_server.config import ConfigurationError, Loaded, load


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Loaded]:
    """Load a text as a configuration."""

    def configure(text: str | bytes, **environment: str) -> Loaded:
        path = tmp_path / "authz.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(path, environment)

    return configure


@pytest.fixture
def problems(configure: Callable[..., Loaded]) -> Callable[..., list[str]]:
    """Load a text as a configuration: its problems as `line:column: message`, none for a good one."""

    def problems(text: str | bytes, **environment: str) -> list[str]:
        try:
            configure(text, **environment)
        except ConfigurationError as error:
            return [f"{problem.line}:{problem.column}: {problem.message}" for problem in error.problems]
        return []

    return problems


@pytest.fixture
def refuses(problems: Callable[..., list[str]]) -> Callable[..., None]:
    """Require exactly these problems of a text, each at its `»`; the marks are taken out first."""

    def refuses(marked: str, *messages: str, **environment: str) -> None:
        *before, rest = marked.split("»")
        places = []
        for count in range(1, len(before) + 1):
            lines = "".join(before[:count]).split("\n")
            places.append(f"{len(lines)}:{len(lines[-1]) + 1}")
        expected = [f"{place}: {message}" for place, message in zip(places, messages, strict=True)]
        assert problems("".join(before) + rest, **environment) == expected

    return refuses
