"""Health checks of an installation on several machines: database, ledger, machines, stores, leases; a line each."""

import shlex
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from onhook.appdb.appdb import AppDb
from onhook.appdb.leases import NODE_PREFIX, TURN_PREFIX, LeaseOwner
from onhook.appdb.node_states import NodeReport, SpoolReport
from onhook.cdr.utc_offset import get_zone
from onhook.config import Config
from onhook.ledger.health import LedgerHealth, ServerHealth, StreamHealth
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _, _n
from onhook.lib.timestamps import format_time
from onhook.ops.cluster_ledger import FILE_LEDGER_LEASE, open_checked_ledger
from onhook.ops.doctor.check import Check
from onhook.ops.doctor.disk import check_node_disk
from onhook.ops.engines import Engines
from onhook.ops.event_deletion import STORE_NAME
from onhook.ops.node_report import STATE_AGE_MAX, running_machines

OFFSET_MAX = timedelta(seconds=2)
"""Beyond it, events of two machines are in the wrong order in lists and logs."""

OFFSET_LIMIT = timedelta(seconds=30)
"""Beyond it, codes of the second factor and signatures are refused."""

LAG_MAX = 1_000
"""A hub reports its position each minute; a working one is less than a second behind."""

JOB_PREFIX = "job:"
"""Of the names of leases of jobs, each of which some hub does at any time."""


async def check_cluster(config: Config, clock: Clock, engines: Engines) -> AsyncIterator[Check]:
    """Yield the checks of all machines, as this one sees them."""
    if not config.appdb:
        yield Check(
            "ERROR",
            _("this installation is on one machine: the setting `appdb` names no database"),
            _("run `onhook doctor` without --cluster"),
        )
        return
    if config.ledger:
        for check in check_ledger_servers(await engines.read_shared_health(config.ledger, clock)):
            yield check
    try:
        async with engines.open_appdb(config) as appdb:
            async for check in _check_shared_state(config, appdb, clock, engines):
                yield check
    except OnhookError as error:
        yield Check("ERROR", error.message, error.hint)


async def _check_shared_state(config: Config, appdb: AppDb, clock: Clock, engines: Engines) -> AsyncIterator[Check]:
    now_us = clock.microseconds()
    yield Check("OK", _("the application database answers: {server}", server=await appdb.cluster.describe_database()))
    nodes = await appdb.node_states.all(now_us=now_us)
    for check in check_nodes(nodes):
        yield check
    for state in running_machines(nodes):
        yield check_node_disk(state, await appdb.disk_samples.all(state.node), clock.now())
    for check in check_spools(await appdb.node_states.list_spools(now_us=now_us), get_zone(config.zone)):
        yield check
    for check in check_leases(await appdb.leases.list_owners(now_us=now_us), nodes):
        yield check
    positions = await appdb.store_positions.all()
    ledger = await open_checked_ledger(config, appdb, engines)
    try:
        # After the positions: a store is never found ahead of a ledger that grows.
        last_seq = await ledger.last_seq()
    finally:
        await ledger.close()
    for check in check_stores(positions, last_seq, nodes):
        yield check


def check_spools(spools: Iterable[SpoolReport], zone: ZoneInfo) -> Iterator[Check]:
    """Yield the check of each machine that keeps events which the ledger lacks."""
    for spool in spools:
        values = {"node": spool.node, "since": format_time(spool.oldest_at, zone)}
        if spool.age <= STATE_AGE_MAX:
            yield Check(
                "WARNING",
                _n(
                    "machine {node} keeps 1 event that the ledger lacks, of {since}",
                    "machine {node} keeps {count} events that the ledger lacks, the first of {since}",
                    spool.events,
                    **values,
                ),
                _("start the NATS servers; it forwards them by itself, and until then they are on its disk alone"),
            )
            continue
        yield Check(
            "ERROR",
            _n(
                "machine {node} is away with 1 event that the ledger lacks, of {since}",
                "machine {node} is away with {count} events that the ledger lacks, the first of {since}",
                spool.events,
                **values,
            ),
            _(
                "start its intake; where its disk is lost, fill the gap from the PBXs, then `onhook cluster"
                " forget-spool {node}`",
                node=shlex.quote(spool.node),
            ),
        )


