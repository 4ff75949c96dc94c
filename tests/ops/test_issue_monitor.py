"""Issues of destinations, PBXs and this installation, and the notifications of them."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from onhook.appdb.appdb import AppDb
from onhook.appdb.delivery_rows import UNDELIVERED_MAX
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.destinations import Destination
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Config
from onhook.ledger.contract import CounterKey
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.lib.signing import SIGNATURE_HEADER, is_signed_by
from onhook.ops import issue_monitor
from onhook.ops.doctor.check import Check
from onhook.ops.issue_monitor import BEGIN_SECONDS, END_SECONDS, REPEAT_SECONDS, IssueMonitor
from onhook.store.contract import QuarantineEntry, StoreBatch
from onhook.store.duckdb import DuckDbStore, open_store
from tests.appdb.test_node_states import node_state
from tests.delivery.harness import SECRET, WebhookReceiver, make_calls, open_delivery_harness
from tests.factories import SN
from tests.test_projector import entry, event
from tests.waiting import polls, wait_until

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
URL = "https://pager.example.com/"


class Installation:
    """An installation with a destination of issues, `pager`, and one of calls, `CRM`; its clock is the test's."""

    def __init__(self, directory: Path, store: DuckDbStore, ledger: SqliteLedger) -> None:
        self.config = Config(data=directory)
        self.appdb = AppDb(self.config.appdb_file)
        self.store = store
        self.ledger = ledger
        self.time = NOW
        self.monitor = self.restarted_monitor()

    async def prepare(self) -> None:
        await self.appdb.add_pbx(name="Office", sn=SN, secret="first-secret", now_us=1)
        self.pager = await self.add("pager", notifies_of="issues")
        self.crm = await self.add("CRM")

    def now(self) -> datetime:
        return self.time

    def microseconds(self) -> int:
        return round(self.time.timestamp() * 1_000_000)

    def restarted_monitor(self) -> IssueMonitor:
        return IssueMonitor(config=self.config, appdb=self.appdb, store=self.store, ledger=self.ledger, clock=self)

    async def add(self, name: str, **settings: Any) -> Destination:
        return (await self.appdb.destinations.add(name, DestinationSpec(url=URL, **settings), None, after=0, now_us=1))[
            0
        ]

    async def check(self, *, after: float = 0.0) -> None:
        self.time += timedelta(seconds=after)
        await self.monitor.check_all()

    async def check_until_ended(self) -> None:
        await self.check()
        await self.check(after=END_SECONDS)

    async def notifications(self, destination: Destination | None = None) -> list[tuple[str, bool]]:
        """Return kind and whether it has ended of each notification for a destination, in order."""
        destination_id = (destination or self.pager).destination_id
        rows = await self.appdb.deliveries.page(destination_id, None, 1_000)
        issues = [json.loads(await self.appdb.deliveries.body(row.delivery_id))["issue"] for row in rows]
        return [(issue["kind"], issue["ended_at"] is not None) for issue in issues]


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    store, ledger = await open_store(tmp_path / "calls.duckdb"), SqliteLedger(tmp_path / "ledger.db")
    installation = Installation(tmp_path, store, ledger)
    await installation.prepare()
    await asyncio.to_thread(_restrict_access, tmp_path)
    yield installation
    await store.close()
    await ledger.close()
    await installation.appdb.close()


def _restrict_access(directory: Path) -> None:
    directory.chmod(0o700)
    for file in directory.iterdir():
        file.chmod(0o600)


