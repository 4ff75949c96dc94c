"""Webhooks that apps manage through the PBX API: real destinations, really sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Config
from onhook.delivery.destinations.opening import destination_opener
from onhook.lib.clock import SystemClock
from onhook.lib.signing import SIGNATURE_HEADER, is_signed_by
from onhook.pbx_api.connection_limiter import listen
from onhook.pbx_api.logins import SharedLoginFailures
from onhook.pbx_api.pushing import AppWebhook, AppWebhookSettings
from onhook.pbx_api.server import PbxApiServer
from onhook.pbx_api.state import create_api_state
from onhook.runtime.adapters.simulated_calls import SimulatedCalls, open_simulated_calls
from onhook.runtime.adapters.webhooks import DestinationWebhookStore
from tests.delivery.harness import WebhookReceiver, make_calls, open_delivery_harness
from tests.factories import details
from tests.pbx_api.harness import ATHENS, SN
from tests.waiting import wait_until

URL = "https://crm.example.com/calls"
SECRET = "0123456789abcdefghijABCDEFGHIJ01"


class Pbx:
    """A PBX API over a real application database, and one app that is logged in."""

    def __init__(self, appdb: AppDb, calls: SimulatedCalls, address: str, credentials: tuple[str, str]) -> None:
        self.appdb = appdb
        self.calls = calls
        self.client_id = credentials[0]
        self._url = f"http://{address}/openapi/v1.0/"
        self._credentials = {"username": credentials[0], "password": credentials[1]}
        self._token = ""

    async def ask(self, method: str, path: str, body: Any = None, **parameters: str) -> Any:
        url, query = self._url + path, {"access_token": self._token, **parameters}
        headers = {"User-Agent": "OpenAPI"}
        async with aiohttp.request(method, url, json=body, headers=headers, params=query) as answer:
            return await answer.json()

    async def login(self) -> None:
        self._token = (await self.ask("POST", "get_token", self._credentials))["access_token"]

    async def update(self, *entries: dict[str, Any], **members: Any) -> Any:
        return await self.ask("POST", "webhook/update", {"webhook_event_push_list": entries, **members})

    async def query(self) -> Any:
        return (await self.ask("GET", "webhook/query"))["data"]


@asynccontextmanager
async def running_pbx(
    directory: Path, *, pbxs: tuple[str, ...] = (), private: str = "", app_name: str = "crm"
) -> AsyncIterator[Pbx]:
    appdb, clock = AppDb(directory / "onhook.db"), SystemClock()
    app, client_secret = await appdb.apps.add(app_name, now_us=clock.microseconds(), pbxs=pbxs)
    listening = listen("127.0.0.1", 0)
    config = Config(private_networks=private)
    webhooks = DestinationWebhookStore(config, appdb, destination_opener(config), clock)
    async with open_simulated_calls(SN, ATHENS, clock) as (calls, _task):
        pbx = Pbx(appdb, calls, f"127.0.0.1:{listening.getsockname()[1]}", (app.client_id, client_secret))
        state = create_api_state(
            calls=calls,
            apps=appdb.apps,
            clock=clock,
            grants=appdb.app_tokens,
            login_failures=SharedLoginFailures(appdb.failed_logins),
            webhooks=webhooks,
        )
        async with PbxApiServer(state).serve(listening, None):
            await pbx.login()
            yield pbx
    await appdb.close()


@pytest.fixture
async def pbx(tmp_path: Path) -> AsyncIterator[Pbx]:
    async with running_pbx(tmp_path) as running:
        yield running


def entry(url: str = URL, **changes: Any) -> dict[str, Any]:
    return {"url": url, "secret": SECRET, "request_method": "POST", "event_ids": [30012], **changes}


async def test_webhook_update_is_one_entry_of_the_audit_log(pbx: Pbx) -> None:
    await pbx.update(entry(), entry("https://crm.example.com/second"))
    audit_entry = (await pbx.appdb.audit.latest(1))[0]
    assert (audit_entry.actor, audit_entry.way) == ("crm", "pbx-api")
    assert [row["spec"]["url"] for row in audit_entry.after["destinations"]] == [URL, "https://crm.example.com/second"]
    assert SECRET not in str(audit_entry)


async def test_webhook_query_returns_the_settings(pbx: Pbx) -> None:
    """As the original does: 0 is all events; the secret too, because it is the app's."""
    assert await pbx.query() == {
        "enb_webhook_event_push": 1,
        "webhook_event_push_list": [],
        "webhook_event_push_timeout": 5,
        "webhook_event_push_retry_count": 5,
        "webhook_event_ids": [30012],
    }
    answer = await pbx.update(
        entry(event_ids=[0]),
        entry("https://crm.example.com/second", request_method="get", event_ids=[30011, 30012]),
        enb_webhook_event_push=1,
        webhook_event_push_timeout=7,
        webhook_event_push_retry_count=3,
    )
    assert answer == {"errcode": 0, "errmsg": "SUCCESS"}
    settings = await pbx.query()
    assert settings["webhook_event_push_list"] == [
        entry(),
        entry("https://crm.example.com/second", request_method="GET"),
    ]
    assert (settings["webhook_event_push_timeout"], settings["webhook_event_push_retry_count"]) == (7, 3)