def check_ledger_servers(health: LedgerHealth) -> Iterator[Check]:
    """Yield the check of each NATS server and of each stream."""
    yield from map(_check_server, health.servers)
    if health.error:
        yield Check("ERROR", health.error, health.hint)
    yield from map(_check_stream, health.streams)


def _check_server(server: ServerHealth) -> Check:
    if server.error:
        return Check(
            "ERROR",
            _("the NATS server {host} does not answer: {error}", host=server.host, error=server.error),
            _("start it, or look at its log and at the network; a quorum of the others goes on without it"),
        )
    values = {"host": server.host, "name": server.name, "version": server.version}
    if not server.is_version_sufficient:
        return Check("ERROR", _("the NATS server {host} has version {version}", **values), _("upgrade it"))
    if not server.writes_before_it_confirms:
        return Check(
            "ERROR",
            _("the NATS server {host} confirms what is not on disk yet", **values),
            _("write `sync_interval: always` in the section `jetstream` of its configuration, and restart it"),
        )
    if abs(server.clock_offset) > OFFSET_MAX:
        return _offset_check(_("the NATS server {host}", **values), server.clock_offset)
    return Check(
        "OK", _("the NATS server {host} ({name}) has version {version} and writes before it confirms", **values)
    )


def _check_stream(stream: StreamHealth) -> Check:
    values = {"name": stream.name, "count": stream.configured, "wanted": stream.wanted, "leader": stream.leader}
    if stream.configured < stream.wanted:
        return Check(
            "ERROR",
            _("the stream {name} has {count} replicas, fewer than {wanted}", **values),
            _("give it more: `nats stream edit {name} --replicas={wanted}`", **values),
        )
    if stream.away:
        return Check(
            "ERROR",
            _("the stream {name} has a replica that is away: {servers}", servers=", ".join(stream.away), **values),
            _("start that server; with one more away nothing is stored"),
        )
    if stream.behind:
        return Check(
            "WARNING",
            _("the stream {name} has a replica that is behind: {servers}", servers=", ".join(stream.behind), **values),
            _("it catches up by itself; if it does not, look at the log of that server"),
        )
    if stream.configured == 1:
        return Check(
            "WARNING",
            _("the stream {name} has 1 replica: it is lost with that disk", **values),
            _("use three servers, and remove replicas=1 from the setting `ledger`"),
        )
    return Check("OK", _("the stream {name} has {count} replicas, all current; {leader} leads", **values))


def check_nodes(nodes: Sequence[NodeReport]) -> Iterator[Check]:
    """Yield the check of each process of each machine, and whether there are processes of both kinds."""
    running = [report for report in nodes if report.age <= STATE_AGE_MAX]
    newest = max((report.state.version for report in running), key=_version_key, default="")
    for report in nodes:
        yield _check_node(report, newest)
    for process, hint in {
        "hub": _("start one with `onhook serve`: calls are stored, and neither shown nor delivered"),
        "intake": _("start one with `onhook serve`: PBXs reach nothing"),
    }.items():
        if not any(report.state.process == process for report in running):
            yield Check("ERROR", _("no machine runs the {process}", process=process), hint)


