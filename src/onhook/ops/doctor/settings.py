"""Health checks of the application database: PBXs, destinations, alarms, rows that cannot be read."""

import shlex
from collections.abc import AsyncIterator, Iterator
from zoneinfo import ZoneInfo

from onhook.appdb.appdb import AppDb
from onhook.appdb.identification import Identification, identify_sender, summarize
from onhook.appdb.pbxs import Pbx
from onhook.appdb.source_match import PASSWORD_DIALECTS
from onhook.appdb.sqlite_file import check_integrity
from onhook.cdr.utc_offset import get_zone
from onhook.config import WILDCARD_HOSTS, Config
from onhook.delivery.issues import find_all_issues
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _, _n
from onhook.ops.cluster_ledger import check_ledger_setting
from onhook.ops.doctor.check import Check
from onhook.ops.doctor.disk import check_disk_rate
from onhook.ops.doctor.files import check_swept_folders
from onhook.ops.doctor.lines import check_line_listeners
from onhook.ops.doctor.mails import check_mails
from onhook.ops.engines import Engines
from onhook.ops.instance_lock import has_appdb
from onhook.ops.ledger_reading import has_events


async def check_appdb(config: Config, clock: Clock, engines: Engines) -> AsyncIterator[Check]:
    """Yield the checks of the application database; of a damaged one only that."""
    if not has_appdb(config):
        yield (
            _lost_settings_check()
            if await _has_events(config, engines)
            else Check("WARNING", _("there are no settings yet"), _("`onhook pbx add` adds a PBX"))
        )
        return
    damage_checks = list(check_appdb_file(config))
    if damage_checks:
        for check in damage_checks:
            yield check
        return
    if config.appdb and config.appdb_file.exists():
        yield Check(
            "WARNING",
            _("onhook.db is here and not used: the setting `appdb` names another database"),
            _("commands without the setting, as in another directory, write to it: look into it, then remove it"),
        )
    try:
        async with engines.open_appdb(config) as appdb:
            events = await _has_events(config, engines)
            for check in await _check_all_settings(appdb, clock, get_zone(config.zone), has_events=events):
                yield check
            for check in await _check_ledger_setting(config, appdb):
                yield check
            for check in await _check_allow_lists(config, appdb):
                yield check
            for check in check_disk_rate(config.data, await appdb.disk_samples.all(), clock.now()):
                yield check
    except OnhookError as error:
        yield Check("ERROR", str(error))


def check_appdb_file(config: Config) -> Iterator[Check]:
    """Yield whether the file of the application database is damaged."""
    if not config.appdb and config.appdb_file.is_file() and (damage := check_integrity(config.appdb_file)):
        yield Check(
            "ERROR", _("onhook.db is damaged: {damage}", damage=damage), _("`onhook restore` restores a backup")
        )


async def check_settings(appdb: AppDb, *, has_events: bool) -> Check:
    """Return whether the settings are lost: the ledger has events, and no PBX can be read."""
    if await appdb.pbxs():
        return Check("OK", "")
    if await appdb.webhook_credentials():
        return Check(
            "ERROR",
            _("no registered PBX can be read; their events are stored"),
            _("upgrade Onhook, or restore a backup with `onhook restore`"),
        )
    return _lost_settings_check() if has_events else Check("OK", "")


async def _check_all_settings(appdb: AppDb, clock: Clock, zone: ZoneInfo, *, has_events: bool) -> list[Check]:
    return [
        await _check_pbxs(appdb, has_events=has_events),
        *await _check_unreadable(appdb),
        *await _check_alarms(appdb),
        *await _check_destinations(appdb, clock, zone),
        *(check for check in [await check_mails(appdb, clock.now())] if check.detail),
    ]


async def _check_unreadable(appdb: AppDb) -> list[Check]:
    """Return the rows that cannot be read."""
    return [
        Check(
            "ERROR",
            _("{name} in {table} is disabled: {reason}", name=row.name, table=row.table, reason=row.reason),
            _("upgrade Onhook, restore a backup, or remove it"),
        )
        for row in await appdb.list_unreadable()
    ]


