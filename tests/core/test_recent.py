"""What was found lately is kept within a bound."""

from authz_server.core.recent import Recent


def test_what_is_asked_for_now_pushes_out_what_was() -> None:
    """A full one begins anew, so that no crowd of odd keys can keep the usual ones out for good."""
    recent = Recent[str, int](2)
    for number, key in enumerate("abcd"):
        recent.keep(key, number)
        assert recent.get(key) == number

    assert recent == {"c": 2, "d": 3}
