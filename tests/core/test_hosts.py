"""A request's host and path choose one api: the best tier of hosts, then the longest base path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core import hosts as hosts_module
from authz_server.core.hosts import BasePaths, Hosts, is_loopback, normalise
from authz_server.core.reasons import Reason

HOSTS = Hosts(
    [
        ("api.example.com", (), "exact"),
        ("api.example.com", ("v1",), "exact v1"),
        ("api.example.com", ("v1", "beta"), "exact v1 beta"),
        ("*.example.com", (), "wildcard"),
        ("*.eu.example.com", (), "longer wildcard"),
        ("deep.example.com", ("prod",), "exact with base path only"),
        ("*.shop.example.com", ("prod",), "wildcard with base path only"),
        ("[::1]", (), "loopback"),
        ("", (), "any"),
        ("", ("v1",), "any v1"),
    ]
)
NO_WILDCARDS = Hosts([("api.example.com", (), "exact"), ("", ("prod",), "any")])
NO_ANY = Hosts([("api.example.com", (), "exact"), ("*.example.org", (), "wildcard")])


@pytest.mark.parametrize(
    ("host", "bare"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("api.example.com:8443", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("API.example.com.:443", "api.example.com"),
        ("localhost", "localhost"),
        ("my_service", "my_service"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[2001:DB8::1]:443", "[2001:db8::1]"),
        ("[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_hosts_are_lower_case_without_port_and_trailing_dot(host: str, bare: str) -> None:
    """Capitals, one port and one trailing dot make no difference; a bracketed IPv6 address is a host."""
    assert normalise(host) == bare


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("", id="absent"),
        pytest.param("a.example,b.example", id="two Host lines"),
        pytest.param("user@api.example.com", id="user"),
        pytest.param("api.example.com%00", id="escape"),
        pytest.param(" api.example.com", id="space before"),
        pytest.param("api.example.com ", id="space behind"),
        pytest.param("api example.com", id="space within"),
        pytest.param("api.example.com\n", id="line feed"),
        pytest.param("api.example.com\t", id="tab"),
        pytest.param("api.example.com..", id="two trailing dots"),
        pytest.param("api..example.com", id="empty label"),
        pytest.param(".example.com", id="leading dot"),
        pytest.param(".", id="only a dot"),
        pytest.param("api.example.com:", id="empty port"),
        pytest.param("api.example.com:443:443", id="two ports"),
        pytest.param("api.example.com:+443", id="signed port"),
        pytest.param("api.example.com:http", id="named port"),
        pytest.param("api.example.com:443.", id="dot behind the port"),
        pytest.param("api.example.com:123456", id="long port"),
        pytest.param(":443", id="only a port"),
        pytest.param("http://api.example.com", id="URL"),
        pytest.param("api.example.com/x", id="path"),
        pytest.param("api.example.com\\x", id="backslash"),
        pytest.param("api.example.com?x", id="query"),
        pytest.param("api.example.com#x", id="fragment"),
        pytest.param("*.example.com", id="wildcard"),
        pytest.param("::1", id="IPv6 without brackets"),
        pytest.param("[::1", id="open bracket"),
        pytest.param("[::1%25eth0]", id="IPv6 zone"),
        pytest.param("[]", id="empty brackets"),
        pytest.param("[fe80::g]", id="no hexadecimal"),
        pytest.param("\u212aelvin.example.com", id="Kelvin sign, which lower() makes a k"),
        pytest.param("bücher.example", id="not ASCII"),
        pytest.param("api。example.com", id="ideographic full stop"),
        pytest.param("api.example.com:\u0664\u0664\u0663", id="digits of another script"),
    ],
)
def test_hosts_that_parsers_read_differently_are_refused(host: str, outcome) -> None:
    """Whatever is no plain host is refused: a comma, `@`, `%`, white space, non-ASCII letters that fold to ASCII, and the like."""
    assert outcome(normalise, host) is Reason.HOST_REFUSED
    assert outcome(HOSTS.find, host, [""]) is Reason.HOST_REFUSED


@pytest.mark.parametrize(
    ("host", "path", "api", "rest"),
    [
        ("api.example.com", "pets", "exact", "pets"),
        ("API.EXAMPLE.COM.:443", "pets", "exact", "pets"),
        ("api.example.com", "v1/pets", "exact v1", "pets"),
        ("api.example.com", "v1/beta/pets", "exact v1 beta", "pets"),
        ("api.example.com", "v1/beta", "exact v1 beta", None),
        ("api.example.com", "v1/betamax", "exact v1", "betamax"),
        ("api.example.com", "v1", "exact v1", None),
        ("api.example.com", "v1/", "exact v1", ""),
        ("api.example.com", "v10/pets", "exact", "v10/pets"),
        ("api.example.com", "V1/pets", "exact", "V1/pets"),
        ("api.example.com", "", "exact", ""),
        ("www.example.com", "v1/pets", "wildcard", "v1/pets"),
        ("a.b.c.example.com", "pets", "wildcard", "pets"),
        ("shop.eu.example.com", "pets", "longer wildcard", "pets"),
        ("a.shop.eu.example.com", "pets", "longer wildcard", "pets"),
        ("eu.example.com", "pets", "wildcard", "pets"),
        ("deep.example.com", "prod/pets", "exact with base path only", "pets"),
        ("example.com", "pets", "any", "pets"),
        ("example.com", "v1/pets", "any v1", "pets"),
        ("notexample.com", "pets", "any", "pets"),
        ("example.com.evil.test", "pets", "any", "pets"),
        ("[::1]:9000", "pets", "loopback", "pets"),
        ("[::2]", "pets", "any", "pets"),
        ("10.0.0.1", "pets", "any", "pets"),
        ("localhost", "pets", "any", "pets"),
    ],
)
def test_the_best_host_then_the_longest_base_path_is_found(host: str, path: str, api: str, rest: str | None) -> None:
    """Exact beats the longest `*.suffix`, which needs one label or more, which beats apis without hosts; base paths are whole segments."""
    assert HOSTS.find(host, path.split("/")) == (api, [] if rest is None else rest.split("/"))


@pytest.mark.parametrize(
    ("hosts", "host", "path"),
    [
        pytest.param(HOSTS, "deep.example.com", "pets", id="exact host, wildcard and any would match"),
        pytest.param(HOSTS, "deep.example.com", "v1/pets", id="exact host, any has the base path"),
        pytest.param(HOSTS, "deep.example.com", "prod2/pets", id="exact host, half a segment"),
        pytest.param(HOSTS, "a.shop.example.com", "v1/pets", id="wildcard, shorter wildcard and any would match"),
        pytest.param(NO_WILDCARDS, "other.example.com", "pets", id="any, without the base path"),
        pytest.param(NO_WILDCARDS, "other.example.com", "", id="any, path shorter than the base path"),
        pytest.param(NO_ANY, "other.test", "pets", id="no tier at all"),
        pytest.param(NO_ANY, "example.org", "pets", id="the bare domain of a wildcard"),
        pytest.param(Hosts([]), "api.example.com", "pets", id="no apis"),
    ],
)
def test_the_best_tier_never_falls_through(hosts: Hosts[str], host: str, path: str, outcome) -> None:
    """The tier of a host is chosen once; when it has no base path for the path, no other tier is asked."""
    assert outcome(hosts.find, host, path.split("/")) is Reason.NO_API


@pytest.mark.parametrize("segments", [["v1"], ["v1", ""], ["v1", "beta"]])
def test_a_base_path_never_ends_behind_the_path(segments: list[str]) -> None:
    """A path that ends within a longer base path belongs to the shorter one."""
    bases = BasePaths([(("v1",), "short"), (("v1", "beta", "x"), "long")])

    assert bases.find(segments) == ("short", segments[1:])


def test_a_host_that_was_seen_is_found_again() -> None:
    """Asking twice gives the same answer, also for another path, and each spelling has its own."""
    hosts = Hosts([("a.test", ("x",), "a"), ("", (), "any")])

    for _ in range(2):
        assert hosts.find("A.test:80", ["x"]) == ("a", [])
        assert hosts.find("b.test", ["x"]) == ("any", ["x"])


def test_seen_hosts_take_bounded_memory(outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients can not fill the memory with names: few are kept, no bad ones, and those asked for now; all are found."""
    monkeypatch.setattr(hosts_module, "MAX_SEEN", 3)
    hosts = Hosts([("", (), "any")])

    for host in ("1.test", "2.test", "3.test", "4.test", "5.test"):
        assert hosts.find(host, [""]) == ("any", [""])
    assert outcome(hosts.find, "a,b", [""]) is Reason.HOST_REFUSED
    assert list(hosts._seen) == ["4.test", "5.test"]


