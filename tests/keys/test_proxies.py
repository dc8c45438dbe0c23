"""The environment names proxies in many ways: what is understood is used, and what is not stands in nobody's way."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.keys.proxies import Proxies, Proxy

COGNITO = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1Cd2Ef3/.well-known/jwks.json"
PROXY = "http://proxy.test:3128"
EXPECTED = "expected http://HOST:PORT, where a user or password has its `/?#@:` written as %2F %3F %23 %40 %3A"
SECRET = "hunter2"


def found(url: str = COGNITO, **environment: str) -> str | None:
    """Find the proxy for a URL."""
    proxy = Proxies(environment).find(url)
    return None if proxy is None else proxy.url


def by(no_proxy: str, url: str = COGNITO) -> bool:
    """Whether NO_PROXY keeps a URL from the proxy."""
    return found(url, HTTPS_PROXY=PROXY, HTTP_PROXY=PROXY, NO_PROXY=no_proxy) is None


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("http://proxy.test:3128", "http://proxy.test:3128"),
        ("proxy.test:3128", "http://proxy.test:3128"),
        ("HTTP://Proxy.Test:3128/", "http://proxy.test:3128"),
        ("  http://proxy.test:3128\n", "http://proxy.test:3128"),
        ("http://proxy.test", "http://proxy.test:80"),
        ("https://proxy.test", "https://proxy.test:443"),
        ("https://proxy.test:8443", "https://proxy.test:8443"),
        ("proxy", "http://proxy:80"),
        ("10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("http://[fd00::1]:3128", "http://[fd00::1]:3128"),
        ("[fd00::1]:3128", "http://[fd00::1]:3128"),
        ("my_proxy:3128", "http://my_proxy:3128"),
    ],
)
def test_a_proxy_may_be_written_as_people_write_it(value: str, url: str) -> None:
    """With or without a scheme and a port, by name or address: what is logged is whole."""
    assert found(HTTPS_PROXY=value) == url


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({"HTTPS_PROXY": "a:1"}, "HTTPS_PROXY"),
        ({"https_proxy": "a:1"}, "https_proxy"),
        ({"https_proxy": "a:1", "HTTPS_PROXY": "b:1", "ALL_PROXY": "c:1"}, "https_proxy"),
        ({"https_proxy": "", "HTTPS_PROXY": "b:1"}, None),
        ({"https_proxy": "", "HTTPS_PROXY": "b:1", "ALL_PROXY": "c:1"}, "ALL_PROXY"),
        ({"ALL_PROXY": "c:1", "all_proxy": "d:1"}, "all_proxy"),
        ({"HTTP_PROXY": "e:1", "http_proxy": "e:1"}, None),
        ({"HTTPS_PROXY": "socks5://a:1", "ALL_PROXY": "c:1"}, "ALL_PROXY"),
        ({}, None),
    ],
)
def test_one_variable_counts(environment: dict[str, str], variable: str | None) -> None:
    """That of the scheme goes before ALL_PROXY, small letters before capitals, and an empty one names no proxy."""
    proxy = Proxies(environment).find(COGNITO)

    assert (proxy and proxy.variable) == variable


def test_plain_http_has_a_variable_of_its_own() -> None:
    """HTTP_PROXY is for http; under CGI a client could set it, and it is not looked at."""
    environment = {"HTTP_PROXY": PROXY, "HTTPS_PROXY": "https://other.test"}

    assert found("http://keys.test/jwks.json", **environment) == PROXY
    assert found("http://keys.test/jwks.json", **environment, REQUEST_METHOD="GET") is None
    assert found("http://keys.test/jwks.json", http_proxy=PROXY, REQUEST_METHOD="GET") == PROXY


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.9.9.9", "[::1]", "[::1]:8443"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_this_machine_is_asked_itself(scheme: str, host: str) -> None:
    """A proxy is somewhere else, and could answer in the place of what listens here."""
    assert found(f"{scheme}://{host}/jwks.json", HTTP_PROXY=PROXY, HTTPS_PROXY=PROXY, ALL_PROXY=PROXY) is None


@pytest.mark.parametrize(
    ("no_proxy", "is_excepted"),
    [
        # names
        ("amazonaws.com", True),
        (".amazonaws.com", True),
        (" .amazonaws.com", True),
        ("*.amazonaws.com", True),
        ("AmazonAWS.com.", True),
        ("cognito-idp.eu-west-1.amazonaws.com", True),
        ("example.com,amazonaws.com", True),
        ("example.com amazonaws.com", True),
        (",, ,amazonaws.com,", True),
        ("zonaws.com", False),
        ("com.", True),
        ("cognito-idp.eu-west-2.amazonaws.com", False),
        ("*.cognito-idp.eu-west-1.amazonaws.com", True),
        ("x.cognito-idp.eu-west-1.amazonaws.com", False),
        # ports
        ("amazonaws.com:443", True),
        ("amazonaws.com:8443", False),
        ("*:443", True),
        ("*:80", False),
        # everything
        ("*", True),
        ("10.0.0.0/8,*", True),
        # what says nothing about a name
        ("fd00::/8", False),
        ("[::1]", False),
        ("10.0.0.0/8", False),
        ("0.0.0.0/0", False),
        ("::/0", False),
        # what is not understood
        ("<local>", False),
        ("https://amazonaws.com", False),
        ("amazonaws.com:x", False),
        ("[amazonaws.com", False),
        ("amaz*ws.com", False),
        ("amazonaws..com", False),
        ("", False),
    ],
)
def test_no_proxy_lists_names(no_proxy: str, is_excepted: bool) -> None:  # noqa: FBT001 - a table
    """A name stands for all names below it, with one port or any; what is not understood is passed over."""
    assert by(no_proxy) is is_excepted


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_excepted"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.9.9.9/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3:8443", False),
        ("10.1.2.3:8443", "10.1.2.3:8443", True),
        ("10.0.0.0/8", "[::ffff:10.1.2.3]", True),
        ("fd00::/8", "[fd00::17]", True),
        ("[fd00::]/8", "[fd00::17]", True),
        ("[fd00::]/8:443", "[fd00::17]", True),
        ("fd00::/8", "[fe00::17]", False),
        ("fd00::/8", "10.1.2.3", False),
        ("[fd00::17]", "[fd00::17]", True),
        ("[fd00::17]:443", "[fd00::17]", True),
        ("[fd00::17]:80", "[fd00::17]", False),
        ("fd00::17", "[FD00:0::17]", True),
        ("10.", "10.1.2.3", False),
        ("10.*", "10.1.2.3", False),
        ("2.3", "10.1.2.3", False),
        ("3", "10.1.2.3", False),
        ("*", "10.1.2.3", True),
    ],
)
def test_no_proxy_lists_networks(no_proxy: str, host: str, is_excepted: bool) -> None:  # noqa: FBT001 - a table
    """An address is compared as an address, with networks of its own kind; a piece of one is no name that it ends with."""
    assert by(no_proxy, f"https://{host}/jwks.json") is is_excepted


def test_no_proxy_in_small_letters_counts() -> None:
    """As for proxies."""
    assert found(HTTPS_PROXY=PROXY, no_proxy="*") is None
    assert found(HTTPS_PROXY=PROXY, no_proxy="", NO_PROXY="*") == PROXY


def test_credentials_are_used_and_not_shown() -> None:
    """User and password are decoded for the proxy, and appear in nothing that is written for people."""
    proxies = Proxies({"HTTPS_PROXY": f"http://us%40er:{SECRET}%2F%23@proxy.test:3128"})
    proxy = proxies.find(COGNITO)

    assert proxy.credentials == ("us@er", f"{SECRET}/#")
    shown = [str(proxy), repr(proxy), *proxies.in_force([COGNITO])]
    assert not any(SECRET in text or "us@er" in text or "us%40er" in text for text in shown)
    assert Proxies({"HTTPS_PROXY": "http://user@proxy.test"}).find(COGNITO).credentials == ("user", "")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("socks5://proxy.test:1080", "SOCKS is not supported; name a proxy that speaks HTTP, as http://HOST:PORT"),
        ("SOCKS5H://proxy.test:1080", "SOCKS is not supported; name a proxy that speaks HTTP, as http://HOST:PORT"),
        ("ftp://proxy.test", EXPECTED),
        ("http://", EXPECTED),
        ("//proxy.test:3128", EXPECTED),
        ("://", EXPECTED),
        ("http://proxy.test:0", EXPECTED),
        ("http://proxy.test:99999", EXPECTED),
        ("http://proxy.test:x", EXPECTED),
        ("http://proxy.test/path", EXPECTED),
        ("http://proxy.test?x", EXPECTED),
        ("http://pro xy.test", EXPECTED),
        ("http://prox\ny.test", EXPECTED),
        ("http://prüxy.test", EXPECTED),
        ("http://[::1", EXPECTED),
        ("http://[x]:1", EXPECTED),
        ("http://a..b", EXPECTED),
        (f"http://user:{SECRET}/x@proxy.test:3128", EXPECTED),
        (f"http://user:1/{SECRET}@proxy.test:3128", EXPECTED),
        (f"http://user:{SECRET}#x@proxy.test:3128", EXPECTED),
        (f"http://user:1?{SECRET}@proxy.test:3128", EXPECTED),
        (f"http://user:{SECRET}[x@proxy.test:3128", EXPECTED),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(value: str, why: str) -> None:
    """One sentence says which it is and what was expected, and repeats nothing of it: a part may be one of a password."""
    proxies = Proxies({"HTTPS_PROXY": value})

    assert proxies.find(COGNITO) is None
    assert proxies.warnings([COGNITO, COGNITO]) == [f"HTTPS_PROXY is not used, and keys are fetched without it: {why}"]
    assert proxies.in_force([COGNITO]) == []


def test_only_what_matters_is_told() -> None:
    """A variable that no key set has to do with is nobody's concern, and one that is used is told in one line."""
    proxies = Proxies({"HTTPS_PROXY": PROXY, "HTTP_PROXY": "socks5://x", "NO_PROXY": "b.test, 10.*, fd00::/8, <local>"})
    urls = [COGNITO, "https://a.test/jwks", "https://b.test/jwks", "http://localhost/jwks"]

    assert proxies.warnings(urls) == []
    assert proxies.in_force(urls) == [
        f"keys are fetched through the proxy {PROXY} of HTTPS_PROXY; NO_PROXY has entries that are not understood: number 2, 4"
    ]
    assert proxies.in_force(["https://b.test/jwks"]) == []
    assert proxies.warnings(["http://a.test"])[0].startswith("HTTP_PROXY is not used")
    assert Proxies({"https_proxy": f"u:p@{PROXY[7:]}"}).in_force([COGNITO]) == [
        f"keys are fetched through the proxy {PROXY} of https_proxy, with its credentials"
    ]


