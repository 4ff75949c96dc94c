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
from onhook.ops.doctor.asterisk import examine_asterisk
from onhook.ops.doctor.host import Finding
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.client import Answer, Facts, Webhook, Webhooks
from onhook.pbx.registry import all_links
from onhook.sync.certificate_pinning import shown_by, with_colons
from onhook.sync.pbx_session import PbxSession
from onhook.sync.pbx_sync import CLOCK_SKEW_SECONDS_MAX
from onhook.sync.pbx_sync_manager import account_at, wanted_for

CONNECT_SECONDS_MAX = 5.0

FRESH = timedelta(hours=3)
"""Coverage that is older than this lags behind the hourly rounds."""


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """A PBX with all that is known of it. `webhook` is the address that should stand in the PBX, or empty."""

    pbx: Pbx
    api: PbxCredentials | None
    secrets: Sequence[str]
    webhook: str = ""


def declared(settings: AppDb, name: str, webhook: str) -> Declared:
    """The PBX with this name. Raises `NotFound`."""
    pbx = settings.pbx(name)
    secrets = next((one.secrets for one in settings.credentials() if one.sn == pbx.sn), ())
    return Declared(pbx=pbx, api=settings.apis.of(pbx.sn), secrets=secrets, webhook=webhook)


async def examine_pbx(config: Config, settings: AppDb, clock: Clock, one: Declared) -> AsyncIterator[Finding]:
    """All that can be found out; what cannot be reached ends it, because the rest would follow from that."""
    for finding in _known(settings, one.pbx, clock.now()):
        yield finding
    if one.pbx.dialect == Asterisk.name:
        async for finding in examine_asterisk(settings, clock, one.pbx):
            yield finding
        return
    if one.api is None:
        yield Finding(
            "look",
            f"{one.pbx.name} cannot be asked: nobody said how its API is reached",
            f"onhook pbx change {one.pbx.name} --api https://HOST:8088 --client-id ID --client-secret SECRET",
        )
        return
    reached = await asyncio.to_thread(_all_reached, one.api)
    for finding in reached:
        yield finding
    if any(finding.grade == "wrong" for finding in reached):
        return
    if one.pbx.dialect in all_links():
        async for finding in _asked(config, settings, clock, one, one.api):
            yield finding


def _known(settings: AppDb, pbx: Pbx, now: datetime) -> Iterator[Finding]:
    """What was found out before."""
    for alarm in settings.alarms.going_on():
        if alarm.sn == pbx.sn:
            yield Finding("look", f"{alarm.kind} since {alarm.began_at:%Y-%m-%d %H:%M} UTC: {alarm.what}", alarm.todo)
    until = complete_until(settings.receiving.stretches(pbx.sn))
    if until is None:
        yield Finding("look", "nothing was compared with the PBX yet", "the server does that when it can ask it")
    elif now - until > FRESH:
        yield Finding(
            "look", f"calls are surely complete only until {until:%Y-%m-%d %H:%M} UTC", "is the server running?"
        )
    else:
        yield Finding("right", f"calls are surely complete until {until:%Y-%m-%d %H:%M} UTC")


def _all_reached(api: PbxCredentials) -> list[Finding]:
    return list(_reached(api))