NAME = "a." * 126 + "a"  # 253 characters, the longest


@pytest.mark.parametrize("host", [NAME, f"{NAME}.", f"{NAME}.:65535"])
def test_the_longest_name_is_a_host(host: str) -> None:
    """A name of 253 characters is found, also with a dot and a port."""
    assert normalise(host) == NAME
    assert Hosts([("*.a", (), "wild")]).find(host, [""]) == ("wild", [""])


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("a" * 261, id="one character too many"),
        pytest.param(f"{NAME}a.:65535", id="one character too many before the port"),
        pytest.param("a" * 60_000, id="one long label"),
        pytest.param("a." * 29_000 + "com", id="many labels"),
        pytest.param(f"[{'::' * 130}]", id="IPv6"),
    ],
)
def test_hosts_longer_than_a_name_can_be_are_refused(host: str, outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than any DNS name costs nothing: neither the pattern nor the search for a wildcard sees it."""
    monkeypatch.setattr(hosts_module, "_HOST", None)

    assert outcome(Hosts([("*.example.com", (), "wild")]).find, host, [""]) is Reason.HOST_REFUSED


labels = st.sampled_from(["a", "b", "example", "com"])


@given(st.sets(st.lists(labels, min_size=1, max_size=3).map(tuple)), st.lists(labels, min_size=1, max_size=5))
def test_wildcards_agree_with_a_naive_search(suffixes: set[tuple[str, ...]], host: list[str]) -> None:
    """Of all `*.suffix` that a host ends with, after at least one more label, the longest is found."""
    hosts = Hosts([*((f"*.{'.'.join(suffix)}", (), suffix) for suffix in suffixes), ("", (), ())])
    fitting = [suffix for suffix in suffixes if len(suffix) < len(host) and tuple(host[-len(suffix) :]) == suffix]

    assert hosts.find(".".join(host), ["x"]) == (max(fitting, key=len, default=()), ["x"])


def test_a_wildcard_is_no_host(outcome) -> None:
    """A client that sends the wildcard itself is refused, and does not reach the api behind it."""
    hosts = Hosts([("*.example.com", (), "wild"), ("", (), "any")])

    assert outcome(hosts.find, "*.example.com", [""]) is Reason.HOST_REFUSED


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost.example.com", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_alone(*, host, is_here):
    """What is asked there nobody else hears; any other name or address may be somewhere else."""
    assert is_loopback(host) is is_here
