"""The API as commands ask it."""

import http.client
import io

import msgspec
import pytest

from onhook.cli.via_server import ApiDataClient
from onhook.config import Config
from onhook.lib.errors import Unavailable

STATUS = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%s"


class _Socket:
    """What an answer is read from."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._text)


def _reach(monkeypatch: pytest.MonkeyPatch, told: object) -> ApiDataClient:
    """The way to a server that answers 503 with this."""
    body = msgspec.json.encode(told)

    def answer(*_: object) -> http.client.HTTPResponse:
        made = http.client.HTTPResponse(_Socket(STATUS % (len(body), body)))  # type: ignore[arg-type] # all that it asks for
        made.begin()
        return made

    monkeypatch.setattr(ApiDataClient, "_send", answer)
    return ApiDataClient(Config(), "127.0.0.1:1", "token")


@pytest.mark.parametrize("behind", [12_000, -3])
async def test_a_server_that_is_not_ready_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch, behind: int) -> None:
    """Far behind, or ahead."""
    assert await _reach(monkeypatch, {"detail": "far", "lag": behind}).lag() == behind


async def test_a_server_that_has_no_number_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The problem's sentence, and what to do; another server's answer too is no surprise."""
    with pytest.raises(Unavailable, match="the store cannot be read: restart") as refused:
        await _reach(monkeypatch, {"detail": "the store cannot be read", "hint": "restart"}).lag()
    assert refused.value.exit_code == 1
    with pytest.raises(Unavailable, match="Service Unavailable"):
        await _reach(monkeypatch, "closed for lunch").lag()
