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
from onhook.ops.doctor.host import Finding
from onhook.pbx.asterisk.advice import FILES, KEPT_BY, MODULES, Advice, Sections, Seen, advise, sections_of
from onhook.pbx.asterisk.session import Answer, Login, Ready, Refused, Session
from onhook.pbx.asterisk.trunks import Trunks, TrunkSearch
from onhook.pbx.cdr_archive import KeptCall
from onhook.pbx.client import Window
from onhook.sync.access import archive_of, with_rotated
from onhook.sync.ami_connections import CONNECT_SECONDS_MAX, READ_BYTES, create_tls_context

ANSWER_SECONDS_MAX = 10.0
"""For all questions together; an Asterisk answers in milliseconds."""


RECENT = timedelta(days=7)
"""An Asterisk that is used has a call in a week."""


async def examine_asterisk(settings: AppDb, clock: Clock, pbx: Pbx) -> AsyncIterator[Finding]:
    """What is right with an Asterisk and with what it keeps, and what is not."""
    reached = settings.asterisks.of(pbx.sn)
    try:
        for one in await look_at(reached, settings.asterisks.secret(pbx.sn), clock):
            yield Finding(one.grade, one.what, file=one.file, lines=one.lines)
    except OnhookError as error:
        yield Finding("wrong", f"{error.what} ({error.where})", error.todo)
    source = settings.sources.of(pbx.sn)
    if source is None:
        yield Finding(
            "look",
            "nobody said where it keeps its CDRs: a time in which it was not heard stays a gap",
            f"onhook pbx change {pbx.name} --cdr FILE, or --cdr postgresql://USER:PASSWORD@HOST/DATABASE",
        )
    else:
        yield await asyncio.to_thread(_read, settings, clock, pbx.sn, source)


def _read(settings: AppDb, clock: Clock, sn: str, source: CdrSource) -> Finding:
    """Whether its CDRs can be read, by those of the last days."""
    now = clock.now()
    window = Window(since=round((now - RECENT).timestamp()), until=round(now.timestamp()))
    try:
        kept = archive_of(sn, lambda: with_rotated(source), settings)(window)
        last = max((one.ended for one in kept if isinstance(one, KeptCall) and one.ended is not None), default=None)
    except OnhookError as error:
        return Finding("wrong", f"{error.what} ({error.where})" if error.where else error.what, error.todo)
    if last is None or last < now - RECENT:
        return Finding("look", f"no call of the last week is in {source.place}", "is it the right one, and written?")
    return Finding(
        "right", f"its CDRs can be read in {source.place}; the last call there ended {last:%Y-%m-%d %H:%M:%S} UTC"
    )


async def look_at(reached: AsteriskPbx, secret: str, clock: Clock) -> list[Advice]:
    """What is right with an Asterisk, and what is not. Raises `Unavailable`, `NotAllowed` where it cannot be asked."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            connected = await asyncio.open_connection(reached.host, reached.port, ssl=create_tls_context(reached.tls))
    except (OSError, TimeoutError) as error:
        raise Unavailable(
            f"no connection to the manager interface: {_why(error)}",
            where=f"{reached.host}:{reached.port}",
            todo="is it enabled in manager.conf ([general] enabled = yes), and may this machine reach it?",
        ) from error
    reader, writer = connected
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            seen = await _Visit(reached, secret, clock, reader, writer).look()
    except TimeoutError as error:
        raise Unavailable("it does not answer", where=f"{reached.host}:{reached.port}", todo="try again") from error
    finally:
        writer.close()
    return list(advise(seen))


def _why(error: OSError) -> str:
    """In the system's words: asyncio tells the number of a refusal, and the address once more."""
    # TLS counts errors of its own.
    if error.errno is not None and error.errno in errno.errorcode and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return error.strerror or str(error) or "no answer in time"


class _Visit:
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
            for happening in await self._next():
                self._ready = happening if isinstance(happening, Ready) else self._ready
        files = {name: await self._file(name) for name in FILES}
        modules = [name for name in (*MODULES, *KEPT_BY) if (await self._ask("ModuleCheck", Module=name)).is_success]
        ahead = await self._clock_ahead()
        trunks = await self._trunks()
        return Seen(
            version=self._ready.version,
            is_filtered=self._ready.is_filtered,
            files=files,
            modules=frozenset(modules),
            clock_ahead_seconds=ahead,
            trunks=trunks.trunks,
            trunks_trouble=trunks.why,
        )

    async def _file(self, name: str) -> Sections | None:
        answer = await self._ask("GetConfig", Filename=name)
        return sections_of(answer.message) if answer.is_success else None

    async def _clock_ahead(self) -> float | None:
        """Against the middle of the question's way and the answer's."""
        asked_at = self._clock.microseconds()
        told = (await self._ask("Ping")).message.get("Timestamp")
        answered_at = self._clock.microseconds()
        try:
            return float(told) - (asked_at + answered_at) / 2_000_000
        except ValueError:
            return None

    async def _trunks(self) -> Trunks:
        if self._reached.trunks is not None:
            return Trunks(self._reached.trunks, self._reached.inbound)
        search = TrunkSearch(self._session)
        while True:
            for happening in await self._next():
                if isinstance(happening, Answer) and search.is_mine(happening):
                    found = search.answered(happening)
                    if found is not None:
                        return found

    async def _ask(self, action: str, /, **fields: str) -> Answer:
        question = self._session.ask(action, **fields)
        while True:
            for happening in await self._next():
                if isinstance(happening, Answer) and happening.question == question:
                    return happening

    async def _next(self) -> Iterator[object]:
        """Send what there is, and hear what comes. Raises `NotAllowed`, `Unavailable`."""
        self._writer.write(self._session.to_send())
        await self._writer.drain()
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise Unavailable("it has closed the connection", where=self._reached.host, todo="look at its log")
        happenings = self._session.received(data)
        for happening in happenings:
            if isinstance(happening, Refused):
                raise NotAllowed(
                    f"it does not let us in: {happening.why}",
                    where=f"{self._reached.host}:{self._reached.port}",
                    todo=f"compare user and secret with [{self._reached.user}] in manager.conf",
                )
        return iter(happenings)
