"""How inputs are changed where libFuzzer's own changes would seldom mean anything."""

import random
from collections.abc import Callable, Sequence

Mutate = Callable[[bytes], bytes]  # libFuzzer's own


def lines(octets: bytes, chance: random.Random, anyhow: Mutate, words: Sequence[bytes]) -> bytes:
    """Change a text that is made of lines.

    Args:
        octets: the text.
        chance: chooses the change.
        anyhow: changes octets without regard to what they mean.
        words: what may stand in such a text.

    Returns:
        Another text.
    """
    rows = octets.split(b"\n")
    at, other = chance.randrange(len(rows)), chance.randrange(len(rows))
    match chance.randrange(8):
        case 0:
            rows.insert(other, rows[at])
        case 1:
            del rows[at]
        case 2:
            rows[at], rows[other] = rows[other], rows[at]
        case 3:  # depth
            rows[at] = b" " * chance.randrange(9) + rows[at].lstrip(b" ")
        case 4 | 5:  # value
            rows[at] = rows[at].partition(b":")[0] + b": " + chance.choice(words)
        case 6:  # key
            rows[at] = rows[at][: len(rows[at]) - len(rows[at].lstrip())] + chance.choice(words) + b":" + rows[at].partition(b":")[2]
        case _:
            return anyhow(octets)
    return b"\n".join(rows)


def spliced(octets: bytes, chance: random.Random, anyhow: Mutate, words: Sequence[bytes]) -> bytes:
    """Change a text without lines: put a word somewhere, in the place of some octets, or leave it to libFuzzer.

    Args:
        octets: the text.
        chance: chooses the change.
        anyhow: changes octets without regard to what they mean.
        words: what may stand in such a text.

    Returns:
        Another text.
    """
    if chance.random() < 0.5:
        return anyhow(octets)
    at = chance.randrange(len(octets) + 1)
    return octets[:at] + chance.choice(words) + octets[at + chance.choice((0, 0, 1, 2, 5)) :]
