"""The calls through the API of the running server, with the administrator's token."""

import http.client
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from onhook.appdb.tokens import read_token_file
from onhook.cli.server_lookup import Reach, Row, Where, not_quarantined
from onhook.config import Config, parse_address
from onhook.lib.errors import NotAllowed, NotFound, OnhookError, Unavailable, UsageError
from onhook.simulator.demo import reachable
from onhook.store.contract import PAGE_MAX, ExportFormat

TIMEOUT_SECONDS = 60.0
"""A summary of years takes seconds; a server that says nothing for a minute is stuck."""

PIECE_BYTES = 256 * 1024
"""What is read of an export at once."""

_ERRORS: Mapping[int, type[OnhookError]] = {
    400: UsageError,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    503: Unavailable,
}


@asynccontextmanager
async def open_reach(config: Config, address: str) -> AsyncIterator[Reach]:
    """The API at this address (`HOST:PORT`)."""
    token = read_token_file(config.admin_token_file)
    yield ApiReach(config, address, token)


class ApiReach:
    """See `Reach`. A connection per question: there are few, and the server may be restarted between two."""

    def __init__(self, config: Config, address: str, token: str) -> None:
        self._zone = config.zone
        self._address = reachable(parse_address(address, "running.json"))
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def records(self, where: Where, limit: int) -> AsyncIterator[Row]:
        async for row in self._pages("records", {**where, "zone": self._zone}, limit):
            yield row

    async def calls(self, where: Where, limit: int) -> AsyncIterator[Row]:
        async for row in self._pages("calls", {**where, "zone": self._zone}, limit):
            yield row

    async def export(self, where: Where, form: ExportFormat) -> AsyncIterator[bytes]:
        answer = self._ask("GET", f"export.{form}", {**where, "zone": self._zone})
        try:
            while piece := answer.read(PIECE_BYTES):
                yield piece
        except (http.client.HTTPException, OSError) as error:
            raise self._gone(error) from error

    async def quarantine(self, limit: int) -> AsyncIterator[Row]:
        async for row in self._pages("quarantine", {}, limit):
            yield row

    async def quarantined(self, seq: int) -> Row:
        return self._quarantined("GET", seq, f"quarantine/{seq}")

    async def retry(self, seq: int) -> Row:
        return self._quarantined("POST", seq, f"quarantine/{seq}/retry")

    async def tallies(self) -> list[Row]:
        rows: list[Row] = self._read("GET", "tallies")["data"]
        return rows

    async def subscriptions(self) -> list[Row]:
        rows: list[Row] = self._read("GET", "subscriptions")["data"]
        return rows

    async def subscription(self, name: str) -> Row:
        row: Row = self._read("GET", f"subscriptions/{name}")
        return row

    async def replay(self, name: str, where: Where) -> int:
        body = msgspec.json.encode({"where": where})
        answer = self._read("POST", f"subscriptions/{name}/replay", {"zone": self._zone}, body)
        return int(answer["records"])

    async def behind(self) -> int:
        # 503 is an answer here, where it has a number: far behind, or ahead.
        answer = self._send("GET", "/readyz", {})
        told = self._decoded(answer)
        if isinstance(told, dict) and isinstance(behind := told.get("behind_reports"), int):
            return behind
        raise self._error(answer, told)

    def _quarantined(self, method: str, seq: int, path: str) -> Row:
        try:
            row: Row = self._read(method, path)
        except NotFound:
            # The API advises those who speak HTTP; here a command helps.
            raise not_quarantined(seq) from None
        return row

    async def _pages(self, path: str, query: Where, limit: int) -> AsyncIterator[Row]:
        cursor, left = "", limit
        while left > 0:
            asked = {**query, "limit": str(min(left, PAGE_MAX)), **({"cursor": cursor} if cursor else {})}
            page = self._read("GET", path, asked)
            for row in page["data"]:
                yield row
            left -= len(page["data"])
            cursor = page["next"] or ""
            if not cursor:
                return

    def _read(self, method: str, path: str, query: Where = {}, body: bytes | None = None) -> Any:  # noqa: B006 - never changed
        return self._decoded(self._ask(method, path, query, body))

    def _ask(self, method: str, path: str, query: Where, body: bytes | None = None) -> http.client.HTTPResponse:
        answer = self._send(method, f"/api/v1/{quote(path)}", query, body)
        if answer.status >= http.client.BAD_REQUEST:
            raise self._problem(answer)
        return answer

    def _send(self, method: str, path: str, query: Where, body: bytes | None = None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._address.host, self._address.port, timeout=TIMEOUT_SECONDS)
        try:
            address = f"{path}?{urlencode(query)}" if query else path
            connection.request(method, address, body=body, headers=self._headers)
            return connection.getresponse()
        except (http.client.HTTPException, OSError) as error:
            raise self._gone(error) from error

    def _decoded(self, answer: http.client.HTTPResponse) -> Any:
        try:
            return msgspec.json.decode(answer.read())
        except (http.client.HTTPException, OSError, msgspec.DecodeError) as error:
            raise self._gone(error) from error

    def _problem(self, answer: http.client.HTTPResponse) -> OnhookError:
        return self._error(answer, self._decoded(answer))

    def _error(self, answer: http.client.HTTPResponse, told: Any) -> OnhookError:
        """What a problem document says; whatever else answers is told by its status."""
        problem = told if isinstance(told, dict) else {}
        kind = _ERRORS.get(answer.status, OnhookError)
        return kind(str(problem.get("detail", answer.reason)), todo=str(problem.get("todo", "")))

    def _gone(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"the server does not answer ({type(error).__name__}: {error})",
            where=f"http://{self._address}",
            todo="try again in a moment; the log of `onhook serve` says more",
        )
