"""What the log shows of HTTP requests and responses. Pure.

Invariants: values of custom headers are hidden, and values in the query of a URL. A response is shown without the
secrets and header values of the request, which some receivers repeat; so are headers with which a receiver gives a
secret of its own.
"""

from collections.abc import Iterable, Mapping, Sequence

from onhook.appdb.delivery_rows import HttpExchange
from onhook.appdb.destination_spec import mask_url

HIDDEN = "…"

RESPONSE_HEADERS_MAX = 40
"""More than any server sends to a program."""

HEADER_CHARACTERS_MAX = 300
"""Of the value of a header that is shown."""

HIDDEN_CHARACTERS_MIN = 8
"""Of a value that is hidden in a response: shorter ones, such as `prod`, are words of any text, and no secrets, which
have as many at least.
"""

HIDDEN_PART_CHARACTERS_MIN = 4
"""Of the beginning of such a value that is hidden at the end of a text: fewer say nothing."""

SECRET_RESPONSE_HEADERS = frozenset({"set-cookie", "set-cookie2", "authorization", "proxy-authenticate", "x-api-key"})
"""In lower case."""

URL_RESPONSE_HEADERS = frozenset({"location", "content-location", "link", "refresh"})
"""Headers with URLs, whose queries may have keys."""


class RequestDescriber:
    """Describes the requests of one session. `headers` are sent with each; `custom_headers` are the names of those that
    a person has set, and `secrets` what no response is shown with.
    """

    def __init__(self, headers: Mapping[str, str], custom_headers: Iterable[str], secrets: Iterable[str]) -> None:
        self._custom_names = frozenset(name.lower() for name in custom_headers)
        self._headers = self._hide_custom(headers)
        self._secrets = (*secrets, *self._list_custom(headers))
        self._hidden_texts = list_hidden(self._secrets)

    def describe(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> HttpExchange:
        """Return a request as the log shows it; `headers` are its own. `body` is None where it is the notification."""
        return HttpExchange(
            method=method,
            url=mask_url(url),
            request_headers={**self._headers, **self._hide_custom(headers)},
            body=None if body is None else body.decode(errors="replace"),
        )

    def list_hidden(self, headers: Mapping[str, str]) -> Sequence[str]:
        """Return what the response to a request with these headers of its own is shown without."""
        custom_values = self._list_custom(headers)
        return list_hidden((*self._secrets, *custom_values)) if custom_values else self._hidden_texts

    def _hide_custom(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {name: HIDDEN if name.lower() in self._custom_names else text for name, text in headers.items()}

    def _list_custom(self, headers: Mapping[str, str]) -> list[str]:
        return [text for name, text in headers.items() if name.lower() in self._custom_names]


def describe_response_headers(headers: Iterable[tuple[str, str]], hidden_texts: Sequence[str]) -> dict[str, str]:
    """Return the headers of a response as the log shows them; equal names are joined, as RFC 9110 (5.3) has it."""
    described: dict[str, str] = {}
    for name, value in headers:
        if len(described) >= RESPONSE_HEADERS_MAX and name not in described:
            continue
        text = _describe_value(name.lower(), value, hidden_texts)
        described[name] = f"{described[name]}, {text}"[:HEADER_CHARACTERS_MAX] if name in described else text
    return described


def hide_texts(data: bytes, hidden_texts: Iterable[str]) -> bytes:
    """Return the beginning of a response without these texts, and without the part of one that it ends with.

    >>> hide_texts(b"got Bearer-0123456789, Bearer-01", ["Bearer-0123456789"]).decode()
    'got …, …'
    """
    for text in hidden_texts:
        data = _hide_part_at_end(data.replace(text.encode(), HIDDEN.encode()), text.encode())
    return data


def list_hidden(texts: Iterable[str]) -> tuple[str, ...]:
    """Return those texts that are hidden in a response, the longest first: one may be part of another one."""
    return tuple(sorted({text for text in texts if len(text) >= HIDDEN_CHARACTERS_MIN}, key=lambda text: -len(text)))


def _hide_part_at_end(data: bytes, hidden: bytes) -> bytes:
    lengths = range(len(hidden) - 1, HIDDEN_PART_CHARACTERS_MIN - 1, -1)
    length = next((length for length in lengths if data.endswith(hidden[:length])), 0)
    return data[:-length] + HIDDEN.encode() if length else data


def _describe_value(name: str, value: str, hidden_texts: Sequence[str]) -> str:
    if name in SECRET_RESPONSE_HEADERS:
        return HIDDEN
    if name in URL_RESPONSE_HEADERS:
        value = mask_url(value)
    for text in hidden_texts:
        value = value.replace(text, HIDDEN)
    # Bytes that are no UTF-8 are surrogates, which no database keeps.
    return value.encode(errors="replace").decode()[:HEADER_CHARACTERS_MAX]
