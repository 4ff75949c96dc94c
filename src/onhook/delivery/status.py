"""Status of a destination: pending notifications, their age, and the result of a test."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, tzinfo
from secrets import token_hex
from typing import Literal

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.delivery_rows import Backlog, NewAttempt, NewLoggedAttempt
from onhook.appdb.destination_spec import mask_url
from onhook.appdb.destinations import Destination, DestinationState, Stream
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.certificates import TrustedCertificate, parse_certificates
from onhook.delivery.destinations.contract import DeliveryResult, DestinationClient, Notification
from onhook.delivery.issues import Issue, find_issues
from onhook.lib.clock import Clock
from onhook.lib.errors import UsageError
from onhook.lib.hosts import mask_proxy
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime
from onhook.store.contract import Store

TEST_ID_PREFIX = "test-"
"""Of the notification id of a test; random digits follow, so that a receiver takes no test for a repeat."""

TEST_ID_BYTES = 8

LogAttempt = Callable[[NewLoggedAttempt], Awaitable[None]]
"""Adds an attempt to the log of its destination."""

DisplayState = Literal["disabled", "paused", "full", "failing", "active"]
"""The state of a destination and the condition of an active one, as lists show it."""


class DestinationView(Destination, frozen=True, kw_only=True):
    """A destination with its status and its issues, flat, as API and pages show it.

    Values of `headers` and in the query of `url` are masked: they may be keys. `pending` counts records that were not
    sent yet, and notifications that are retried; `retrying` are the latter, `failed` ones are not included.
    `oldest_pending_at` is the time of the oldest of them. `replays` are unfinished ones, and
    `replay_pending` the records that they have not sent yet, which `pending` includes. `position` is the ledger
    number up to which everything is done, None before the start. `is_full`: so many are retrying or failed that no new
    notification is tried before an operator has retried or discarded some. `certificates` are those in
    `ca_certificates`.
    """

    pending: int
    retrying: int
    failed: int
    oldest_pending_at: datetime | None
    replays: int
    replay_pending: int
    position: int | None
    is_full: bool
    issues: Sequence[Issue]
    certificates: Sequence[TrustedCertificate]

    @property
    def display_state(self) -> DisplayState:
        return display_state(self.state, is_full=self.is_full, is_failing=self.failing_since is not None)


class DestinationTestResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a test. `status` is None without a response. `hint` says what to do about a redirect, or is empty."""

    accepted: bool
    status: int | None
    detail: str
    hint: str
    duration_ms: int
    body: str


def display_state(state: DestinationState, *, is_full: bool, is_failing: bool) -> DisplayState:
    """Return the state to display: whether it is full or failing matters only while the destination is active."""
    if state != "active":
        return state
    return "full" if is_full else "failing" if is_failing else "active"


async def view_destination(
    destination: Destination, appdb: AppDb, store: Store, now: datetime, zone: tzinfo = UTC
) -> DestinationView:
    """Return the destination with its current status, secrets masked. Raises `Unavailable`."""
    backlog = await appdb.deliveries.backlog(destination.destination_id)
    streams = await appdb.destinations.streams(destination.destination_id)
    return await _view(destination, backlog, streams, store, await store.position(), now, zone)


async def view_destinations(
    destinations: Sequence[Destination], appdb: AppDb, store: Store, now: datetime, zone: tzinfo = UTC
) -> list[DestinationView]:
    """Return destinations as `view_destination` does; backlogs and the position are read once for all."""
    backlogs, position = await appdb.deliveries.backlogs(), await store.position()
    return [
        await _view(
            destination,
            backlogs.get(destination.destination_id, Backlog()),
            await appdb.destinations.streams(destination.destination_id),
            store,
            position,
            now,
            zone,
        )
        for destination in destinations
    ]


async def _view(  # noqa: PLR0917 - independent values
    destination: Destination,
    backlog: Backlog,
    streams: Sequence[Stream],
    store: Store,
    position: int,
    now: datetime,
    zone: tzinfo,
) -> DestinationView:
    unsent_count, replay_count, pending_times = await _count_unsent(destination, streams, store, position)
    if backlog.oldest_pending_at is not None:
        pending_times.append(to_datetime(backlog.oldest_pending_at))
    return DestinationView(
        **msgspec.structs.asdict(mask_secrets(destination)),
        pending=backlog.retrying + unsent_count,
        retrying=backlog.retrying,
        failed=backlog.failed,
        oldest_pending_at=min(pending_times, default=None),
        replays=sum(stream.until is not None for stream in streams),
        replay_pending=replay_count,
        position=streams[0].cursor if streams else None,
        is_full=backlog.is_full,
        issues=find_issues(destination, backlog, now, zone),
        certificates=parse_certificates(destination.ca_certificates),
    )