async def test_webhook_update_creates_destinations_of_the_application(pbx: Pbx) -> None:
    """From now on, with Onhook's retry policy unless attempts are set, and without private networks."""
    pbx.calls.record_sent(details(), b"")
    await pbx.update(entry())
    (destination,) = await pbx.appdb.destinations.list_for_app(pbx.client_id)
    assert (destination.name, destination.url, destination.retry_policy, destination.allow_private) == (
        "crm webhook 1",
        URL,
        "days",
        False,
    )
    assert [stream.cursor for stream in await pbx.appdb.destinations.streams(destination.destination_id)] == [1]
    await pbx.update(entry(), webhook_event_push_retry_count=2)
    (destination,) = await pbx.appdb.destinations.list_for_app(pbx.client_id)
    assert (destination.retry_policy, destination.max_attempts) == ("original", 2)


async def test_webhook_update_app_name_with_slash_gives_a_valid_destination_name(tmp_path: Path) -> None:
    async with running_pbx(tmp_path, app_name="crm/eu") as pbx:
        assert (await pbx.update(entry()))["errcode"] == 0
        assert [destination.name for destination in await pbx.appdb.destinations.all()] == ["crm-eu webhook 1"]


async def test_webhook_update_unchanged_one_continues(pbx: Pbx) -> None:
    """With its new secret only, and with a person's permission for private networks; a missing one is removed."""
    await pbx.update(entry(), entry("https://crm.example.com/gone"))
    (destination, _) = await pbx.appdb.destinations.list_for_app(pbx.client_id)
    await pbx.appdb.destinations.change(destination.name, {"allow_private": True})
    await pbx.update(entry(secret="n" * 32))
    (changed,) = await pbx.appdb.destinations.list_for_app(pbx.client_id)
    assert (changed.destination_id, changed.allow_private) == (destination.destination_id, True)
    assert await pbx.appdb.destinations.secret_texts(changed.destination_id) == ("n" * 32,)


async def test_webhook_update_switches_off_and_on(pbx: Pbx) -> None:
    """All of them; pending events stay."""
    await pbx.update(entry(), enb_webhook_event_push=0)
    assert [destination.state for destination in await pbx.appdb.destinations.list_for_app(pbx.client_id)] == ["paused"]
    assert (await pbx.query())["enb_webhook_event_push"] == 0
    await pbx.update(entry(), enb_webhook_event_push=1)
    assert [destination.state for destination in await pbx.appdb.destinations.list_for_app(pbx.client_id)] == ["active"]


async def test_webhook_of_a_limited_application_has_its_pbxs_only(tmp_path: Path) -> None:
    """To the app they are one webhook."""
    async with running_pbx(tmp_path, pbxs=("A", "B")) as pbx:
        await pbx.update(entry())
        assert [destination.filter.sn for destination in await pbx.appdb.destinations.list_for_app(pbx.client_id)] == [
            "A",
            "B",
        ]
        assert (await pbx.query())["webhook_event_push_list"] == [entry()]
        await pbx.update()
        assert await pbx.appdb.destinations.all() == []


async def test_webhook_update_leaves_other_destinations_alone(pbx: Pbx) -> None:
    """A person's destinations are neither listed nor removed; those of a removed app are."""
    other, _ = await pbx.appdb.apps.add("other", now_us=1)
    await pbx.update(entry())
    (destination,) = await pbx.appdb.destinations.list_for_app(pbx.client_id)
    await pbx.appdb.destinations.add("mine", destination, SECRET, after=0, now_us=1)
    await pbx.appdb.destinations.add("theirs", destination, SECRET, after=0, now_us=1, app=other.client_id)
    await pbx.update()
    assert [destination.name for destination in await pbx.appdb.destinations.all()] == ["mine", "theirs"]
    await pbx.appdb.apps.remove("other")
    assert [destination.name for destination in await pbx.appdb.destinations.all()] == ["mine"]


@pytest.mark.parametrize(
    ("body", "blamed"),
    [
        ({"webhook_event_push_list": [{"url": URL}]}, "webhook_event_push_list"),
        ({"webhook_event_push_list": "x"}, "webhook_event_push_list"),
        ({"webhook_event_push_list": [entry()] * 6}, "webhook_event_push_list"),
        ({"webhook_event_push_list": [entry(event_ids=[30011])]}, "event_ids"),
        ({"webhook_event_push_list": [entry(event_ids=[])]}, "event_ids"),
        ({"webhook_event_push_list": [entry(request_method="PUT")]}, "request_method"),
        ({"webhook_event_push_list": [entry("ftp://x/")]}, "parameters"),
        ({"webhook_event_push_list": [entry("https://me:pw@x/")]}, "parameters"),
        ({"webhook_event_push_list": [entry(), entry(URL + "2", secret="short")]}, "parameters"),
        ({"webhook_event_push_timeout": 2}, "webhook_event_push_timeout"),
        ({"webhook_event_push_retry_count": 6}, "webhook_event_push_retry_count"),
    ],
)
async def test_webhook_update_with_an_error_changes_nothing(pbx: Pbx, body: Any, blamed: str) -> None:
    """40002 with the parameter, no secret shown, and the earlier settings stay."""
    await pbx.update(entry("https://crm.example.com/before"))
    answer = await pbx.ask("POST", "webhook/update", body)
    assert answer["errcode"] == 40002
    assert answer["invalid_param_list"][0]["field"] == blamed
    assert SECRET not in str(answer)
    assert [entry["url"] for entry in (await pbx.query())["webhook_event_push_list"]] == [
        "https://crm.example.com/before"
    ]


