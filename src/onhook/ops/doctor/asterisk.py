"""Looking at an Asterisk from outside: one connection of our own, a few questions, and what it keeps of its calls."""

import asyncio
import errno
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.appdb.cdr_sources import CdrSource
from onhook.appdb.pbxs import Pbx
from onhook.lib.clock import Clock
from onhook.lib.errors import NotAllowed, OnhookError, Unavailable
from onhook.ops.doctor.host import Check
from onhook.pbx.asterisk.advice import FILES, KEPT_BY, MODULES, Advice, Sections, Seen, advise, sections_of
from onhook.pbx.asterisk.session import Answer, Login, Ready, Refused, Session
from onhook.pbx.asterisk.trunks import Trunks, TrunkSearch
from onhook.pbx.cdr_archive import KeptCall
from onhook.pbx.client import Window
from onhook.sync.access import create_cdr_archive, expand_rotated_files
from onhook.sync.ami_connections import CONNECT_SECONDS_MAX, READ_BYTES, create_tls_context

RESPONSE_SECONDS_MAX = 10.0
"""For all questions together; an Asterisk answers in milliseconds."""


RECENT_CALLS_PERIOD = timedelta(days=7)
"""An Asterisk that is used has a call in a week."""


async def check_asterisk(settings: AppDb, clock: Clock, pbx: Pbx) -> AsyncIterator[Check]:
    """What is right with an Asterisk and with what it keeps, and what is not."""
    asterisk = settings.asterisks.of(pbx.sn)
    try:
        for advice in await inspect_asterisk(asterisk, settings.asterisks.secret(pbx.sn), clock):
            yield Check(advice.grade, advice.what, file=advice.file, lines=advice.lines)
    except OnhookError as error:
        yield Check("wrong", f"{error.what} ({error.where})", error.todo)
    source = settings.sources.of(pbx.sn)
    if source is None:
        yield Check(
            "look",
            "nobody said where it keeps its CDRs: a time in which it was not heard stays a gap",
            f"onhook pbx change {pbx.name} --cdr FILE, or --cdr postgresql://USER:PASSWORD@HOST/DATABASE",
        )
    else:
        yield await asyncio.to_thread(_check_cdr_source, settings, clock, pbx.sn, source)


def _check_cdr_source(settings: AppDb, clock: Clock, sn: str, source: CdrSource) -> Check:
    """Whether its CDRs can be read, by those of the last days."""
    now = clock.now()
    window = Window(since=round((now - RECENT_CALLS_PERIOD).timestamp()), until=round(now.timestamp()))
    try:
        calls = create_cdr_archive(sn, lambda: expand_rotated_files(source), settings)(window)
        last_ended_at = max(
            (call.ended for call in calls if isinstance(call, KeptCall) and call.ended is not None), default=None
        )
    except OnhookError as error:
        return Check("wrong", f"{error.what} ({error.where})" if error.where else error.what, error.todo)
    if last_ended_at is None or last_ended_at < now - RECENT_CALLS_PERIOD:
        return Check("look", f"no call of the last week is in {source.place}", "is it the right one, and written?")
    return Check(
        "right",
        f"its CDRs can be read in {source.place}; the last call there ended {last_ended_at:%Y-%m-%d %H:%M:%S} UTC",
    )


async def inspect_asterisk(reached: AsteriskPbx, secret: str, clock: Clock) -> list[Advice]:
    """What is right with an Asterisk, and what is not. Raises `Unavailable`, `NotAllowed` where it cannot be asked."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            streams = await asyncio.open_connection(reached.host, reached.port, ssl=create_tls_context(reached.tls))
    except (OSError, TimeoutError) as error:
        raise Unavailable(
            f"no connection to the manager interface: {_describe_error(error)}",
            where=f"{reached.host}:{reached.port}",
            todo="is it enabled in manager.conf ([general] enabled = yes), and may this machine reach it?",
        ) from error
    reader, writer = streams
    try:
        async with asyncio.timeout(RESPONSE_SECONDS_MAX):
            inspection = await _AmiInspector(reached, secret, clock, reader, writer).look()
    except TimeoutError as error:
        raise Unavailable("it does not answer", where=f"{reached.host}:{reached.port}", todo="try again") from error
    finally:
        writer.close()
    return list(advise(inspection))


def _describe_error(error: OSError) -> str:
    """In the system's words: asyncio tells the number of a refusal, and the address once more."""
    # TLS counts errors of its own.
    if error.errno is not None and error.errno in errno.errorcode and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return error.strerror or str(error) or "no answer in time"


class _AmiInspector:
    """One connection, from the login to the last answer."""

    def __init__(
        self,
        reached: AsteriskPbx,
        secret: str,
        clock: Clock,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._reached = reached
        self._session = Session(Login(reached.user, secret))
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._ready: Ready | None = None

    async def look(self) -> Seen:
        while self._ready is None:
            for session_event in await self._next():
                self._ready = session_event if isinstance(session_event, Ready) else self._ready
        files = {name: await self._file(name) for name in FILES}
        modules = [name for name in (*MODULES, *KEPT_BY) if (await self._ask("ModuleCheck", Module=name)).is_success]
        clock_skew = await self._clock_ahead()
        trunks = await self._trunks()
        return Seen(
            version=self._ready.version,
            is_filtered=self._ready.is_filtered,
            files=files,
            modules=frozenset(modules),
            clock_ahead_seconds=clock_skew,
            trunks=trunks.trunks,
            trunks_trouble=trunks.why,
        )

    async def _file(self, name: str) -> Sections | None:
        response = await self._ask("GetConfig", Filename=name)
        return sections_of(response.message) if response.is_success else None

    async def _clock_ahead(self) -> float | None:
        """Against the middle of the question's way and the answer's."""
        sent_at = self._clock.microseconds()
        timestamp = (await self._ask("Ping")).message.get("Timestamp")
        received_at = self._clock.microseconds()
        try:
            return float(timestamp) - (sent_at + received_at) / 2_000_000
        except ValueError:
            return None

    async def _trunks(self) -> Trunks:
        if self._reached.trunks is not None:
            return Trunks(self._reached.trunks, self._reached.inbound)
        search = TrunkSearch(self._session)
        while True:
            for session_event in await self._next():
                if isinstance(session_event, Answer) and search.is_mine(session_event):
                    trunks = search.answered(session_event)
                    if trunks is not None:
                        return trunks

    async def _ask(self, action: str, /, **fields: str) -> Answer:
        action_id = self._session.ask(action, **fields)
        while True:
            for session_event in await self._next():
                if isinstance(session_event, Answer) and session_event.question == action_id:
                    return session_event

    async def _next(self) -> Iterator[object]:
        """Send what there is, and hear what comes. Raises `NotAllowed`, `Unavailable`."""
        self._writer.write(self._session.to_send())
        await self._writer.drain()
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise Unavailable("it has closed the connection", where=self._reached.host, todo="look at its log")
        session_events = self._session.received(data)
        for session_event in session_events:
            if isinstance(session_event, Refused):
                raise NotAllowed(
                    f"it does not let us in: {session_event.why}",
                    where=f"{self._reached.host}:{self._reached.port}",
                    todo=f"compare user and secret with [{self._reached.user}] in manager.conf",
                )
        return iter(session_events)
