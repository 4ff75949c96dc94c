"""What may be wrong with one PBX: name, port, certificate, credentials, firmware, webhooks, clock, step by step."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.appdb.pbxs import Pbx
from onhook.cdr.coverage import complete_until
from onhook.config import Config
from onhook.lib.clock import Clock
from onhook.lib.errors import NotAllowed, OnhookError
from onhook.ops.doctor.asterisk import check_asterisk
from onhook.ops.doctor.host import Check
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.client import Answer, Facts, Webhook, Webhooks
from onhook.pbx.registry import pbx_clients
from onhook.sync.certificate_pinning import fetch_certificate, format_fingerprint
from onhook.sync.pbx_session import PbxSession
from onhook.sync.pbx_sync import CLOCK_SKEW_SECONDS_MAX
from onhook.sync.pbx_sync_manager import build_api_sync_spec, create_pbx_session

CONNECT_SECONDS_MAX = 5.0

COVERAGE_LAG_MAX = timedelta(hours=3)
"""Coverage that is older than this lags behind the hourly rounds."""


class PbxCheckTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A PBX with all that is known of it. `webhook` is the address that should stand in the PBX, or empty."""

    pbx: Pbx
    api: PbxCredentials | None
    secrets: Sequence[str]
    webhook: str = ""


def load_check_target(settings: AppDb, name: str, webhook: str) -> PbxCheckTarget:
    """The PBX with this name. Raises `NotFound`."""
    pbx = settings.pbx(name)
    secrets = next((candidate.secrets for candidate in settings.credentials() if candidate.sn == pbx.sn), ())
    return PbxCheckTarget(pbx=pbx, api=settings.apis.of(pbx.sn), secrets=secrets, webhook=webhook)


async def check_pbx(config: Config, settings: AppDb, clock: Clock, one: PbxCheckTarget) -> AsyncIterator[Check]:
    """All that can be found out; what cannot be reached ends it, because the rest would follow from that."""
    for check in _check_stored_state(settings, one.pbx, clock.now()):
        yield check
    if one.pbx.dialect == Asterisk.name:
        async for check in check_asterisk(settings, clock, one.pbx):
            yield check
        return
    if one.api is None:
        yield Check(
            "look",
            f"{one.pbx.name} cannot be asked: nobody said how its API is reached",
            f"onhook pbx change {one.pbx.name} --api https://HOST:8088 --client-id ID --client-secret SECRET",
        )
        return
    checks = await asyncio.to_thread(_check_connectivity, one.api)
    for check in checks:
        yield check
    if any(check.grade == "wrong" for check in checks):
        return
    if one.pbx.dialect in pbx_clients():
        async for check in _check_api(config, settings, clock, one, one.api):
            yield check


def _check_stored_state(settings: AppDb, pbx: Pbx, now: datetime) -> Iterator[Check]:
    """What was found out before."""
    for alarm in settings.alarms.going_on():
        if alarm.sn == pbx.sn:
            yield Check("look", f"{alarm.kind} since {alarm.began_at:%Y-%m-%d %H:%M} UTC: {alarm.what}", alarm.todo)
    until = complete_until(settings.receiving.stretches(pbx.sn))
    if until is None:
        yield Check("look", "nothing was compared with the PBX yet", "the server does that when it can ask it")
    elif now - until > COVERAGE_LAG_MAX:
        yield Check(
            "look", f"calls are surely complete only until {until:%Y-%m-%d %H:%M} UTC", "is the server running?"
        )
    else:
        yield Check("right", f"calls are surely complete until {until:%Y-%m-%d %H:%M} UTC")


def _check_connectivity(api: PbxCredentials) -> list[Check]:
    return list(_connectivity_checks(api))


