"""Data access by the API of the running server, with the administrator's token."""

import http.client
import shlex
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from onhook.appdb.destination_spec import PayloadFormat
from onhook.appdb.tokens import read_token_file
from onhook.cli.live_feed import follow_calls
from onhook.cli.server_lookup import DataClient, FilterValues, Row, not_quarantined_error
from onhook.cli.server_url import ServerUrl
from onhook.config import Config, local_address, parse_address
from onhook.lib.errors import NotAllowed, NotFound, OnhookError, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.store.contract import PAGE_MAX, ExportFormat

TIMEOUT_SECONDS = 60.0
"""A summary of years takes seconds; a server that is silent for a minute is stuck."""

SQL_SECONDS_MAX = 120.0
"""A query waits for half a minute, then for a busy machine."""

ERASURE_SECONDS_MAX = 3_600.0
"""All raw events are read for it: some minutes for ten million, on a slow disk more."""

CHUNK_BYTES = 256 * 1024
"""Bytes of an export that are read at once."""

_ERRORS: Mapping[int, type[OnhookError]] = {
    400: UsageError,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    503: Unavailable,
}


@asynccontextmanager
async def open_client(config: Config, address: str) -> AsyncIterator[DataClient]:
    """Yield the access to the API at this address (`HOST:PORT`)."""
    local = local_address(parse_address(address, "running.json"))
    yield ApiDataClient(config, ServerUrl(url=f"http://{local}", token=read_token_file(config.admin_token_file)))


@asynccontextmanager
async def open_remote_client(config: Config, server: ServerUrl) -> AsyncIterator[DataClient]:
    """Yield the access to the API of a server, which may be on another machine."""
    yield ApiDataClient(config, server)


