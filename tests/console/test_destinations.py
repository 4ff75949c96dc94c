"""Destinations and deliveries in the API and on their pages."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from onhook.appdb.delivery_rows import DeliveryCommit, NewAttempt, NewDelivery
from onhook.appdb.destination_spec import DestinationSpec, format_standard_webhooks_secret
from onhook.appdb.issues import OperationalIssue
from onhook.console.pages.destinations import DELIVERED_SHOWN_MAX
from tests.console.conftest import ConsoleHarness, module_loop
from tests.delivery.harness import WebhookReceiver
from tests.factories import SN, details
from tests.server_certificates import create_server_certificate

PATH = "/api/v1/destinations"
CRM = {"name": "CRM", "url": "http://127.0.0.1:9/calls", "allow_private": True}
FORM = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def application() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver().listen() as listening:
        yield listening


@pytest.fixture
async def browser(harness: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the browser session of an administrator."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with harness.client("", cookie_jar=jar, headers=FORM) as session:
        async with session.post("/sign-in", data={"token": harness.admin_token}) as answer:
            assert answer.status == 200
        yield session


async def _json(client: aiohttp.ClientSession, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    async with client.request(method, path, json=body) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json() if answer.status != 204 else None


async def _add_delivery(harness: ConsoleHarness, seq: int, state: Any = "failed") -> int:
    """Add a delivery in this state; return its number."""
    destination = await harness.appdb.destinations.get("CRM")
    tried = NewAttempt(
        attempted_at=1_777_000_000_000_000,
        duration_ms=7,
        status=500,
        detail="answered 500",
        body=b"<script>no</script>",
    )
    trouble = NewDelivery(
        notification_id=f"e{seq}", seq=seq, call=(SN, f"1777287876.{seq}"), body=b'{"type":30012}',
        due_at=tried.attempted_at, pending_since=tried.attempted_at, state=state, attempt=tried,
    )  # fmt: skip
    await harness.appdb.deliveries.commit(
        DeliveryCommit(
            destination_id=destination.destination_id, revision=1, cursors={}, finished_replays=(),
            new_deliveries=[trouble],
            updates=(), attempts_succeeded=3, attempts_failed=1, failing_since=None, retry_after=0, retry_all_now=False,
            now_us=tried.attempted_at,
        )
    )  # fmt: skip
    return (await harness.appdb.deliveries.page(destination.destination_id, None, 99))[-1].delivery_id


async def test_destination_is_added_changed_paused_resumed_and_removed(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The secret is returned once; pending events are counted."""
    await harness.ingest_details([details(), details(call_id="1777287876.9", status="BUSY")])
    added = await _json(client, "POST", PATH, CRM | {"filter": {"status": "busy", "since": "2026-01-01"}}, 201)
    assert len(added["secret"]) == 32
    (view,) = (await _json(client, "GET", PATH))["data"]
    assert view["pending"] == 1
    assert view["filter"]["status"] == "busy"
    assert added["secret"] not in str(view)
    changed = await _json(client, "PATCH", f"{PATH}/CRM", {"name": "Help desk", "filter": {}, "notifies_of": "calls"})
    assert (changed["name"], changed["notifies_of"], changed["filter"]["status"]) == ("Help desk", "calls", None)
    assert (await _json(client, "POST", f"{PATH}/Help desk/pause"))["state"] == "paused"
    assert (await _json(client, "POST", f"{PATH}/Help desk/resume"))["state"] == "active"
    await _json(client, "DELETE", f"{PATH}/Help desk", status=204)
    assert (await _json(client, "GET", PATH))["data"] == []


