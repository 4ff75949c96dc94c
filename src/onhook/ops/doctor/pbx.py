"""Health checks of one PBX: name, port, certificate, credentials, firmware, webhooks, clock, step by step."""

import asyncio
import random
import shlex
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.appdb.pbxs import Pbx
from onhook.appdb.senders import list_senders
from onhook.appdb.source_match import FILE_DIALECTS, LINE_DIALECTS
from onhook.cdr.coverage import complete_until
from onhook.cdr.sync_types import PushChannelStatus
from onhook.config import Config
from onhook.lib.certificates import format_fingerprint
from onhook.lib.clock import Clock
from onhook.lib.errors import NotAllowed, OnhookError
from onhook.lib.messages import _
from onhook.lib.timestamps import format_time, to_datetime
from onhook.ops.doctor.asterisk import check_asterisk
from onhook.ops.doctor.call_list import check_call_list
from onhook.ops.doctor.check import Check
from onhook.ops.doctor.files import check_swept_folder
from onhook.ops.doctor.lines import check_event_socket, check_line_pbx
from onhook.ops.doctor.number_plan import check_number_plan
from onhook.ops.doctor.requests import check_pbx_requests
from onhook.ops.engines import LedgerOpener
from onhook.ops.instance_lock import is_server_running
from onhook.ops.ledger_reading import read_counters
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.client import PbxResponse, PbxWebhook, PbxWebhookConfig, SystemFacts
from onhook.pbx.registry import call_list_clients, pbx_clients
from onhook.pbx.yeastar.display import WEBHOOK_MENU
from onhook.receiver.rejections import name_counters
from onhook.sync.api_backfill import is_without_facts
from onhook.sync.certificate_pinning import fetch_certificate
from onhook.sync.clock_check import CLOCK_SKEW_SECONDS_MAX
from onhook.sync.pbx_session import PbxSession, describe_error_at
from onhook.sync.pbx_sync_manager import build_api_sync_spec, create_pbx_session

CONNECT_SECONDS_MAX = 5.0

CERTIFICATE_PERIOD_MIN = timedelta(days=14)
"""Time to renew a certificate: those that are renewed automatically are by then."""

CONNECTION_ALARMS = frozenset({"unreachable", "credentials", "certificate"})
"""Alarms whose hint is to run these checks."""

COVERAGE_LAG_MAX = timedelta(hours=3)
"""Older coverage lags behind the hourly sync."""


class PbxCheckTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A PBX with its settings and state. `webhook_url` is the one that should be set in the PBX, or empty; times are
    shown in `reader_zone`.
    """

    pbx: Pbx
    credentials: PbxCredentials | None
    secrets: Sequence[str]
    reader_zone: ZoneInfo
    webhook_url: str = ""


async def load_check_target(appdb: AppDb, name: str, webhook_url: str, reader_zone: ZoneInfo) -> PbxCheckTarget:
    """Return the PBX with this name. Raises `NotFound`."""
    pbx = await appdb.pbx(name)
    secrets = next((candidate.secrets for candidate in await appdb.webhook_credentials() if candidate.sn == pbx.sn), ())
    return PbxCheckTarget(
        pbx=pbx,
        credentials=await appdb.pbx_credentials.get(pbx.sn),
        secrets=secrets,
        reader_zone=reader_zone,
        webhook_url=webhook_url,
    )


async def check_pbx(
    config: Config, appdb: AppDb, clock: Clock, target: PbxCheckTarget, open_ledger: LedgerOpener
) -> AsyncIterator[Check]:
    """Yield the checks; the first step that cannot be reached is the last, because the others would fail for the same
    reason.
    """
    async for check in _check_stored_state(config, appdb, target, clock.now()):
        yield check
    async for check in _check_requests(config, appdb, target, clock.now(), open_ledger):
        yield check
    yield await _check_conventions(appdb, target.pbx)
    swept_checks = await check_swept_folder(appdb, target.pbx, clock.now(), target.reader_zone)
    for check in [*swept_checks, *await check_event_socket(appdb, target.pbx)]:
        yield check
    if target.pbx.dialect == Asterisk.name:
        async for check in check_asterisk(appdb, clock, target.pbx, target.reader_zone):
            yield check
        yield await check_number_plan(config, open_ledger, target.pbx)
        return
    if target.pbx.dialect in LINE_DIALECTS:
        async for check in check_line_pbx(config, appdb, target.pbx):
            yield check
    has_api = target.credentials is not None or target.pbx.dialect not in LINE_DIALECTS
    if has_api and target.pbx.dialect not in FILE_DIALECTS:
        async for check in _check_web_api(appdb, clock, target):
            yield check


async def _check_web_api(appdb: AppDb, clock: Clock, target: PbxCheckTarget) -> AsyncIterator[Check]:
    """Yield the checks of the API of a PBX, as far as it has one."""
    if target.credentials is None:
        yield Check(
            "OK",
            _("the API address of {pbx_name} is not set: no further checks", pbx_name=target.pbx.name),
        )
        return
    checks = await asyncio.to_thread(_check_connectivity, target.credentials, clock.now(), target.reader_zone)
    for check in checks:
        yield check
    if any(check.status == "ERROR" for check in checks):
        return
    if target.pbx.dialect in pbx_clients():
        async for check in _check_api(appdb, clock, target, target.credentials):
            yield check
    elif target.pbx.dialect in call_list_clients():
        yield await check_call_list(appdb, clock, target.pbx, target.credentials)


async def _check_stored_state(
    config: Config, appdb: AppDb, target: PbxCheckTarget, now: datetime
) -> AsyncIterator[Check]:
    """Yield the checks of alarms, coverage and push channel."""
    pbx, zone = target.pbx, target.reader_zone
    for alarm in await appdb.alarms.open_alarms():
        if alarm.sn == pbx.sn:
            detail = _(
                "{kind} since {began_at}: {detail}",
                kind=alarm.kind,
                began_at=format_time(alarm.began_at, zone),
                detail=alarm.detail,
            )
            hint = _("see the checks below") if alarm.kind in CONNECTION_ALARMS else alarm.hint
            yield Check("WARNING", detail, hint)
    has_list = target.credentials is not None or pbx.sn in await appdb.cdr_sources.all()
    until = complete_until(await appdb.sync_states.intervals(pbx.sn))
    if not has_list:
        # A way that is not configured is no fault of the ways that are.
        yield Check("OK", _("calls are stored as they are reported; missing ones are not searched for in the PBX"))
    elif until is None:
        yield Check(
            "WARNING",
            _("the calls are not compared with the PBX yet"),
            (_("the server compares them when it can reach the PBX")),
        )
    elif now - until > COVERAGE_LAG_MAX:
        yield Check(
            "WARNING",
            (_("calls are verified complete only until {until}", until=format_time(until, zone))),
            _("check that the server is running"),
        )
    else:
        yield Check("OK", _("calls are verified complete until {until}", until=format_time(until, zone)))
    if target.credentials is not None and pbx.dialect in pbx_clients():
        is_running = await asyncio.to_thread(is_server_running, config)
        yield _check_push_channel(
            await appdb.sync_states.push_channel(pbx.sn) if is_running else None, zone, is_running
        )


def _check_push_channel(status: PushChannelStatus | None, zone: ZoneInfo, is_running: bool) -> Check:
    """Return the state of the push channel, over which calls arrive as they end."""
    if not is_running:
        return Check("OK", _("the push channel is off: no server is running"))
    if status is None:
        return Check("OK", _("the push channel is off: it was not opened yet"))
    values = {"since": format_time(to_datetime(status.since * 1_000_000), zone), "reason": status.reason}
    match status.state:
        case "connected":
            return Check("OK", _("the push channel is connected since {since}", **values))
        case "opening":
            return Check("OK", _("the push channel is being opened since {since}", **values))
        case "token_refused":
            detail = _("the PBX refused the push channel at {since}: logging in again ({reason})", **values)
            return Check("WARNING", detail, _("nothing to do, if the PBX was restarted; run this again in a minute"))
        case "waiting":
            detail = _("the push channel is closed since {since} and waits for the next attempt: {reason}", **values)
            return Check("WARNING", detail, _("see the checks below"))


async def _check_requests(
    config: Config, appdb: AppDb, target: PbxCheckTarget, now: datetime, open_ledger: LedgerOpener
) -> AsyncIterator[Check]:
    """Yield the checks of events and rejected requests; of an Asterisk, to which Onhook connects, there are none."""
    if target.pbx.dialect == Asterisk.name:
        return
    try:
        sns = (target.pbx.sn, *target.pbx.further_sns)
        counters = name_counters(await read_counters(config, open_ledger, sns), await list_senders(appdb))
    except OnhookError as error:
        yield Check("WARNING", error.message, error.hint)
        return
    for check in check_pbx_requests(
        counters, target.pbx, target.reader_zone, now, needs_events=target.credentials is None
    ):
        yield check


async def _check_conventions(appdb: AppDb, pbx: Pbx) -> Check:
    """Return what Onhook takes the texts and `agent_ring_time` of the PBX for: nothing in its events says so."""
    conventions = await appdb.pbx_conventions.get(pbx.sn)
    meaning = {
        "auto": _("detected from its calls"),
        "ring": _("the ringing of the telephone"),
        "wait": _("the wait of the caller"),
    }[conventions.ring_time_word]
    return Check(
        "OK",
        _(
            "its texts are read as {encoding}; the meaning of agent_ring_time is {meaning}",
            encoding=conventions.encoding_name,
            meaning=meaning,
        ),
    )


def _check_connectivity(credentials: PbxCredentials, now: datetime, zone: ZoneInfo) -> list[Check]:
    return list(_connectivity_checks(credentials, now, zone))


def _connectivity_checks(credentials: PbxCredentials, now: datetime, zone: ZoneInfo) -> Iterator[Check]:
    """Yield the checks of name, port and certificate."""
    parts = urlsplit(credentials.url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        addresses = sorted(
            {str(address_info[4][0]) for address_info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        )
    except OSError as error:
        yield Check(
            "ERROR",
            (_("the name {host} has no address: {reason}", host=host, reason=error.strerror)),
            _("compare it with the address of the PBX"),
        )
        return
    if addresses != [host]:
        yield Check("OK", _("{host} is {addresses}", host=host, addresses=", ".join(addresses)))
    try:
        socket.create_connection((host, port), CONNECT_SECONDS_MAX).close()
    except OSError as error:
        reason = error.strerror or _("no response in time")
        yield Check(
            "ERROR",
            _("port {port} cannot be reached: {reason}", port=port, reason=reason),
            (_("it is 8088 on a PBX, 443 in the cloud; check the firewall")),
        )
        return
    yield Check("OK", _("port {port} is open", port=port))
    if parts.scheme == "https":
        yield _check_certificate(credentials, now, zone)


def _check_certificate(credentials: PbxCredentials, now: datetime, zone: ZoneInfo) -> Check:
    try:
        certificate = fetch_certificate(credentials.url)
    except OnhookError as error:
        return Check("ERROR", error.message, error.hint)
    if credentials.fingerprint == certificate.fingerprint:
        return Check("OK", _("its certificate is the pinned one"))
    if credentials.fingerprint:
        detail = _(
            "its certificate is not the pinned one: {fingerprint}",
            fingerprint=format_fingerprint(certificate.fingerprint),
        )
        return Check("ERROR", detail, _("if the PBX has a new one: `onhook pbx trust` with its name"))
    if certificate.verification_error:
        detail = _(
            "its certificate is not trusted ({error}): {fingerprint}",
            error=certificate.verification_error,
            fingerprint=format_fingerprint(certificate.fingerprint),
        )
        return Check("ERROR", detail, _("compare it with that of the PBX, then run `onhook pbx trust` with its name"))
    if certificate.expires_at is not None:
        expires_at = datetime.fromtimestamp(certificate.expires_at, UTC)
        if expires_at - now < CERTIFICATE_PERIOD_MIN:
            return Check(
                "WARNING",
                _("its certificate ends at {expires_at}", expires_at=format_time(expires_at, zone)),
                _("renew it in the PBX, or the connection ends with it"),
            )
    return Check("OK", _("its certificate is verified by a certificate authority"))


async def _check_api(
    appdb: AppDb, clock: Clock, target: PbxCheckTarget, credentials: PbxCredentials
) -> AsyncIterator[Check]:
    """Yield the checks of credentials, system information and webhooks."""
    jitter = random.SystemRandom().random
    spec = build_api_sync_spec(target.pbx, credentials)
    async with create_pbx_session(spec, appdb=appdb, clock=clock, jitter=jitter) as session:
        try:
            await session.token()
            yield Check("OK", _("client id and secret are accepted"))
            async for check in _check_api_details(session, clock, target):
                yield check
        except NotAllowed as error:
            yield Check(
                "ERROR",
                error.message,
                (_("{hint}; the errors 70004 and 70087 are resolved in the PBX under Security", hint=error.hint)),
            )
        except OnhookError as error:
            yield Check("ERROR", describe_error_at(error, target.reader_zone, clock.now()), error.hint)


async def _check_api_details(session: PbxSession, clock: Clock, target: PbxCheckTarget) -> AsyncIterator[Check]:
    response = await session.send_request(session.client.facts_request())
    if is_without_facts(response):
        yield _missing_facts_check(response, target.pbx)
    elif response.error_kind is not None:
        detail = _("cannot read its system information: {error_text}", error_text=response.error_text)
        yield _api_error_check(detail, response, _("try again in some minutes"))
    else:
        for check in _check_facts(session.client.parse_facts(response), clock.now(), target):
            yield check
    response = await session.send_request(session.client.webhooks_request())
    if response.error_kind == "unsupported":
        yield Check("OK", _("this firmware has no webhooks in its API: they are not checked"))
    elif response.error_kind is not None:
        detail = _("cannot read its webhooks: {error_text}", error_text=response.error_text)
        yield _api_error_check(detail, response, _("give the client the permission to read them"))
    else:
        for check in _check_webhooks(session.client.parse_webhooks(response), target):
            yield check


def _missing_facts_check(response: PbxResponse, pbx: Pbx) -> Check:
    """Return the check of a PBX that does not report its clock and its display formats; a back-fill works without."""
    if response.error_kind == "invalid_credentials":
        return Check(
            "WARNING",
            _("the client may not read the PBX's system information: its clock is not checked"),
            _("give the client the permission in the PBX; calls are back-filled without it"),
        )
    if response.error_kind == "unsupported":
        detail = _("this firmware does not report its system information: its clock is not checked")
    else:
        detail = _("the PBX fails to report its system information ({error})", error=response.error_text)
    if pbx.zone_info is not None:
        return Check("OK", detail)
    hint = _(
        "calls are back-filled without it, and their ids contain the time zone; for calls without such ids run"
        " `onhook pbx change {pbx} --zone ZONE`",
        pbx=shlex.quote(pbx.name),
    )
    return Check("WARNING", detail, hint)


def _api_error_check(detail: str, response: PbxResponse, hint: str) -> Check:
    """Return the check for an error response; only errors that are not the request's are temporary."""
    if response.error_kind in ("token_expired", "temporary", "invalid_response", "too_many_tokens"):
        hint = _(
            "try again in some minutes; if it persists, another program may use the same client id and revoke Onhook's"
            " tokens"
        )
    return Check("WARNING", detail, hint)


