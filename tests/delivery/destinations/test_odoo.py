"""Odoo: against a local server with its documented interfaces, JSON-RPC and JSON-2; no real Odoo could be had."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from onhook.cdr.record import Record
from onhook.delivery.destinations import odoo
from onhook.delivery.destinations.contract import CallReplacement, DeliveryResult, Notification
from onhook.delivery.destinations.odoo_note import format_note, format_title
from onhook.delivery.record_transform import RecordTransform
from onhook.lib.errors import Unavailable
from tests.delivery.destinations.contract import DEAD_DESTINATION_TEST, REFUSED, DestinationContract, open_client
from tests.delivery.destinations.deletion_contract import DeletionContract
from tests.delivery.destinations.http_server import HttpServer, ReceivedRequest
from tests.delivery.harness import DeliveryHarness, make_calls
from tests.factories import record
from tests.waiting import polls, wait_until

CONSOLE_URL = "https://calls.example.com"
FIELDS = {
    "database": "mycompany",
    "login": "bot@example.com",
    "country": "DE",
    "new_leads": True,
    "console_url": CONSOLE_URL,
}
KEY = "0123456789abcdefghijABCDEFGHIJ01"
WRONG_ANSWERS: list[Any] = [7, "text", [7], [{}], [{"id": "x"}], {"phone": 7}, None]


class OdooServer(HttpServer):
    """See `contract.KindServer`: models with records, a domain of conditions, and both interfaces."""

    kind = "odoo"
    fields = FIELDS
    phone_fields: tuple[str, ...] = ("phone", "mobile")

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, list[dict[str, Any]]] = {
            "ir.model": [{"id": 71, "model": "res.partner"}, {"id": 72, "model": "crm.lead"}],
            "mail.activity.type": [{"id": 3, "category": "phonecall"}],
            "res.partner": [],
        }
        self.last_ids: dict[str, int] = {}
        self.is_deletion_forbidden = False

    def dead_settings(self, port: int) -> dict[str, Any]:
        """Return settings with which the internal calls of the suite come from outside."""
        return super().dead_settings(port) | {"transform": "set type = Inbound\nset call_from = 030901820"}

    def has_text(self, text: str) -> bool:
        """Return whether a note has it, or an activity."""
        stored = [record for model in ("mail.message", "mail.activity") for record in self.records(model)]
        return text in json.dumps(stored)

    def forbid_deletions(self) -> None:
        self.is_deletion_forbidden = True

    def allow_deletions(self) -> None:
        self.is_deletion_forbidden = False

    def records(self, model: str) -> list[dict[str, Any]]:
        return self.models.setdefault(model, [])

    def durations(self) -> dict[str, int]:
        talk_durations = {}
        for note in self.records("mail.message"):
            call_id = re.search(r"/calls/[^/]+/([^\"]+)", note["body"])
            talk = re.search(r"Talk: (\d+) s", note["body"])
            assert call_id is not None
            assert talk is not None
            talk_durations[unquote(call_id[1])] = int(talk[1])
        return talk_durations

    def answer(self, request: ReceivedRequest) -> tuple[int, bytes]:
        body = json.loads(request.body)
        if request.path == "/jsonrpc":
            params = body["params"]
            if params["service"] == "common":
                database, login, key, _environment = params["args"]
                is_known = (database, login, key) == (FIELDS["database"], FIELDS["login"], KEY)
                return self._rpc({"result": 2 if is_known else False})
            _database, user_id, key, model, method, positional, arguments = params["args"]
            assert (user_id, key) == (2, KEY)
            try:
                return self._rpc({"result": self._run(model, method, *positional, **arguments)})
            except ValueError as error:
                data = {"name": "odoo.exceptions.ValidationError", "message": str(error)}
                return self._rpc({"error": {"code": 200, "message": "Odoo Server Error", "data": data}})
        _empty, _json, _version, model, method = request.path.split("/")
        if request.headers["Authorization"] != f"bearer {KEY}":
            return 401, b'{"name": "werkzeug.exceptions.Unauthorized", "message": "Invalid apikey"}'
        ids = [body.pop("ids")] if "ids" in body else []
        try:
            return 200, json.dumps(self._run(model, method, *ids, **body)).encode()
        except ValueError as error:
            return 422, json.dumps({"name": "odoo.exceptions.ValidationError", "message": str(error)}).encode()

    def _rpc(self, answer: dict[str, Any]) -> tuple[int, bytes]:
        return 200, json.dumps({"jsonrpc": "2.0", "id": 1, **answer}).encode()

    def _run(self, model: str, method: str, ids: list[int] | None = None, **arguments: Any) -> Any:
        records = self.records(model)
        if method == "fields_get":
            return {name: {"type": "char"} for name in arguments["allfields"] if name in self.phone_fields}
        if method == "search_read":
            selected_records = [item for item in records if matches(item, arguments["domain"])]
            return [{name: item.get(name, False) for name in arguments["fields"]} for item in selected_records][
                : arguments["limit"]
            ]
        if method == "write":
            for item in records:
                if item["id"] in (ids or ()):
                    item.update(arguments["vals"])
            return True
        if method == "unlink":
            if self.is_deletion_forbidden:
                raise ValueError("not allowed")
            records[:] = [item for item in records if item["id"] not in (ids or ())]
            return True
        assert method == "create"
        for values in arguments["vals_list"]:
            if self.is_refusing and "6666" in values.get("body", ""):
                raise ValueError("too long")
            names = {item["id"]: item["model"] for item in self.records("ir.model")}
            related = {"res_model": names[values["res_model_id"]]} if "res_model_id" in values else {}
            self.last_ids[model] = self.last_ids.get(model, len(records)) + 1
            records.append({"id": self.last_ids[model], **values, **related})
        return [item["id"] for item in records[-len(arguments["vals_list"]) :]]


def matches(item: dict[str, Any], domain: list[Any]) -> bool:
    """Return whether a record matches a domain: conditions behind their operators, or all of them hold."""
    results: list[bool] = []
    for element in reversed(domain):
        if element == "|":
            results.append(any((results.pop(), results.pop())))
        elif element == "&":
            results.append(all((results.pop(), results.pop())))
        else:
            name, operator, value = element
            results.append(holds(item.get(name) or "", operator, value))
    return all(results)


def holds(member: Any, operator: str, value: Any) -> bool:
    if operator == "=":
        return bool(member == value)
    if operator == "=like":
        return str(member).startswith(value.removesuffix("%"))
    if operator == ">":
        return bool(member > value)
    assert operator == "ilike"
    return re.search(".*".join(map(re.escape, value.split("%"))), member) is not None


@pytest.fixture
async def server() -> AsyncIterator[OdooServer]:
    server = OdooServer()
    await server.start()
    yield server
    await server.stop()


class TestOdoo(DestinationContract, DeletionContract):
    """The promises of every kind, and of those that keep calls; one call is sent at a time, with some requests each."""

    slow_tests = (DEAD_DESTINATION_TEST, "test_contract_each_record_arrives")
    many_calls = 12


@pytest.mark.parametrize("notifies_of", ["calls", "records"])
async def test_odoo_activities_of_a_call_follow_deletions(server: OdooServer, notifies_of: str) -> None:
    """Those with the title of a note; others of the contact stay, and so do contacts and leads, which are Odoo's."""
    server.models["res.partner"] = [{"id": 9, "phone": "+49 30 901820"}]
    settings = settings_of(server, activity="all") | {"notifies_of": notifies_of}
    sources = [
        inbound(call_id=f"1777287876.{number}", record_id=f"r{number}", call_to=f"100{number}") for number in range(3)
    ]
    for source in sources:
        await send(settings, source)
    client: Any = open_client(settings, KEY)
    erased = msgspec.structs.replace(sources[1], record_id="other", call_from="erased", talk_duration=9)
    replacements = [
        CallReplacement(source.sn, source.call_id, bodies)
        for source, bodies in ((sources[0], []), (sources[1], [client.format_payload(erased)]))
    ]
    for _repeat in range(2):
        await client.rewrite_calls(replacements)
    await client.close()
    titles = [activity["summary"] for activity in server.records("mail.activity")]
    assert titles == [format_title(source) for source in (erased, sources[2])]
    assert [note["body"] for note in server.records("mail.message")] == [
        format_note(source, CONSOLE_URL) for source in (erased, sources[2])
    ]
    assert [contact["id"] for contact in server.records("res.partner")] == [9]


