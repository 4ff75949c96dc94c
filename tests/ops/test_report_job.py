"""Scheduled reports, from the job to the mail that a server got; figures beside plain loops over the calls."""

import asyncio
import csv
import io
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import get_ident
from zoneinfo import ZoneInfo

import pytest

from onhook.appdb.fence import FencedOff, fenced
from onhook.appdb.report_schedules import USER_SCHEDULES_MAX, ReportRun, ReportSchedule
from onhook.appdb.report_spec import ADDRESSES_MAX, ReportSpec
from onhook.appdb.users import User
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.call_details import CallDetails
from onhook.console.pages.rendering import View, render
from onhook.console.report_mails import mails as mails_module
from onhook.console.report_mails import recipients as recipient_rules
from onhook.console.report_mails.mails import MAIL_ROWS_MAX
from onhook.lib.errors import Unavailable
from onhook.lib.recurrence import Recurrence
from onhook.ops.report_job import RETRY_SECONDS_MAX, ROUND_RUNS_MAX, ReportJob
from tests.factories import SN, details
from tests.ops.report_world import CONSOLE_URL, ReportWorld, open_report_world, read_csv, read_file, read_xlsx

BERLIN = "Europe/Berlin"
DAILY = Recurrence(hour=7, zone=BERLIN)
NOON = datetime(2026, 10, 24, 10, tzinfo=UTC)
"""Noon in Berlin, on the day before clocks are set to the winter time."""

OUTSIDE = "Bob.Boss@example.net"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ReportWorld]:
    async with open_report_world(tmp_path) as opened_world:
        opened_world.set_time(NOON)
        yield opened_world


def some_details(count: int, seed: int) -> list[CallDetails]:
    """Return calls around two days, of which the second has 25 hours in Berlin."""
    source = random.Random(seed)
    calls = []
    for _call in range(count):
        started_at = NOON + timedelta(seconds=source.randrange(-2 * 86_400, 2 * 86_400))
        status = source.choice(["ANSWERED", "ANSWERED", "NO ANSWER", "BUSY"])
        talk = source.randrange(1, 600) if status == "ANSWERED" else 0
        calls.append(
            details(
                started_at,
                call_from=f"+4930{source.randrange(5):07}",
                call_to=source.choice(["1001", "1002"]),
                status=status,
                type=source.choice(["Inbound", "Internal"]),
                talk_duration=talk,
                call_duration=talk + 5,
                src_trunk_name="provider",
            )
        )
    return calls


def started_at(call: CallDetails) -> datetime:
    return datetime.fromtimestamp(int(call.call_id.partition(".")[0]), UTC)


