"""A client's header that folds to the name of an identity header is found, whatever stands in place of its hyphens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core.aliases import Aliases

ALIASES = Aliases(["x-auth-sub", "x-auth-groups"])
ODD = Aliases(["x-auth-sub", "x-user_name"])
SEPARATORS = "!#$%&'*+._^`|~"  # RFC 9110 section 5.6.2: what a name may hold beside letters, digits and the hyphen


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("name", ["x{}auth{}sub", "x-auth{}sub", "X{}Auth-Sub"])
def test_every_separator_folds(name: str, separator: str) -> None:
    """Each character that a header name may hold beside letters, digits and the hyphen is read as one."""
    alias = name.replace("{}", separator)

    assert ALIASES.among(["authorization", alias, "x-auth-sub"]) == (alias,)


@pytest.mark.parametrize(
    "name",
    ["x-auth-sub", "X-Auth-Sub", "x_auth", "x_auth_sub_id", "xauthsub", "x-auth", "x__auth_sub", ":path", "", "x-auth-süb"],
)
def test_other_names_are_left_alone(name: str) -> None:
    """An identity header itself is set or stripped anyhow; names that fold to none of them pass."""
    assert ALIASES.among([":authority", name, "x_request_id"]) == ()


@pytest.mark.parametrize(("name", "found"), [("x-user-name", True), ("x_user_name", True), ("x-user.name", True), ("x-user_name", False)])
def test_an_identity_header_with_an_underscore_has_aliases_too(name: str, found: bool) -> None:  # noqa: FBT001 - the answer
    """Where the configuration names `x-user_name`, a plain hyphen makes an alias."""
    assert ODD.among(["authorization", name]) == ((name,) if found else ())


names = st.text(alphabet=[*"xauthsbnme019-:", *SEPARATORS, "A", "\n", "é"], max_size=12) | st.sampled_from(["x.auth.sub", "x_AUTH~sub"])


@given(st.lists(names, max_size=6))
def test_names_fold_as_a_naive_reading_folds_them(headers: list[str]) -> None:
    """Character by character: letters and digits stay, all others are hyphens."""

    def fold(name: str) -> str:
        return "".join(character if character in "abcdefghijklmnopqrstuvwxyz0123456789" else "-" for character in name.lower())

    expected = {name for name in headers if fold(name) == "x-auth-sub" and name.lower() != "x-auth-sub"}

    assert set(Aliases(["x-auth-sub"]).among(headers)) == expected