def _check_node(report: NodeReport, newest: str) -> Check:
    state = report.state
    values = {"process": state.process, "node": state.node, "version": state.version}
    if report.age > STATE_AGE_MAX:
        return Check(
            "WARNING",
            _("the {process} of machine {node} was last seen {age} ago", age=_format_age(report.age), **values),
            _("start it; a machine that is gone for good is forgotten after seven days"),
        )
    if state.version != newest:
        return Check(
            "WARNING",
            _("the {process} of machine {node} runs onhook {version}, another one {newest}", newest=newest, **values),
            _("upgrade that machine"),
        )
    offset = timedelta(microseconds=state.clock_offset)
    if abs(offset) > OFFSET_MAX:
        return _offset_check(_("machine {node}", **values), offset)
    seconds = f"{abs(offset).total_seconds():.1f}"
    return Check(
        "OK",
        _(
            "the {process} of machine {node} runs onhook {version}; its clock differs by {seconds} s from that of the"
            " database",
            seconds=seconds,
            **values,
        ),
    )


def _offset_check(subject: str, offset: timedelta) -> Check:
    seconds = f"{abs(offset).total_seconds():.0f}"
    return Check(
        "ERROR" if abs(offset) > OFFSET_LIMIT else "WARNING",
        _("the clock of {subject} is {seconds} s ahead", subject=subject, seconds=seconds)
        if offset > timedelta()
        else _("the clock of {subject} is {seconds} s behind", subject=subject, seconds=seconds),
        _("have it set by NTP, as chrony or systemd-timesyncd do"),
    )


def check_stores(positions: Mapping[str, int], last_seq: int, nodes: Sequence[NodeReport]) -> Iterator[Check]:
    """Yield how far the store of each hub is behind the last entry of the ledger."""
    running = {report.state.node for report in nodes if report.state.process == "hub" and report.age <= STATE_AGE_MAX}
    for name, position in positions.items():
        node = name.removeprefix(f"{STORE_NAME}@")
        lag = max(last_seq - position, 0)
        detail = _n(
            "the store of machine {node} is 1 entry behind the ledger",
            "the store of machine {node} is {count} entries behind the ledger",
            lag,
            node=node,
        )
        if position > last_seq:
            yield Check(
                "ERROR",
                _("the store of machine {node} is ahead of the ledger", node=node),
                _("was a backup of the ledger restored? Run `onhook rebuild` there"),
            )
        elif lag <= LAG_MAX:
            yield Check("OK", detail)
        elif node in running:
            yield Check("WARNING", detail, _("it catches up by itself; if it does not, look at the log of its server"))
        else:
            yield Check("WARNING", detail, _("its hub does not run: raw events wait for it for seven days"))


def check_leases(leases: Iterable[LeaseOwner], nodes: Sequence[NodeReport]) -> Iterator[Check]:
    """Yield what each process does of which there is one among all machines, and what no process does."""
    names_by_owner: dict[str, list[str]] = {}
    for name, owner in leases:
        if name.startswith((TURN_PREFIX, NODE_PREFIX)) or (not owner and not name.startswith(JOB_PREFIX)):
            continue
        if name != FILE_LEDGER_LEASE:
            names_by_owner.setdefault(owner, []).append(name)
    free_names = names_by_owner.pop("", [])
    for report in nodes:
        if names := names_by_owner.pop(report.state.lease_owner, []):
            yield Check(
                "OK",
                _("the {process} of machine {node} has the leases {names}",
                  process=report.state.process, node=report.state.node, names=", ".join(names)),
            )  # fmt: skip
    for names in names_by_owner.values():
        yield Check(
            "WARNING",
            _("an unknown process has the leases {names}", names=", ".join(names)),
            _("a hub that has just started is known within a minute; else look for a server that does not report"),
        )
    if free_names:
        yield Check(
            "WARNING",
            _("no hub does {names}", names=", ".join(free_names)),
            _("the next one does within ten seconds; if none does, look at the logs of the hubs"),
        )


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in version.split("."))


def _format_age(age: timedelta) -> str:
    if age.days:
        return _n("1 day", "{count} days", age.days)
    minutes = round(age.total_seconds() / 60)
    return _n("1 hour", "{count} hours", minutes // 60) if minutes >= 60 else _n("1 minute", "{count} minutes", minutes)