def _check_facts(facts: SystemFacts, now: datetime, target: PbxCheckTarget) -> Iterator[Check]:
    pbx = target.pbx
    if facts.firmware:
        yield Check("OK", _("its firmware is {firmware}", firmware=facts.firmware))
    else:
        yield Check("OK", _("it does not report its firmware"))
    if facts.sn and facts.sn != pbx.sn:
        yield Check(
            "ERROR",
            _("another PBX has this address: {sn}, not {expected_sn}", sn=facts.sn, expected_sn=pbx.sn),
            _("compare the address of the API"),
        )
    if facts.clock is None:
        yield Check("OK", _("it does not report its clock, which is judged by its calls"))
        return
    skew = facts.clock - round(now.timestamp())
    clock_text = format_time(datetime.fromtimestamp(facts.clock, UTC), target.reader_zone)
    if abs(skew) > CLOCK_SKEW_SECONDS_MAX:
        yield Check(
            "ERROR",
            _("its clock is {clock}, {seconds} seconds from this server's", clock=clock_text, seconds=abs(skew)),
            _("set the clock, best by NTP"),
        )
    else:
        yield Check("OK", _("its clock is {clock_text}", clock_text=clock_text))
    zone = pbx.zone_info
    expected = None if zone is None else now.astimezone(zone).utcoffset()
    if expected is not None and facts.offset_seconds not in (None, round(expected.total_seconds())):
        hint = _("set its time zone, or use `onhook pbx change --zone`")
        yield Check("WARNING", _("its local time is not that of {zone}", zone=pbx.zone), hint)