def _connectivity_checks(api: PbxCredentials) -> Iterator[Check]:
    """Name, port and certificate."""
    parts = urlsplit(api.url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        addresses = sorted(
            {str(address_info[4][0]) for address_info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        )
    except OSError as error:
        yield Check("wrong", f"the name {host} has no address: {error.strerror}", "compare it with the PBX's address")
        return
    if addresses != [host]:
        yield Check("right", f"{host} is {', '.join(addresses)}")
    try:
        socket.create_connection((host, port), CONNECT_SECONDS_MAX).close()
    except OSError as error:
        reason = error.strerror or "no answer in time"
        yield Check(
            "wrong", f"port {port} cannot be reached: {reason}", "it is 8088 on a PBX, 443 in the cloud; firewall?"
        )
        return
    yield Check("right", f"port {port} is open")
    if parts.scheme == "https":
        yield _check_certificate(api)


def _check_certificate(api: PbxCredentials) -> Check:
    try:
        certificate = fetch_certificate(api.url)
    except OnhookError as error:
        return Check("wrong", error.what, error.todo)
    if api.fingerprint == certificate.fingerprint:
        return Check("right", "its certificate is the one that is pinned")
    if api.fingerprint:
        detail = f"its certificate is not the one that is pinned: {format_fingerprint(certificate.fingerprint)}"
        return Check("wrong", detail, "if the PBX got a new one: `onhook pbx trust` with its name")
    if certificate.trouble:
        fingerprint = format_fingerprint(certificate.fingerprint)
        detail = f"its certificate is vouched for by nobody ({certificate.trouble}): {fingerprint}"
        return Check("wrong", detail, "compare it with the PBX's, then `onhook pbx trust` with its name")
    return Check("right", "its certificate is vouched for by an authority")


async def _check_api(
    config: Config, settings: AppDb, clock: Clock, one: PbxCheckTarget, api: PbxCredentials
) -> AsyncIterator[Check]:
    """Credentials, and what only the PBX can tell."""
    jitter = random.SystemRandom().random
    spec = build_api_sync_spec(one.pbx, api)
    async with create_pbx_session(spec, settings=settings, data=config.data, clock=clock, chance=jitter) as session:
        try:
            await session.token()
            yield Check("right", "it takes our client id and secret")
            async for check in _check_api_details(session, clock, one):
                yield check
        except NotAllowed as error:
            yield Check("wrong", error.what, f"{error.todo}; 70004 and 70087 are lifted in the PBX under Security")
        except OnhookError as error:
            yield Check("wrong", error.what, error.todo)


async def _check_api_details(account: PbxSession, clock: Clock, one: PbxCheckTarget) -> AsyncIterator[Check]:
    response = await account.ask(account.link.ask_facts())
    if response.trouble is not None:
        yield _api_error_check("of itself", response, "an older firmware, or our client has no right to it")
    else:
        for check in _check_facts(account.link.read_facts(response), clock.now(), one.pbx):
            yield check
    response = await account.ask(account.link.ask_webhooks())
    if response.trouble == "missing":
        yield Check("look", "this firmware knows no webhooks through its API", "upgrade it, or go by the push channel")
    elif response.trouble is not None:
        yield _api_error_check("its webhooks", response, "give our client the right to read them")
    else:
        for check in _check_webhooks(account.link.read_webhooks(response), one):
            yield check


def _api_error_check(what: str, answer: Answer, todo: str) -> Check:
    """What was asked and not told; where it is not the question that was wrong, asking again helps."""
    if answer.trouble in ("token", "later", "garbage", "full"):
        todo = (
            "ask again in some minutes; if it stays so, another program may use the same client id and end our tokens"
        )
    return Check("look", f"it does not tell {what}: {answer.text}", todo)


def _check_facts(facts: Facts, now: datetime, pbx: Pbx) -> Iterator[Check]:
    yield Check("right", f"its firmware is {facts.firmware or 'not told'}")
    if facts.sn and facts.sn != pbx.sn:
        yield Check("wrong", f"another PBX answers there: {facts.sn}, not {pbx.sn}", "compare the address of the API")
    if facts.clock is None:
        yield Check("look", "it does not tell its clock")
        return
    skew = facts.clock - round(now.timestamp())
    clock_text = f"{datetime.fromtimestamp(facts.clock, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if abs(skew) > CLOCK_SKEW_SECONDS_MAX:
        yield Check("wrong", f"its clock says {clock_text}, {abs(skew)} seconds from ours", "set it, best by NTP")
    else:
        yield Check("right", f"its clock says {clock_text}")
    zone = pbx.zone_info
    expected = None if zone is None else now.astimezone(zone).utcoffset()
    if expected is not None and facts.offset_seconds not in (None, round(expected.total_seconds())):
        yield Check("look", f"its wall clock is not that of {pbx.zone}", "set its zone, or `onhook pbx change --zone`")


def _check_webhooks(webhooks: Webhooks, one: PbxCheckTarget) -> Iterator[Check]:
    if not webhooks.is_on or not webhooks.entries:
        yield Check("look", "no webhook is set in it", "fine with the push channel; else set one for event 30012")
        return
    if one.webhook:
        yield _check_webhook_url(webhooks.entries, one.webhook)
    for webhook in webhooks.entries:
        yield from _check_webhook(webhook, one.secrets)


def _check_webhook_url(entries: Iterable[Webhook], wanted: str) -> Check:
    """Whether the address stands in the PBX as it should: long ones were seen to be cut off (PROTOCOL.md 12, 35)."""
    if any(webhook.url == wanted for webhook in entries):
        return Check("right", "the webhook's address stands in the PBX as it should")
    truncated_url = next((webhook.url for webhook in entries if webhook.url and wanted.startswith(webhook.url)), "")
    if truncated_url:
        return Check(
            "wrong", f"the webhook's address is cut off behind {len(truncated_url)} characters", "use a shorter one"
        )
    return Check("wrong", "no webhook in the PBX has that address", "set it under Integrations > API")


def _check_webhook(webhook: Webhook, secrets: Sequence[str]) -> Iterator[Check]:
    """One that is set; what it says of others' secrets is told to nobody."""
    label = f"the webhook to {_mask_url(webhook.url)}"
    if not webhook.tells_ends:
        yield Check("look", f"{label} does not tell ended calls", "tick event 30012 in it, if it is meant for us")
    elif webhook.secret not in secrets:
        yield Check(
            "look", f"{label} is signed with a secret that we do not know", "`onhook pbx secret add`, if it is ours"
        )
    elif webhook.method != "POST":
        yield Check("wrong", f"{label} is sent by {webhook.method}", "set it to POST")
    else:
        yield Check("right", f"{label} tells ended calls, signed with a secret that we know")


def _mask_url(url: str) -> str:
    """An address without what may be secret in it: path and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
