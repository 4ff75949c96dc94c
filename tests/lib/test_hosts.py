"""Hosts of URLs in every notation."""

from ipaddress import ip_address

import pytest

from onhook.lib.errors import UsageError
from onhook.lib.hosts import mask_proxy, parse_host, parse_proxy, parse_url_host

LOOPBACK = (
    "http://127.0.0.1/", "http://2130706433/", "http://0177.0.0.1/", "http://0x7f.0.0.1/", "http://0X7F000001/",
    "http://017700000001/", "http://127.1/", "http://127.0.1:8080/x", "http://①②⑦.0.0.1/", "http://\uff11\uff12\uff17.0.0.1/",
    "http://127。0。0。1/", "http://127.0.0.1./", "http://127.0x0.0.1#@example.com",
)  # fmt: skip


@pytest.mark.parametrize("url", LOOPBACK)
def test_parse_url_host_every_notation_is_the_same_address(url: str) -> None:
    assert str(parse_url_host(url).address) == "127.0.0.1"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://[::1]/", "::1"),
        ("http://[0:0:0:0:0:0:0:1]:80/", "::1"),
        ("http://[fe80::1%25eth0]/", "fe80::1"),
        ("http://[::ffff:127.0.0.1]/", "::ffff:7f00:1"),
        ("http://[64:ff9b::127.0.0.1]/", "64:ff9b::7f00:1"),
        ("http://0/", "0.0.0.0"),  # noqa: S104 - nothing is bound
    ],
)
def test_parse_url_host_ipv6_and_zero_are_addresses(url: str, address: str) -> None:
    assert parse_url_host(url).address == ip_address(address)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://CRM.Example.com:8443/x", "crm.example.com"),
        ("http://localhost./", "localhost"),
        ("http://ⓛocalhost/", "localhost"),
        ("http://bücher.example/", "xn--bcher-kva.example"),
        ("http://0x7g.example/", "0x7g.example"),
        ("http://crm/", "crm"),
    ],
)
def test_parse_url_host_name_is_that_of_the_look_up(url: str, name: str) -> None:
    host = parse_url_host(url)
    assert (host.text, host.address, host.is_canonical) == (name, None, True)


@pytest.mark.parametrize(
    "url",
    [
        "http://127%2e0.0.1/", "http://%6c%6fcalhost/", "http://1.2.3.4.5/", "http://08.0.0.1/", "http://4294967296/",
        "http://a..b/", "http://-a/", "http://a b/", "http://example.com\\@127.0.0.1/", "http://[127.0.0.1]/",
        "http:///x", "http://a.0x/", f"http://{'a.' * 150}b/", "http://a\u00adb.com/",
    ],
)  # fmt: skip
def test_parse_url_host_other_text_is_an_error(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller names the URL
        parse_url_host(url)


@pytest.mark.parametrize(
    ("host", "is_canonical"),
    [("127.0.0.1", True), ("127.1", False), ("0x7f.0.0.1", False), ("::1", True), ("0:0:0:0:0:0:0:1", False)],
)
def test_parse_host_other_notation_is_not_canonical(host: str, is_canonical: bool) -> None:
    assert parse_host(host).is_canonical is is_canonical


@pytest.mark.parametrize("text", ["http://proxy:3128", "http://me:p%40w@10.0.0.1:8080", "http://[::1]:1"])
def test_parse_proxy_url_is_kept(text: str) -> None:
    assert parse_proxy(text, "proxy") == parse_proxy(f"{text}/", "proxy") == text


@pytest.mark.parametrize(
    "text",
    ["proxy:3128", "https://proxy:3128", "http://proxy", "http://proxy:0", "http://proxy:1/x", "http://proxy:1?a=b",
     "http://me:geheim@127.1:3128", "http://me:…@proxy:3128", "http://a b:1", "http://:1", f"http://{'a' * 500}:1"],
)  # fmt: skip
def test_parse_proxy_other_text_is_an_error_without_it(text: str) -> None:
    """Also a URL whose password was masked for display."""
    with pytest.raises(UsageError, match="not the URL of a proxy") as error:
        parse_proxy(text, "proxy")
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "masked_text"),
    [
        ("http://me:geh:e@im@proxy:3128", "http://me:…@proxy:3128"),
        ("http://me@proxy:3128", "http://me@proxy:3128"),
        ("http://proxy:3128", "http://proxy:3128"),
        ("none", "none"),
        ("", ""),
    ],
)
def test_mask_proxy_hides_the_password(text: str, masked_text: str) -> None:
    assert mask_proxy(text) == masked_text
