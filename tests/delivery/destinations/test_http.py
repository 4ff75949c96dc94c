"""HTTP requests made of templates, against a real server."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from onhook.appdb.issues import StoredIssue, make_issue_delivery
from onhook.cdr.record import Call
from onhook.delivery.destinations.contract import Notification
from onhook.delivery.destinations.http import ID_RESPONSE_BYTES_MAX
from onhook.delivery.destinations.webhook_response import RESPONSE_BYTES_MAX
from tests.delivery.destinations.contract import REFUSED, DestinationContract, later_event, open_client
from tests.delivery.harness import SECRET, DeliveryHarness, make_calls
from tests.factories import record
from tests.waiting import polls, wait_until

PATH = "/objects{% if external_id %}/{{ external_id }}{% endif %}"
NOW = datetime(2026, 4, 27, 11, 4, 36, tzinfo=UTC)
METHOD = "{{ 'PATCH' if external_id else 'POST' }}"


class ObjectServer:
    """An interface with objects: `POST` creates one and answers its id, `PATCH` changes it."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.objects: dict[str, dict[str, Any]] = {}
        self.reply: web.Response | None = None
        self._refuses = False
        self._runner: web.AppRunner | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return self.dead_settings(self.port)

    def dead_settings(self, port: int) -> dict[str, Any]:
        fields = {"request_path": PATH, "request_method": METHOD, "id_pointer": "/data/id"}
        return {"kind": "http", "url": f"http://127.0.0.1:{port}/v1", "allow_private": True, "fields": fields}

    def durations(self) -> dict[str, int]:
        return {
            item["call_id"]: item["talk_duration"]
            for item in self.objects.values()
            if item.get("sn") not in (None, "SAMPLE")
        }

    def refuse(self) -> None:
        self._refuses = True

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _receive(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.requests.append((request.method, request.raw_path, dict(request.headers), text))
        if self.reply is not None:
            return self.reply
        if self._refuses and REFUSED in text:
            return web.json_response({"error": "refused"}, status=422)
        name = request.path.rpartition("/")[2] if request.method == "PATCH" else str(len(self.objects) + 1)
        self.objects[name] = json.loads(text)
        return web.json_response({"data": {"id": int(name)}}, status=201)


@pytest.fixture
async def server() -> AsyncIterator[ObjectServer]:
    server = ObjectServer()
    await server.start()
    yield server
    await server.stop()


class TestHttp(DestinationContract):
    """The promises of every kind."""


def with_fields(server: ObjectServer, **fields: Any) -> dict[str, Any]:
    return server.settings | {"fields": fields}


async def deliver(harness: DeliveryHarness, event: Call) -> None:
    """Store an event, and return when its delivery is committed: one that is stored before that may replace it."""
    await harness.put_calls(event)
    await wait_until(await harness.cursor("CRM") == harness.position async for _ in polls())


async def test_http_later_event_of_a_call_changes_its_object(harness: DeliveryHarness, server: ObjectServer) -> None:
    """Also after a restart, when the id is read from the application database."""
    await harness.add_destination("CRM", **server.settings)
    harness.start()
    (first_call,) = make_calls(1)
    await deliver(harness, first_call)
    await deliver(harness, later_event(first_call, 15))
    assert server.durations() == {first_call.call_id: 15}
    await harness.stop()
    harness.start()
    await deliver(harness, later_event(first_call, 16))
    assert server.durations() == {first_call.call_id: 16}
    assert [(method, path) for method, path, *_rest in server.requests] == [
        ("POST", "/v1/objects"),
        ("PATCH", "/v1/objects/1"),
        ("PATCH", "/v1/objects/1"),
    ]


@pytest.mark.usefixtures("short_delays")
async def test_http_corrected_template_holds_for_failed_deliveries(
    harness: DeliveryHarness, server: ObjectServer
) -> None:
    """A template that fails for a call fails its delivery alone, and the server is not asked."""
    body = '{"sn": "{{ call.sn }}", "call_id": "{{ call.call_id }}", "talk_duration": {{ 100 // call.talk_duration }}}'
    settings = with_fields(server, body=body)
    await harness.add_destination("CRM", **settings, retry_policy="original", max_attempts=1)
    harness.start()
    first_call, second_call = make_calls(1, talk_duration=0)[0], make_calls(1, talk_duration=10)[0]
    await harness.put_calls(first_call, second_call)
    await wait_until(lambda: server.durations() == {second_call.call_id: 10})
    await wait_until(bool(await harness.rows("CRM", "failed")) async for _ in polls())
    (row,) = await harness.rows("CRM", "failed")
    (attempt,) = await harness.appdb.deliveries.attempts(row.delivery_id)
    assert re.match("not sent: the template failed: .*division.* by zero", attempt.detail)
    await harness.appdb.destinations.change("CRM", {"fields": {"body": body.replace("100 // ", "")}})
    await harness.appdb.deliveries.retry(row.delivery_id, now_us=1)
    await wait_until(lambda: server.durations() == {second_call.call_id: 10, first_call.call_id: 0})


async def test_http_request_has_headers_and_secret_of_the_templates(server: ObjectServer) -> None:
    settings = with_fields(
        server,
        request_path="?key={{ secret }}&to={{ call.call_to|number }}",
        request_method="put",
        content_type="application/x-www-form-urlencoded",
        body="name={{ call.call_from|name }}&id={{ notification_id }}",
    )
    headers = {"Authorization": "Bearer {{ secret }}", "X-From": "{{ call.call_from }}"}
    client = open_client(settings | {"headers": headers}, "the oldest secret", "the newest secret")
    body = client.format_payload(record(call_from="Zoë & Bob<1001>"))
    (result,) = await client.send([Notification("id-1", body, 1)])
    await client.close()
    assert result.outcome == "rejected"  # the server takes JSON
    ((method, path, received_headers, text),) = server.requests
    assert (method, path) == ("PUT", "/v1?key=the%20newest%20secret&to=1002")
    assert text == "name=Zo%C3%AB+%26+Bob&id=id-1"
    assert received_headers["Authorization"] == "Bearer the newest secret"
    assert received_headers["X-From"] == "Zo%C3%AB & Bob<1001>"
    assert received_headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "X-Onhook-Test" not in received_headers


async def test_http_request_without_body_has_no_type(server: ObjectServer) -> None:
    client = open_client(with_fields(server, request_method="DELETE", body="{# nothing #}"))
    await client.send([Notification("id-1", client.format_payload(record()), 1)])
    await client.close()
    ((method, _path, headers, text),) = server.requests
    assert (method, text, "Content-Type" in headers) == ("DELETE", "", False)


async def test_http_test_sends_a_sample_call_that_is_marked(server: ObjectServer) -> None:
    client = open_client(with_fields(server, body='{"to": "{{ call.call_to }}", "is_test": {{ is_test|tojson }}}'))
    await client.send([Notification("id-1", client.format_test_payload(), 1_777_287_876_000_000, is_test=True)])
    await client.close()
    ((_method, _path, headers, text),) = server.requests
    assert json.loads(text) == {"to": "Sample Agent<1001>", "is_test": True}
    assert headers["X-Onhook-Test"] == "true"


@pytest.mark.parametrize("notifies_of", ["alarms", "issues"])
async def test_http_alarms_and_issues_have_their_members(server: ObjectServer, notifies_of: str) -> None:
    name = notifies_of.removesuffix("s")
    settings = with_fields(server, body=f'{{"text": "{{{{ {name}.detail }}}}"}}') | {"notifies_of": notifies_of}
    client = open_client(settings)
    (result,) = await client.send([Notification("id-1", client.format_test_payload(), 1, is_test=True)])
    await client.close()
    assert result.outcome == "accepted"
    assert json.loads(server.requests[0][3]) == {"text": "This is a sample."}


async def test_http_bodies_of_chats_and_pagers_that_the_docs_have_are_sent(server: ObjectServer) -> None:
    """Of an issue that has begun, and of its end: a pager resolves what it has by the key."""
    text = (Path(__file__).parents[3] / "docs" / "mail.md").read_text()
    bodies = [block for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if "issue." in block]
    issue = StoredIssue(
        issue_id=7, kind="alarm_silence", sn="", subject='The "office"', detail="silent", hint="look", began_at=NOW,
        ended_at=None,
    )  # fmt: skip
    for body in bodies:
        settings = with_fields(server, body=body) | {"notifies_of": "issues", "chosen_by_users": True}
        client = open_client(settings)
        for state in (issue, msgspec.structs.replace(issue, ended_at=NOW)):
            payload = make_issue_delivery("alert-1-7", state, now_us=1).body
            (result,) = await client.send([Notification("alert-1-7", payload, 1)])
            assert result.outcome == "accepted"
        await client.close()
    pager_begun, pager_ended, chat_begun, chat_ended = (json.loads(request[3]) for request in server.requests)
    assert (pager_begun["event_action"], pager_ended["event_action"]) == ("trigger", "resolve")
    assert pager_begun["dedup_key"] == pager_ended["dedup_key"] == "onhook-issue-7"
    assert pager_begun["payload"]["summary"] == 'The "office": silent'
    assert chat_begun == {"text": 'Issue: The "office": silent look'}
    assert chat_ended == {"text": 'Ended: The "office": silent look'}


@pytest.mark.parametrize(
    ("response", "external_id"),
    [
        (web.json_response({"data": {"id": "a-1"}}), "a-1"),
        (web.json_response({"data": {"id": 7}, "more": "x" * 20_000}), "7"),
        (web.json_response({"data": {"id": True}}), ""),
        (web.json_response({"data": {"id": "a\nb"}}), ""),
        (web.json_response({"data": {"id": "x" * 201}}), ""),
        (web.json_response({"data": []}), ""),
        (web.json_response("data"), ""),
        (web.Response(text="[" * ID_RESPONSE_BYTES_MAX), ""),
        (web.Response(text="no JSON"), ""),
        (web.Response(body=b'{"data": {"id": "\xff"}}'), ""),
        (web.json_response({"more": "x" * ID_RESPONSE_BYTES_MAX, "data": {"id": 7}}), ""),
    ],
    ids=range(11),
)
async def test_http_id_is_read_from_the_response(
    server: ObjectServer, response: web.Response, external_id: str
) -> None:
    """A response without one is accepted, and the result says so."""
    server.reply = response
    client = open_client(server.settings)
    (result,) = await client.send([Notification("id-1", client.format_payload(record()), 1)])
    await client.close()
    assert (result.outcome, result.external_id) == ("accepted", external_id)
    assert result.detail.endswith("; no id at /data/id") is not bool(external_id)
    assert len(result.body) <= 1024


async def test_http_id_is_read_from_the_response_as_it_came(server: ObjectServer) -> None:
    """It may have the value of a custom header, which is hidden where the response is shown."""
    server.reply = web.json_response({"data": {"id": "acme-support-7"}})
    client = open_client(server.settings | {"headers": {"X-Tenant": "acme-support"}})
    (result,) = await client.send([Notification("id-1", client.format_payload(record()), 1)])
    await client.close()
    assert result.external_id == "acme-support-7"
    assert json.loads(result.body) == {"data": {"id": "…-7"}}


async def test_http_rejection_has_no_id(server: ObjectServer) -> None:
    server.reply = web.json_response({"data": {"id": 7}}, status=400)
    client = open_client(server.settings)
    (result,) = await client.send([Notification("id-1", client.format_payload(record()), 1)])
    await client.close()
    assert (result.outcome, result.external_id, result.detail) == ("rejected", "", "HTTP 400 Bad Request")


async def test_http_secret_in_a_response_is_hidden(server: ObjectServer) -> None:
    server.reply = web.Response(status=401, text=f"invalid key {SECRET}")
    client = open_client(server.settings, SECRET)
    (result,) = await client.send([Notification("id-1", client.format_payload(record()), 1)])
    await client.close()
    assert result.body.decode() == "invalid key …"


async def test_http_secret_at_the_end_of_what_is_shown_is_hidden(server: ObjectServer) -> None:
    """The response is cut within the secret."""
    text = "x" * (RESPONSE_BYTES_MAX - 6)
    server.reply = web.Response(status=401, text=text + SECRET)
    client = open_client(with_fields(server), SECRET)
    (result,) = await client.send([Notification("id-1", client.format_payload(record()), 1)])
    await client.close()
    assert result.body.decode() == f"{text}…"
