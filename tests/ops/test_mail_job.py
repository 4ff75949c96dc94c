"""The job that sends mails, against a real mail server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb.fence import FencedOff, fenced
from onhook.appdb.mails import LIFETIME_MICROSECONDS, MailAttachment, MailContent, NewMail
from onhook.ops import mail_job
from onhook.ops.doctor.mails import DELAY, check_mails
from onhook.ops.mail_job import RETRY_SECONDS_MAX, SERVER_SECONDS_MAX
from tests.ops.mail_world import MailWorld, open_mail_world
from tests.waiting import wait_until


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    async with open_mail_world(tmp_path) as opened_world:
        yield opened_world


async def test_mail_job_sends_each_mail_once_with_its_attachments_and_forgets_the_content(world: MailWorld) -> None:
    content = MailContent(
        text="Figures",
        html="<p>Figures",
        unsubscribe_url="https://calls.example.com/u",
        attachments=[MailAttachment("calls.csv", "text/csv", b"a,b\r\n")],
    )
    mail = NewMail(mail_key="r1", kind="report", recipient="ann@example.com", subject="Report", content=content)
    assert [await world.appdb.mails.add(mail, now_us=world.clock.us) for _repeat in range(2)] == [True, False]
    assert [await world.job.run_round() for _round in range(2)] == [1, 0]
    assert not await world.appdb.mails.add(mail, now_us=world.clock.us)
    (received,) = world.server.mails
    assert (received.recipients, received.subject, received.text) == (["ann@example.com"], "Report", "Figures\n")
    (attachment,) = received.message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("calls.csv", "a,b\r\n")
    assert received.message["List-Unsubscribe"] == "<https://calls.example.com/u>"
    (stored,) = await world.list_mails()
    assert (stored.state, stored.attempts, stored.detail) == ("sent", 1, "2.0.0 queued")
    rows = await world.appdb._database.rows("SELECT content FROM mails")
    assert rows == [("",)]


async def test_mail_job_long_links_and_ids_are_headers_as_they_are(world: MailWorld) -> None:
    """A header with encoded words in it would be no link."""
    await world.set_server(sender="a@calls.a-company-with-a-very-long-name.example.com")
    url = f"https://calls.a-company-with-a-very-long-name.example.com/unsubscribe?token={'x' * 40}"
    content = MailContent(text="Figures", thread_key="t", unsubscribe_url=url)
    for key in ("1", "2"):
        mail = NewMail(mail_key=key, kind="report", recipient="ann@example.com", subject=key, content=content)
        await world.appdb.mails.add(mail, now_us=world.clock.us)
    await world.job.run_round()
    first, second = (mail.message for mail in world.server.mails)
    assert first["List-Unsubscribe"] == f"<{url}>"
    assert first["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert first["References"] == second["References"]
    assert str(first["References"]).endswith("@calls.a-company-with-a-very-long-name.example.com>")


async def test_mail_job_dead_server_is_left_alone_and_each_mail_arrives_with_the_id_of_its_first_attempt(
    world: MailWorld,
) -> None:
    for key in ("1", "2"):
        await world.add(key)
    world.server.refused_text, world.server.refusal = "Hello", "451 4.7.1 try later"
    assert await world.job.run_round() == 0
    assert {mail.attempts for mail in await world.list_mails()} == {1}, "one that is deferred delays no other"
    assert {mail.detail for mail in await world.list_mails()} == {"451 4.7.1 try later"}
    await world.server.stop()
    world.clock.move(RETRY_SECONDS_MAX)
    for _round in range(3):
        assert await world.job.run_round() == 0
    assert sorted(mail.attempts for mail in await world.list_mails()) == [1, 2], "the server is left alone"
    world.clock.move(SERVER_SECONDS_MAX)
    world.server.refused_text = ""
    await world.server.start()
    await world.set_server(sender="other@example.org")
    assert await world.job.run_round() == 2
    ids = {mail.message["Message-ID"] for mail in world.server.mails}
    assert (len(ids), {message_id.rpartition("@")[2] for message_id in ids}) == (2, {"example.com>"})
    assert {mail.sender for mail in world.server.mails} == {"other@example.org"}
    assert await world.states() == {"1": "sent", "2": "sent"}


async def test_mail_job_refused_mail_fails_and_the_next_one_is_sent(world: MailWorld) -> None:
    world.server.refused_text = "spam"
    await world.add("1", "spam")
    await world.add("2")
    assert await world.job.run_round() == 1
    assert await world.states() == {"1": "failed", "2": "sent"}
    assert any("554 5.7.1" in mail.detail for mail in await world.list_mails())


@pytest.mark.parametrize(
    ("refusal", "state"),
    [
        ("550 5.1.1 no such user", "failed"),
        ("450 4.2.0 greylisted", "pending"),
        ("530 5.7.0 login required", "pending"),
    ],
)
async def test_mail_job_recipient_that_is_refused_for_good_fails_at_once(
    world: MailWorld, refusal: str, state: str
) -> None:
    world.server.refused_recipients, world.server.recipient_refusal = {"ann@example.com"}, refusal
    await world.add("1")
    assert await world.job.run_round() == 0
    (mail,) = await world.list_mails()
    assert (mail.state, mail.detail) == (state, refusal)


async def test_mail_job_process_that_died_after_the_server_accepted_sends_again_with_the_same_id(
    world: MailWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_arguments: object) -> None:
        raise asyncio.CancelledError

    await world.add("1")
    with monkeypatch.context() as patch:
        patch.setattr(world.job, "_note", die)
        with pytest.raises(asyncio.CancelledError):
            await world.job.run_round()
    assert await world.states() == {"1": "pending"}
    assert await world.job.run_round() == 0, "the attempt counts, so there is a wait"
    world.clock.move(60)
    assert await world.restarted_job().run_round() == 1
    first, second = (mail.message for mail in world.server.mails)
    assert (first["Message-ID"], first["Date"]) == (second["Message-ID"], second["Date"])


async def test_mail_job_process_that_lost_its_lease_begins_no_attempt(world: MailWorld) -> None:
    await world.add("1")
    lease = await world.appdb.leases.acquire("job:mail", "one", now_us=world.clock.us)
    assert lease is not None
    world.clock.move(3_600)
    assert await world.appdb.leases.acquire("job:mail", "other", now_us=world.clock.us)
    with fenced(lease), pytest.raises(FencedOff):
        await world.job.run_round()
    assert [mail.attempts for mail in await world.list_mails()] == [0]
    assert await world.job.run_round() == 1
    assert len(world.server.mails) == 1


async def test_mail_job_sends_no_more_mails_an_hour_than_allowed(world: MailWorld) -> None:
    await world.set_server(mails_per_hour=2)
    for number in range(4):
        await world.add(str(number))
    assert [await world.job.run_round() for _round in range(2)] == [2, 0]
    world.clock.move(3_601)
    assert await world.job.run_round() == 2


async def test_mail_job_pending_mail_expires_with_its_last_error_and_can_be_discarded_before(world: MailWorld) -> None:
    await world.server.stop()
    await world.add("1")
    await world.add("2")
    await world.job.run_round()
    (second, first) = await world.list_mails()
    await world.appdb.mails.discard(second.mail_id, now_us=world.clock.us)
    await world.appdb.mails.retry(first.mail_id, now_us=world.clock.us)
    world.clock.move(LIFETIME_MICROSECONDS / 1_000_000)
    await world.job.run_round()
    assert await world.states() == {"1": "failed", "2": "discarded"}
    assert "127.0.0.1" in next(mail.detail for mail in await world.list_mails() if mail.state == "failed")


async def test_mail_job_clock_that_was_set_back_delays_nothing(world: MailWorld) -> None:
    await world.add("1")
    world.clock.move(-7 * 86_400)
    assert await world.job.run_round() == 1


async def test_mail_job_too_many_pending_mails_fail_at_once(world: MailWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onhook.appdb.mails.PENDING_MAX", 1)
    await world.add("1")
    await world.add("2")
    assert await world.states() == {"1": "pending", "2": "failed"}


async def test_mail_job_deletes_old_mails_that_are_not_pending(
    world: MailWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onhook.appdb.mails.ENDED_MAX", 2)
    for number in range(4):
        await world.add(str(number))
    await world.job.run_round()
    await world.job.run_round()
    assert list(await world.states()) == ["3", "2"]
    world.clock.move(31 * 86_400)
    await world.job.run_round()
    assert await world.states() == {}


async def test_check_mails_warns_of_mails_that_wait_for_the_server(world: MailWorld) -> None:
    assert (await check_mails(world.appdb, world.clock.now())).status == "OK"
    await world.appdb.mail_settings.remove()
    await world.add("1")
    await world.job.run_round()
    assert (await check_mails(world.appdb, world.clock.now())).detail == ""
    world.clock.move(DELAY.total_seconds())
    check = await check_mails(world.appdb, world.clock.now())
    assert (check.status, check.detail) == ("WARNING", "1 mail is pending: no mail server is set")
    await world.set_server()
    assert await world.job.run_round() == 1
    assert (await check_mails(world.appdb, world.clock.now())).status == "OK"


async def test_mail_job_runs_rounds_until_it_is_cancelled(world: MailWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_job, "ROUND_SECONDS", 0.01)
    task = asyncio.create_task(world.job.run())
    await world.add("1")
    await wait_until(lambda: bool(world.server.mails))
    task.cancel()
    await asyncio.wait([task])