async def test_odoo_activities_of_an_earlier_setting_follow_deletions(server: OdooServer) -> None:
    server.models["res.partner"] = [{"id": 9, "phone": "+49 30 901820"}]
    source = inbound()
    await send(settings_of(server, activity="all"), source)
    assert len(server.records("mail.activity")) == 1
    client: Any = open_client(settings_of(server, activity="none"), KEY)
    await client.rewrite_calls([CallReplacement(source.sn, source.call_id, [])])
    await client.close()
    assert (server.records("mail.activity"), server.records("mail.message")) == ([], [])


async def test_odoo_deletion_has_the_time_out_for_each_request(server: OdooServer) -> None:
    """A call has several requests, which together may take longer."""
    server.models["res.partner"] = [{"id": 9, "phone": "+49 30 901820"}]
    source = inbound()
    await send(settings_of(server), source)
    client: Any = open_client(settings_of(server) | {"timeout_seconds": 1.0}, KEY)
    replacements = [CallReplacement(source.sn, source.call_id, [])]
    server.requests.clear()
    try:
        server.delay_seconds = 0.6
        await client.rewrite_calls(replacements)
        assert (server.records("mail.message"), len(server.requests)) == ([], 4)
        server.delay_seconds = 1.5
        with pytest.raises(Unavailable, match="no response within 1 seconds"):
            await client.rewrite_calls(replacements)
    finally:
        await client.close()


