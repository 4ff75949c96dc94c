"""Data access by the API."""

import http.client
import io
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from onhook.cli.server_url import ServerUrl
from onhook.cli.via_server import ApiDataClient
from onhook.config import Config
from onhook.lib.errors import Unavailable, UsageError

SERVER = ServerUrl(url="http://127.0.0.1:1", token="token")
STATUS = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%s"


class _Socket:
    """The socket of a response."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._text)


def _reach(monkeypatch: pytest.MonkeyPatch, problem: object) -> ApiDataClient:
    """Return the access to a server that answers 503 with this body."""
    body = msgspec.json.encode(problem)

    @contextmanager
    def answer(*_: object) -> Iterator[http.client.HTTPResponse]:
        response = http.client.HTTPResponse(_Socket(STATUS % (len(body), body)))  # type: ignore[arg-type] # all that it asks for
        response.begin()
        yield response

    monkeypatch.setattr(ApiDataClient, "_open", answer)
    return ApiDataClient(Config(), SERVER)


@pytest.mark.parametrize("behind", [12_000, -3])
async def test_api_data_client_unready_server_has_a_lag(monkeypatch: pytest.MonkeyPatch, behind: int) -> None:
    """Far behind, or ahead."""
    assert await _reach(monkeypatch, {"detail": "far", "lag": behind}).lag() == behind


async def test_api_data_client_server_without_a_lag_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the problem's sentence, and what to do; also of another server."""
    with pytest.raises(Unavailable, match="the store cannot be read: restart") as refused:
        await _reach(monkeypatch, {"detail": "the store cannot be read", "hint": "restart"}).lag()
    assert refused.value.exit_code == 1
    with pytest.raises(Unavailable, match="Service Unavailable"):
        await _reach(monkeypatch, "closed for lunch").lag()


async def test_api_data_client_destination_name_with_slash_must_be_changed() -> None:
    client = ApiDataClient(Config(), SERVER)
    with pytest.raises(UsageError, match="`onhook destination change 'A/B C' --name NEW-NAME`"):
        await client.destination("A/B C")