class ApiDataClient:
    """See `DataClient`. A connection per request: there are few, and the server may be restarted between two."""

    def __init__(self, config: Config, server: ServerUrl) -> None:
        self._zone = config.zone
        self._server = server
        self._headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}

    async def records(self, filters: FilterValues, limit: int) -> AsyncIterator[Row]:
        async for row in self._iter_pages("records", {**filters, "zone": self._zone}, limit):
            yield row

    async def calls(self, filters: FilterValues, limit: int) -> AsyncIterator[Row]:
        async for row in self._iter_pages("calls", {**filters, "zone": self._zone}, limit):
            yield row

    async def follow(self, filters: FilterValues) -> AsyncIterator[Row]:
        async for sn, call_id in follow_calls(lambda seq: self._request("GET", "live", {"after": seq} if seq else {})):
            call_filters = {**filters, "sn": sn, "call_id": call_id}
            if all(filters.get(name, value) == value for name, value in (("sn", sn), ("call_id", call_id))):
                async for row in self.calls(call_filters, 1):
                    yield row

    async def export(
        self, filters: FilterValues, export_format: ExportFormat, form: FilterValues
    ) -> AsyncIterator[bytes]:
        with self._request("GET", f"export.{export_format}", {**filters, **form, "zone": self._zone}) as response:
            while chunk := response.read(CHUNK_BYTES):
                yield chunk

    async def sql(self, query: str) -> Row:
        row: Row = self._request_json("GET", "sql", {"sql": query}, timeout_seconds=SQL_SECONDS_MAX)
        return row

    async def quarantine(self, limit: int) -> AsyncIterator[Row]:
        async for row in self._iter_pages("quarantine", {}, limit):
            yield row

    async def quarantined_raw_event(self, seq: int) -> Row:
        return self._request_quarantined("GET", seq, f"quarantine/{seq}")

    async def retry(self, seq: int) -> Row:
        return self._request_quarantined("POST", seq, f"quarantine/{seq}/retry")

    async def preview_erasure(self, number: str) -> Row:
        return self._erase("erasures/preview", {"number": number})

    async def erase(self, number: str, calls: int | None) -> Row:
        return self._erase("erasures", {"number": number, "calls": calls})

    def _erase(self, path: str, request: Mapping[str, Any]) -> Row:
        row: Row = self._request_json(
            "POST", path, body=msgspec.json.encode(request), timeout_seconds=ERASURE_SECONDS_MAX
        )
        return row

    async def catch_up(self) -> None:
        """Do nothing: the hub follows the ledger."""

    async def rejections(self) -> list[Row]:
        rows: list[Row] = self._request_json("GET", "rejections")["data"]
        return rows

    async def destinations(self) -> list[Row]:
        rows: list[Row] = self._request_json("GET", "destinations")["data"]
        return rows

    async def destination(self, name: str) -> Row:
        row: Row = self._request_json("GET", _destination_path(name))
        return row

    async def preview(self, name: str, call_id: str, payload_format: PayloadFormat | None) -> Row:
        query = {"call_id": call_id} | ({"payload_format": payload_format} if payload_format else {})
        row: Row = self._request_json("GET", f"{_destination_path(name)}/preview", query)
        return row

    async def replay(self, name: str, filters: FilterValues) -> int:
        body = msgspec.json.encode({"filter": filters})
        response = self._request_json("POST", f"{_destination_path(name)}/replay", {"zone": self._zone}, body)
        return int(response["records"])

    async def lag(self) -> int:
        # 503 is a result here, where it has a number: far behind, or ahead.
        with self._open("GET", "/readyz", {}) as response:
            document = self._decode(response)
            if isinstance(document, dict) and isinstance(lag := document.get("lag"), int):
                return lag
            raise self._problem_to_error(response, document)

    def _request_quarantined(self, method: str, seq: int, path: str) -> Row:
        try:
            row: Row = self._request_json(method, path)
        except NotFound:
            # The API's advice is for HTTP clients; here a command helps.
            raise not_quarantined_error(seq) from None
        return row

    async def _iter_pages(self, path: str, query: FilterValues, limit: int) -> AsyncIterator[Row]:
        cursor, remaining = "", limit
        while remaining > 0:
            page_query = {**query, "limit": str(min(remaining, PAGE_MAX)), **({"cursor": cursor} if cursor else {})}
            page = self._request_json("GET", path, page_query)
            for row in page["data"]:
                yield row
            remaining -= len(page["data"])
            cursor = page["next"] or ""
            if not cursor:
                return

    def _request_json(
        self,
        method: str,
        path: str,
        query: FilterValues = {},  # noqa: B006 - never changed
        body: bytes | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Any:
        with self._request(method, path, query, body, timeout_seconds=timeout_seconds) as response:
            return self._decode(response)

    @contextmanager
    def _request(
        self,
        method: str,
        path: str,
        query: FilterValues,
        body: bytes | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Iterator[http.client.HTTPResponse]:
        with self._open(method, f"/api/v1/{quote(path)}", query, body, timeout_seconds=timeout_seconds) as response:
            if response.status >= http.client.BAD_REQUEST:
                raise self._problem_to_error(response, self._decode(response))
            yield response

    @contextmanager
    def _open(
        self,
        method: str,
        path: str,
        query: FilterValues,
        body: bytes | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Iterator[http.client.HTTPResponse]:
        """Yield a response to be read. Raises `Unavailable` when the connection fails, also while it is read."""
        connection = self._server.connect(timeout_seconds)
        try:
            request_target = f"{path}?{urlencode(query)}" if query else path
            connection.request(method, request_target, body=body, headers=self._headers)
            with connection.getresponse() as response:
                yield response
        except (http.client.HTTPException, OSError) as error:
            raise self._connection_error(error) from error
        finally:
            connection.close()

    def _decode(self, response: http.client.HTTPResponse) -> Any:
        try:
            return msgspec.json.decode(response.read())
        except msgspec.DecodeError as error:
            raise self._connection_error(error) from error

    def _problem_to_error(self, response: http.client.HTTPResponse, document: Any) -> OnhookError:
        """Return the error of a problem document; of any other response that of its status."""
        problem = document if isinstance(document, dict) else {}
        error_type = _ERRORS.get(response.status, OnhookError)
        return error_type(str(problem.get("detail", response.reason)), hint=str(problem.get("hint", "")))

    def _connection_error(self, error: Exception) -> Unavailable:
        return Unavailable(
            _("the server does not answer ({name}: {error})", name=type(error).__name__, error=error),
            location=self._server.url,
            hint=_("try again in a moment; see the log of `onhook serve`"),
        )


def _destination_path(name: str) -> str:
    """Return the path of a destination in the API. Raises `UsageError` for a name with `/`, which older versions
    allowed.
    """
    if "/" in name:
        raise UsageError(
            _("the API has no path for the name {name}", name=repr(name[:80])),
            hint=_("rename it: `onhook destination change {name} --name NEW-NAME`", name=shlex.quote(name)),
        )
    return f"destinations/{name}"