async def _count_unsent(
    destination: Destination, streams: Sequence[Stream], store: Store, position: int
) -> tuple[int, int, list[datetime]]:
    """Return the number of records after the cursors, how many of them are of replays, and the time of the oldest one
    of the live stream.
    """
    unsent_count, replay_count, oldest_times = 0, 0, []
    for stream in streams:
        cursor = stream.cursor or 0
        if cursor >= position:
            continue  # most destinations are at the end, where there is nothing to count
        is_live = stream.until is None
        extent = await store.extent(destination.filter, cursor, stream.until, second_filter=stream.filter)
        unsent_count += extent.count
        replay_count += 0 if is_live else extent.count
        if is_live and extent.first_received_at is not None:
            oldest_times.append(extent.first_received_at)
    return unsent_count, replay_count, oldest_times


def mask_secrets(destination: Destination) -> Destination:
    """Return the destination for display: without the values of its headers and those in its URL's query, which may be
    keys, without the password of its proxy, and without the text of its certificates.
    """
    return msgspec.structs.replace(
        destination,
        headers=dict.fromkeys(destination.headers, "…"),
        url=mask_url(destination.url),
        proxy=mask_proxy(destination.proxy),
        ca_certificates="…" if destination.ca_certificates else "",
    )


async def replay(appdb: AppDb, store: Store, name: str, record_filter: RecordFilter, clock: Clock) -> int:
    """Replay the records that match; return their number. Raises `UsageError` without a start time."""
    if record_filter.since is None:
        raise UsageError(
            _("a replay needs a start time"),
            hint=_("set --since, such as 2d or 2026-04-27"),
        )
    destination = await appdb.destinations.get(name)
    # By the start time only: filters may match whole calls, and calls may continue after their first legs.
    first_seq = (await store.extent(RecordFilter(since=record_filter.since))).first_seq
    matching_count = (await store.extent(destination.filter, second_filter=record_filter)).count
    if first_seq is not None:
        until = await store.position()
        await appdb.destinations.replay(
            name, record_filter, after=first_seq - 1, until=until, now_us=clock.microseconds()
        )
    return matching_count


async def send_test(
    client: DestinationClient, clock: Clock, *, is_sample: bool = False, log_attempt: LogAttempt | None = None
) -> DestinationTestResult:
    """Send a test to a destination and close it: the test message of the original, or a sample event. Any response or
    error is a result, which `log_attempt` adds to a log.
    """
    started_at = clock.microseconds()
    body = client.format_sample_payload(clock.now()) if is_sample else client.format_test_payload()
    notification_id = TEST_ID_PREFIX + token_hex(TEST_ID_BYTES)
    try:
        (result,) = await client.send([Notification(notification_id, body, started_at, is_test=True)])
    finally:
        await client.close()
    duration_ms = max(0, clock.microseconds() - started_at) // 1000
    if log_attempt is not None:
        await log_attempt(_logged_test(notification_id, body, result, started_at, duration_ms))
    is_accepted = result.outcome == "accepted"
    return DestinationTestResult(
        accepted=is_accepted,
        status=result.status,
        detail=result.detail,
        hint=_redirect_hint(result.redirect_host, is_accepted=is_accepted) if result.redirect_host else "",
        duration_ms=duration_ms,
        body=result.body.decode(errors="replace"),
    )


def _logged_test(
    notification_id: str, body: bytes, result: DeliveryResult, attempted_at: int, duration_ms: int
) -> NewLoggedAttempt:
    return NewLoggedAttempt(
        notification_id=notification_id,
        seq=0,
        call=("", ""),
        body=body,
        state=result.outcome,
        attempt=NewAttempt(
            attempted_at=attempted_at,
            duration_ms=duration_ms,
            status=result.status,
            detail=result.detail,
            body=result.body,
        ),
        exchange=result.exchange,
        is_test=True,
    )


def _redirect_hint(host: str, *, is_accepted: bool) -> str:
    if is_accepted:
        return _("the receiver redirects to {host}, which is not followed: check that it has the test", host=host)
    return _(
        "redirects are never followed: set the URL at {host}, or let a redirect count as accepted (--accept-redirects)"
        " if the receiver has processed the test, as Google Apps Script does",
        host=host,
    )