async def test_clock_set_back_delays_no_issue(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a start with a wrong clock: waits begin anew, and files are checked again."""
    file_checks: list[Path] = []

    def check_files(config: Config) -> dict[str, Check]:
        file_checks.append(config.data)
        return {}

    monkeypatch.setattr(issue_monitor, "check_files", check_files)
    failing = {"disk": Check("WARNING", "full", "")}
    monkeypatch.setattr(issue_monitor, "check_resources", lambda *_: failing)
    await installation.check()
    await installation.check(after=-4 * 365 * 86_400)
    await installation.check(after=BEGIN_SECONDS)
    assert await installation.notifications() == [("check_disk", False)]
    failing.clear()
    await installation.check()
    await installation.check(after=-4 * 365 * 86_400)
    await installation.check(after=END_SECONDS)
    assert await installation.notifications() == [("check_disk", False), ("check_disk", True)]
    assert len(file_checks) == 3


async def test_issue_monitor_healthy_installation_has_no_issues(installation: Installation) -> None:
    await installation.check()
    await installation.check(after=BEGIN_SECONDS)
    assert (await installation.appdb.issues.all(), await installation.notifications()) == ([], [])


async def test_issue_monitor_disk_that_fills_is_an_issue_a_week_before(installation: Installation) -> None:
    """Also over a restart: the rate is measured over days."""
    await installation.check()
    free_bytes = shutil.disk_usage(installation.config.data).free
    days_ago_us = installation.microseconds() - 156 * 3_600 * 1_000_000
    await installation.appdb.disk_samples.add(free_bytes * 3, now_us=days_ago_us)
    installation.monitor = installation.restarted_monitor()
    await installation.check(after=5)
    await installation.check(after=BEGIN_SECONDS)
    (issue,) = await installation.appdb.issues.all()
    assert (issue.kind, "full in less than 4 days" in issue.detail) == ("check_disk", True)


async def test_issue_monitor_full_disk_of_another_machine_is_an_issue(installation: Installation) -> None:
    """While it is reported: by the hub that has the job. What was reported long ago says nothing of now."""
    for _report in range(7):
        for node, free_bytes in (("full", 1), ("empty", 10**12)):
            state = node_state(node, free_bytes=free_bytes, total_bytes=10**12)
            await installation.appdb.node_states.report(state, now_us=installation.microseconds())
        await installation.check(after=60)
    (issue,) = await installation.appdb.issues.all()
    assert (issue.kind, issue.ended_at) == ("check_disk", None)
    assert issue.detail == "on machine full: 0 MiB of disk space are free"
    await installation.check(after=60)
    await installation.check(after=END_SECONDS)
    assert await installation.notifications() == [("check_disk", False), ("check_disk", True)]


async def test_issue_monitor_disabled_destination_is_notified_with_begin_and_end(installation: Installation) -> None:
    await installation.appdb.destinations.disable(installation.crm, "the endpoint answered 410")
    await installation.check()
    (issue,) = await installation.appdb.issues.all()
    assert (issue.kind, issue.subject, issue.ended_at) == ("destination_disabled", "CRM", None)
    assert "410" in issue.detail
    await installation.appdb.destinations.set_state("CRM", "active")
    await installation.check_until_ended()
    assert await installation.notifications() == [("destination_disabled", False), ("destination_disabled", True)]


async def test_issue_monitor_lasting_issue_is_notified_once_also_over_a_restart(installation: Installation) -> None:
    await installation.appdb.destinations.disable(installation.crm, "gone")
    for _unused in range(3):
        await installation.check(after=3_600)
        installation.monitor = installation.restarted_monitor()
    assert await installation.notifications() == [("destination_disabled", False)]


async def test_issue_monitor_issue_that_comes_and_goes_is_one(installation: Installation) -> None:
    for _unused in range(3):
        destination = await installation.appdb.destinations.get("CRM")
        await installation.appdb.destinations.disable(destination, "gone")
        await installation.check(after=END_SECONDS / 2)
        await installation.appdb.destinations.set_state("CRM", "active")
        await installation.check(after=END_SECONDS / 2)
    assert await installation.notifications() == [("destination_disabled", False)]


async def test_issue_monitor_destination_is_not_notified_of_its_own_issues(installation: Installation) -> None:
    other_pager = await installation.add("other pager", notifies_of="issues")
    await installation.appdb.destinations.disable(installation.pager, "gone")
    await installation.check()
    assert await installation.notifications() == []
    assert await installation.notifications(other_pager) == [("destination_disabled", False)]


async def test_issue_monitor_alarm_is_notified_with_begin_and_end(installation: Installation) -> None:
    """With serial number and name of the PBX."""
    await installation.appdb.alarms.raise_alarm(SN, "gap", "calls are missing", hint="back-fill", now_us=1)
    await installation.check()
    (issue,) = await installation.appdb.issues.all()
    assert (issue.kind, issue.sn, issue.subject, issue.detail) == ("alarm_gap", SN, "Office", "calls are missing")
    await installation.appdb.alarms.end(SN, "gap", now_us=2)
    await installation.check_until_ended()
    assert await installation.notifications() == [("alarm_gap", False), ("alarm_gap", True)]


async def test_issue_monitor_filter_selects_the_issues_of_one_pbx(installation: Installation) -> None:
    office = await installation.add("office pager", notifies_of="issues", filter=RecordFilter(sn=SN))
    branch = await installation.add("branch pager", notifies_of="issues", filter=RecordFilter(sn="B1"))
    await installation.appdb.alarms.raise_alarm(SN, "silence", "no calls", hint="", now_us=1)
    await installation.appdb.destinations.disable(installation.crm, "gone")
    await installation.check()
    assert await installation.notifications(office) == [("alarm_silence", False)]
    assert await installation.notifications(branch) == []


async def test_issue_monitor_check_that_turned_bad_is_notified_after_a_while(installation: Installation) -> None:
    installation.config.data.chmod(0o755)
    await installation.check()
    assert await installation.notifications() == []
    await installation.check(after=BEGIN_SECONDS)
    installation.config.data.chmod(0o700)
    await installation.check_until_ended()
    assert await installation.notifications() == [("check_permissions", False), ("check_permissions", True)]


async def test_issue_monitor_quarantine_is_an_issue(installation: Installation) -> None:
    entry = QuarantineEntry(seq=1, sn=SN, received_at=NOW, reason="no JSON", via="webhook")
    await installation.store.put(StoreBatch(calls=(), quarantined=[entry], reparsed_seqs=(), position=0))
    await installation.check()
    await installation.check(after=BEGIN_SECONDS)
    assert await installation.notifications() == [("check_quarantine", False)]
    (issue,) = await installation.appdb.issues.all()
    assert issue.detail == "1 event could not be parsed"


async def test_issue_monitor_ledger_that_lost_events_and_grew_again_is_an_issue(installation: Installation) -> None:
    """Its end is past the store's position, but the event there is another one."""
    await installation.ledger.append([entry(event(number, "1001")) for number in range(5)])
    await installation.store.put(
        StoreBatch(calls=(), quarantined=(), reparsed_seqs=(), position=3, position_key=b"another event")
    )
    await installation.check()
    await installation.check(after=BEGIN_SECONDS)
    assert await installation.notifications() == [("check_backlog", False)]
    (issue,) = await installation.appdb.issues.all()
    assert "event 3 differs" in issue.detail
    assert "ends at event 5" in issue.detail
    assert "onhook rebuild" in issue.hint


async def test_issue_monitor_rejected_requests_are_issues_for_a_day(installation: Installation) -> None:
    """One for each registered PBX and reason; all unknown senders have one. Numbers are those of now."""

    async def count(kind: str, sn: str) -> None:
        await installation.ledger.add_counts({CounterKey(kind, sn, ""): 1}, installation.microseconds())

    for kind, sn in (("invalid_signature", SN), ("unknown_pbx", "A1"), ("unknown_pbx", "B2"), ("too_large", "")):
        await count(kind, sn)
    await installation.check()
    assert await installation.appdb.issues.all() == [], "one request may be forged"
    installation.time += timedelta(seconds=REPEAT_SECONDS)
    await count("invalid_signature", SN)
    await count("unknown_pbx", "B2")
    await installation.check()
    issues = {issue.kind: issue for issue in await installation.appdb.issues.all()}
    assert set(issues) == {"rejected_invalid_signature", "rejected_unknown_pbx"}
    wrong_secret, unknown = issues["rejected_invalid_signature"], issues["rejected_unknown_pbx"]
    assert (wrong_secret.sn, wrong_secret.subject) == (SN, "Office")
    assert "requests for Office with an invalid signature: 2 (last: 2026-11-28 09:01:00+00:00)" in wrong_secret.detail
    assert "`onhook pbx secret add Office`" in wrong_secret.hint
    assert (unknown.sn, unknown.subject) == ("", "unknown PBX")
    assert "and 1 other serial number" in unknown.detail
    await count("invalid_signature", SN)
    await installation.check(after=60)
    issues = {issue.kind: issue for issue in await installation.appdb.issues.all()}
    assert "signature: 3 (last" in issues["rejected_invalid_signature"].detail
    assert await installation.notifications() == [
        ("rejected_invalid_signature", False),
        ("rejected_unknown_pbx", False),
    ]
    await installation.check(after=timedelta(days=2).total_seconds())
    await installation.check_until_ended()
    assert all(issue.ended_at for issue in await installation.appdb.issues.all())


async def test_issue_monitor_forged_request_is_no_issue(installation: Installation) -> None:
    """Anyone can send one in the name of a PBX: it is listed, and notified of only when requests go on to be rejected,
    as all those of a PBX with a wrong secret are.
    """
    invalid = CounterKey("invalid_signature", SN, "")
    for _round in range(3):
        await installation.ledger.add_counts({invalid: 1}, installation.microseconds(), {invalid: "192.0.2.66"})
        for after in (0, BEGIN_SECONDS, BEGIN_SECONDS):
            await installation.check(after=after)
        assert await installation.notifications() == []
        # A call of the PBX, which is accepted.
        installation.time += timedelta(seconds=60)
        await installation.ledger.add_counts({CounterKey("stored", SN, "30012"): 1}, installation.microseconds())
        await installation.check(after=END_SECONDS)
    for _repeat in range(2):
        await installation.ledger.add_counts({invalid: 1}, installation.microseconds(), {invalid: "192.0.2.66"})
        await installation.check()
        installation.time += timedelta(seconds=REPEAT_SECONDS)
    assert await installation.notifications() == [("rejected_invalid_signature", False)]
    (issue,) = await installation.appdb.issues.all()
    assert "from 192.0.2.66)" in issue.detail


async def test_issue_monitor_requests_by_another_method_are_an_issue(installation: Installation) -> None:
    """With the method, the address and the remedy; pages that a scanner asks for are none."""
    for _repeat in range(2):
        for label in ("PUT", ""):
            key = CounterKey("wrong_method", "", label)
            await installation.ledger.add_counts({key: 1}, installation.microseconds(), {key: "192.0.2.7"})
        await installation.check()
        installation.time += timedelta(seconds=REPEAT_SECONDS)
    (issue,) = await installation.appdb.issues.all()
    assert issue.kind == "rejected_wrong_method"
    assert issue.detail.startswith("requests by PUT, in place of POST, or GET with a body: 2 (last: ")
    assert issue.detail.endswith(" from 192.0.2.7)")
    assert issue.hint == "set the method of the webhook in its sender to POST"


async def test_issue_monitor_pbx_with_two_serial_numbers_has_one_issue(installation: Installation) -> None:
    """Whichever number was rejected last; it ends when a webhook of the PBX is accepted."""
    await installation.appdb.serial_numbers.add(SN, "B2")

    async def count(kind: str, sn: str) -> None:
        installation.time += timedelta(seconds=60)
        await installation.ledger.add_counts({CounterKey(kind, sn, ""): 1}, installation.microseconds())
        await installation.check()
        await installation.check(after=END_SECONDS)

    for sn in (SN, "B2", SN, "B2"):
        await count("invalid_signature", sn)
    (issue,) = await installation.appdb.issues.all()
    assert (issue.kind, issue.sn) == ("rejected_invalid_signature", SN)
    assert "requests for Office with an invalid signature: 4 (last" in issue.detail
    assert issue.ended_at is None
    await count("stored", "B2")
    (issue,) = await installation.appdb.issues.all()
    assert issue.ended_at is not None


async def test_issue_monitor_lost_settings_are_an_issue_at_once(tmp_path: Path) -> None:
    """A new application database beside a ledger with events: a remedy, and an end once a PBX is added."""
    store, ledger = await open_store(tmp_path / "calls.duckdb"), SqliteLedger(tmp_path / "ledger.db")
    installation = Installation(tmp_path, store, ledger)
    await installation.check()
    assert [issue.kind for issue in await installation.appdb.issues.all()] == []
    await ledger.append([entry(event(1, "1001"))])
    await installation.check()
    (issue,) = await installation.appdb.issues.all()
    assert (issue.kind, issue.ended_at) == ("check_settings", None)
    assert "the settings are lost" in issue.detail
    assert "onhook restore" in issue.hint
    await installation.appdb.add_pbx(name="Office", sn=SN, secret="first-secret", now_us=1)
    await installation.check_until_ended()
    (issue,) = await installation.appdb.issues.all()
    assert issue.ended_at is not None
    for part in (store, ledger, installation.appdb):
        await part.close()


async def test_issue_monitor_lowered_cursors_are_an_issue_at_once(installation: Installation) -> None:
    """Until the next start of the hub."""
    installation.monitor = IssueMonitor(
        config=installation.config,
        appdb=installation.appdb,
        store=installation.store,
        ledger=installation.ledger,
        clock=installation,
        lowered_stream_count=2,
    )
    await installation.check()
    (issue,) = await installation.appdb.issues.all()
    assert (issue.kind, issue.ended_at) == ("check_cursors", None)
    assert "2 streams" in issue.detail
    assert "onhook destination replay" in issue.hint


async def test_issue_monitor_damaged_file_is_an_issue(installation: Installation) -> None:
    """At once; the ledger that cannot be read then is another one, which may have a passing cause."""
    file = installation.config.ledger_file
    await asyncio.to_thread(os.truncate, file, 8_192)
    await installation.check()
    assert await installation.notifications() == [("check_ledger", False)]
    await installation.check(after=BEGIN_SECONDS)
    assert await installation.notifications() == [("check_ledger", False), ("check_backlog", False)]


async def test_issue_monitor_many_issues_are_spread_over_rounds(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issue_monitor, "TRANSITIONS_MAX", 2)
    for number in range(5):
        await installation.appdb.destinations.disable(await installation.add(f"BI {number}"), "gone")
    counts = []
    for _unused in range(3):
        await installation.check(after=15)
        counts.append(len(await installation.notifications()))
    assert counts == [2, 4, 5]


async def test_issue_monitor_destination_with_too_many_deliveries_gets_no_more(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert UNDELIVERED_MAX > 2
    monkeypatch.setattr("onhook.appdb.delivery_rows.UNDELIVERED_MAX", 2)
    for number in range(4):
        await installation.appdb.destinations.disable(await installation.add(f"BI {number}"), "gone")
    await installation.check()
    assert len(await installation.notifications()) == 2
    assert len([issue for issue in await installation.appdb.issues.all() if issue.subject.startswith("BI")]) == 4


async def test_destination_of_issues_cannot_be_filtered_by_calls_nor_replayed(installation: Installation) -> None:
    with pytest.raises(UsageError, match="issues cannot be filtered by calls"):
        await installation.add("x", notifies_of="issues", filter=RecordFilter(status="BUSY"))
    with pytest.raises(UsageError, match="notifies of issues, which cannot be replayed"):
        await installation.appdb.destinations.replay("pager", RecordFilter(), after=0, until=1, now_us=1)


async def test_issue_monitor_destination_that_is_gone_reaches_the_receiver_of_issues(tmp_path: Path) -> None:
    """Signed, with begin and end, in this order; the destination itself is sent nothing of it."""
    async with WebhookReceiver().listen() as crm, WebhookReceiver().listen() as pager:
        crm.reply = _answer_gone
        async with open_delivery_harness(tmp_path) as harness:
            ledger, clock = SqliteLedger(tmp_path / "ledger.db"), MovedClock()
            monitor = IssueMonitor(
                config=Config(data=tmp_path), appdb=harness.appdb, store=harness.store, ledger=ledger, clock=clock
            )
            await harness.add_destination("pager", pager.url, notifies_of="issues")
            await harness.add_destination("crm", crm.url)
            harness.start()
            clock.offset_seconds = -END_SECONDS  # so that no notification is due in the dispatcher's future
            await harness.put_calls(*make_calls(1))
            await wait_until((await harness.appdb.destinations.get("crm")).state == "disabled" async for _ in polls())
            await monitor.check_all()
            await wait_until(lambda: len(pager.accepted) == 1)
            await harness.appdb.destinations.remove("crm")
            await monitor.check_all()
            clock.offset_seconds = 0.0
            await monitor.check_all()
            await wait_until(lambda: len(pager.accepted) == 2)
            await ledger.close()
    issues = [payload["issue"] for payload in pager.payloads if payload["issue"]["subject"] == "crm"]
    assert [(issue["kind"], issue["ended_at"] is None) for issue in issues] == [
        ("destination_disabled", True),
        ("destination_disabled", False),
    ]
    assert all(
        is_signed_by([SECRET], body, headers[SIGNATURE_HEADER])
        for body, headers in zip(pager.bodies, pager.headers, strict=True)
    )
    assert len(crm.payloads) == 1


class MovedClock(SystemClock):
    """The time of this machine, moved by a test."""

    offset_seconds = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.offset_seconds)

    def microseconds(self) -> int:
        return super().microseconds() + round(self.offset_seconds * 1_000_000)


async def _answer_gone(_request: web.Request, _body: bytes) -> int:
    return 410
