"""Health checks of an Asterisk: one AMI connection, a few commands, and its CDR source."""

import asyncio
import errno
import os
import shlex
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.appdb.cdr_sources import CdrSource
from onhook.appdb.pbxs import Pbx
from onhook.lib.clock import Clock
from onhook.lib.errors import NotAllowed, OnhookError, Unavailable
from onhook.lib.messages import _
from onhook.lib.timestamps import format_time
from onhook.ops.doctor.check import Check
from onhook.pbx.asterisk.advice import (
    CDR_BACKEND_MODULES,
    CONFIG_FILES,
    REQUIRED_MODULES,
    AsteriskAdvice,
    AsteriskInspection,
    ConfigSections,
    build_advice,
    parse_sections,
)
from onhook.pbx.asterisk.connection import find_trunks
from onhook.pbx.asterisk.session import AmiCredentials, AmiReady, AmiRefused, AmiResponse, AmiSession
from onhook.pbx.asterisk.trunks import TrunkSearch, TrunkSearchResult, describe_unknown_trunks
from onhook.pbx.cdr_archive import ArchivedCall, UnparsedLine
from onhook.pbx.client import TimeWindow
from onhook.sync.ami_connections import CONNECT_SECONDS_MAX, READ_BYTES, create_tls_context
from onhook.sync.cdr_sources import create_cdr_archive, expand_rotated_files

RESPONSE_SECONDS_MAX = 10.0
"""For all commands together; an Asterisk answers in milliseconds."""


RECENT_CALLS_PERIOD = timedelta(days=7)
"""An Asterisk in use has a call in a week."""


async def check_asterisk(appdb: AppDb, clock: Clock, pbx: Pbx, zone: ZoneInfo) -> AsyncIterator[Check]:
    """Yield the checks of an Asterisk and of its CDR source; times are shown in `zone`."""
    asterisk = await appdb.asterisks.get(pbx.sn)
    try:
        for advice in await inspect_asterisk(asterisk, await appdb.asterisks.get_secret(pbx.sn), clock):
            yield Check(advice.status, advice.detail, file=advice.file, lines=advice.lines)
    except OnhookError as error:
        yield Check("ERROR", _("{message} ({location})", message=error.message, location=error.location), error.hint)
        if find_trunks(asterisk.trunks, asterisk.detected_config) is None:
            yield Check("WARNING", *describe_unknown_trunks(pbx.name))
    source = await appdb.cdr_sources.get(pbx.sn)
    if source is None:
        yield Check(
            "WARNING",
            _("no CDR source is set: gaps cannot be filled"),
            _(
                "onhook pbx change {pbx} --cdr FILE, or --cdr postgresql://USER:PASSWORD@HOST/DATABASE",
                pbx=shlex.quote(pbx.name),
            ),
        )
    else:
        yield await _check_cdr_source(appdb, clock, pbx.sn, source, zone)


async def _check_cdr_source(appdb: AppDb, clock: Clock, sn: str, source: CdrSource, zone: ZoneInfo) -> Check:
    """Check that the CDRs of the last days can be read."""
    now = clock.now()
    window = TimeWindow(since=round((now - RECENT_CALLS_PERIOD).timestamp()), until=round(now.timestamp()))
    try:
        calls = await create_cdr_archive(sn, lambda: expand_rotated_files(source), appdb)(window)
        last_ended_at, unparsed = await asyncio.to_thread(_read_calls, calls)
    except OnhookError as error:
        return Check(
            "ERROR",
            _("{message} ({location})", message=error.message, location=error.location)
            if error.location
            else error.message,
            error.hint,
        )
    if unparsed is not None:
        return Check(
            "WARNING", _("{location}: {reason}", location=source.location, reason=unparsed.reason), unparsed.hint
        )
    if last_ended_at is None or last_ended_at < now - RECENT_CALLS_PERIOD:
        return Check(
            "WARNING",
            _("{location} has no call of the last week", location=source.location),
            (_("check that this is the right source, and that the PBX writes it")),
        )
    return Check(
        "OK",
        _(
            "CDRs of {location} can be read; the last call ended {last_ended_at}",
            location=source.location,
            last_ended_at=format_time(last_ended_at, zone),
        ),
    )


