"""Templates, recipes, changes of members and previews of destinations, in the API and on their pages."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.console.conftest import ConsoleHarness
from tests.factories import details

PATH = "/api/v1/destinations"
CRM = {"name": "CRM", "url": "http://127.0.0.1:9/calls", "allow_private": True}


@pytest.fixture
async def browser(harness: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the browser session of an administrator."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with harness.client("", cookie_jar=jar, headers={"Sec-Fetch-Site": "same-origin"}) as session:
        async with session.post("/sign-in", data={"token": harness.admin_token}) as answer:
            assert answer.status == 200
        yield session


async def test_destination_page_adds_one_of_templates(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """Headers are lines; an invalid template is shown again with its reason."""
    form = {
        "name": "CRM", "kind": "http", "url": "http://127.0.0.1:9/v1", "allow_private": "true",
        "headers": "Authorization: Bearer {{ secret }}\nX-Key: 1", "secret": "geheimgeheim",
        "field-http-body": '{\n  "to": "{{ call.call_to }}"\n}', "field-http-id_pointer": "/id",
    }  # fmt: skip
    invalid_form = form | {"field-http-body": "{{ call.nothing }}"}
    async with browser.post("/destinations", data=invalid_form) as response:
        page = await response.text()
    assert "is undefined (body)" in page
    assert "{{ call.nothing }}</textarea>" in page
    async with browser.post("/destinations", data=form | {"headers": "no header"}) as response:
        assert "A header has no value" in await response.text()
    async with browser.post("/destinations", data=form) as response:
        page = await response.text()
    (destination,) = await harness.appdb.destinations.all()
    assert destination.headers == {"Authorization": "Bearer {{ secret }}", "X-Key": "1"}
    assert destination.fields["id_pointer"] == "/id"
    assert "geheim" not in page
    async with browser.get(f"/destinations/{destination.destination_id}") as response:
        page = await response.text()
    assert "Authorization, X-Key" in page
    assert "{{ secret }}" not in page
    assert "{{ call.call_to }}" in page


async def test_destination_page_recipe_fills_the_form(browser: aiohttp.ClientSession) -> None:
    async with browser.get("/destinations?recipe=hubspot") as answer:
        page = await answer.text()
    assert 'value="https://api.hubapi.com"' in page
    assert "Authorization: Bearer {{ secret }}</textarea>" in page
    assert "hs_call_title" in page
    assert "https://developers.hubspot.com/docs/api/crm/calls" in page
    async with browser.get("/destinations?recipe=pigeon") as answer:
        assert "There is no recipe" in await answer.text()


async def test_destination_preview_shows_a_call_with_its_changes(
    harness: ConsoleHarness, client: aiohttp.ClientSession, browser: aiohttp.ClientSession
) -> None:
    """In the API and on the page; invalid changes are refused."""
    await harness.ingest_details([details(call_id="1777287876.1")])
    async with client.post(PATH, json=CRM | {"transform": "set tenant = acme"}) as answer:
        assert answer.status == 201
    async with client.get(f"{PATH}/CRM/preview?call_id=1777287876.1") as answer:
        preview = await answer.json()
    assert (preview["call_id"], preview["is_matching"], "acme" in preview["text"]) == ("1777287876.1", True, True)
    async with client.get(f"{PATH}/CRM/preview?call_id=9") as answer:
        assert answer.status == 404
    async with client.patch(f"{PATH}/CRM", json={"transform": "drop call_id"}) as answer:
        assert (answer.status, "call_id cannot be changed" in await answer.text()) == (400, True)
    async with browser.get("/destinations/1?preview=") as answer:
        page = await answer.text()
    assert "acme" in page
    assert "1777287876.1" in page
    async with browser.get("/destinations/1?preview=9") as answer:
        assert "There is no such call" in await answer.text()
    form = {"name": "X", "url": "https://x.example.com/", "transform": "set a = {{ other }}"}
    async with browser.post("/destinations", data=form) as answer:
        assert "there is no variable other (transform, line 1)" in await answer.text()
