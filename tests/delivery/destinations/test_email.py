"""Mails as a destination, against a real mail server."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.appdb.destination_spec import DestinationSpec, FieldValue, validate_spec
from onhook.delivery.destinations.contract import Notification
from onhook.delivery.destinations.email import DEFERRALS_MAX, SESSION_MAILS, EmailClient
from onhook.delivery.destinations.email_message import RenderedEvent, describe_request
from onhook.delivery.destinations.kinds import check_kind
from onhook.delivery.samples import sample_operational_event
from onhook.lib.errors import UsageError
from tests.delivery.destinations.contract import DISPATCHER_TESTS, REFUSED, DestinationContract, open_client
from tests.factories import STARTED_AT, record
from tests.mail_server import MailServer
from tests.server_certificates import create_server_certificate

AT_US = 1_777_000_000_000_000
FIELDS: dict[str, FieldValue] = {
    "mail_to": "ann@example.com, bob@example.com",
    "mail_from": "Calls <calls@example.com>",
    "tls": "off",
}


class EmailKindServer(MailServer):
    """See `contract.KindServer`."""

    def __init__(self) -> None:
        super().__init__()
        self._durations: dict[str, int] = {}
        self._read_count = 0

    @property
    def settings(self) -> dict[str, Any]:
        return self.dead_settings(self.port)

    def dead_settings(self, port: int) -> dict[str, Any]:
        body = "{{ call.sn }} {{ call.call_id }} {{ call.talk_duration }} {{ call.call_to }}"
        fields = FIELDS | {"mail_body": body}
        return {"kind": "email", "url": f"smtp://127.0.0.1:{port}", "allow_private": True, "fields": fields}

    def durations(self) -> dict[str, int]:
        for mail in self.mails[self._read_count :]:
            sn, call_id, talk_duration, *_rest = mail.text.split(" ")
            if sn != "SAMPLE":
                self._durations[call_id] = int(talk_duration)
        self._read_count = len(self.mails)
        return self._durations

    def refuse(self) -> None:
        self.refused_text = REFUSED


class TestEmail(DestinationContract):
    """The contract suite for mails."""

    slow_tests = DISPATCHER_TESTS | {"test_contract_each_record_arrives"}

    @pytest.fixture
    async def server(self) -> AsyncIterator[EmailKindServer]:
        async with EmailKindServer().listen() as server:
            assert isinstance(server, EmailKindServer)
            yield server


def spec_at(server: MailServer, **fields: Any) -> dict[str, Any]:
    return {"kind": "email", "url": server.url, "allow_private": True, "fields": FIELDS | fields}


def notifications_of(client: Any, *numbers: int) -> list[Notification]:
    return [
        Notification(f"r-{number}", client.format_payload(record(call_id=f"{number}.1", call_to=f"{number}")), AT_US)
        for number in numbers
    ]


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer().listen() as server:
        yield server


async def test_email_has_text_html_and_headers_against_loops(server: MailServer) -> None:
    client = open_client(spec_at(server, mail_subject="Call from {{ call.call_from }}\nBcc: eve@example.com"))
    source = record(call_from="Zoë <b>&<1001>\r\nX: y")
    (result,) = await client.send([Notification("r-1", client.format_payload(source), AT_US)])
    assert (result.outcome, result.detail) == ("accepted", "2.0.0 queued")
    (mail,) = server.mails
    assert (mail.sender, mail.recipients) == ("calls@example.com", ["ann@example.com", "bob@example.com"])
    assert mail.subject == "Call from Zoë <b>&<1001> X: y Bcc: eve@example.com"
    assert mail.message["From"] == "Calls <calls@example.com>"
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message["X-Auto-Response-Suppress"] == "All"
    assert mail.message["Bcc"] is None
    assert "From:   Zoë <b>&<1001>" in mail.text
    assert "Zoë &lt;b&gt;&amp;&lt;1001&gt;" in mail.html
    assert "<b>" not in mail.html


async def test_email_repeat_has_the_same_id_and_a_later_event_the_same_thread(server: MailServer) -> None:
    client = open_client(spec_at(server))
    body, later_body = (client.format_payload(record(call_id="1.1", talk_duration=talk)) for talk in (5, 6))
    for notification_id, item in (("r-1", body), ("r-1", body), ("r-2", later_body)):
        await client.send([Notification(notification_id, item, AT_US)])
    ids = [str(mail.message["Message-ID"]) for mail in server.mails]
    threads = {str(mail.message["References"]) for mail in server.mails}
    assert ids[0] == ids[1] != ids[2]
    assert len(threads) == 1
    assert all(re.fullmatch(r"<[0-9a-f]{32}@example\.com>", text) for text in [*ids, *threads])


async def test_email_digest_has_each_notification_once(server: MailServer) -> None:
    client = open_client(spec_at(server, digest_seconds=600))
    assert (client.limits.batch_age_seconds, client.limits.batch_count) == (600, 500)
    results = await client.send(notifications_of(client, 1, 2, 3))
    assert [result.outcome for result in results] == ["accepted"] * 3
    (mail,) = server.mails
    assert mail.subject.startswith("3 notifications: ")
    assert [mail.text.count(f"To:     {number}\n") for number in (1, 2, 3)] == [1, 1, 1]


async def test_email_digest_that_is_refused_fails_for_one_notification_alone(server: MailServer) -> None:
    """Its halves are sent, so that a text that a filter does not like keeps no other one."""
    server.refused_text = "To:     5\n"
    client = open_client(spec_at(server, digest_seconds=600))
    results = await client.send(notifications_of(client, *range(1, 9)))
    assert [result.outcome for result in results] == ["accepted"] * 4 + ["rejected"] + ["accepted"] * 3
    assert [len(re.findall(r"To:     \d", mail.text)) for mail in server.mails] == [4, 1, 2]
    assert server.session_count == 1


async def test_email_digests_that_are_all_refused_end_with_the_session(server: MailServer) -> None:
    """What was not sent yet follows in the next session, and counts no attempt."""
    server.refused_text = "To:"
    client = open_client(spec_at(server, digest_seconds=600))
    results = await client.send(notifications_of(client, *range(1, 101)))
    outcomes = [result.outcome for result in results]
    assert (server.refusal_count, set(outcomes)) == (SESSION_MAILS, {"rejected", "throttled"})
    assert outcomes.index("throttled") == outcomes.count("rejected")
    assert all(result.is_left_out for result in results if result.outcome == "throttled")


async def test_email_templates_of_a_batch_leave_the_event_loop_to_others(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client(spec_at(server, digest_seconds=600))
    assert isinstance(client, EmailClient)
    render, turns, turn = client._render, list[int](), 0
    is_ended = False

    async def take_turns() -> None:
        nonlocal turn
        while not is_ended:
            turn += 1
            await asyncio.sleep(0)

    def render_and_note(notification: Notification) -> RenderedEvent:
        turns.append(turn)
        return render(notification)

    monkeypatch.setattr(client, "_render", render_and_note)
    task = asyncio.create_task(take_turns())
    await client.send(notifications_of(client, *range(1, 51)))
    is_ended = True
    await task
    assert len(set(turns)) == len(turns) == 50


async def test_email_batch_is_one_session_and_a_refused_mail_fails_alone(server: MailServer) -> None:
    server.refused_text = "To:     2\n"
    client = open_client(spec_at(server))
    results = await client.send(notifications_of(client, 1, 2, 3))
    assert [result.outcome for result in results] == ["accepted", "rejected", "accepted"]
    assert (results[1].status, results[1].detail) == (554, "554 5.7.1 refused")
    assert server.session_count == 1


async def test_email_mail_that_is_too_large_for_the_server_fails_alone(server: MailServer) -> None:
    """Servers with `SIZE` refuse it before its content, together with its sender."""
    server.bytes_max = 4_000
    client = open_client(spec_at(server, mail_body="{{ call.call_from }}"))
    sources = [record(call_id=f"{length}.1", call_from="x" * length) for length in (1, 5_000, 2)]
    notifications = [Notification(source.call_id, client.format_payload(source), AT_US) for source in sources]
    results = await client.send(notifications)
    assert [(result.outcome, result.status) for result in results] == [
        ("accepted", None),
        ("rejected", 552),
        ("accepted", None),
    ]


@pytest.mark.parametrize("refusal", ["451 4.7.1 try again later", "452 4.3.1 no space"])
async def test_email_temporary_refusal_of_one_mail_keeps_no_other_one(server: MailServer, refusal: str) -> None:
    server.refused_text, server.refusal = "To:     2\n", refusal
    client = open_client(spec_at(server))
    results = await client.send(notifications_of(client, 1, 2, 3))
    assert [result.outcome for result in results] == ["accepted", "rejected", "accepted"]
    assert (results[1].detail, results[1].status) == (refusal, int(refusal[:3]))
    assert server.session_count == 1


@pytest.mark.parametrize("refusal", ["452 4.3.1 no space", "421 4.3.2 closing"])
async def test_email_temporary_refusal_of_all_counts_against_no_mail(server: MailServer, refusal: str) -> None:
    client = open_client(spec_at(server))
    await client.send(notifications_of(client, 1))
    server.refused_text, server.refusal = "To:", refusal
    results = await client.send(notifications_of(client, *range(2, 7)))
    assert {(result.outcome, result.detail, result.is_shared) for result in results} == {("unreachable", refusal, True)}
    assert server.refusal_count == (1 if refusal.startswith("421") else DEFERRALS_MAX)


async def test_email_recipient_that_is_refused_is_named(server: MailServer) -> None:
    """And prevents no other one; without any recipient nothing is accepted."""
    client = open_client(spec_at(server))
    server.refused_recipients = {"bob@example.com"}
    (result,) = await client.send(notifications_of(client, 1))
    assert (result.outcome, result.detail) == ("accepted", "2.0.0 queued; refused recipients: bob@example.com")
    assert server.mails[0].recipients == ["ann@example.com"]
    server.refused_recipients = {"ann@example.com", "bob@example.com"}
    (result,) = await client.send(notifications_of(client, 2))
    assert (result.outcome, result.detail) == ("unreachable", "550 5.1.1 no such user")


async def test_email_template_that_fails_is_a_failed_mail_alone(server: MailServer) -> None:
    client = open_client(spec_at(server, mail_body="{{ 1 // call.talk_duration }}"))
    bodies = [client.format_payload(record(talk_duration=talk)) for talk in (0, 1)]
    results = await client.send([Notification(f"r-{len(body)}", body, AT_US) for body in bodies])
    assert [result.outcome for result in results] == ["rejected", "accepted"]
    assert results[0].detail.startswith("not sent: ")


@pytest.mark.parametrize("is_implicit", [False, True])
async def test_email_tls_is_verified_and_the_login_follows_it(tmp_path: Path, is_implicit: bool) -> None:
    certificate = create_server_certificate(tmp_path, "localhost")
    users = {"calls": "geheim-2"}
    async with MailServer(tls=certificate.context, is_implicit_tls=is_implicit, users=users).listen() as server:
        settings = spec_at(server, tls="verify") | {"ca_certificates": certificate.authority_pem}
        client = open_client(settings, "geheim-2", "geheim-1")  # the newest one is not yet the server's
        (result,) = await client.send(notifications_of(client, 1))
        assert result.outcome == "accepted", result.detail
        assert (server.mails[0].user, server.mails[0].is_tls) == ("calls", True)
        client = open_client(settings | {"ca_certificates": ""}, "geheim-2")
        (result,) = await client.send(notifications_of(client, 2))
        assert result.detail.startswith("the certificate is not trusted")
        client = open_client(settings, "geheim-3")
        (result,) = await client.send(notifications_of(client, 3))
        assert (result.outcome, result.detail.partition(":")[0]) == (
            "unreachable",
            "the server refuses the login of calls",
        )
        assert "geheim" not in result.detail
        assert len(server.mails) == 1


async def test_email_server_without_tls_gets_neither_password_nor_mail() -> None:
    """Unless an operator switched TLS off."""
    async with MailServer(users={"calls": "geheim"}).listen() as server:
        client = open_client(spec_at(server, tls="verify"), "geheim")
        (result,) = await client.send(notifications_of(client, 1))
        assert result.outcome == "unreachable"
        assert result.detail == "the server does not offer STARTTLS"
        client = open_client(spec_at(server), "geheim")
        (result,) = await client.send(notifications_of(client, 1))
        assert (result.outcome, server.mails[0].user) == ("accepted", "calls")


async def test_email_alarm_and_issue_have_usual_texts(server: MailServer) -> None:
    for notifies_of, subject in (
        ("alarms", "[Test] Alarm: No calls arrive, PBX SAMPLE"),
        ("issues", "[Test] Issue: Sample, Nothing is wrong"),
    ):
        client = open_client(spec_at(server) | {"notifies_of": notifies_of})
        await client.send([Notification("test-1", client.format_test_payload(), AT_US, is_test=True)])
        assert server.mails[-1].subject == subject
        assert "This is a sample.\nNothing is to be done.\n\nBegan: " in server.mails[-1].text
        assert server.mails[-1].text.startswith(
            f"{subject.split(', ')[-1]}. " if notifies_of == "issues" else "No calls"
        )


async def test_email_alarm_of_an_earlier_version_has_its_kind(server: MailServer) -> None:
    """Rows of an earlier version wait without a title."""
    client = open_client(spec_at(server) | {"notifies_of": "alarms"})
    body = msgspec.json.decode(sample_operational_event("alarms", STARTED_AT))
    del body["alarm"]["title"], body["alarm"]["meaning"]
    await client.send([Notification("a-1", msgspec.json.encode(body), AT_US)])
    assert server.mails[-1].subject == "Alarm: silence, PBX SAMPLE"
    assert server.mails[-1].text.startswith("This is a sample.\nNothing is to be done.\n\nBegan: ")


def test_email_preview_is_the_mail() -> None:
    spec = DestinationSpec(kind="email", url="smtps://mail.example.com", fields=FIELDS)
    client = open_client({"kind": "email", "url": spec.url, "fields": FIELDS})
    text = describe_request(spec, client.format_payload(record()), "r-1")
    assert text.startswith("From: calls@example.com\nTo: ann@example.com, bob@example.com\nSubject: ")
    assert "Status: ANSWERED" in text


@pytest.mark.parametrize(
    ("changes", "location"),
    [
        ({"mail_to": ""}, "mail_to"),
        ({"mail_to": "ann@example.com\r\nBcc: eve@example.com"}, "mail_to"),
        ({"mail_to": ",".join(f"a{number}@example.com" for number in range(51))}, "mail_to"),
        ({"mail_from": ""}, "mail_from"),
        ({"mail_from": "Calls <calls>"}, ""),
        ({"mail_subject": "{{ caller }}"}, "mail_subject"),
        ({"mail_body": "{{ call.nothing.more }}"}, "mail_body"),
        ({"mail_body": "{{ secret }}"}, "mail_body"),
    ],
)
def test_email_invalid_field_is_refused(changes: dict[str, FieldValue], location: str) -> None:
    with pytest.raises(UsageError) as error:
        check_kind(DestinationSpec(kind="email", url="smtps://mail.example.com", fields=FIELDS | changes))
    assert error.value.location == (location or "mail_from")


@pytest.mark.parametrize(
    "url",
    ["https://mail.example.com", "smtps://", "smtps://mail.example.com/inbox", "smtps://u:geheim@mail.example.com"],
)
def test_email_other_address_is_refused(url: str) -> None:
    spec = DestinationSpec(kind="email", url=url, fields=FIELDS)
    with pytest.raises(UsageError):
        check_kind(validate_spec(spec))