async def test_destination_without_start_time_has_nothing_pending(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """It begins after the last event."""
    await harness.ingest_details([details()])
    await _json(client, "POST", PATH, CRM, 201)
    status = await _json(client, "GET", f"{PATH}/CRM")
    assert (status["pending"], status["position"], status["oldest_pending_at"]) == (0, 2, None)
    await harness.ingest_details([details(call_id="1777287876.9")])
    status = await _json(client, "GET", f"{PATH}/CRM")
    assert status["pending"] == 1
    assert status["oldest_pending_at"]


@module_loop
@pytest.mark.parametrize(
    ("body", "expected_text"),
    [
        ({"name": "CRM", "url": "ftp://x/"}, "URL of a webhook"),
        (CRM | {"payload_format": "p-1999"}, "p-1999"),
        (CRM | {"filter": {"colour": "red"}}, "unknown filter 'colour'"),
        (CRM | {"filter": {"since": "soon"}}, "since is not a time"),
        (CRM | {"timeout_seconds": 900}, "timeout_seconds"),
        (CRM | {"with_standard_webhooks": True, "secret": "0123456789"}, "Standard Webhooks"),
        (CRM | {"headers": {"Host": "x"}}, "the header 'Host' cannot be set"),
        (CRM | {"colour": "red"}, "colour"),
    ],
)
async def test_destination_invalid_is_rejected(
    module_client: aiohttp.ClientSession, body: Any, expected_text: str
) -> None:
    """The problem document has the reason."""
    problem = await _json(module_client, "POST", PATH, body, 400)
    assert expected_text in str(problem)


async def test_destination_header_values_are_hidden(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Only the names of the headers are shown."""
    body = CRM | {"headers": {"Authorization": "Bearer geheim"}}
    answers = [await _json(client, "POST", PATH, body, 201), await _json(client, "GET", PATH)]
    answers.append(await _json(client, "PATCH", f"{PATH}/CRM", {"notifies_of": "calls"}))
    assert "geheim" not in str(answers)
    assert "Authorization" in str(answers)
    assert (await harness.appdb.destinations.get("CRM")).headers == {"Authorization": "Bearer geheim"}


async def test_destination_test_returns_result(client: aiohttp.ClientSession, application: WebhookReceiver) -> None:
    """The test is signed and accepted by receivers of the original; a failure is a result too."""
    await _json(client, "POST", PATH, CRM | {"url": application.url}, 201)
    tried = await _json(client, "POST", f"{PATH}/CRM/test")
    assert (tried["accepted"], tried["status"], tried["body"]) == (True, 200, "so it is")
    assert application.bodies == [b'{"event":"test"}']
    assert "X-Signature" in application.headers[0]
    await _json(client, "PATCH", f"{PATH}/CRM", {"url": "http://127.0.0.1:9/"})
    assert (await _json(client, "POST", f"{PATH}/CRM/test"))["accepted"] is False


async def test_replay_needs_start_time(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The response has the number of records."""
    await harness.ingest_details([details(), details(call_id="1777287876.9", status="BUSY")])
    await _json(client, "POST", PATH, CRM, 201)
    await _json(client, "POST", f"{PATH}/CRM/replay", {"filter": {}}, 400)
    body = {"filter": {"since": "2026-01-01", "status": "busy"}}
    assert await _json(client, "POST", f"{PATH}/CRM/replay", body, 200) == {"records": 1}
    assert (await _json(client, "GET", f"{PATH}/CRM"))["replays"] == 1


async def test_signing_secrets_are_returned_once(client: aiohttp.ClientSession) -> None:
    """Old and new secrets are used together."""
    await _json(client, "POST", PATH, CRM, 201)
    added = await _json(client, "POST", f"{PATH}/CRM/secrets", {"label": "new"}, 201)
    secrets = (await _json(client, "GET", f"{PATH}/CRM/secrets"))["data"]
    assert [secret["label"] for secret in secrets] == ["webhook", "new"]
    assert added["secret"] not in str(secrets)
    await _json(client, "DELETE", f"{PATH}/CRM/secrets/{secrets[0]['secret_id']}", status=204)
    await _json(client, "DELETE", f"{PATH}/CRM/secrets/{added['secret_id']}", status=400)


async def test_deliveries_are_listed_retried_and_discarded(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Deliveries are listed by state, with their attempts."""
    await _json(client, "POST", PATH, CRM, 201)
    failed, retrying = await _add_delivery(harness, 1), await _add_delivery(harness, 2, "retrying")
    path = "/api/v1/deliveries"
    failed_deliveries = (await _json(client, "GET", f"{path}?destination=CRM&state=failed"))["data"]
    assert [delivery["delivery_id"] for delivery in failed_deliveries] == [failed]
    delivery_view = await _json(client, "GET", f"{path}/{failed}")
    assert (delivery_view["attempts"][0]["status"], delivery_view["notification"]) == (500, '{"type":30012}')
    assert (await _json(client, "POST", f"{path}/{failed}/retry"))["state"] == "retrying"
    await _json(client, "DELETE", f"{path}/{retrying}", status=204)
    await _json(client, "GET", f"{path}/{retrying}", status=404)
    assert await _json(client, "POST", f"{PATH}/CRM/retry") == {"notifications": 1}


async def test_metrics_have_series_of_each_destination(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    await _json(client, "POST", PATH, CRM, 201)
    await _add_delivery(harness, 1)
    async with client.get("/metrics") as answer:
        text = await answer.text()
    for line in (
        'onhook_destination_pending{destination="CRM"} 0.0',
        'onhook_destination_failed{destination="CRM"} 1.0',
        'onhook_destination_attempts_succeeded_total{destination="CRM"} 3.0',
        'onhook_destination_attempts_failed_total{destination="CRM"} 1.0',
        'onhook_destination_active{destination="CRM"} 1.0',
    ):
        assert line in text


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/x", "http://2130706433/", "http://localhost./", "http://127.1/"]
)
async def test_destination_private_address_is_a_problem(
    harness: ConsoleHarness, client: aiohttp.ClientSession, browser: aiohttp.ClientSession, url: str
) -> None:
    """In the API and in the form; nothing is stored."""
    problem = await _json(client, "POST", PATH, {"name": "CRM", "url": url}, 400)
    assert "not a public address" in problem["detail"]
    assert problem["hint"]
    async with browser.post("/destinations", data={"name": "CRM", "url": url}) as answer:
        page = await answer.text()
    assert '<p class="error" role="alert">' in page
    assert "not a public address" in page
    assert f'value="{url}"' in page
    assert await harness.appdb.destinations.all() == []


async def test_destination_change_to_private_address_is_a_problem(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await harness.appdb.destinations.add("CRM", DestinationSpec(url="https://93.184.216.34/"), None, after=0, now_us=1)
    await _json(client, "PATCH", f"{PATH}/CRM", {"url": "http://10.0.0.7/"}, 400)
    changed = await _json(client, "PATCH", f"{PATH}/CRM", {"url": "http://10.0.0.7/", "allow_private": True})
    assert (changed["url"], changed["warnings"]) == ("http://10.0.0.7/", [])


async def test_destination_change_to_another_host_keeps_no_header_and_no_password(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """By the API as on the page: headers are given again, or removed; a password belongs to its host."""
    destinations = harness.appdb.destinations
    headers = {"X-Key": "hush"}
    crm = DestinationSpec(url="https://127.0.0.1:9/calls", allow_private=True, headers=headers)
    await destinations.add("CRM", crm, None, after=0, now_us=1)
    calls = DestinationSpec(kind="postgresql", url="postgresql://o@127.0.0.1/calls", allow_private=True)
    await destinations.add("BI", calls, "geheimgeheim", after=0, now_us=1)
    for url in ("https://127.0.0.2:9/calls", "https://127.0.0.1:10/calls", "http://127.0.0.1:9/calls"):
        problem = await _json(client, "PATCH", f"{PATH}/CRM", {"url": url}, 400)
        assert "headers belong to another host" in problem["detail"]
    await _json(client, "PATCH", f"{PATH}/CRM", {"url": "https://127.0.0.1:9/new"})
    assert (await destinations.get("CRM")).headers == headers
    await _json(client, "PATCH", f"{PATH}/CRM", {"url": "https://127.0.0.2:9/new", "headers": headers})
    await _json(client, "PATCH", f"{PATH}/CRM", {"url": "https://127.0.0.3:9/new", "headers": {}})
    problem = await _json(client, "PATCH", f"{PATH}/BI", {"url": "postgresql://o@127.0.0.2/calls"}, 400)
    assert "password belongs to another host" in problem["detail"]
    await _json(client, "PATCH", f"{PATH}/BI", {"url": "postgresql://o@127.0.0.1/other"})
    urls = {destination.name: destination.url for destination in await destinations.all()}
    assert urls == {"CRM": "https://127.0.0.3:9/new", "BI": "postgresql://o@127.0.0.1/other"}


async def test_destination_name_without_address_is_a_warning(
    client: aiohttp.ClientSession, browser: aiohttp.ClientSession
) -> None:
    added = await _json(client, "POST", PATH, {"name": "CRM", "url": "https://crm.invalid/"}, 201)
    assert "crm.invalid has no address now" in added["warnings"][0]
    async with browser.post("/destinations", data={"name": "BI", "url": "https://bi.invalid/"}) as answer:
        assert "bi.invalid has no address now" in await answer.text()


async def test_destination_test_can_be_a_sample(
    client: aiohttp.ClientSession, browser: aiohttp.ClientSession, application: WebhookReceiver
) -> None:
    """In the API and by the button; the usual test stays."""
    await _json(client, "POST", PATH, CRM | {"url": application.url, "payload_format": "flat"}, 201)
    assert (await _json(client, "POST", f"{PATH}/CRM/test?sample=true"))["accepted"]
    async with browser.post("/destinations/1/sample") as answer:
        assert "Test succeeded" in await answer.text()
    await _json(client, "POST", f"{PATH}/CRM/test")
    assert [payload.get("event_type", payload.get("event")) for payload in application.payloads] == [
        30012,
        30012,
        "test",
    ]


async def test_destination_test_leaves_no_entry_in_the_audit_log(
    client: aiohttp.ClientSession, browser: aiohttp.ClientSession, application: WebhookReceiver
) -> None:
    """It changes nothing, whether it succeeds or fails; the log names what was changed, and no route."""
    await _json(client, "POST", PATH, CRM | {"url": application.url}, 201)
    entries = (await _json(client, "GET", "/api/v1/audit"))["data"]
    for address in (application.url, "http://127.0.0.1:9/"):
        await _json(client, "PATCH", f"{PATH}/CRM", {"url": address, "allow_private": True})
        before = (await _json(client, "GET", "/api/v1/audit"))["data"]
        await _json(client, "POST", f"{PATH}/CRM/test")
        for action in ("test", "sample"):
            async with browser.post(f"/destinations/1/{action}") as answer:
                assert "Test " in await answer.text()
        assert (await _json(client, "GET", "/api/v1/audit"))["data"] == before
    assert entries[0]["action"].startswith("add destination CRM")


async def test_destination_test_that_failed_is_an_error_on_its_page(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    spec = DestinationSpec(url="http://127.0.0.1:9/", allow_private=True)
    await harness.appdb.destinations.add("CRM", spec, None, after=0, now_us=1)
    async with browser.post("/destinations/1/test") as answer:
        page = await answer.text()
    assert re.search(r'<p class="error" role="alert">Test failed: ', page)


async def test_destination_change_returns_secrets_of_standard_webhooks_once(client: aiohttp.ClientSession) -> None:
    secret = (await _json(client, "POST", PATH, CRM, 201))["secret"]
    changed = await _json(client, "PATCH", f"{PATH}/CRM", {"with_standard_webhooks": True})
    assert changed["standard_webhooks_secrets"] == [format_standard_webhooks_secret(secret)]
    changed = await _json(client, "PATCH", f"{PATH}/CRM", {"with_standard_webhooks": True})
    assert changed["standard_webhooks_secrets"] == []


async def test_destination_form_has_certificates_redirects_and_proxy(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The page shows them without the password."""
    form = {
        "name": "CRM", "url": "https://127.0.0.1:9/", "allow_private": "true", "accept_redirects": "true",
        "ca_certificates": create_server_certificate(tmp_path, "localhost").authority_pem,
        "proxy": "http://onhook:geheim@127.0.0.1:3128",
    }  # fmt: skip
    async with browser.post("/destinations", data=form) as answer:
        assert "geheim" not in await answer.text()
    destination = await harness.appdb.destinations.get("CRM")
    assert (destination.accept_redirects, destination.proxy) == (True, form["proxy"])
    async with browser.get("/destinations/1") as answer:
        page = await answer.text()
    for text in ("count as accepted", "CN=Test Authority, expires ", "http://onhook:…@127.0.0.1:3128"):
        assert text in page
    assert "geheim" not in page


async def test_destination_reader_cannot_change(harness: ConsoleHarness) -> None:
    """Every user can read destinations; only an administrator can change them."""
    reader = await harness.appdb.tokens.add("wallboard", "reader", now_us=1)
    async with harness.client(reader) as client:
        await _json(client, "GET", PATH)
        await _json(client, "POST", PATH, CRM, 403)


async def test_destination_pages_add_test_pause_replay_retry_and_remove(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, application: WebhookReceiver
) -> None:
    """Names and bodies are escaped. The form proposes the defaults of the API."""
    async with browser.get("/destinations") as answer:
        assert "<option selected>p-2026</option>" in await answer.text()
    form = {"name": "CRM <b>", "url": application.url, "allow_private": "true", "status": "busy"}
    async with browser.post("/destinations", data=form) as answer:
        page = await answer.text()
    assert "added" in page
    assert "CRM &lt;b&gt;" in page
    destination = await harness.appdb.destinations.get("CRM <b>")
    assert (await harness.appdb.destinations.secret_texts(destination.destination_id))[0] in page
    path = f"/destinations/{destination.destination_id}"
    for verb, expected_text in (
        ("test", "Test succeeded"),
        ("pause", "Destination paused"),
        ("resume", "Destination resumed"),
    ):
        async with browser.post(f"{path}/{verb}") as answer:
            assert expected_text in await answer.text()
    async with browser.post(f"{path}/replay", data={"since": "2026-01-01"}) as answer:
        assert "0 records are sent again" in await answer.text()
    await harness.appdb.destinations.change("CRM <b>", {"name": "CRM"})
    number = await _add_delivery(harness, 1)
    async with browser.get(f"/destinations/deliveries/{number}") as answer:
        page = await answer.text()
    assert "&lt;script&gt;no&lt;/script&gt;" in page
    async with browser.post(f"/destinations/deliveries/{number}/retry") as answer:
        assert "is being retried" in await answer.text()
    async with browser.post(f"{path}/remove") as answer:
        assert "CRM&#34; deleted" in await answer.text()


async def test_destination_issue_is_on_every_page(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """The page Issues says what to do. No page shows a key that is part of a URL."""
    spec = DestinationSpec(url="https://crm.example.com/?key=hush")
    await harness.appdb.destinations.add("CRM", spec, None, after=0, now_us=1)
    for is_well in (True, False):
        for path in ("/", "/calls", "/issues", "/destinations", "/destinations/1"):
            async with browser.get(path) as answer:
                page = await answer.text()
            assert ("Notifications were not delivered" in page) is not is_well, path
            assert "hush" not in page
        await _add_delivery(harness, 1)
    async with browser.get("/issues") as answer:
        page = await answer.text()
    assert "1 failed notification for CRM" in page
    assert "<code>onhook destination retry CRM</code>" in page


async def test_delivery_of_an_issue_has_no_link_to_a_call(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    spec = DestinationSpec(url="https://pager.example.com/", notifies_of="issues")
    await harness.appdb.destinations.add("pager", spec, None, after=0, now_us=1)
    issue = OperationalIssue(issue_key="check:disk", kind="check_disk", subject="disk", detail="full", hint="free it")
    await harness.appdb.issues.begin(issue, now_us=1)
    for path in ("/destinations/1", "/destinations/deliveries/1"):
        async with browser.get(path) as answer:
            page = await answer.text()
        assert "issue 1" in page
        assert not re.search(r'href="/(calls|events)/[^"?]', page)


async def test_delivered_deliveries_are_cut_with_link_to_all(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """The newest ones are shown."""
    await harness.appdb.destinations.add(
        "CRM", DestinationSpec(url="https://crm.example.com/"), None, after=0, now_us=1
    )
    numbers = [await _add_delivery(harness, seq, "delivered") for seq in range(1, DELIVERED_SHOWN_MAX + 3)]
    for path, expected_numbers in (
        ("/destinations/1", numbers[:1:-1]),
        ("/destinations/1?show_all=true", numbers[::-1]),
    ):
        async with browser.get(path) as answer:
            page = await answer.text()
        assert [
            int(number) for number in re.findall(r'"/destinations/deliveries/(\d+)[^/]*?"', page)
        ] == expected_numbers
        assert ("show_all=true#delivered" in page) is (path == "/destinations/1")


async def test_destination_form_keeps_values_after_error(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    async with browser.post("/destinations", data={"name": "CRM", "url": "ftp://crm.example.com/"}) as answer:
        page = await answer.text()
    assert "This is not the URL of a webhook" in page
    assert 'value="ftp://crm.example.com/"' in page
    assert await harness.appdb.destinations.all() == []


async def test_destination_form_of_another_site_is_rejected(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    await harness.appdb.destinations.add("CRM", DestinationSpec(url="http://a.example/"), None, after=0, now_us=1)
    async with browser.post("/destinations/1/remove", headers={"Sec-Fetch-Site": "cross-site"}) as answer:
        assert answer.status == 403
    assert len(await harness.appdb.destinations.all()) == 1


async def test_destinations_page_adds_another_kind_with_its_fields(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """Fields of other kinds are left out; no secret is shown."""
    form = {
        "name": "BI", "kind": "postgresql", "url": "postgresql://onhook@127.0.0.1:9/calls", "allow_private": "true",
        "secret": "geheimgeheim", "field-postgresql-schema_name": "pbx", "field-postgresql-tls": "off",
        "field-other-a": "1",
    }  # fmt: skip
    async with browser.post("/destinations", data=form) as answer:
        page = await answer.text()
    assert (answer.status, "geheim" in page, "Destination “BI” added" in page) == (200, False, True)
    destination = await harness.appdb.destinations.get("BI")
    assert (destination.kind, destination.fields) == ("postgresql", {"schema_name": "pbx", "tls": "off"})
    async with browser.get(f"/destinations/{destination.destination_id}") as answer:
        page = await answer.text()
    assert ("<td>postgresql</td>" in page, "Payload format" in page, "Schema name" in page) == (True, False, True)
    invalid_form = form | {"name": "X", "field-postgresql-schema_name": "a b"}
    async with browser.post("/destinations", data=invalid_form) as answer:
        page = await answer.text()
    assert ("schema_name" in page, 'value="a b"' in page, "geheim" in page) == (True, True, False)


async def test_destinations_api_kind_has_fields_of_its_own(harness: ConsoleHarness) -> None:
    async with harness.client() as client:
        body = {"name": "BI", "kind": "postgresql", "url": "postgresql://db@127.0.0.1:9/", "allow_private": True}
        added = await _json(client, "POST", PATH, body | {"fields": {"schema_name": "pbx"}}, 201)
        assert (added["secret"], added["destination"]["fields"]) == ("", {"schema_name": "pbx"})
        changed = await _json(client, "PATCH", f"{PATH}/BI", {"fields": {"tls": "off"}})
        assert changed["fields"] == {"tls": "off"}
        problem = await _json(client, "PATCH", f"{PATH}/BI", {"fields": {"colour": "red"}}, 400)
        assert "schema_name, tls" in problem["hint"]