async def test_odoo_follows_deletions_from_the_number_in_the_application_database(
    server: OdooServer, harness: DeliveryHarness
) -> None:
    """There is no place for it in Odoo; a destination without calls begins with the store."""
    await harness.forget(*make_calls(1))
    await harness.add_destination("kind", **server.settings)
    positions = harness.appdb.store_positions
    harness.start()
    await wait_until(await positions.follower(1) == harness.position async for _ in polls())
    assert server.requests == []


@pytest.mark.parametrize(("similar_count", "outcome"), [(25, "accepted"), (30, "rejected")])
async def test_odoo_contact_behind_many_with_similar_numbers_is_found_or_the_call_says_why_not(
    server: OdooServer, monkeypatch: pytest.MonkeyPatch, similar_count: int, outcome: str
) -> None:
    """They end with the same digits: those of another area, or of an exchange with extensions."""
    monkeypatch.setattr(odoo, "CANDIDATES_MAX", 10)
    monkeypatch.setattr(odoo, "CANDIDATE_PAGES_MAX", 3)
    contacts = [{"id": number, "phone": f"+49 {1_000 + number} 0901820"} for number in range(1, similar_count + 1)]
    server.models["res.partner"] = [*contacts, {"id": similar_count + 1, "phone": "+49 30 901820"}]
    result = await send(settings_of(server), record(type="Inbound", call_from="030901820"))
    assert result.outcome == outcome
    if outcome == "accepted":
        assert server.records("mail.message")[0]["res_id"] == similar_count + 1
    else:
        assert result.detail == "more than 30 records of res.partner end with the digits of this number"


def settings_of(server: OdooServer, **fields: Any) -> dict[str, Any]:
    return server.settings | {"fields": FIELDS | fields}


async def send(settings: dict[str, Any], source: Record, key: str = KEY) -> DeliveryResult:
    client = open_client(settings, key)
    (result,) = await client.send([Notification("id", client.format_payload(source), 1)])
    await client.close()
    return result


def inbound(number: str = "030901820", **changes: Any) -> Record:
    return record(type="Inbound", call_from=f"Shop<{number}>", **changes)


@pytest.mark.parametrize("interface", ["json-rpc", "json-2"])
@pytest.mark.parametrize("notation", ["+49 30 90 18-20", "(030) 90 18 20", "0049/30/901820", "+4930901820"])
async def test_odoo_note_is_on_the_contact_with_the_number_in_any_notation(
    server: OdooServer, interface: str, notation: str
) -> None:
    server.models["res.partner"] = [
        {"id": 8, "phone": "+43 30 901820"},
        {"id": 9, "phone": False, "mobile": notation},
    ]
    result = await send(settings_of(server, interface=interface), inbound())
    assert (result.outcome, result.detail) == ("accepted", "note added to res.partner 9")
    (note,) = server.records("mail.message")
    assert (note["model"], note["res_id"]) == ("res.partner", 9)


async def test_odoo_later_event_and_repeat_change_the_note(server: OdooServer) -> None:
    server.models["res.partner"] = [{"id": 9, "phone": "030 901820"}]
    source = inbound(talk_duration=5)
    for talk_duration in (5, 5, 7):
        await send(settings_of(server, activity="all"), msgspec.structs.replace(source, talk_duration=talk_duration))
    assert list(server.durations().values()) == [7]
    assert len(server.records("mail.activity")) == 1


