"""Alerts of users: by mail and by destinations, each once, and what falls into quiet hours once afterwards."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from onhook.appdb.alert_channels import ALERT_KINDS, CHANNELS_MAX
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.issue_recipients import UNMAILED_KIND, IssueRecipient
from onhook.appdb.issue_texts import describe_kind
from onhook.appdb.issues import OperationalIssue
from onhook.cdr.access_scope import AccessScope
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.quiet_hours import QuietHours
from onhook.lib.timestamps import to_microseconds
from onhook.ops.alert_job import MAILS_PER_HOUR, AlertJob
from onhook.ops.issue_mailer import IssueMailer
from tests.ops.mail_world import MailWorld, open_mail_world

NO_HOURS = QuietHours()
FAILING = "CRM {}: The destination accepts nothing"
NIGHT = QuietHours(begin=22, end=7, zone="Europe/Berlin")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    async with open_mail_world(tmp_path) as opened_world:
        await opened_world.appdb.users.add("Ann", "reader", None, now_us=1, email="ann@example.com")
        yield opened_world


def set_time(world: MailWorld, text: str) -> None:
    world.clock.us = to_microseconds(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")))


async def begin(world: MailWorld, key: str, kind: str = "destination_failing", destination: int | None = None) -> None:
    issue = OperationalIssue(
        issue_key=key, kind=kind, subject=f"CRM {key}", detail="no answer", hint="look", destination_id=destination
    )
    await world.appdb.issues.begin(issue, now_us=world.clock.us)


async def end(world: MailWorld, key: str) -> None:
    await world.appdb.issues.end(key, now_us=world.clock.us)


async def run(world: MailWorld) -> None:
    await AlertJob(world.appdb, world.clock, ZoneInfo("Europe/Berlin")).run_round()


async def sent_mails(world: MailWorld) -> list[str]:
    """Return the subjects of the mails that are sent now."""
    count = len(world.server.mails)
    await run(world)
    await world.job.run_round()
    return [mail.subject for mail in world.server.mails[count:]]


async def add_destination(world: MailWorld, name: str, *, chosen_by_users: bool = True) -> int:
    spec = DestinationSpec(
        url="https://chat.example.com/", notifies_of="issues", chosen_by_users=chosen_by_users, kind="webhook"
    )
    await world.appdb.destinations.add(name, spec, None, after=0, now_us=world.clock.us)
    return (await world.appdb.destinations.get(name)).destination_id


async def deliveries(world: MailWorld, destination_id: int) -> list[tuple[str, bool]]:
    """Return id and whether the issue is open, of the notifications of a destination."""
    rows = await world.appdb._database.rows(
        "SELECT notification_id, body FROM deliveries WHERE destination_id = ? ORDER BY delivery_id", (destination_id,)
    )
    return [(str(key), json.loads(bytes(body))["issue"]["ended_at"] is None) for key, body in rows]


async def choose(world: MailWorld, hours: QuietHours, user: str = "Ann", /, **kinds: Sequence[str]) -> None:
    """Set the channels of a user: `mail`, or `d` and the number of a destination."""
    chosen = {None if name == "mail" else int(name[1:]): names for name, names in kinds.items()}
    await world.appdb.alert_channels.put(user, hours, chosen)


async def test_alerts_are_of_the_kinds_of_each_channel_once_at_the_beginning_and_at_the_end(world: MailWorld) -> None:
    pager = await add_destination(world, "pager")
    await choose(world, NO_HOURS, mail=["destination"], **{f"d{pager}": ["alarm_silence", "check"]})
    await begin(world, "1")
    await begin(world, "2", "alarm_silence")
    await begin(world, "3", "alarm_clock")
    await begin(world, "4", "check_disk")
    assert await sent_mails(world) == [FAILING.format("1")]
    assert await sent_mails(world) == []
    world.clock.move(600)
    for key in ("1", "2", "3"):
        await end(world, key)
    assert await sent_mails(world) == ["Ended: " + FAILING.format("1")]
    await run(world)
    assert await deliveries(world, pager) == [
        ("alert-2-2-began", True),
        ("alert-2-4-began", True),
        ("alert-2-2-ended", False),
    ]


async def test_alerts_that_fall_into_quiet_hours_are_one_mail_afterwards(world: MailWorld) -> None:
    pager = await add_destination(world, "pager")
    await choose(world, NIGHT, mail=ALERT_KINDS, **{f"d{pager}": ALERT_KINDS})
    set_time(world, "2026-10-24T21:59:50")
    await begin(world, "evening")
    assert await sent_mails(world) == [FAILING.format("evening")]
    set_time(world, "2026-10-24T23:00")
    await begin(world, "whole night")
    await begin(world, "short", "alarm_silence")
    set_time(world, "2026-10-25T03:30")  # the hour after 2:00 comes twice
    await end(world, "short")
    await end(world, "evening")
    assert await sent_mails(world) == []
    set_time(world, "2026-10-25T06:59")
    assert await sent_mails(world) == []
    assert await deliveries(world, pager) == [("alert-2-1-began", True)]
    set_time(world, "2026-10-25T07:00")
    await begin(world, "morning")
    assert await sent_mails(world) == ["Issues: 1 began, 2 ended", FAILING.format("morning")]
    text = world.server.mails[-2].text
    assert text.startswith("In your quiet hours:\n")
    assert text.count("CRM short") == text.count("CRM evening") == text.count("CRM whole night") == 1
    assert "Began 2026-10-24 23:00" in text
    assert await sent_mails(world) == []
    assert await deliveries(world, pager) == [
        ("alert-2-1-began", True),
        ("alert-2-2-began", True),
        ("alert-2-3-ended", False),
        ("alert-2-1-ended", False),
        ("alert-2-4-began", True),
    ]


async def test_alerts_go_to_users_who_see_issues_alone(world: MailWorld) -> None:
    for name in ("limited", "disabled", "without address"):
        await world.appdb.users.add(name, "reader", None, now_us=1, email="" if " " in name else f"{name}@example.com")
        await choose(world, NO_HOURS, name, mail=["destination"])
    await begin(world, "1")
    await world.appdb.users.change("limited", new_name="limited", role="reader", scope=AccessScope(sns=("A",)))
    await world.appdb.users.set_disabled("disabled", is_disabled=True)
    assert await sent_mails(world) == []
    await begin(world, "2")
    rows = await world.appdb._database.rows("SELECT channel_id FROM pending_alerts")
    assert len(rows) == 1, "neither the limited nor the disabled user"
    await world.appdb.users.set_email("without address", "late@example.com")
    assert await sent_mails(world) == [FAILING.format("2")]
    await world.appdb.users.remove("without address")
    assert {channel.user_name for channel in await world.appdb.alert_channels.all()} == {"disabled", "limited"}


async def test_alerts_are_about_neither_their_own_destination_nor_mails_by_mail(world: MailWorld) -> None:
    pager = await add_destination(world, "pager")
    plain = await add_destination(world, "all issues", chosen_by_users=False)
    await choose(world, NO_HOURS, mail=ALERT_KINDS, **{f"d{pager}": ALERT_KINDS})
    await begin(world, "1", UNMAILED_KIND)
    await begin(world, "2", destination=pager)
    assert await sent_mails(world) == [FAILING.format("2")]
    assert await deliveries(world, pager) == [("alert-2-1-began", True)]
    assert [key for key, _open in await deliveries(world, plain)] == ["issue-1-began", "issue-2-began"]
    # A destination that users may not choose any longer gets nothing.
    destination = await world.appdb.destinations.get("pager")
    await world.appdb.destinations.change("pager", {"chosen_by_users": False})
    await begin(world, "3")
    await run(world)
    assert [key for key, _open in await deliveries(world, pager)] == ["alert-2-1-began", "issue-3-began"]
    await world.appdb.destinations.remove("pager")
    assert destination.destination_id not in {
        channel.destination_id for channel in await world.appdb.alert_channels.all()
    }


async def test_alerts_beyond_the_mails_of_an_hour_are_in_one_summary(world: MailWorld) -> None:
    await choose(world, NO_HOURS, mail=["destination"])
    for number in range(20):
        await begin(world, str(number))
    subjects = await sent_mails(world)
    assert len(subjects) == MAILS_PER_HOUR
    assert subjects[-1] == f"Issues: {20 - MAILS_PER_HOUR + 1} began, 0 ended"
    await begin(world, "later")
    assert await sent_mails(world) == []
    world.clock.move(3_601)
    assert await sent_mails(world) == [FAILING.format("later")]


async def test_alerts_and_mails_to_the_same_recipient_of_the_installation_have_limits_of_their_own(
    world: MailWorld,
) -> None:
    await world.appdb.issue_recipients.put(IssueRecipient(address="ann@example.com", mails_per_hour=3))
    await choose(world, NO_HOURS, mail=["destination"])
    for number in range(20):
        await begin(world, str(number))
    assert len(await sent_mails(world)) == MAILS_PER_HOUR
    await IssueMailer(world.appdb, world.clock, ZoneInfo("Europe/Berlin")).run_round()
    assert len(await sent_mails(world)) == 3


async def test_alert_channels_are_changed_and_limited(world: MailWorld) -> None:
    await choose(world, NIGHT, mail=["destination", "check"])
    await begin(world, "1")
    await choose(world, NIGHT, mail=["check"])
    (channel,) = await world.appdb.alert_channels.of_user("Ann")
    assert (channel.kinds, len(await world.appdb.alert_channels.pending(channel.channel_id))) == (("check",), 1)
    await choose(world, NIGHT, mail=[])
    assert await world.appdb.alert_channels.of_user("Ann") == []
    assert await world.appdb.alert_channels.all_quiet_hours() == {"Ann": NIGHT}
    with pytest.raises(UsageError, match="no kind of issues 'weather'"):
        await choose(world, NIGHT, mail=["weather"])
    with pytest.raises(UsageError, match="hour is 0 to 23"):
        await choose(world, msgspec.structs.replace(NIGHT, end=24))
    with pytest.raises(UsageError, match="no time zone"):
        await choose(world, msgspec.structs.replace(NIGHT, zone="Berlin"))
    with pytest.raises(UsageError, match="at most"):
        await choose(world, NIGHT, **{f"d{number}": ["check"] for number in range(CHANNELS_MAX + 1)})
    with pytest.raises(NotFound):
        await choose(world, NIGHT, d7=["check"])
    with pytest.raises(NotFound):
        await choose(world, NIGHT, "Bob", mail=["check"])
    spec = DestinationSpec(url="https://chat.example.com/", chosen_by_users=True)
    with pytest.raises(UsageError, match="issues alone"):
        await world.appdb.destinations.add("calls", spec, None, after=0, now_us=1)


def test_alert_kinds_of_alarms_have_titles_of_their_own() -> None:
    titles = [describe_kind(kind).title for kind in ALERT_KINDS if kind.startswith("alarm_")]
    assert len(set(titles)) == len(titles) > 10
