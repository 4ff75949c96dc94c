"""Recipes: what they send to a local server is what the vendors' documentation describes. None is sent to a vendor."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from aiohttp import web

from onhook.appdb.destination_spec import DestinationSpec, validate_spec
from onhook.delivery.destinations.contract import Notification
from onhook.delivery.destinations.http_request import RequestTemplates
from onhook.delivery.destinations.kinds import check_kind
from onhook.delivery.destinations.recipes import Recipe, get_recipe, load_recipes
from onhook.delivery.samples import sample_operational_event
from onhook.lib.errors import UsageError
from tests.delivery.destinations.contract import open_client
from tests.factories import STARTED_AT, record

RECIPES = load_recipes()
NAMES = {
    *("hubspot", "salesforce", "zoho", "pipedrive", "bitrix24", "freshdesk", "zendesk", "slack", "teams", "discord"),
    *("google-sheets", "n8n", "make", "home-assistant", "espocrm", "suitecrm"),
    *("pagerduty", "slack-alarms", "teams-alarms"),
}


class VendorServer:
    """Stands for a vendor: keeps the requests, and answers as documented."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.response = ""

    async def receive(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.requests.append((request.method, request.raw_path, dict(request.headers), text))
        return web.Response(text=self.response)


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    server = VendorServer()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port = runner.addresses[0][1]
    yield server
    await runner.cleanup()


def shape_of(value: Any) -> Any:
    """Return a value of JSON with the types of its members instead of their values."""
    if isinstance(value, dict):
        return {name: shape_of(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape_of(item) for item in value]
    return type(value).__name__


def local_settings(recipe: Recipe, port: int) -> dict[str, Any]:
    """Return the settings of a recipe at a server on this machine."""
    host = urlsplit(recipe.url).netloc
    url = recipe.url.replace(f"https://{host}", f"http://127.0.0.1:{port}").replace(
        f"http://{host}", f"http://127.0.0.1:{port}"
    )
    common = {"kind": "http", "notifies_of": recipe.notifies_of, "allow_private": True}
    return common | {"url": url, "headers": recipe.headers, "fields": recipe.fields}


def test_recipes_are_there() -> None:
    assert set(RECIPES) == NAMES
    with pytest.raises(UsageError, match="no recipe 'pigeon'"):
        get_recipe("pigeon")


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_a_valid_destination_with_a_source(name: str) -> None:
    recipe = RECIPES[name]
    spec = DestinationSpec(url=recipe.url, **recipe.apply({}))
    check_kind(validate_spec(spec))
    assert spec.accept_redirects is (name == "google-sheets")
    assert recipe.source.startswith("https://")
    assert recipe.title
    assert recipe.secret


def test_recipe_given_settings_replace_its_own() -> None:
    settings = get_recipe("hubspot").apply({"notifies_of": "records", "headers": {"X": "1"}, "fields": {"body": "{}"}})
    assert (settings["notifies_of"], settings["fields"]["body"]) == ("records", "{}")
    assert settings["fields"]["id_pointer"] == "/id"
    assert set(settings["headers"]) == {"Authorization", "X"}


@pytest.mark.parametrize("name", RECIPES)
async def test_recipe_sends_the_documented_request(server: VendorServer, name: str) -> None:
    """Method, path, headers, and members of the body with their types; of a later event of the call method and path."""
    recipe = RECIPES[name]
    server.response = recipe.first.response
    client = open_client(local_settings(recipe, server.port), "SECRET")
    body = (
        client.format_payload(record(call_from='Bob "B" & Co<15550100>', call_to="Alice<1001>", type="Inbound"))
        if recipe.notifies_of == "calls"
        else sample_operational_event(recipe.notifies_of, STARTED_AT)
    )
    (first_result,) = await client.send([Notification("id-1", body, 1)])
    later = Notification("id-2", body, 1, external_id=first_result.external_id)
    (later_result,) = await client.send([later])
    await client.close()
    (method, path, headers, text), (later_method, later_path, *_rest) = server.requests
    assert (first_result.outcome, later_result.outcome) == ("accepted", "accepted")
    assert (method, path) == (recipe.first.method, recipe.first.path)
    assert headers["Content-Type"] == "application/json"
    assert {header: headers[header] for header in recipe.headers} == recipe.first.headers
    assert shape_of(json.loads(text)) == shape_of(json.loads(recipe.first.body))
    if recipe.later is None:
        assert "id_pointer" not in recipe.fields
    else:
        assert first_result.external_id
        assert (later_method, later_path) == (recipe.later.method, recipe.later.path)


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.notifies_of == "alarms"])
def test_recipe_of_an_alarm_says_when_it_ends(name: str) -> None:
    """With the key of its beginning, where the other system has such."""
    alarm = msgspec.json.decode(sample_operational_event("alarms", STARTED_AT))
    templates = RequestTemplates(DestinationSpec(**local_settings(RECIPES[name], 9)))
    bodies = []
    for ended_at in (None, "2026-04-27T12:00:00Z"):
        event = msgspec.json.encode(alarm | {"alarm": alarm["alarm"] | {"ended_at": ended_at}})
        request = templates.render(event, notification_id="id-1", secret="SECRET")
        bodies.append(json.loads(request.body or b""))
    if name == "pagerduty":
        assert [body["event_action"] for body in bodies] == ["trigger", "resolve"]
        assert bodies[0]["dedup_key"] == bodies[1]["dedup_key"] == "onhook-alarm-0"
    else:
        assert ["Ended: " in json.dumps(body) for body in bodies] == [False, True]


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.notifies_of == "calls"])
@pytest.mark.parametrize("status", ["NO ANSWER", "BUSY", "FAILED", "VOICEMAIL"])
def test_recipe_makes_a_request_of_every_call(name: str, status: str) -> None:
    """Also where nearly nothing is known."""
    recipe = RECIPES[name]
    spec = DestinationSpec(**local_settings(recipe, 9))
    check_kind(spec)
    plain_call = record(call_from="1001", call_to="", status=status, type="", talk_duration=None, call_duration=None)
    templates = RequestTemplates(spec)
    request = templates.render(msgspec.json.encode(plain_call), notification_id="id-1")
    assert request.body


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.notifies_of == "calls"])
@pytest.mark.parametrize(
    ("spelling", "usual"),
    [
        ({"status": "ANSWERD"}, {"status": "ANSWERED"}),
        ({"status": "Answered"}, {"status": "ANSWERED"}),
        ({"type": "INBOUND"}, {"type": "Inbound"}),
        ({"type": "outbound"}, {"type": "Outbound"}),
    ],
)
def test_recipe_compares_status_and_type_in_any_spelling(
    name: str, spelling: dict[str, str], usual: dict[str, str]
) -> None:
    """A record has the text that its PBX sent. A recipe may pass it on; nothing else of the requests differs."""
    spec = DestinationSpec(**local_settings(RECIPES[name], 9) | {"notifies_of": "records"})
    templates = RequestTemplates(spec)
    members: list[dict[str, Any]] = [{"call_id": "1777287876.1", **changes} for changes in (spelling, usual)]
    bodies = [msgspec.json.encode(record(**changes)) for changes in members]
    requests = [templates.render(body, notification_id="id-1") for body in bodies]
    texts = [str(request.body).upper().replace("ANSWERD", "ANSWERED") for request in requests]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_stands_in_the_docs_with_its_source(name: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "http.md").read_text()
    assert f"| `{name}` | [{RECIPES[name].title}]({RECIPES[name].source}) |" in page
