"""The calls through the API of the running server, with the administrator's token."""

import http.client
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from onhook.appdb.tokens import read_token_file
from onhook.cli.server_lookup import DataClient, FilterValues, Row, not_quarantined_error
from onhook.config import Config, parse_address
from onhook.lib.errors import NotAllowed, NotFound, OnhookError, Unavailable, UsageError
from onhook.simulator.demo import local_address
from onhook.store.contract import PAGE_MAX, ExportFormat

TIMEOUT_SECONDS = 60.0
"""A summary of years takes seconds; a server that says nothing for a minute is stuck."""

CHUNK_BYTES = 256 * 1024
"""What is read of an export at once."""

_ERRORS: Mapping[int, type[OnhookError]] = {
    400: UsageError,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    503: Unavailable,
}


@asynccontextmanager
async def open_client(config: Config, address: str) -> AsyncIterator[DataClient]:
    """The API at this address (`HOST:PORT`)."""
    token = read_token_file(config.admin_token_file)
    yield ApiDataClient(config, address, token)


class ApiDataClient:
    """See `Reach`. A connection per question: there are few, and the server may be restarted between two."""

    def __init__(self, config: Config, address: str, token: str) -> None:
        self._zone = config.zone
        self._address = local_address(parse_address(address, "running.json"))
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def records(self, where: FilterValues, limit: int) -> AsyncIterator[Row]:
        async for row in self._pages("records", {**where, "zone": self._zone}, limit):
            yield row

    async def calls(self, where: FilterValues, limit: int) -> AsyncIterator[Row]:
        async for row in self._pages("calls", {**where, "zone": self._zone}, limit):
            yield row

    async def export(self, where: FilterValues, form: ExportFormat) -> AsyncIterator[bytes]:
        response = self._ask("GET", f"export.{form}", {**where, "zone": self._zone})
        try:
            while chunk := response.read(CHUNK_BYTES):
                yield chunk
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

    async def replay(self, name: str, where: FilterValues) -> int:
        body = msgspec.json.encode({"where": where})
        response = self._read("POST", f"subscriptions/{name}/replay", {"zone": self._zone}, body)
        return int(response["records"])

    async def behind(self) -> int:
        # 503 is an answer here, where it has a number: far behind, or ahead.
        response = self._send("GET", "/readyz", {})
        document = self._decoded(response)
        if isinstance(document, dict) and isinstance(lag := document.get("behind_reports"), int):
            return lag
        raise self._error(response, document)

    def _quarantined(self, method: str, seq: int, path: str) -> Row:
        try:
            row: Row = self._read(method, path)
        except NotFound:
            # The API advises those who speak HTTP; here a command helps.
            raise not_quarantined_error(seq) from None
        return row

    async def _pages(self, path: str, query: FilterValues, limit: int) -> AsyncIterator[Row]:
        cursor, remaining = "", limit
        while remaining > 0:
            page_query = {**query, "limit": str(min(remaining, PAGE_MAX)), **({"cursor": cursor} if cursor else {})}
            page = self._read("GET", path, page_query)
            for row in page["data"]:
                yield row
            remaining -= len(page["data"])
            cursor = page["next"] or ""
            if not cursor:
                return

    def _read(self, method: str, path: str, query: FilterValues = {}, body: bytes | None = None) -> Any:  # noqa: B006 - never changed
        return self._decoded(self._ask(method, path, query, body))

    def _ask(self, method: str, path: str, query: FilterValues, body: bytes | None = None) -> http.client.HTTPResponse:
        response = self._send(method, f"/api/v1/{quote(path)}", query, body)
        if response.status >= http.client.BAD_REQUEST:
            raise self._problem(response)
        return response

    def _send(self, method: str, path: str, query: FilterValues, body: bytes | None = None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._address.host, self._address.port, timeout=TIMEOUT_SECONDS)
        try:
            request_target = f"{path}?{urlencode(query)}" if query else path
            connection.request(method, request_target, body=body, headers=self._headers)
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
        error_type = _ERRORS.get(answer.status, OnhookError)
        return error_type(str(problem.get("detail", answer.reason)), todo=str(problem.get("todo", "")))

    def _gone(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"the server does not answer ({type(error).__name__}: {error})",
            where=f"http://{self._address}",
            todo="try again in a moment; the log of `onhook serve` says more",
        )