async def inspect_asterisk(asterisk: AsteriskPbx, secret: str, clock: Clock) -> list[AsteriskAdvice]:
    """Return advice on the configuration of an Asterisk. Raises `Unavailable`, `NotAllowed` where it cannot be read."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            streams = await asyncio.open_connection(asterisk.host, asterisk.port, ssl=create_tls_context(asterisk.tls))
    except (OSError, TimeoutError) as error:
        raise Unavailable(
            _("no connection to the manager interface: {describe_error}", describe_error=_describe_error(error)),
            location=f"{asterisk.host}:{asterisk.port}",
            hint=_("check manager.conf ([general] enabled = yes), and that this machine can reach it"),
        ) from error
    reader, writer = streams
    try:
        async with asyncio.timeout(RESPONSE_SECONDS_MAX):
            inspection = await _AmiInspector(asterisk, secret, clock, reader, writer).inspect()
    except TimeoutError as error:
        raise Unavailable(
            _("no response from the manager interface"),
            location=f"{asterisk.host}:{asterisk.port}",
            hint=_("try again"),
        ) from error
    finally:
        writer.close()
    return list(build_advice(inspection))


def _describe_error(error: OSError) -> str:
    """Return the system's text: asyncio's has an error number, and repeats the address."""
    # TLS has error numbers of its own.
    if error.errno is not None and error.errno in errno.errorcode and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return error.strerror or str(error) or "no response in time"


class _AmiInspector:
    """One connection, from the login to the last response."""

    def __init__(
        self,
        asterisk: AsteriskPbx,
        secret: str,
        clock: Clock,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._asterisk = asterisk
        self._session = AmiSession(AmiCredentials(asterisk.user, secret))
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._ready: AmiReady | None = None

    async def inspect(self) -> AsteriskInspection:
        while self._ready is None:
            for session_event in await self._next_events():
                self._ready = session_event if isinstance(session_event, AmiReady) else self._ready
        files = {name: await self._read_config_file(name) for name in CONFIG_FILES}
        modules = [
            name
            for name in (*REQUIRED_MODULES, *CDR_BACKEND_MODULES)
            if (await self._send_action("ModuleCheck", Module=name)).is_success
        ]
        clock_skew = await self._measure_clock_skew()
        trunks = await self._find_trunks()
        return AsteriskInspection(
            version=self._ready.version,
            is_filtered=self._ready.is_filtered,
            files=files,
            modules=frozenset(modules),
            clock_skew_seconds=clock_skew,
            trunks=trunks.trunks,
            trunks_error=trunks.error,
        )

    async def _read_config_file(self, name: str) -> ConfigSections | None:
        response = await self._send_action("GetConfig", Filename=name)
        return parse_sections(response.message) if response.is_success else None

    async def _measure_clock_skew(self) -> float | None:
        """Return the difference of the clocks, measured at the middle of request and response."""
        sent_at = self._clock.microseconds()
        timestamp = (await self._send_action("Ping")).message.get("Timestamp")
        received_at = self._clock.microseconds()
        try:
            return float(timestamp) - (sent_at + received_at) / 2_000_000
        except ValueError:
            return None

    async def _find_trunks(self) -> TrunkSearchResult:
        if self._asterisk.trunks is not None:
            return TrunkSearchResult(self._asterisk.trunks, self._asterisk.inbound)
        search = TrunkSearch(self._session)
        while True:
            for session_event in await self._next_events():
                if isinstance(session_event, AmiResponse) and search.owns_response(session_event):
                    trunks = search.handle_response(session_event)
                    if trunks is not None:
                        return trunks

    async def _send_action(self, action: str, /, **fields: str) -> AmiResponse:
        action_id = self._session.send_action(action, **fields)
        while True:
            for session_event in await self._next_events():
                if isinstance(session_event, AmiResponse) and session_event.action_id == action_id:
                    return session_event

    async def _next_events(self) -> Iterator[object]:
        """Send pending data and yield events. Raises `NotAllowed`, `Unavailable`."""
        self._writer.write(self._session.data_to_send())
        await self._writer.drain()
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise Unavailable(
                (_("the manager interface closed the connection")), location=self._asterisk.host, hint=_("see its log")
            )
        session_events = self._session.receive_data(data)
        for session_event in session_events:
            if isinstance(session_event, AmiRefused):
                raise NotAllowed(
                    _("the manager interface rejected the login: {reason}", reason=session_event.reason),
                    location=f"{self._asterisk.host}:{self._asterisk.port}",
                    hint=_("compare user and secret with [{user}] in manager.conf", user=self._asterisk.user),
                )
        return iter(session_events)


def _read_calls(entries: Iterable[ArchivedCall | UnparsedLine]) -> tuple[datetime | None, UnparsedLine | None]:
    """Return when the last call ended, and the first line that cannot be read for a reason that is at the PBX."""
    last_ended_at: datetime | None = None
    unparsed: UnparsedLine | None = None
    for entry in entries:
        if isinstance(entry, UnparsedLine):
            unparsed = unparsed or (entry if entry.hint else None)
        elif entry.ended_at is not None:
            last_ended_at = max(last_ended_at or entry.ended_at, entry.ended_at)
    return last_ended_at, unparsed