def _reached(api: PbxCredentials) -> Iterator[Finding]:
    """Name, port and certificate."""
    parts = urlsplit(api.url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        addresses = sorted({str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except OSError as error:
        yield Finding("wrong", f"the name {host} has no address: {error.strerror}", "compare it with the PBX's address")
        return
    if addresses != [host]:
        yield Finding("right", f"{host} is {', '.join(addresses)}")
    try:
        socket.create_connection((host, port), CONNECT_SECONDS_MAX).close()
    except OSError as error:
        why = error.strerror or "no answer in time"
        yield Finding(
            "wrong", f"port {port} cannot be reached: {why}", "it is 8088 on a PBX, 443 in the cloud; firewall?"
        )
        return
    yield Finding("right", f"port {port} is open")
    if parts.scheme == "https":
        yield _certificate(api)


def _certificate(api: PbxCredentials) -> Finding:
    try:
        shown = shown_by(api.url)
    except OnhookError as error:
        return Finding("wrong", error.what, error.todo)
    if api.fingerprint == shown.fingerprint:
        return Finding("right", "its certificate is the one that is pinned")
    if api.fingerprint:
        what = f"its certificate is not the one that is pinned: {with_colons(shown.fingerprint)}"
        return Finding("wrong", what, "if the PBX got a new one: `onhook pbx trust` with its name")
    if shown.trouble:
        what = f"its certificate is vouched for by nobody ({shown.trouble}): {with_colons(shown.fingerprint)}"
        return Finding("wrong", what, "compare it with the PBX's, then `onhook pbx trust` with its name")
    return Finding("right", "its certificate is vouched for by an authority")


async def _asked(
    config: Config, settings: AppDb, clock: Clock, one: Declared, api: PbxCredentials
) -> AsyncIterator[Finding]:
    """Credentials, and what only the PBX can tell."""
    chance = random.SystemRandom().random
    wanted = wanted_for(one.pbx, api)
    async with account_at(wanted, settings=settings, data=config.data, clock=clock, chance=chance) as account:
        try:
            await account.token()
            yield Finding("right", "it takes our client id and secret")
            async for finding in _told(account, clock, one):
                yield finding
        except NotAllowed as error:
            yield Finding("wrong", error.what, f"{error.todo}; 70004 and 70087 are lifted in the PBX under Security")
        except OnhookError as error:
            yield Finding("wrong", error.what, error.todo)


async def _told(account: PbxSession, clock: Clock, one: Declared) -> AsyncIterator[Finding]:
    answer = await account.ask(account.link.ask_facts())
    if answer.trouble is not None:
        yield _untold("of itself", answer, "an older firmware, or our client has no right to it")
    else:
        for finding in _facts(account.link.read_facts(answer), clock.now(), one.pbx):
            yield finding
    answer = await account.ask(account.link.ask_webhooks())
    if answer.trouble == "missing":
        yield Finding(
            "look", "this firmware knows no webhooks through its API", "upgrade it, or go by the push channel"
        )
    elif answer.trouble is not None:
        yield _untold("its webhooks", answer, "give our client the right to read them")
    else:
        for finding in _webhooks(account.link.read_webhooks(answer), one):
            yield finding


def _untold(what: str, answer: Answer, todo: str) -> Finding:
    """What was asked and not told; where it is not the question that was wrong, asking again helps."""
    if answer.trouble in ("token", "later", "garbage", "full"):
        todo = (
            "ask again in some minutes; if it stays so, another program may use the same client id and end our tokens"
        )
    return Finding("look", f"it does not tell {what}: {answer.text}", todo)


def _facts(facts: Facts, now: datetime, pbx: Pbx) -> Iterator[Finding]:
    yield Finding("right", f"its firmware is {facts.firmware or 'not told'}")
    if facts.sn and facts.sn != pbx.sn:
        yield Finding("wrong", f"another PBX answers there: {facts.sn}, not {pbx.sn}", "compare the address of the API")
    if facts.clock is None:
        yield Finding("look", "it does not tell its clock")
        return
    skew = facts.clock - round(now.timestamp())
    shown = f"{datetime.fromtimestamp(facts.clock, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if abs(skew) > CLOCK_SKEW_SECONDS_MAX:
        yield Finding("wrong", f"its clock says {shown}, {abs(skew)} seconds from ours", "set it, best by NTP")
    else:
        yield Finding("right", f"its clock says {shown}")
    zone = pbx.zone_info
    expected = None if zone is None else now.astimezone(zone).utcoffset()
    if expected is not None and facts.offset_seconds not in (None, round(expected.total_seconds())):
        yield Finding(
            "look", f"its wall clock is not that of {pbx.zone}", "set its zone, or `onhook pbx change --zone`"
        )


def _webhooks(webhooks: Webhooks, one: Declared) -> Iterator[Finding]:
    if not webhooks.is_on or not webhooks.entries:
        yield Finding("look", "no webhook is set in it", "fine with the push channel; else set one for event 30012")
        return
    if one.webhook:
        yield _saved(webhooks.entries, one.webhook)
    for webhook in webhooks.entries:
        yield from _webhook(webhook, one.secrets)


def _saved(entries: Iterable[Webhook], wanted: str) -> Finding:
    """Whether the address stands in the PBX as it should: long ones were seen to be cut off (PROTOCOL.md 12, 35)."""
    if any(one.url == wanted for one in entries):
        return Finding("right", "the webhook's address stands in the PBX as it should")
    cut = next((one.url for one in entries if one.url and wanted.startswith(one.url)), "")
    if cut:
        return Finding("wrong", f"the webhook's address is cut off behind {len(cut)} characters", "use a shorter one")
    return Finding("wrong", "no webhook in the PBX has that address", "set it under Integrations > API")


def _webhook(webhook: Webhook, secrets: Sequence[str]) -> Iterator[Finding]:
    """One that is set; what it says of others' secrets is told to nobody."""
    where = f"the webhook to {_shown(webhook.url)}"
    if not webhook.tells_ends:
        yield Finding("look", f"{where} does not tell ended calls", "tick event 30012 in it, if it is meant for us")
    elif webhook.secret not in secrets:
        yield Finding(
            "look", f"{where} is signed with a secret that we do not know", "`onhook pbx secret add`, if it is ours"
        )
    elif webhook.method != "POST":
        yield Finding("wrong", f"{where} is sent by {webhook.method}", "set it to POST")
    else:
        yield Finding("right", f"{where} tells ended calls, signed with a secret that we know")


def _shown(url: str) -> str:
    """An address without what may be secret in it: path and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