def _check_webhooks(webhooks: PbxWebhookConfig, target: PbxCheckTarget) -> Iterator[Check]:
    """Yield the checks of the webhooks. Where one is for Onhook, those that are not are another program's."""
    if not webhooks.is_enabled or not webhooks.entries:
        if target.webhook_url:
            yield Check("ERROR", _("no webhook is set in the PBX"), _("set it under {menu}", menu=WEBHOOK_MENU))
        else:
            yield Check("OK", _("no webhook is set in the PBX: calls are received by the connection to its API"))
        return
    if target.webhook_url:
        yield _check_webhook_url(webhooks.entries, target.webhook_url)
    is_any_used = any(_is_for_onhook(webhook, target.secrets) for webhook in webhooks.entries)
    for webhook in webhooks.entries:
        if is_any_used and not _is_for_onhook(webhook, target.secrets):
            yield Check("OK", _("the webhook to {url} is for another receiver", url=_mask_url(webhook.url)))
        else:
            yield from _check_webhook(webhook, target.secrets)


def _is_for_onhook(webhook: PbxWebhook, secrets: Sequence[str]) -> bool:
    return webhook.sends_call_ends and webhook.secret in secrets


def _check_webhook_url(entries: Iterable[PbxWebhook], expected_url: str) -> Check:
    """Check that the URL in the PBX is complete: long ones are cut off (yeastar-p-series.md 12, 35)."""
    if any(webhook.url == expected_url for webhook in entries):
        return Check("OK", _("the URL of the webhook is set correctly in the PBX"))
    truncated_url = next(
        (webhook.url for webhook in entries if webhook.url and expected_url.startswith(webhook.url)), ""
    )
    if truncated_url:
        return Check(
            "ERROR",
            _("the URL of the webhook is cut off after {count} characters", count=len(truncated_url)),
            _("use a shorter one"),
        )
    return Check("ERROR", _("no webhook in the PBX has this URL"), _("set it under {menu}", menu=WEBHOOK_MENU))


def _check_webhook(webhook: PbxWebhook, secrets: Sequence[str]) -> Iterator[Check]:
    """Yield the checks of one webhook; secrets of other receivers are never shown."""
    label = _("the webhook to {url}", url=_mask_url(webhook.url))
    if not webhook.sends_call_ends:
        yield Check(
            "WARNING",
            _("{label} does not send call end events", label=label),
            (_("select event 30012 in it, if it is for Onhook")),
        )
    elif webhook.secret not in secrets:
        yield Check(
            "WARNING",
            _("{label} is signed with an unknown secret", label=label),
            (_("add it with `onhook pbx secret add`, if it is for Onhook")),
        )
    elif webhook.method != "POST":
        yield Check(
            "ERROR", _("{label} uses the method {method}", label=label, method=webhook.method), _("set it to POST")
        )
    else:
        yield Check("OK", _("{label} sends call end events, signed with a known secret", label=label))


def _mask_url(url: str) -> str:
    """Return a URL without path and query, which may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
