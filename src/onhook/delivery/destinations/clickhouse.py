"""ClickHouse by HTTP: each record or call is a row, which later events of it replace (`clickhouse_tables`).

Invariants: a batch is one insert, with a token by which the server recognises that it was made. Where the server
refuses a value of it, halves of it are inserted, until the notification alone fails whose value it is. Everything else
that fails says nothing about a notification, and is tried again. What the server says is read before secrets are hidden
in it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from urllib.parse import unquote, urlsplit

import msgspec
from yarl import URL

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.clickhouse_tables import (
    INSERT_SETTINGS,
    columns_query,
    create_statements,
    deduplication_token,
    delete_statement,
    format_row,
    insert_position_statement,
    insert_statement,
    is_about_values,
    position_query,
    replacing_row,
    stored_calls_query,
)
from onhook.delivery.destinations.contract import (
    DETAIL_CHARACTERS_MAX,
    CallReplacement,
    DeliveryResult,
    Notification,
    SendLimits,
    not_attempted,
)
from onhook.delivery.destinations.http_transport import HttpTransport, OutgoingRequest, guard_and_proxy
from onhook.delivery.destinations.kinds import decode_fields
from onhook.delivery.destinations.row_columns import NO_ROW
from onhook.delivery.destinations.service_fields import ClickhouseFields
from onhook.delivery.destinations.webhook_response import RESPONSE_BYTES_MAX
from onhook.delivery.samples import sample_for
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

BATCH_ROWS = 1_000
"""Rows of one insert, each of which is a file of the server until it merges some: fewer and larger ones are better."""

BATCH_BYTES_MAX = 4 * 1_048_576
REFUSALS_MAX = 20
"""Notifications of a batch that fail alone; the others follow with the next attempt. Each costs some requests, and the
time-out is that of all.
"""

ANSWER_BYTES_MAX = 65_536
"""Of the list of columns, and of errors."""

USER_HEADER, KEY_HEADER = "X-ClickHouse-User", "X-ClickHouse-Key"
USER_DEFAULT = "default"


class ClickhouseClient:
    """See `contract.DestinationClient`."""

    limits = SendLimits(attempts_max=1, batch_count=BATCH_ROWS, batch_bytes=BATCH_BYTES_MAX)

    def __init__(self, spec: DestinationSpec, transport: HttpTransport) -> None:
        parts = urlsplit(spec.url)
        database = unquote(parts.path.strip("/"))
        self._spec = spec
        self._transport = transport
        self._url = URL(spec.url).origin().with_path("/")
        self._parameters = {"wait_end_of_query": "1", **({"database": database} if database else {})}
        self._has_tables = False
        self._clock = SystemClock()

    def __repr__(self) -> str:
        return f"ClickhouseClient({self._spec!r})"

    def format_payload(self, record: Record) -> bytes:
        return format_row(record, self._spec.notifies_of)

    def format_test_payload(self) -> bytes:
        return NO_ROW

    def format_sample_payload(self, now: datetime) -> bytes:
        return self.format_payload(sample_for(self._spec, now))

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        results: dict[str, DeliveryResult] = {}
        try:
            async with asyncio.timeout(self._spec.timeout_seconds):
                await self._create_tables()
                if notifications[0].is_test:
                    detail = _("connected, the table is there; nothing was stored")
                    return [DeliveryResult(outcome="accepted", detail=detail)]
                await self._insert(notifications, results)
        except TimeoutError:
            detail = _("no response within {seconds:g} seconds", seconds=self._spec.timeout_seconds)
        except OSError as error:
            detail = " ".join(str(error).split())
            self._has_tables = False
        else:
            detail = ""
        failure = DeliveryResult(
            outcome="unreachable", detail=detail[:DETAIL_CHARACTERS_MAX], is_shared=len(notifications) > 1
        )
        return [results.get(notification.notification_id, failure) for notification in notifications]

    async def close(self) -> None:
        await self._transport.close()

    async def deletion_position(self) -> int | None:
        async with self._deletion_errors():
            await self._create_tables()
            lines = (await self._run(position_query(self._spec.notifies_of))).split()
            return int(lines[0]) if lines else None

    async def replace_calls(self, replacements: Sequence[CallReplacement], position: int | None) -> None:
        """See `contract.CallReplacer`. Rows that replace others are written first: what is interrupted is repeated, and
        deletes the rows that it finds.
        """
        table, now_us = self._spec.notifies_of, self._clock.microseconds()
        async with self._deletion_errors():
            await self._create_tables()
            keys = [(call.sn, call.call_id) for call in replacements]
            answer = await self._run(stored_calls_query(table, keys)) if keys else b""
            stored_keys = {msgspec.json.decode(line, type=tuple[str, str]) for line in answer.splitlines()}
            await self._insert_replacements(
                [call for call in replacements if (call.sn, call.call_id) in stored_keys], now_us
            )
            if stored_keys:
                await self._run(delete_statement(table, sorted(stored_keys), now_us))
            if position is not None:
                await self._run(insert_position_statement(table, position, now_us))

    async def _insert_replacements(self, replacements: Sequence[CallReplacement], now_us: int) -> None:
        """Insert rows in place of those of these calls; one that is refused is left out. Raises `OSError`."""
        rows = [replacing_row(row, now_us) for call in replacements for row in call.bodies]
        notifications = [Notification(f"{now_us}-{number}", row, now_us) for number, row in enumerate(rows)]
        if not notifications or (await self._try_insert(notifications)).outcome == "accepted":
            return
        for start in range(0, len(notifications), REFUSALS_MAX):
            await self._insert(notifications[start : start + REFUSALS_MAX], {})

    @asynccontextmanager
    async def _deletion_errors(self) -> AsyncIterator[None]:
        """Raise `Unavailable` for whatever the server does, and for a block that takes too long."""
        try:
            async with asyncio.timeout(self._spec.timeout_seconds):
                yield
            return
        except TimeoutError:
            detail = _("no response within {seconds:g} seconds", seconds=self._spec.timeout_seconds)
        except (OSError, ValueError) as error:
            detail = " ".join(str(error).split())[:DETAIL_CHARACTERS_MAX]
        self._has_tables = False
        raise Unavailable(detail)

    async def _create_tables(self) -> None:
        """Make what the database lacks of table and view: the right to do so is needed then only. Raises `OSError`."""
        if self._has_tables:
            return
        answer = await self._run(columns_query(self._spec.notifies_of))
        lines = [line.split("\t") for line in answer.decode(errors="replace").splitlines()]
        existing = {(line[0], line[1]) for line in lines if len(line) > 1}
        for statement in create_statements(self._spec.notifies_of, existing):
            await self._run(statement)
        self._has_tables = True

    async def _insert(self, notifications: Sequence[Notification], results: dict[str, DeliveryResult]) -> None:
        """Insert notifications, and add the result of each, as soon as it is known. Raises `OSError`."""
        if sum(result.outcome == "rejected" for result in results.values()) >= REFUSALS_MAX:
            left_out = not_attempted(_("too many rows of one batch are refused; the others follow"))
            results.update(dict.fromkeys((notification.notification_id for notification in notifications), left_out))
            return
        result = await self._try_insert(notifications)
        if result.outcome != "accepted" and len(notifications) > 1:
            middle = len(notifications) // 2
            await self._insert(notifications[:middle], results)
            await self._insert(notifications[middle:], results)
            return
        results.update(dict.fromkeys((notification.notification_id for notification in notifications), result))

    async def _try_insert(self, notifications: Sequence[Notification]) -> DeliveryResult:
        """Return the result of an insert: accepted, or rejected for a value. Raises `OSError` for other errors."""
        token = deduplication_token([notification.notification_id for notification in notifications])
        parameters = {
            **INSERT_SETTINGS,
            "insert_deduplication_token": token,
            "query": insert_statement(self._spec.notifies_of),
        }
        body = b"\n".join(notification.body for notification in notifications)
        result, answer = await self._request(parameters, body)
        if result.outcome == "accepted":
            return msgspec.structs.replace(result, detail=_("stored"), body=b"", exchange=None)
        if not is_about_values(result.status, answer):
            raise OSError(_describe(result))
        return DeliveryResult(
            outcome="rejected", detail=_describe(result), status=result.status, body=result.body[:RESPONSE_BYTES_MAX]
        )

    async def _run(self, statement: str) -> bytes:
        """Run a statement; return what the server says. Raises `OSError`."""
        result, answer = await self._request({}, statement.encode())
        if result.outcome != "accepted":
            raise OSError(_describe(result))
        return answer

    async def _request(self, parameters: Mapping[str, str], body: bytes) -> tuple[DeliveryResult, bytes]:
        """Return the result of a request, for display, and what the server says in it, for reading."""
        answers: list[bytes] = []

        def read(result: DeliveryResult) -> DeliveryResult:
            answers.append(result.body)
            return result

        url = self._url.with_query({**self._parameters, **parameters})
        request = OutgoingRequest(method="POST", url=url, headers={}, body=body)
        now_us = self._clock.microseconds()
        result = await self._transport.request(request, now_us, ANSWER_BYTES_MAX, read_response=read)
        return result, answers[0]


def _describe(result: DeliveryResult) -> str:
    """Return an error in one line, with the server's own message."""
    text = f"{result.detail}: {result.body.decode(errors='replace')}" if result.body else result.detail
    return " ".join(text.split())[:DETAIL_CHARACTERS_MAX]


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> ClickhouseClient:
    """Open a server, with the private networks and the proxy of the configuration."""
    guard, proxy = guard_and_proxy(config, spec)
    fields: ClickhouseFields = decode_fields(spec, ClickhouseFields)
    headers = {USER_HEADER: fields.login or USER_DEFAULT, **({KEY_HEADER: secrets[-1]} if secrets else {})}
    transport = HttpTransport(
        spec, guard, proxy, {**headers, **spec.headers}, secrets, hidden_headers=(USER_HEADER, KEY_HEADER)
    )
    return ClickhouseClient(spec, transport)