@pytest.mark.parametrize("url", ["http://10.0.0.7/", "http://2130706433/", "http://localhost./", "http://0x7f.1/"])
async def test_webhook_update_private_address_is_a_parameter_error(pbx: Pbx, url: str) -> None:
    """It would never be sent."""
    await pbx.update(entry())
    answer = await pbx.update(entry(), entry(url))
    assert (answer["errcode"], answer["invalid_param_list"][0]["field"]) == (40002, "url")
    assert "not a public address" in answer["invalid_param_list"][0]["valid_msg"]
    assert [entry["url"] for entry in (await pbx.query())["webhook_event_push_list"]] == [URL]


async def test_webhook_update_name_without_address_is_accepted_with_a_warning(
    pbx: Pbx, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await pbx.update(entry("https://crm.invalid/calls")))["errcode"] == 0
    assert "crm.invalid has no address now" in caplog.records[-1].__dict__["detail"]


async def _add_allowed_webhook(pbx: Pbx, url: str) -> None:
    """Add a webhook of the app, and the permission of a person for its private address."""
    spec = DestinationSpec(url=url, allow_private=True)
    await pbx.appdb.destinations.add("allowed", spec, SECRET, after=0, now_us=1, app=pbx.client_id)


async def test_webhook_test_is_signed_and_sent(tmp_path: Path) -> None:
    """SUCCESS where it is accepted, FAILURE where not; to a private network only where a person allows it, for all or
    for that webhook.
    """
    requests: list[tuple[str, bytes, str]] = []

    async def take(request: aiohttp.web.BaseRequest) -> aiohttp.web.Response:
        requests.append((request.method, await request.read(), request.headers[SIGNATURE_HEADER]))
        return aiohttp.web.Response(status=200 if request.path == "/good" else 500)

    server = aiohttp.web.Server(take, access_log=None)
    receiver = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}"
    webhook_members = {"secret": SECRET, "request_method": "POST"}
    async with running_pbx(tmp_path, private="127.0.0.0/8") as pbx:
        assert (await pbx.ask("GET", "webhook/test", url=f"{base}/good", **webhook_members))["errcode"] == 0
        assert (await pbx.ask("GET", "webhook/test", url=f"{base}/bad", **webhook_members))["errcode"] == -1
        assert (await pbx.ask("GET", "webhook/test", url=f"{base}/good"))["errcode"] == 40002
    assert [method for method, _, _ in requests] == ["POST", "POST"]
    assert all(is_signed_by([SECRET], body, signature) for _, body, signature in requests)
    (tmp_path / "guarded").mkdir()
    async with running_pbx(tmp_path / "guarded") as pbx:
        answer = await pbx.ask("GET", "webhook/test", url=f"{base}/good", **webhook_members)
        assert (answer["errcode"], answer["invalid_param_list"][0]["field"]) == (40002, "url")
        assert len(requests) == 2
        await _add_allowed_webhook(pbx, f"{base}/good")
        assert (await pbx.ask("GET", "webhook/test", url=f"{base}/good", **webhook_members))["errcode"] == 0
    receiver.close()
    await server.shutdown(1)


async def test_webhook_events_are_sent(tmp_path: Path) -> None:
    """Signed with the app's secret, to a private address that a person allowed."""
    async with (
        WebhookReceiver().listen() as app,
        open_delivery_harness(tmp_path) as harness,
        running_pbx(tmp_path) as pbx,
    ):
        harness.start()
        await _add_allowed_webhook(pbx, app.url)
        assert (await pbx.update(entry(app.url)))["errcode"] == 0
        call_ids = await harness.put_calls(*make_calls(3))
        await wait_until(lambda: len(app.accepted) == 3)
        assert sorted(app.accepted_call_ids()) == sorted(call_ids)
        for body, headers in zip(app.bodies, app.headers, strict=True):
            assert is_signed_by([SECRET], body, headers[SIGNATURE_HEADER])


def test_app_webhook_repr_shows_no_secret() -> None:
    webhook = msgspec.convert(entry(), AppWebhook)
    assert SECRET not in repr(webhook)
    assert SECRET not in repr(AppWebhookSettings(webhooks=(webhook,)))