@pytest.mark.parametrize("failed_request", range(1, 13))
async def test_odoo_failure_of_each_request_adds_each_thing_once(server: OdooServer, failed_request: int) -> None:
    """Also where it had its effect, and its response was lost."""
    settings, source = settings_of(server, activity="missed"), inbound(status="NO ANSWER")
    original = server.answer

    def answer(request: ReceivedRequest) -> tuple[int, bytes]:
        response = original(request)
        return (502, b"") if len(server.requests) == failed_request else response

    server.answer = answer  # type: ignore[method-assign]
    await send(settings, source)
    assert (await send(settings, source)).outcome == "accepted"
    assert [len(server.records(name)) for name in ("crm.lead", "mail.activity", "mail.message")] == [1, 1, 1]


async def test_odoo_unknown_number_has_one_lead_for_all_its_calls(server: OdooServer) -> None:
    for number in ("030901820", "+49 30 901820"):
        await send(server.settings, inbound(number))
    (lead,) = server.records("crm.lead")
    assert lead["phone"] == "+4930901820"
    assert [note["res_id"] for note in server.records("mail.message")] == [lead["id"]] * 2


@pytest.mark.parametrize("source", [inbound("1001"), record(type="Internal"), inbound("")])
async def test_odoo_call_without_an_external_number_adds_nothing(server: OdooServer, source: Record) -> None:
    result = await send(server.settings, source)
    assert (result.outcome, "nothing added" in result.detail) == ("accepted", True)
    assert server.records("mail.message") == []


async def test_odoo_missed_call_alone_has_an_activity(server: OdooServer) -> None:
    for status in ("ANSWERED", "Answerd", "ANSWERD", "NO ANSWER"):
        await send(settings_of(server, activity="missed"), inbound(status=status))
    (activity,) = server.records("mail.activity")
    assert (activity["res_model_id"], activity["activity_type_id"]) == (72, 3)
    assert "NO ANSWER" in activity["summary"]


@pytest.mark.parametrize("interface", ["json-rpc", "json-2"])
async def test_odoo_wrong_key_is_retried_and_not_shown(server: OdooServer, interface: str) -> None:
    result = await send(settings_of(server, interface=interface), inbound(), "geheimgeheim")
    assert result.outcome == "unreachable"
    assert "geheim" not in repr(result)


@pytest.mark.parametrize("interface", ["json-rpc", "json-2"])
@pytest.mark.parametrize(
    "answer",
    [
        *WRONG_ANSWERS,
        *({"result": answer} for answer in WRONG_ANSWERS),
        *({"error": "no"}, {"error": {"data": [7]}}),
        "[" * 100_000,
    ],
    ids=lambda answer: repr(answer)[:30],
)
async def test_odoo_other_answer_is_a_result(server: OdooServer, interface: str, answer: Any) -> None:
    """Whichever request has it."""
    body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
    settings, source = settings_of(server, interface=interface, activity="missed"), inbound(status="NO ANSWER")
    original = server.answer
    for number in range(1, 8):
        server.requests.clear()
        server.answer = lambda request, number=number: (  # type: ignore[method-assign, misc]
            (200, body) if len(server.requests) == number else original(request)
        )
        assert (await send(settings, source)).detail
        server.models |= {"mail.message": [], "mail.activity": [], "crm.lead": []}


@pytest.mark.parametrize("mask", ["last3", "hash"])
async def test_odoo_masked_number_adds_nothing(server: OdooServer, mask: str) -> None:
    """Although what is left of it may be a number of another contact."""
    server.models["res.partner"] = [{"id": 9, "phone": "+49 30 901"}]
    settings = server.settings | {"transform": f"mask call_from {mask}"}
    masked = RecordTransform(settings["transform"]).apply(inbound("+49 30 901820"), b"key")
    result = await send(settings, masked)
    assert (result.outcome, "nothing added" in result.detail) == ("accepted", True)
    assert (server.records("mail.message"), server.records("crm.lead")) == ([], [])


async def test_odoo_19_has_one_field_of_a_number(server: OdooServer) -> None:
    server.phone_fields = ("phone",)
    server.models["res.partner"] = [{"id": 9, "phone": "030 901820"}]
    assert (await send(server.settings, inbound())).detail == "note added to res.partner 9"


def test_odoo_note_escapes_what_callers_are_named() -> None:
    source = inbound(recording="a&b.wav")
    note = format_note(msgspec.structs.replace(source, call_from="<script>x</script><030901820>"), CONSOLE_URL)
    assert "<script>" not in note
    assert f'href="{CONSOLE_URL}/calls/' in note
    assert "Recording a&amp;b.wav" in note
    assert REFUSED not in note