async def test_report_job_figures_of_a_day_of_25_hours_are_those_of_a_plain_loop(world: ReportWorld) -> None:
    calls = some_details(400, seed=18)
    await world.harness.ingest_details(calls)
    await world.add_user("Ann")
    await world.add("Ann", ReportSpec(report="volume", query="by=hour", recurrence=DAILY, files=("csv", "xlsx")))
    assert await world.run() == [], "the first time is the next one"
    world.set_time(datetime(2026, 10, 26, 6, 0, 1, tzinfo=UTC))
    (mail,) = await world.run()
    zone = ZoneInfo(BERLIN)
    own = [call for call in calls if started_at(call).astimezone(zone).date().isoformat() == "2026-10-25"]
    by_hour = Counter(int(started_at(call).timestamp()) // 3_600 for call in own)
    answered = [call for call in own if call.status == "ANSWERED"]
    rows = read_csv(mail)
    assert [int(row["Calls"]) for row in rows] == [
        by_hour[int(datetime(2026, 10, 24, 22, tzinfo=UTC).timestamp()) // 3_600 + hour] for hour in range(25)
    ]
    assert sum(int(row["Answered"]) for row in rows) == len(answered)
    talk = sum(call.talk_duration or 0 for call in answered)
    minutes, seconds = divmod(talk, 60)
    shown_talk = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    share = f"{100 * len(answered) / len(own):.1f}".removesuffix(".0")
    totals = f"Calls: {len(own)} · answered: {len(answered)} ({share} %) · missed: {len(own) - len(answered)}"
    for text in (mail.text, mail.html):
        assert f"{totals} · talk: {shown_talk}" in text
        assert "Sun 25 Oct 2026 00:00:00 to Mon 26 Oct 2026 00:00:00, Europe/Berlin" in text
        assert "daily at 07:00, Europe/Berlin" in text
    assert mail.subject == "Weekly figures: Sun 25 Oct 2026"
    header, *sheet_rows = read_xlsx(mail)
    calls_column = header.index("Calls")
    assert [row[calls_column] for row in sheet_rows] == [row["Calls"] for row in rows]
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message["List-Unsubscribe"] is None, "users change their own schedules"
    assert f'href="{CONSOLE_URL}/reports?report=volume&amp;by=hour&amp;since=2026-10-25T00' in mail.html
    assert await world.run() == [], "each time once"


async def test_report_job_list_of_calls_and_missed_digest_are_those_of_a_plain_loop(world: ReportWorld) -> None:
    calls = some_details(300, seed=19)
    await world.harness.ingest_details(calls)
    await world.add_user("Ann")
    calls_spec = ReportSpec(report="calls", query="status=busy&type=inbound", recurrence=DAILY, files=("csv",))
    await world.add("Ann", calls_spec, "Busy")
    await world.add("Ann", ReportSpec(report="missed-digest", recurrence=DAILY, files=("csv",)), "Missed")
    world.set_time(datetime(2026, 10, 25, 7, tzinfo=UTC))
    mails = {mail.subject.partition(":")[0]: mail for mail in await world.run()}
    assert "Outcome: Busy, Type: inbound" in mails["Busy"].text
    since, until = datetime(2026, 10, 23, 22, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC)
    own = [call for call in calls if since <= started_at(call) < until and call.type == "Inbound"]
    busy = sorted((call for call in own if call.status == "BUSY"), key=started_at, reverse=True)
    rows = read_csv(mails["Busy"])
    assert [(row["From"], row["To"]) for row in rows] == [(call.call_from, call.call_to) for call in busy]
    assert [datetime.fromisoformat(row["Started"]) for row in rows] == [started_at(call) for call in busy]
    missed = [call for call in own if call.status != "ANSWERED"]
    answered_at: dict[str, datetime] = {}
    for call in calls:  # the last call in which a person talked with a number
        if call.status == "ANSWERED":
            answered_at[call.call_from] = max(answered_at.get(call.call_from, since), started_at(call))
    unreturned = [call for call in missed if started_at(call) >= answered_at.get(call.call_from, since)]
    digest = mails["Missed"]
    assert f"{len(missed)} inbound calls were missed: {len(missed) - len(unreturned)} returned" in digest.text
    by_caller = Counter(call.call_from for call in unreturned)
    assert {row["From"]: int(row["Calls"]) for row in read_csv(digest)} == by_caller


async def test_report_job_missed_digest_says_the_type_that_was_chosen(world: ReportWorld) -> None:
    await world.harness.ingest_details(some_details(100, seed=19))
    await world.add_user("Ann")
    await world.add("Ann", ReportSpec(report="missed-digest", query="type=internal", recurrence=DAILY))
    world.set_time(datetime(2026, 10, 25, 7, tzinfo=UTC))
    (mail,) = await world.run()
    assert re.search(r"\b[1-9]\d* calls were missed: ", mail.text)
    assert "inbound calls" not in mail.text


async def test_report_job_calls_of_the_scope_alone_and_a_lost_scope_or_user_sends_nothing(world: ReportWorld) -> None:
    calls = some_details(100, seed=20)
    await world.harness.ingest_details(calls)
    await world.add_user("Ann", scope=AccessScope(sns=(SN,), numbers=("1001",), mask="last3"))
    await world.add_user("Cara", scope=AccessScope(sns=(SN,)))
    spec = ReportSpec(report="calls", query="pbx=office", recurrence=DAILY, files=("csv",))
    schedules = [await world.add(user, spec) for user in ("Ann", "Cara")]
    world.set_time(datetime(2026, 10, 25, 7, tzinfo=UTC))
    mails = {mail.recipients[0]: mail for mail in await world.run()}
    since, until = datetime(2026, 10, 23, 22, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC)
    own = [call for call in calls if since <= started_at(call) < until]
    assert len(read_csv(mails["Cara@example.com"])) == len(own)
    ann = mails["Ann@example.com"]
    assert {row["To"] for row in read_csv(ann)} == {"1001"}
    assert len(read_csv(ann)) == sum(call.call_to == "1001" for call in own)
    masked = {call.call_from[:-3] + "***" for call in own}
    assert {row["From"].removeprefix("'") for row in read_csv(ann)} <= masked
    assert "1002" not in ann.text
    # The scope of Ann, then Cara herself.
    await world.appdb.users.change("Ann", new_name="Ann", role="reader", scope=AccessScope(sns=("other",)))
    await world.appdb.users.set_disabled("Cara", is_disabled=True)
    world.clock.move(86_400)
    assert await world.run() == []
    ann_schedule, cara_schedule = [await world.get(schedule) for schedule in schedules]
    assert (ann_schedule.outcome, ann_schedule.detail) == ("failed", "Ann may see no PBX any longer")
    assert (cara_schedule.outcome, cara_schedule.detail) == ("failed", "Cara is disabled")
    await world.appdb.users.change("Ann", new_name="Anna", role="reader", scope=AccessScope(sns=(SN,)))
    await world.appdb.users.remove("Cara")
    world.clock.move(86_400)
    (mail,) = await world.run()
    assert mail.recipients == ["Ann@example.com"]
    assert [schedule.user_name for schedule in await world.appdb.report_schedules.all()] == ["Anna"]


@pytest.mark.parametrize("report", ["calls", "missed-digest"])
async def test_report_job_masked_user_gets_no_number_in_any_part(
    world: ReportWorld, monkeypatch: pytest.MonkeyPatch, report: str
) -> None:
    """Texts, tables, files, and the document of which the PDF file is made; another user gets it in all of them."""
    pdf_documents: list[str] = []

    async def make_pdf(document: str) -> bytes:
        pdf_documents.append(document)
        return b"%PDF"

    monkeypatch.setattr(mails_module, "make_pdf", make_pdf)
    missed = {"type": "Inbound", "status": "NO ANSWER", "talk_duration": 0}
    await world.harness.ingest_details(
        [details(NOON - timedelta(minutes=number), call_from="030901820", **missed) for number in range(3)]
    )
    await world.add_user("Ann", scope=AccessScope(mask="last3"))
    await world.add_user("Cara")
    for user in ("Ann", "Cara"):
        await world.add(user, ReportSpec(report=report, recurrence=DAILY, files=("csv", "xlsx", "pdf")))
    world.clock.move(86_400)
    mails = {mail.recipients[0]: mail for mail in await world.run()}
    assert len(mails) == len(pdf_documents) == 2
    for recipient, is_masked in (("Ann@example.com", True), ("Cara@example.com", False)):
        mail = mails[recipient]
        sheet = [cell for row in read_xlsx(mail) for cell in row]
        parts = [mail.text, mail.html, read_file(mail, ".csv").decode(), " ".join(sheet)]
        assert [("030901820" in part, "030901***" in part) for part in parts] == [(not is_masked, is_masked)] * 4
    assert sorted(("030901820" in document, "030901***" in document) for document in pdf_documents) == [
        (False, True),
        (True, False),
    ]


async def test_report_job_hours_missed_are_one_report_and_no_restart_or_second_hub_repeats_it(
    world: ReportWorld,
) -> None:
    await world.add_user("Ann")
    schedule = await world.add("Ann", ReportSpec(report="outcomes", recurrence=DAILY))
    world.set_time(datetime(2026, 10, 29, 5, tzinfo=UTC))  # down for four days, until 6:00
    # Two hubs that both believe to have the lease make the report at the same time.
    job = world.restarted_job()
    await asyncio.gather(world.job.run_round(), job.run_round())
    (mail,) = await world.run()
    assert "Tue 27 Oct 2026" in mail.subject, "the last time that has passed is 7:00 on the 28th"
    assert (await world.get(schedule)).next_at == datetime(2026, 10, 29, 6, tzinfo=UTC)
    world.set_time(datetime(2026, 10, 29, 6, tzinfo=UTC))
    lease = await world.appdb.leases.acquire("job:reports", "hub 1", now_us=world.clock.us)
    assert lease is not None
    world.clock.move(3_600)
    assert await world.appdb.leases.acquire("job:reports", "hub 2", now_us=world.clock.us)
    with fenced(lease), pytest.raises(FencedOff):
        await world.job.run_round()
    assert len(await world.run()) == 1, "the process that lost its lease stored neither mails nor the run"


async def test_report_job_schedule_or_user_changed_during_the_run_sends_nothing_of_it(world: ReportWorld) -> None:
    await world.add_user("Ann", permissions=["mail"])
    await world.appdb.add_pbx(name="branch", sn="OTHER", secret="s" * 32, now_us=1)
    schedule = await world.add("Ann", ReportSpec(report="outcomes", recurrence=DAILY, addresses=[OUTSIDE]))
    world.clock.move(86_400)
    build = world.job._build

    async def change_schedule(_due: object, user: User) -> ReportRun:
        run = await build(await world.get(schedule), user)
        spec = ReportSpec(report="outcomes", recurrence=DAILY)
        await world.appdb.report_schedules.change(schedule.schedule_id, "Other", spec, now_us=world.clock.us)
        return run

    async def narrow_scope(_due: object, user: User) -> ReportRun:
        run = await build(await world.get(schedule), user)
        await world.appdb.users.change("Ann", new_name="Ann", role="reader", scope=AccessScope(sns=(SN,)))
        return run

    for build_and_change in (change_schedule, narrow_scope):
        assert await ReportJob(world.appdb, build_and_change, world.clock).run_round() == 0
    (mail,) = await world.run()
    assert (mail.recipients, mail.subject) == (["Ann@example.com"], "Other: Sat 24 Oct 2026")


async def test_report_job_report_that_fails_is_named_and_delays_no_other(world: ReportWorld) -> None:
    await world.add_user("Ann")
    for name in ("busy", "broken", "slow", "fine"):
        await world.add("Ann", ReportSpec(report="outcomes", recurrence=DAILY), name)
    world.clock.move(86_400)
    build, busy_rounds = world.job._build, [1]

    async def fail_some(schedule: object, user: User) -> ReportRun:
        name = getattr(schedule, "name", "")
        if name == "busy" and busy_rounds:
            busy_rounds.pop()
            raise Unavailable("the store is busy")
        if name == "slow":
            raise TimeoutError
        if name == "broken":
            return ReportRun(outcome="failed", detail="there is no such tag")
        return await build(schedule, user)  # type: ignore[arg-type] # a schedule

    job = ReportJob(world.appdb, fail_some, world.clock)
    assert [await job.run_round() for _round in range(3)] == [1, 1, 0]
    runs = {schedule.name: (schedule.outcome, schedule.detail) for schedule in await world.appdb.report_schedules.all()}
    assert runs == {
        "busy": ("sent", "1 mail"),
        "broken": ("failed", "there is no such tag"),
        "slow": ("failed", "the report took more than 120 seconds"),
        "fine": ("sent", "1 mail"),
    }


async def test_report_job_reports_whose_store_does_not_answer_delay_no_other_and_fail_in_the_end(
    world: ReportWorld,
) -> None:
    users = ("Ann", "Bob")
    for user in users:
        await world.add_user(user)
        for number in range(ROUND_RUNS_MAX):
            await world.add(user, ReportSpec(report="outcomes", recurrence=DAILY), f"{user} {number}")
    world.clock.move(86_400)
    build, tries = world.job._build, Counter[str]()

    async def fail_those_of_ann(schedule: ReportSchedule, user: User) -> ReportRun:
        tries[schedule.name] += 1
        if user.name == "Ann":
            raise Unavailable("the store is busy")
        return await build(schedule, user)

    job = ReportJob(world.appdb, fail_those_of_ann, world.clock)
    assert [await job.run_round() for _round in range(3)] == [0, ROUND_RUNS_MAX, 0]
    assert {name: count for name, count in tries.items() if name.startswith("Ann")} == {
        f"Ann {number}": 2 for number in range(ROUND_RUNS_MAX)
    }
    world.clock.move(RETRY_SECONDS_MAX - 1)
    await job.run_round()
    assert {schedule.outcome for schedule in await world.appdb.report_schedules.all("Ann")} == {""}
    world.clock.move(1)
    await job.run_round()
    schedules = await world.appdb.report_schedules.all("Ann")
    assert {(schedule.outcome, schedule.detail) for schedule in schedules} == {("failed", "the store is busy")}
    assert {schedule.next_at for schedule in schedules} == {NOON.replace(hour=6) + timedelta(days=2)}
    assert await job.run_round() == 0
    assert max(tries.values()) == 4, "due again at the next time"


async def test_report_job_many_recipients_need_one_rendering_beside_the_event_loop(
    world: ReportWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for the user and one for all others, whose links differ."""
    await world.harness.ingest_details(some_details(20, seed=1))
    await world.add_user("Ann", permissions=["mail"])
    addresses = [f"guest{number}@example.net" for number in range(ADDRESSES_MAX - 1)]
    await world.add("Ann", ReportSpec(report="outcomes", recurrence=DAILY, addresses=addresses))
    threads = list[int]()

    def count_render(view: View) -> str:
        threads.append(get_ident())
        return render(view)

    monkeypatch.setattr("onhook.console.report_mails.mails.render", count_render)
    world.clock.move(86_400)
    sent = await world.run()
    assert len(sent) == 1 + len(addresses)
    assert len(threads) == 2
    assert get_ident() not in threads
    links = {re.findall(r"token=([\w.-]+)", mail.text)[0] for mail in sent if mail.recipients != ["Ann@example.com"]}
    assert len(links) == len(addresses)
    for mail in sent:
        tokens = [re.findall(r"/unsubscribe\?token=([^\s\"<]+)", body) for body in (mail.text, mail.html)]
        assert tokens[0] == tokens[1] == ([] if mail.recipients == ["Ann@example.com"] else [tokens[0][0]])


async def test_report_job_csv_for_excel_has_a_mark_and_numbers_that_stay_texts(world: ReportWorld) -> None:
    await world.harness.ingest_details(some_details(50, seed=3))
    await world.add_user("Ann")
    await world.add("Ann", ReportSpec(report="callers", recurrence=DAILY, files=("csv", "csv-semicolon")))
    world.set_time(datetime(2026, 10, 25, 7, tzinfo=UTC))
    (mail,) = await world.run()
    plain, excel = read_csv(mail), read_file(mail, "-semicolon.csv")
    assert excel.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(excel.decode("utf-8-sig"), newline=""), delimiter=";"))
    numbers = [row["Caller"] for row in plain]
    assert any(number.startswith("+4930") for number in numbers)
    assert [row["Caller"] for row in rows] == [f'="{number}"' if number else number for number in numbers]


async def test_report_job_error_in_one_report_stops_no_other(
    world: ReportWorld, caplog: pytest.LogCaptureFixture
) -> None:
    await world.add_user("Ann")
    for name in ("broken", "fine"):
        await world.add("Ann", ReportSpec(report="outcomes", recurrence=DAILY), name)
    world.clock.move(86_400)
    build = world.job._build

    async def break_one(schedule: ReportSchedule, user: User) -> ReportRun:
        if schedule.name == "broken":
            raise ZeroDivisionError
        return await build(schedule, user)

    assert await ReportJob(world.appdb, break_one, world.clock).run_round() == 1
    runs = {schedule.name: (schedule.outcome, schedule.detail) for schedule in await world.appdb.report_schedules.all()}
    assert runs == {"broken": ("failed", "internal error: ZeroDivisionError"), "fine": ("sent", "1 mail")}
    assert [record.exc_info is not None for record in caplog.records if "report failed" in record.message] == [True]


async def test_report_job_rows_that_cannot_be_read_delay_no_other(world: ReportWorld) -> None:
    await world.add_user("Ann")
    for number in range(USER_SCHEDULES_MAX):
        await world.add("Ann", ReportSpec(report="outcomes", recurrence=DAILY), f"broken {number}")
    await world.appdb._database.write("UPDATE report_schedules SET spec = '{}'")
    await world.add_user("Bob")
    await world.add("Bob", ReportSpec(report="outcomes", recurrence=DAILY))
    world.clock.move(86_400)
    assert await world.job.run_round() == 1


async def test_report_job_other_addresses_need_the_permission_and_a_link_and_are_not_flooded(
    world: ReportWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.add_user("Ann")
    schedule = await world.add("Ann", ReportSpec(report="outcomes", recurrence=DAILY, addresses=[OUTSIDE]))

    async def run() -> tuple[list[str], str]:
        world.clock.move(86_400)
        recipients = [mail.recipients[0] for mail in await world.run()]
        return recipients, (await world.get(schedule)).detail

    own = ["Ann@example.com"]
    assert await run() == (own, "1 mail; Ann may not mail other addresses")
    await world.appdb.users.change("Ann", new_name="Ann", role="reader", scope=None, permissions=["mail"])
    await world.set_server(console_url="")
    recipients, detail = await run()
    assert recipients == own
    assert "the address of the console is not set" in detail
    await world.set_server()
    assert await run() == ([*own, OUTSIDE], "2 mails")
    links = [mail.message["List-Unsubscribe"] for mail in world.server.mails]
    assert links[0] is None
    assert str(links[1]).startswith(f"<{CONSOLE_URL}/unsubscribe?token={schedule.schedule_id}.")
    assert world.server.mails[1].message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert str(links[1])[1:-1] in world.server.mails[1].text
    monkeypatch.setattr(recipient_rules, "MAILS_PER_HOUR", 1)
    other = await world.add("Ann", ReportSpec(report="volume", recurrence=DAILY), "Second")
    world.clock.move(86_400)
    assert len(await world.run()) == 2
    assert (await world.get(other)).detail == "1 recipient had 1 reports within the hour"
    await world.appdb.report_schedules.opt_out(schedule.schedule_id, OUTSIDE.upper(), now_us=1)
    monkeypatch.undo()
    world.clock.move(3_600)
    assert await run() == ([*own, *own], "1 mail; 1 recipient has unsubscribed")


async def test_report_job_test_goes_to_the_user_at_once_and_moves_no_time(world: ReportWorld) -> None:
    await world.add_user("Ann", permissions=["mail"])
    spec = ReportSpec(report="outcomes", recurrence=DAILY, to_user=False, addresses=[OUTSIDE])
    schedule = await world.add("Ann", spec)
    await world.appdb.report_schedules.set_paused(schedule.schedule_id, is_paused=True, now_us=world.clock.us)
    await world.appdb.report_schedules.request_test(schedule.schedule_id, now_us=world.clock.us)
    (mail,) = await world.run()
    assert (mail.recipients, mail.subject) == (["Ann@example.com"], "Test: Weekly figures: Fri 23 Oct 2026")
    assert await world.run() == []
    assert (await world.get(schedule)).next_at == schedule.next_at
    world.clock.move(86_400)
    assert await world.run() == [], "it is paused"
    await world.appdb.report_schedules.set_paused(schedule.schedule_id, is_paused=False, now_us=world.clock.us)
    assert await world.run() == [], "what was due meanwhile is not sent"
    await world.appdb.users.set_email("Ann", "")
    await world.appdb.report_schedules.request_test(schedule.schedule_id, now_us=world.clock.us)
    assert [mail.recipients for mail in await world.run()] == [[OUTSIDE]]


async def test_report_job_hostile_names_and_long_reports_are_escaped_and_cut(world: ReportWorld) -> None:
    await world.add_user("Ann")
    caller = "<script>alert(1)</script>=cmd<15550100>"
    hostile = [details(NOON - timedelta(minutes=number), call_from=caller) for number in range(MAIL_ROWS_MAX + 1)]
    hostile.append(details(NOON, call_from="=1+1"))
    await world.harness.ingest_details(hostile)
    await world.add("Ann", ReportSpec(report="calls", recurrence=DAILY, files=("csv", "xlsx")))
    world.clock.move(86_400)
    (mail,) = await world.run()
    assert "<script" not in mail.html
    assert "The first 100 of 102 rows." in mail.html
    assert mail.text.count("15550100") == MAIL_ROWS_MAX - 1
    rows = read_csv(mail)
    assert len(rows) == MAIL_ROWS_MAX + 2
    assert {row["From"] for row in rows} == {caller, "'=1+1"}
    assert "=1+1" in {row[1] for row in read_xlsx(mail)}, "as a text"
    assert b"<f>" not in read_file(mail, ".xlsx")


async def test_report_job_link_of_a_list_leads_to_its_page_however_it_is_divided(world: ReportWorld) -> None:
    """A list has no steps and no groups; a report has."""
    await world.harness.ingest_details(some_details(40, seed=23))
    await world.add_user("Ann")
    for report in ("calls", "missed-digest", "volume"):
        query = "number=1001&by=day&group_by=department"
        await world.add("Ann", ReportSpec(report=report, query=query, recurrence=DAILY), report)
    world.set_time(datetime(2026, 10, 25, 7, tzinfo=UTC))
    mails = {mail.subject.partition(":")[0]: mail for mail in await world.run()}
    async with world.harness.client() as client:
        for report, path in (("calls", "/calls?"), ("missed-digest", "/missed?"), ("volume", "/reports?")):
            (link,) = re.findall(rf"^{re.escape(CONSOLE_URL + path)}\S+$", mails[report].text, re.MULTILINE)
            answer = await client.get(link.removeprefix(CONSOLE_URL))
            assert answer.status == 200, (link, await answer.text())