@pytest.mark.parametrize("url", ["ftp://keys.test/jwks", "http://", "http://[", "http://keys.test:x/", "keys.json"])
def test_what_no_proxy_is_for_is_asked_itself(url: str) -> None:
    """A URL of another scheme, or none, is for others to refuse."""
    assert found(url, ALL_PROXY=PROXY) is None


ODD = st.text(alphabet="ab.:/[]*@%#?,- 019_\n", max_size=20)


@given(value=ODD, no_proxy=ODD)
def test_no_value_hinders_a_fetch(value: str, no_proxy: str) -> None:
    """Whatever the environment says, there is a proxy that can be asked, or a sentence, or neither."""
    proxies = Proxies({"HTTPS_PROXY": value, "NO_PROXY": no_proxy})
    proxy = proxies.find(COGNITO)

    assert proxy is None or isinstance(proxy, Proxy)
    assert len(proxies.warnings([COGNITO])) + len(proxies.in_force([COGNITO])) <= 1


@given(network=st.ip_addresses(v=4), prefix=st.integers(0, 32), host=st.ip_addresses(v=4))
def test_networks_are_those_of_ipaddress(network: ipaddress.IPv4Address, prefix: int, host: ipaddress.IPv4Address) -> None:
    """An address is excepted exactly where it lies in a listed network, or is this machine's."""
    within = host in ipaddress.ip_network(f"{network}/{prefix}", strict=False) or host.is_loopback

    assert by(f"{network}/{prefix}", f"https://{host}/") is within
