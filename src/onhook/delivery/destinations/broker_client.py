"""Destinations that are brokers: each notification is a message, which the broker confirms (`broker_message`).

Invariants: one batch at a time, whose messages are of different calls; the next one begins when each is confirmed or
has failed, so that the messages of a call are in order. After a failure nothing of the connection is used again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from onhook.appdb.destination_spec import OPERATIONAL, DestinationSpec
from onhook.cdr.record import Record
from onhook.delivery.destinations.broker_message import (
    BrokerMessage,
    has_names_by_call,
    make_message,
    name_pattern,
)
from onhook.delivery.destinations.contract import (
    DETAIL_CHARACTERS_MAX,
    LIBRARY_ERRORS,
    DeliveryResult,
    Notification,
    SendLimits,
)
from onhook.delivery.destinations.guarded_loop import LoopThread
from onhook.delivery.guarded_connection import describe_connection_error
from onhook.delivery.samples import TEST_BODY, sample_for, sample_operational_event
from onhook.delivery.ssrf_guard import SsrfGuard
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

BATCH_MESSAGES = 256
"""Messages that wait for confirmation at a time: some hundred kilobytes, and milliseconds of a broker."""

CLOSE_SECONDS_MAX = 1.0
"""Wait for a broker that is to confirm the end of a connection."""

HIDDEN = "…"

CONFIRMATION_SHARE = 0.9
"""Of the time-out of an attempt: what the broker has said by then is not lost with what it has not said."""

MessageOutcome = DeliveryResult | Exception


class NameRefused(Unavailable):
    """What a broker says to one message because of its name: no queue or stream has it, or the user may not use it."""


class QueueFull(Unavailable):
    """What a broker says where a queue or stream takes no message now: it is full, or has failed."""


class NotConfirmed(Unavailable):
    """A message that the broker has not confirmed in time."""

    def __init__(self) -> None:
        super().__init__(_("no response"))


class BrokerConnection(Protocol):
    """A connection to a broker."""

    async def publish(self, messages: Sequence[BrokerMessage], until: float) -> Sequence[MessageOutcome]:
        """Publish messages, and wait until each is confirmed, or until a time of the event loop; return a result for
        each, in order: an exception where the broker does not take it, `NameRefused`, `QueueFull` and `NotConfirmed`
        where that may be true of this one alone. Raises the errors of the driver.
        """
        ...

    async def is_open(self) -> bool:
        """Return whether the connection can be used, as far as it is known without the broker."""
        ...

    async def close(self) -> None:
        """End the connection."""
        ...


class BrokerDriver(Protocol):
    """One kind's client library. Its methods run in the thread of the destination."""

    name: str
    """Name of the library's loggers."""

    errors: tuple[type[Exception], ...]

    async def connect(self, password: str) -> BrokerConnection:
        """Return a connection; log in where there is a password. Raises `errors`."""
        ...

    def is_login_error(self, error: Exception) -> bool:
        """Return whether the broker has refused the password."""
        ...


class BrokerBase:
    """What all clients of brokers have in common: limits, bodies and results. `passwords` are the newest one first."""

    limits = SendLimits(attempts_max=1, batch_count=BATCH_MESSAGES)

    def __init__(self, spec: DestinationSpec, secrets: Sequence[str], guard: SsrfGuard) -> None:
        self._spec = spec
        self._passwords = [*reversed(secrets)] or [""]
        self._guard = guard
        self._pattern = name_pattern(spec)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._spec.url!r})"

    def format_payload(self, record: Record) -> bytes:
        return msgspec.json.encode(record)

    def format_test_payload(self) -> bytes:
        return TEST_BODY

    def format_sample_payload(self, now: datetime) -> bytes:
        if self._spec.notifies_of in OPERATIONAL:
            return sample_operational_event(self._spec.notifies_of, now)
        return self.format_payload(sample_for(self._spec, now))

    def _no_response(self) -> Unavailable:
        return Unavailable(_("no response within {seconds:g} seconds", seconds=self._spec.timeout_seconds))

    def _to_results(self, outcomes: Sequence[MessageOutcome]) -> Sequence[DeliveryResult]:
        """Return the results of a batch. What says nothing about one message does not count against it, and has no
        password in it.

        A name that is refused is that of the message where the broker takes others, or where each PBX or call has a
        name of its own: the message is rejected, and others go on. Where all have one name, all wait. A queue that is
        full is that of the message only where names are of their own: with one name it may take others by chance.
        """
        is_answered = any(isinstance(item, DeliveryResult) and item.outcome == "accepted" for item in outcomes)
        has_names_of_their_own = has_names_by_call(self._pattern)
        return [
            outcome
            if isinstance(outcome, DeliveryResult)
            else self._describe(
                outcome,
                is_rejected=(isinstance(outcome, NameRefused) and (is_answered or has_names_of_their_own))
                or (isinstance(outcome, QueueFull) and has_names_of_their_own)
                or (isinstance(outcome, NotConfirmed) and is_answered and has_names_of_their_own),
                is_shared=len(outcomes) > 1,
            )
            for outcome in outcomes
        ]

    def _describe(self, error: Exception, *, is_rejected: bool, is_shared: bool) -> DeliveryResult:
        shown_error = self._no_response() if isinstance(error, NotConfirmed) else error
        detail = " ".join((str(shown_error) or type(error).__name__).split())
        for password in filter(None, self._passwords):
            detail = detail.replace(password, HIDDEN)
        if is_rejected:
            return rejected(detail)
        return DeliveryResult(outcome="unreachable", detail=detail[:DETAIL_CHARACTERS_MAX], is_shared=is_shared)


