"""Mails about issues: who gets which, how many an hour, and that each is sent once."""

from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from onhook.appdb.issue_recipients import (
    TOPICS,
    UNMAILED_KIND,
    IssueNotice,
    IssueRecipient,
    validate_recipient,
)
from onhook.appdb.issues import OperationalIssue
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.timestamps import to_datetime
from onhook.ops import issue_mailer
from onhook.ops.issue_mailer import IssueMailer, group_notices
from tests.ops.mail_world import MailWorld, open_mail_world

FAILING = "CRM {}: The destination accepts nothing"
ANN = IssueRecipient(address="ann@example.com", mails_per_hour=3)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    async with open_mail_world(tmp_path) as opened_world:
        yield opened_world


def mailer_of(world: MailWorld) -> IssueMailer:
    return IssueMailer(world.appdb, world.clock, ZoneInfo("Europe/Berlin"))


async def begin(world: MailWorld, key: str, kind: str = "destination_failing") -> None:
    issue = OperationalIssue(issue_key=key, kind=kind, subject=f"CRM {key}", detail="answers <500>", hint="look")
    await world.appdb.issues.begin(issue, now_us=world.clock.us)


async def send_all(world: MailWorld) -> list[str]:
    """Return the subjects of the mails that are sent now."""
    count = len(world.server.mails)
    await mailer_of(world).run_round()
    await world.job.run_round()
    return [mail.subject for mail in world.server.mails[count:]]


async def test_issue_mails_one_at_the_beginning_and_one_at_the_end_in_one_thread(world: MailWorld) -> None:
    await world.appdb.issue_recipients.put(ANN)
    await begin(world, "1")
    assert await send_all(world) == [FAILING.format(1)]
    assert await send_all(world) == []
    world.clock.move(600)
    await world.appdb.issues.end("1", now_us=world.clock.us)
    assert await send_all(world) == [f"Ended: {FAILING.format(1)}"]
    first, second = world.server.mails
    assert first.text.startswith(
        "CRM 1: The destination accepts nothing\n"
        "Notifications wait, and are retried automatically until they have failed too often.\n"
        "answers <500>\nlook\nBegan 2026-11-30 "
    )
    assert "&lt;500&gt;" in first.html
    assert "https://" not in first.text
    assert ", ended 2026-11-30 " in second.text
    assert first.message["References"] == second.message["References"]
    assert first.message["Message-ID"] != second.message["Message-ID"]
    assert first.message["Auto-Submitted"] == "auto-generated"


async def test_issue_mails_beyond_those_of_an_hour_are_in_one_summary(world: MailWorld) -> None:
    await world.appdb.issue_recipients.put(ANN)
    settings = await world.appdb.mail_settings.require()
    await world.appdb.mail_settings.put(msgspec.structs.replace(settings, console_url="https://calls.example.com"))
    for number in range(9):
        await begin(world, str(number))
    assert await send_all(world) == [FAILING.format(0), FAILING.format(1), "Issues: 7 began, 0 ended"]
    assert world.server.mails[-1].text.count("answers <500>") == 7
    assert "https://calls.example.com/issues" in world.server.mails[-1].text
    await begin(world, "9")
    await world.appdb.issues.end("0", now_us=world.clock.us)
    world.clock.move(3_599)
    assert await send_all(world) == []
    world.clock.move(2)
    assert sorted(await send_all(world)) == [FAILING.format(9), f"Ended: {FAILING.format(0)}"]


async def test_issue_mails_summary_is_bounded(world: MailWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issue_mailer, "SUMMARY_NOTICES_MAX", 2)
    monkeypatch.setattr("onhook.appdb.issue_recipients.PENDING_MAX", 4)
    await world.appdb.issue_recipients.put(IssueRecipient(address="ann@example.com", mails_per_hour=1))
    for number in range(6):
        await begin(world, str(number))
    assert await send_all(world) == ["Issues: 4 began, 0 ended"]
    assert "2 others are on the page Issues." in world.server.mails[0].text


async def test_issue_mails_are_of_the_topics_of_the_recipient_and_never_about_mails(world: MailWorld) -> None:
    await world.appdb.issue_recipients.put(IssueRecipient(address="bob@example.com", topics=("check", "alarm")))
    await begin(world, "1")
    await begin(world, "2", UNMAILED_KIND)
    await begin(world, "3", "check_disk")
    assert await send_all(world) == ["The disk is nearly full"]
    await world.appdb.issue_recipients.put(IssueRecipient(address=" bob@example.com ", topics=("rejected",)))
    (recipient,) = await world.appdb.issue_recipients.all()
    assert (recipient.topics, recipient.mails_per_hour) == (("rejected",), 6)
    await world.appdb.issue_recipients.remove("bob@example.com")
    with pytest.raises(NotFound):
        await world.appdb.issue_recipients.remove("bob@example.com")
    await begin(world, "4", "rejected_wrong_signature")
    assert await send_all(world) == []


async def test_issue_mails_wait_for_a_mail_server(world: MailWorld) -> None:
    await world.appdb.issue_recipients.put(ANN)
    await world.appdb.mail_settings.remove()
    await begin(world, "1")
    assert await send_all(world) == []
    await world.set_server()
    assert await send_all(world) == [FAILING.format(1)]


def test_issue_notices_are_grouped_by_the_mails_that_are_allowed() -> None:
    notices = [
        IssueNotice(
            issue_id=number,
            state="began",
            noted_at=to_datetime(number).astimezone(UTC),
            kind="check_disk",
            subject="",
            detail="",
            hint="",
            began_at=to_datetime(number),
            ended_at=None,
        )
        for number in range(4)
    ]
    sizes = [[len(group) for group in group_notices(notices, allowed)] for allowed in (-1, 0, 1, 2, 4, 9)]
    assert sizes == [[], [], [4], [1, 3], [1, 1, 1, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("changes", "location"),
    [
        ({"address": "ann"}, "address"),
        ({"topics": ()}, "topics"),
        ({"topics": ("weather",)}, "topics"),
        ({"mails_per_hour": 0}, "mails_per_hour"),
        ({"mails_per_hour": 61}, "mails_per_hour"),
    ],
)
def test_issue_recipient_that_is_invalid_is_refused(changes: dict[str, object], location: str) -> None:
    with pytest.raises(UsageError) as error_info:
        validate_recipient(msgspec.structs.replace(ANN, **changes))
    assert error_info.value.location == location
    assert validate_recipient(msgspec.structs.replace(ANN, topics=TOPICS[::-1])).topics == TOPICS


async def test_issue_recipients_are_few(world: MailWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onhook.appdb.issue_recipients.RECIPIENTS_MAX", 1)
    await world.appdb.issue_recipients.put(ANN)
    await world.appdb.issue_recipients.put(ANN)
    with pytest.raises(UsageError):
        await world.appdb.issue_recipients.put(IssueRecipient(address="bob@example.com"))
