"""Plain scalars: YAML 1.2's core schema, in which `no`, `on`, dates and 12:30 are text."""

import re
from typing import Final

_CORE: Final = re.compile(
    r"(?P<null>~|null|Null|NULL|)"
    r"|(?P<true>true|True|TRUE)|(?P<false>false|False|FALSE)"
    r"|(?P<int>[-+]?[0-9]{1,99})|0o(?P<octal>[0-7]{1,99})|0x(?P<hexadecimal>[0-9A-Fa-f]{1,99})"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<sign>[-+]?)\.(?:inf|Inf|INF)|(?P<nan>\.(?:nan|NaN|NAN))"
)
_WORDS: Final = {"null": None, "true": True, "false": False}
_BASES: Final = {"int": 10, "octal": 8, "hexadecimal": 16}


def resolve(text: str) -> str | int | float | bool | None:
    """Say what a plain scalar stands for.

    Args:
        text: as written, without quotes.

    Returns:
        Null, a boolean, a number, or the text itself.

    Source: YAML 1.2.2 section 10.3.2.
    """
    found = _CORE.fullmatch(text)
    if found is None:
        return text
    kind = found.lastgroup or ""
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in _BASES:
        return int(found[kind], _BASES[kind])
    return float(text.replace(".", "", 1) if kind in {"sign", "nan"} else text)