class BrokerClient(BrokerBase):
    """Client with an asynchronous library, which keeps its connection. See `contract.DestinationClient`."""

    def __init__(self, spec: DestinationSpec, secrets: Sequence[str], guard: SsrfGuard, driver: BrokerDriver) -> None:
        super().__init__(spec, secrets, guard)
        self._driver = driver
        self._errors = (*LIBRARY_ERRORS, *driver.errors)
        self._thread: LoopThread | None = None
        self._connection: BrokerConnection | None = None
        # What fails is in the result of the attempt; libraries log it again, some with a traceback.
        logging.getLogger(driver.name).setLevel(logging.CRITICAL)

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        messages = [make_message(self._spec, notification) for notification in notifications]
        outcomes: Sequence[MessageOutcome]
        if self._thread is None:
            self._thread = LoopThread(self._spec.kind, self._guard)
        try:
            async with asyncio.timeout(self._spec.timeout_seconds):
                outcomes = await self._thread.run(self._publish(self._thread, messages))
        except TimeoutError:
            outcomes = [self._describe_timeout(self._thread)] * len(messages)
        except Unavailable as error:
            outcomes = [error] * len(messages)
        if not all(isinstance(outcome, DeliveryResult | NameRefused | QueueFull) for outcome in outcomes):
            await self._disconnect()
        return self._to_results(outcomes)

    async def close(self) -> None:
        await self._disconnect()

    def _describe_timeout(self, thread: LoopThread) -> Unavailable:
        """Return why a library may have tried again until the time was over: some report no connection that failed."""
        reason = thread.loop.connection_error
        return self._no_response() if reason is None else Unavailable(describe_connection_error(reason))

    async def _disconnect(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            if self._connection is not None:
                # A library that blocks its thread does not end in it either.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(2 * CLOSE_SECONDS_MAX):
                        await thread.run(self._close_connection())
        finally:
            self._connection = None
            await thread.close()

    # In the thread

    async def _publish(self, thread: LoopThread, messages: Sequence[BrokerMessage]) -> Sequence[MessageOutcome]:
        """Publish messages, connected. Raises `Unavailable`, `TimeoutError`."""
        until = thread.loop.time() + CONFIRMATION_SHARE * self._spec.timeout_seconds
        try:
            if self._connection is not None and not await self._connection.is_open():
                await self._close_connection()
            if self._connection is None:
                self._connection = await self._connect(thread)
            return await self._publish_alone_again(self._connection, messages, until)
        except TimeoutError:
            raise
        except self._errors as error:
            reason = thread.loop.connection_error or (error if isinstance(error, OSError) else None)
            raise Unavailable(str(error) if reason is None else describe_connection_error(reason)) from error

    async def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*self._errors):
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    await connection.close()

    async def _connect(self, thread: LoopThread) -> BrokerConnection:
        """Return a connection, with the newest password that the broker accepts."""
        for password in self._passwords[:-1]:
            try:
                return await self._driver.connect(password)
            except self._driver.errors as error:
                if not self._driver.is_login_error(error):
                    raise
                thread.loop.abort_connections()
        return await self._driver.connect(self._passwords[-1])

    async def _publish_alone_again(
        self, connection: BrokerConnection, messages: Sequence[BrokerMessage], until: float
    ) -> Sequence[MessageOutcome]:
        """Publish messages, and those of a batch that are rejected once more, each by itself: of messages that come
        together, brokers also reject some because of another one that is too large. What fails then is the outcome of
        this message: others of the batch are stored already.
        """
        outcomes = [*await connection.publish(messages, until)]
        for index, outcome in enumerate(outcomes):
            if len(messages) > 1 and isinstance(outcome, DeliveryResult) and outcome.outcome == "rejected":
                try:
                    outcomes[index : index + 1] = await connection.publish([messages[index]], until)
                except self._errors as error:
                    outcomes[index] = error
        return outcomes


def rejected(reason: str) -> DeliveryResult:
    """Return the result of a message that the broker does not take."""
    return DeliveryResult(outcome="rejected", detail=" ".join(reason.split())[:DETAIL_CHARACTERS_MAX])
