"""Mails to send, and the recipients, channels and schedules that they come from."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.alert_channels import AlertChannel
from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.issue_recipients import TOPICS, IssueRecipient
from onhook.appdb.issues import OperationalIssue
from onhook.appdb.mails import ENDED_MICROSECONDS_MAX, PENDING_MAX, MailAttachment, MailContent, NewMail
from onhook.appdb.report_schedules import TEST_WAIT_MICROSECONDS, USER_SCHEDULES_MAX, ReportRun
from onhook.appdb.report_spec import ReportSpec
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.quiet_hours import QuietHours
from onhook.lib.timestamps import to_datetime, to_microseconds

pytestmark = pytest.mark.usefixtures("each_engine")

NOW = 1_795_848_000_000_000
DAY = 86_400_000_000
FILE = MailAttachment("calls.csv", "text/csv", b"\x00\xff")
MAIL = NewMail(
    mail_key="report:1",
    kind="report",
    recipient="Ann@example.com",
    subject="Calls",
    content=MailContent(text="3 calls", html="<p>3</p>", attachments=[FILE]),
)
DISK = OperationalIssue(issue_key="check:disk", kind="check_disk", subject="disk", detail="full", hint="free some")
FAILING = OperationalIssue(
    issue_key="destination:1:failing",
    kind="destination_failing",
    subject="CRM",
    detail="500",
    hint="",
    destination_id=1,
)


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    """Yield a database with two users who may be notified, and one who may not."""
    async with AppDb(tmp_path / "onhook.db") as opened_appdb:
        for name in ("Ann", "Bob", "Eve"):
            await opened_appdb.users.add(name, "administrator", None, now_us=1)
        yield opened_appdb


def mail(key: str) -> NewMail:
    return msgspec.structs.replace(MAIL, mail_key=key)


# Mails


async def test_mail_is_added_once_and_claimed_until_it_was_sent(appdb: AppDb) -> None:
    assert [await appdb.mails.add(MAIL, now_us=NOW) for _time in range(2)] == [True, False]
    ((mail_id, attempts),) = await appdb.mails.due(10, now_us=NOW)
    assert attempts == 0
    claimed = await appdb.mails.claim(mail_id, "example.com", due_us=NOW + 60)
    assert claimed is not None
    assert (claimed.content, claimed.attempts, claimed.message_domain) == (MAIL.content, 1, "example.com")
    assert await appdb.mails.due(10, now_us=NOW) == []
    await appdb.mails.defer(mail_id, "451 try later")
    backlog = await appdb.mails.backlog()
    assert (backlog.pending, backlog.failing_since, backlog.detail) == (1, to_datetime(NOW), "451 try later")
    second_claim = await appdb.mails.claim(mail_id, "other.example", due_us=NOW + 120)
    assert second_claim is not None
    assert (second_claim.attempts, second_claim.message_domain) == (2, "example.com")
    assert [await appdb.mails.end(mail_id, "sent", "250", now_us=NOW + 1) for _time in range(2)] == [True, False]
    assert await appdb.mails.claim(mail_id, "example.com", due_us=NOW) is None
    stored = await appdb.mails.get(mail_id)
    assert (stored.state, stored.attempts, stored.ended_at) == ("sent", 2, to_datetime(NOW + 1))
    assert await appdb._database.rows("SELECT content FROM mails") == [("",)]
    assert await appdb.mails.count_sent(since_us=NOW) == 1
    assert await appdb.mails.count_added("report", "Ann@example.com", since_us=NOW - 1, key_begin="report:") == 1
    assert await appdb.mails.count_added("report", "Ann@example.com", since_us=NOW - 1, key_begin="issues:") == 0


async def test_mails_end_with_their_time_and_are_deleted_later(appdb: AppDb) -> None:
    await appdb.mails.add(msgspec.structs.replace(mail("short"), lifetime_us=10), now_us=NOW)
    await appdb.mails.add(mail("long"), now_us=NOW)
    await appdb.mails.clean_up(now_us=NOW + 10)
    assert {stored.subject + stored.state for stored in await appdb.mails.latest(9)} == {"Callspending", "Callsfailed"}
    await appdb.mails.clean_up(now_us=NOW + ENDED_MICROSECONDS_MAX)
    assert [stored.state for stored in await appdb.mails.latest(9)] == ["failed", "failed"]
    await appdb.mails.clean_up(now_us=NOW + ENDED_MICROSECONDS_MAX + 1)
    assert await appdb.mails.latest(9) == []


async def test_mails_are_retried_and_discarded_by_people(appdb: AppDb) -> None:
    for key in ("first", "second"):
        await appdb.mails.add(mail(key), now_us=NOW)
    first, second = [number for number, _attempts in await appdb.mails.due(9, now_us=NOW)]
    for number in (first, second):
        await appdb.mails.claim(number, "example.com", due_us=NOW + DAY // 2)
    await appdb.mails.defer_all("no server")
    await appdb.mails.retry(second, now_us=NOW + 1)
    assert await appdb.mails.due(9, now_us=NOW + 1) == [(second, 1)]
    await appdb.mails.discard(first, now_us=NOW + 1)
    with pytest.raises(NotFound):
        await appdb.mails.retry(first, now_us=NOW + 1)
    assert [(stored.state, stored.detail) for stored in await appdb.mails.latest(9)] == [
        ("pending", "no server"),
        ("discarded", ""),
    ]
    assert await appdb.mails.list_unreadable() == []


async def test_mails_beyond_the_limit_have_failed_at_once(appdb: AppDb) -> None:
    async with appdb.transaction():
        for number in range(PENDING_MAX + 1):
            await appdb.mails.add(mail(f"m{number}"), now_us=NOW)
    assert [stored.state for stored in (await appdb.mails.latest(PENDING_MAX + 1))[-1:]] == ["failed"]


# Issues and those who are notified of them


async def test_issue_is_open_once_and_refreshed_until_it_ends(appdb: AppDb) -> None:
    assert [await appdb.issues.begin(DISK, now_us=NOW) for _time in range(2)] == [True, False]
    assert await appdb.issues.open_keys() == {"check:disk"}
    await appdb.issues.refresh([msgspec.structs.replace(DISK, detail="fuller"), FAILING])
    open_issue = await appdb.issues.find_open("check_disk")
    assert open_issue is not None
    assert (open_issue.detail, open_issue.began_at, open_issue.ended_at) == ("fuller", to_datetime(NOW), None)
    assert [await appdb.issues.end("check:disk", now_us=NOW + 1) for _time in range(2)] == [True, False]
    assert await appdb.issues.find_open("check_disk") is None
    await appdb.issues.begin(DISK, now_us=NOW + 2)
    assert [issue.ended_at for issue in await appdb.issues.all()] == [None, to_datetime(NOW + 1)]
    assert await appdb.issues.list_unreadable() == []


async def test_issue_recipients_are_notified_of_their_topics_once(appdb: AppDb) -> None:
    for address, topics in {"ops@example.com": TOPICS, "crm@example.com": ("destination",)}.items():
        await appdb.issue_recipients.put(IssueRecipient(address=address, topics=topics))
    await appdb.issue_recipients.put(IssueRecipient(address="ops@example.com", topics=TOPICS, mails_per_hour=2))
    assert [(r.address, r.mails_per_hour) for r in await appdb.issue_recipients.all()] == [
        ("crm@example.com", 6),
        ("ops@example.com", 2),
    ]
    await appdb.issues.begin(DISK, now_us=NOW)
    await appdb.issues.begin(FAILING, now_us=NOW + 1)
    await appdb.issues.end("check:disk", now_us=NOW + 2)
    assert [notice.kind for notice in await appdb.issue_recipients.pending("crm@example.com")] == [
        "destination_failing"
    ]
    notices = await appdb.issue_recipients.pending("ops@example.com")
    assert [(notice.kind, notice.state) for notice in notices] == [
        ("check_disk", "began"),
        ("destination_failing", "began"),
        ("check_disk", "ended"),
    ]
    await appdb.issue_recipients.delete_pending("ops@example.com", notices[:2])
    assert await appdb.issue_recipients.pending("ops@example.com") == notices[2:]
    await appdb.issue_recipients.remove("ops@example.com")
    with pytest.raises(NotFound):
        await appdb.issue_recipients.remove("ops@example.com")
    assert await appdb._database.rows("SELECT count(*) FROM pending_issue_notices") == [(1,)]
    assert await appdb.issue_recipients.list_unreadable() == []


async def test_alert_channels_of_users_are_notified_of_their_kinds(appdb: AppDb) -> None:
    destination, _secret = await appdb.destinations.add(
        "pager", DestinationSpec(url="https://a.example/"), None, after=0, now_us=1
    )
    number = destination.destination_id
    hours = QuietHours(begin=22, end=6, zone="Europe/Berlin")
    await appdb.alert_channels.put("Ann", hours, {None: ("check",), number: ("check", "destination"), 99: ()})
    await appdb.alert_channels.put("Bob", QuietHours(), {None: ("destination",)})
    with pytest.raises(NotFound):
        await appdb.alert_channels.put("Bob", QuietHours(), {99: ("check",)})
    mail_channel, pager_channel = await appdb.alert_channels.of_user("Ann")
    assert pager_channel == AlertChannel(
        channel_id=pager_channel.channel_id, user_name="Ann", destination_id=number, kinds=("destination", "check")
    )
    assert await appdb.alert_channels.all_quiet_hours() == {"Ann": hours, "Bob": QuietHours()}
    await appdb.issues.begin(DISK, now_us=NOW)
    await appdb.issues.begin(msgspec.structs.replace(FAILING, destination_id=number), now_us=NOW)
    notices = [await appdb.alert_channels.pending(channel.channel_id) for channel in await appdb.alert_channels.all()]
    assert [[notice.kind for notice in some] for some in notices] == [
        ["check_disk"],
        ["check_disk"],
        ["destination_failing"],
    ]
    await appdb.alert_channels.delete_pending(mail_channel.channel_id, notices[0])
    assert await appdb.alert_channels.pending(mail_channel.channel_id) == []
    await appdb.alert_channels.put("Ann", QuietHours(), {None: ("check",)})
    assert [channel.destination_id for channel in await appdb.alert_channels.of_user("Ann")] == [None]
    assert await appdb.alert_channels.list_unreadable() == await appdb.alert_channels.list_unreadable_hours() == []


# Scheduled reports


async def test_report_schedule_is_stored_changed_paused_and_removed(appdb: AppDb) -> None:
    spec = ReportSpec(report="volume", query="status=NO+ANSWER", addresses=["b@example.com"], files=["csv"])
    schedule = await appdb.report_schedules.add("Ann", "weekly", spec, now_us=NOW)
    await appdb.report_schedules.add("Bob", "Daily", spec, now_us=NOW)
    assert [stored.name for stored in await appdb.report_schedules.all()] == ["Daily", "weekly"]
    assert await appdb.report_schedules.all("Ann") == [schedule]
    assert (schedule.spec, schedule.revision, schedule.next_at.hour) == (spec, 1, 7)
    paused = await appdb.report_schedules.set_paused(schedule.schedule_id, is_paused=True, now_us=NOW)
    assert (paused.is_paused, paused.revision) == (True, 2)
    assert await appdb.report_schedules.due(now_us=to_microseconds(schedule.next_at)) != [paused]
    with pytest.raises(NotFound):
        await appdb.report_schedules.add("nemo", "weekly", spec, now_us=NOW)
    await appdb.report_schedules.remove(schedule.schedule_id)
    with pytest.raises(NotFound):
        await appdb.report_schedules.get(schedule.schedule_id)
    await appdb.users.remove("Bob")
    assert await appdb.report_schedules.all() == []
    assert await appdb.report_schedules.list_unreadable() == []


async def test_report_schedule_run_is_stored_once_for_the_schedule_as_it_was(appdb: AppDb) -> None:
    schedules = appdb.report_schedules
    schedule = await schedules.add("Ann", "weekly", ReportSpec(report="volume"), now_us=NOW)
    due_us = to_microseconds(schedule.next_at)
    assert await schedules.due(now_us=due_us - 1) == []
    assert await schedules.due(now_us=due_us) == [schedule]
    assert [await schedules.record_run(schedule, ReportRun(outcome="sent"), now_us=due_us) for _ in range(2)] == [
        True,
        False,
    ]
    tested = await schedules.request_test(schedule.schedule_id, now_us=due_us + TEST_WAIT_MICROSECONDS)
    with pytest.raises(UsageError, match="a moment ago"):
        await schedules.request_test(schedule.schedule_id, now_us=due_us + TEST_WAIT_MICROSECONDS + 1)
    assert await schedules.due(now_us=due_us) == [tested]
    assert await schedules.record_run(tested, ReportRun(outcome="partial", detail="one"), now_us=due_us + 1)
    (stored,) = await schedules.all()
    assert (stored.outcome, stored.detail, stored.test_at) == ("partial", "one", None)
    assert stored.next_at == tested.next_at == datetime.fromtimestamp((due_us + DAY) / 1e6, UTC)


async def test_report_schedules_are_limited_and_addresses_opt_out(appdb: AppDb) -> None:
    spec = ReportSpec(report="volume")
    schedules = [
        await appdb.report_schedules.add("Ann", f"r{number}", spec, now_us=NOW) for number in range(USER_SCHEDULES_MAX)
    ]
    with pytest.raises(UsageError, match="already"):
        await appdb.report_schedules.add("Ann", "more", spec, now_us=NOW)
    last = schedules[-1]
    for _time in range(2):
        await appdb.report_schedules.opt_out(last.schedule_id, "Bob@Example.com", now_us=NOW)
    assert await appdb.report_schedules.list_optouts(last.schedule_id) == {"bob@example.com"}
    with pytest.raises(NotFound):
        await appdb.report_schedules.opt_out(10_000, "bob@example.com", now_us=NOW)
