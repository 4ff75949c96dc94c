"""`/api/v1/apps` and `/api/v1/blocked-addresses`: for administrators only."""

import aiohttp
import pytest

from tests.console.conftest import ConsoleHarness, module_loop
from tests.factories import PBX, SN


async def test_app_is_added_and_removed(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The secret is returned once. PBXs can be given by name; an app is found by its name or client id."""
    new_app = {"name": "crm", "pbxs": [PBX], "networks": ["192.0.2.1"], "behaviour": {"time_format": "12"}}
    async with client.post("/api/v1/apps", json=new_app) as answer:
        assert answer.status == 201
        added = await answer.json()
    app, secret = added["app"], added["client_secret"]
    assert (app["pbxs"], app["networks"], app["behaviour"]["time_format"]) == ([SN], ["192.0.2.1/32"], "12")
    assert await harness.appdb.apps.find_by_credentials(app["client_id"], secret) is not None
    for name in ("crm", app["client_id"]):
        async with client.get(f"/api/v1/apps/{name}") as answer:
            assert await answer.json() == app
    async with client.get("/api/v1/apps") as answer:
        assert secret not in await answer.text()
    async with client.post("/api/v1/apps/crm/secret") as answer:
        renewed = (await answer.json())["client_secret"]
    assert await harness.appdb.apps.find_by_credentials(app["client_id"], secret) is None
    assert await harness.appdb.apps.find_by_credentials(app["client_id"], renewed) is not None
    async with client.delete("/api/v1/apps/crm") as answer:
        assert answer.status == 204
    assert await harness.appdb.apps.all() == []


async def test_app_permissions_are_changed(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """What is left out stays; control needs one PBX."""
    await harness.appdb.apps.add("crm", now_us=1, networks=["192.0.2.1"])
    async with client.patch("/api/v1/apps/crm", json={"allow_control": True}) as answer:
        assert answer.status == 400
    async with client.patch("/api/v1/apps/crm", json={"pbxs": [PBX], "allow_control": True}) as answer:
        app = await answer.json()
    assert (app["pbxs"], app["networks"], app["allow_control"]) == ([SN], ["192.0.2.1/32"], True)
    async with client.patch("/api/v1/apps/crm", json={"pbxs": []}) as answer:
        assert answer.status == 400
    async with client.patch("/api/v1/apps/crm", json={"allow_control": False, "networks": []}) as answer:
        assert ((await answer.json())["networks"], answer.status) == ([], 200)
    async with client.patch("/api/v1/apps/unknown", json={}) as answer:
        assert answer.status == 404


@module_loop
@pytest.mark.parametrize(
    ("new_app", "status"),
    [
        ({"name": ""}, 400),
        ({"name": "crm", "pbxs": ["unknown"]}, 404),
        ({"name": "crm", "networks": ["office"]}, 400),
        ({"name": "crm", "behaviour": {"time_forms": []}}, 400),
        ({"name": "crm", "behaviour": {"date_format": "YY"}}, 400),
        ({"name": "crm", "colour": "red"}, 400),
        ({"name": "crm", "allow_control": True}, 400),
    ],
)
async def test_app_invalid_is_rejected(
    module_harness: ConsoleHarness, module_client: aiohttp.ClientSession, new_app: dict[str, object], status: int
) -> None:
    """The response is a problem document, and nothing is stored."""
    async with module_client.post("/api/v1/apps", json=new_app) as answer:
        assert answer.status == status
        assert answer.content_type == "application/problem+json"
    assert await module_harness.appdb.apps.all() == []


async def test_blocked_addresses_are_listed_and_unblocked(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await harness.appdb.apps.block("192.0.2.7", "crm", harness.clock.microseconds())
    async with client.get("/api/v1/blocked-addresses") as answer:
        assert [entry["address"] for entry in (await answer.json())["data"]] == ["192.0.2.7"]
    for status in (204, 404):
        async with client.delete("/api/v1/blocked-addresses") as answer:
            assert answer.status == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/apps"),
        ("GET", "/api/v1/apps/crm"),
        ("GET", "/api/v1/blocked-addresses"),
        ("POST", "/api/v1/apps/crm/secret"),
        ("PATCH", "/api/v1/apps/crm"),
        ("DELETE", "/api/v1/apps/crm"),
        ("DELETE", "/api/v1/blocked-addresses"),
    ],
)
async def test_app_routes_reject_readers(harness: ConsoleHarness, method: str, path: str) -> None:
    token = await harness.appdb.tokens.add("wallboard", "reader", now_us=harness.clock.microseconds())
    async with harness.client(token) as reader, reader.request(method, path) as answer:
        assert answer.status == 403


async def test_apps_page_adds_changes_renews_and_removes(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The secret is shown when it is made; an error keeps what was entered."""

    async def post(path: str, **fields: str) -> str:
        async with client.post(path, data=fields) as answer:
            assert answer.status == 200
            return await answer.text()

    def secret_in(text: str) -> str:
        return text.partition("client_secret  ")[2].partition("<")[0]

    text = await post("/apps", name="crm", pbxs=PBX, networks="192.0.2.7", allow_control="true")
    app = await harness.appdb.apps.get("crm")
    assert (app.pbxs, app.networks, app.allow_control) == ((SN,), ("192.0.2.7/32",), True)
    assert await harness.appdb.apps.find_by_credentials(app.client_id, secret_in(text)) is not None
    async with client.get("/apps") as answer:
        assert secret_in(text) not in await answer.text()
    text = await post("/apps", name="other", pbxs="unknown")
    assert "There is no PBX" in text
    assert 'value="other"' in text
    assert "Only an app of one PBX" in await post("/apps/change", name="crm", pbxs="", allow_control="true")
    assert "changed" in await post("/apps/change", name="crm", pbxs="", networks="", allow_control="false")
    app = await harness.appdb.apps.get("crm")
    assert (app.pbxs, app.networks, app.allow_control) == ((), (), False)
    renewed = secret_in(await post("/apps/renew", name="crm"))
    assert await harness.appdb.apps.find_by_credentials(app.client_id, renewed) is not None
    assert "removed" in await post("/apps/remove", name="crm")
    assert await harness.appdb.apps.all() == []
    assert "There is no app" in await post("/apps/remove", name="crm")


async def test_apps_page_shows_failed_logins(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    await harness.appdb.apps.block("192.0.2.7", "some-client", harness.clock.microseconds())
    async with client.get("/apps") as answer:
        text = await answer.text()
    assert "192.0.2.7" in text
    assert "some-client" in text
