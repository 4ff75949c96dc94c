"""What the log shows of requests and responses."""

from onhook.delivery.destinations.http_exchange import (
    HEADER_CHARACTERS_MAX,
    HIDDEN,
    RESPONSE_HEADERS_MAX,
    RequestDescriber,
    describe_response_headers,
    hide_texts,
    list_hidden,
)

SECRET = "0123456789abcdef"


def test_request_describer_hides_custom_headers_and_the_query() -> None:
    """Those of all requests, and those of one. Names of headers have no case. The signature is no secret."""
    describer = RequestDescriber(
        {"User-Agent": "Onhook", "authorization": f"Bearer {SECRET}"}, ["Authorization", "X-Key"], ["secret-of-signing"]
    )
    url = f"https://crm.example.com/calls?key={SECRET}"
    exchange = describer.describe("POST", url, {"X-Signature": "abc="})
    assert exchange.url == f"https://crm.example.com/calls?key={HIDDEN}"
    assert exchange.request_headers == {"User-Agent": "Onhook", "authorization": HIDDEN, "X-Signature": "abc="}
    assert exchange.body is None
    assert describer.list_hidden({"X-Signature": "abc="}) == ("secret-of-signing", f"Bearer {SECRET}")[::-1]
    exchange = describer.describe("GET", "https://a/", {"x-key": "key-of-this-request"}, b"\xff")
    assert (exchange.body, exchange.request_headers["x-key"]) == ("\N{REPLACEMENT CHARACTER}", HIDDEN)
    assert "key-of-this-request" in describer.list_hidden({"x-key": "key-of-this-request"})


def test_describe_response_headers_hides_secrets_of_both_sides() -> None:
    headers = describe_response_headers(
        [
            ("Set-Cookie", "session=1"),
            ("Location", "https://crm.example.com/?token=7"),
            ("X-Echo", f"got {SECRET}"),
            ("Vary", "Accept"),
            ("Vary", "Cookie"),
            ("X-Latin", "caf\udce9"),
        ],
        list_hidden([SECRET, "prod", ""]),
    )
    assert headers == {
        "Set-Cookie": HIDDEN,
        "Location": f"https://crm.example.com/?token={HIDDEN}",
        "X-Echo": f"got {HIDDEN}",
        "Vary": "Accept, Cookie",
        "X-Latin": "caf?",
    }


def test_describe_response_headers_is_bounded() -> None:
    headers = describe_response_headers([(f"X-{number}", "x" * 9_999) for number in range(500)], ())
    assert len(headers) == RESPONSE_HEADERS_MAX
    assert {len(text) for text in headers.values()} == {HEADER_CHARACTERS_MAX}


def test_hide_texts_hides_the_longest_first() -> None:
    """A word that is too short to be a secret stays."""
    texts = list_hidden(["prod", SECRET, f"Bearer {SECRET}"])
    assert hide_texts(f"prod: Bearer {SECRET}, {SECRET}".encode(), texts).decode() == f"prod: {HIDDEN}, {HIDDEN}"


def test_hide_texts_hides_the_beginning_of_a_text_at_the_end() -> None:
    """A text of three characters at most says nothing."""
    assert hide_texts(f"got Bearer {SECRET[:-1]}".encode(), [f"Bearer {SECRET}", SECRET]).decode() == f"got {HIDDEN}"
    assert hide_texts(f"got {SECRET[:4]}".encode(), [SECRET]).decode() == f"got {HIDDEN}"
    assert hide_texts(f"got {SECRET[:3]}".encode(), [SECRET]) == f"got {SECRET[:3]}".encode()