async def _check_destinations(appdb: AppDb, clock: Clock, zone: ZoneInfo) -> list[Check]:
    """Return the issues of destinations."""
    destinations = await appdb.destinations.all()
    issues = find_all_issues(destinations, await appdb.deliveries.backlogs(), clock.now(), zone)
    checks = [
        Check("ERROR" if issue.kind in ("disabled", "full") else "WARNING", issue.detail, issue.hint)
        for issue in issues
    ]
    checks += [
        Check(
            "WARNING",
            _("{name} is paused: nothing is delivered", name=destination.name),
            _("`onhook destination resume {name}` delivers what waits", name=shlex.quote(destination.name)),
        )
        for destination in destinations
        if destination.state == "paused"
    ]
    if checks or not destinations:
        return checks
    return [Check("OK", _n("1 destination is working", "{count} destinations are working", len(destinations)))]


async def _check_alarms(appdb: AppDb) -> list[Check]:
    """Return the open alarms of all PBXs."""
    names = {pbx.sn: pbx.name for pbx in await appdb.pbxs()}
    return [
        Check("WARNING", f"{names.get(alarm.sn, alarm.sn)}: {alarm.detail}", alarm.hint)
        for alarm in await appdb.alarms.open_alarms()
    ]


async def _check_ledger_setting(config: Config, appdb: AppDb) -> list[Check]:
    if config.ledger and config.ledger_file.exists():
        return [
            Check(
                "WARNING",
                _("ledger.db is here and not used: the setting `ledger` names another one"),
                _("`onhook cluster move-ledger` moves it; if it was moved, look into it, then rename it"),
            )
        ]
    try:
        await check_ledger_setting(config, appdb)
    except OnhookError as error:
        return [Check("ERROR", error.message, error.hint)]
    return []


async def _has_events(config: Config, engines: Engines) -> bool:
    """Return whether the ledger has events; a ledger that cannot be read is reported by another check."""
    try:
        return await has_events(config, engines.open_ledger)
    except OnhookError:
        return False


def _lost_settings_check() -> Check:
    return Check(
        "ERROR",
        _("the settings are lost: the ledger has events, and no PBX is registered; the intake answers 503"),
        _("`onhook restore` restores a backup; or add the PBXs again with `onhook pbx add`"),
    )


async def _check_pbxs(appdb: AppDb, *, has_events: bool) -> Check:
    settings_check = await check_settings(appdb, has_events=has_events)
    if settings_check.status != "OK":
        return settings_check
    pbxs = await appdb.pbxs()
    if not pbxs:
        return Check("WARNING", _("no PBX is registered"), _("`onhook pbx add NAME --sn SN --secret SECRET` adds one"))
    senders = {pbx.name: await _identify_sender(appdb, pbx) for pbx in pbxs}
    unidentified_names = [name for name, sender in senders.items() if sender.kind in ("nothing", "unknown")]
    if unidentified_names:
        return Check(
            "WARNING",
            _("any sender can send events as {names}", names=", ".join(unidentified_names)),
            _("`onhook pbx secret add` adds a secret, then `onhook pbx change --signed` requires it"),
        )
    summary = summarize(senders.values())
    return Check(
        "OK", _n("1 PBX registered: {summary}", "{count} PBXs registered: {summary}", len(pbxs), summary=summary)
    )


async def _check_allow_lists(config: Config, appdb: AppDb) -> list[Check]:
    """Return the PBXs with a known address from which no allow-list keeps others away: a path or a password is all that
    they know, and it crosses the network as it is.
    """
    checks = [*await check_line_listeners(appdb), *await check_swept_folders(appdb)]
    if config.intake.host not in WILDCARD_HOSTS:
        return checks
    return checks + [
        Check(
            "ERROR",
            _("the intake accepts legs of {name} from every address, without a signature", name=pbx.name),
            _("`onhook pbx change {name} --from ADDRESS` allows its address alone", name=shlex.quote(pbx.name)),
        )
        for pbx in await appdb.pbxs()
        if pbx.dialect in PASSWORD_DIALECTS and not (await appdb.source_matches.get(pbx.sn)).addresses
    ]


async def _identify_sender(appdb: AppDb, pbx: Pbx) -> Identification:
    source_match, credentials = await appdb.source_matches.get(pbx.sn), await appdb.pbx_credentials.get(pbx.sn)
    return identify_sender(pbx, source_match, has_api=credentials is not None)
