"""URLs: which of them keys may come from."""

import pytest

from authz_server.config.urls import check_url


@pytest.mark.parametrize(
    "url",
    [
        "https://keys.example.com/jwks.json",
        "https://keys.example.com:8443/jwks.json?version=1",
        "HTTPS://keys.example.com",
        "http://localhost/jwks.json",
        "http://127.0.0.1:9000/jwks.json",
        "http://127.9.9.9/",
        "http://[::1]:9000/jwks.json",
    ],
)
def test_https_and_loopback_are_good(url):
    """Keys come over https, or over http from this very host."""
    assert check_url(url, allow_http=False) == url


@pytest.mark.parametrize(
    "url", ["http://keys.example.com/", "http://10.0.0.1/", "http://localhost.example.com/", "http://128.0.0.1/", "http://127.1/"]
)
def test_http_to_other_hosts_is_refused(url):
    """Keys over http from elsewhere are refused unless that is asked for: who changes them on their way can sign tokens."""
    with pytest.raises(ValueError, match=r"^http is refused"):
        check_url(url, allow_http=False)

    assert check_url(url, allow_http=True) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "keys.json",
        "/keys.json",
        "//keys.example.com/",
        "file:///keys.json",
        "ftp://keys.example.com/",
        "https://",
        "https:///keys.json",
        "https:keys.example.com",
        "https://keys.example.com:99999/",
        "https://keys.example.com:0/",
        "https://keys.example.com:x/",
        "https://[::1/",
        "https://keys.example.com/a b",
        "https://keys.example.com\\@evil.example/",
        "https://keys.example.com/\n",
        "https://kéys.example.com/",
    ],
)
def test_anything_else_is_no_url(url):
    """A relative, foreign or ambiguous URL is refused also where http is allowed."""
    with pytest.raises(ValueError, match=r"^this is no URL"):
        check_url(url, allow_http=True)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://user:secret@keys.example.com/", "user or password"),
        ("https://user@keys.example.com/", "user or password"),
        ("https://@keys.example.com/", "user or password"),
        ("https://keys.example.com/#secret", "fragment"),
        ("https://keys.example.com/#", "fragment"),
    ],
)
def test_credentials_and_fragments_are_refused_and_not_repeated(url, message):
    """A URL is logged and shown, so a password in it is refused, and the message does not tell it."""
    with pytest.raises(ValueError, match=message) as error:
        check_url(url, allow_http=True)

    assert "secret" not in str(error.value)
