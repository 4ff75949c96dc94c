"""What others build on keeps its promises: the API and the messages have what they had in the last release."""

import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tools.contract_changes import find_api_changes, find_message_changes
from tools.contracts import ASYNCAPI, OPENAPI, asyncapi_document, openapi_document

CONTRACTS = Path(__file__).parent / "contracts"
"""Of the last release; until the first one, of the commit that wrote them."""

CALLS = "/api/v1/calls"


def _read(name: str) -> Any:
    return msgspec.json.decode((CONTRACTS / name).read_bytes())


def test_contract_of_the_api_is_kept() -> None:
    """Before the first release, a change that is meant is written by `python -m tools.contracts tests/contracts`."""
    assert find_api_changes(_read(OPENAPI), openapi_document()) == []


def test_contract_of_messages_is_kept() -> None:
    assert find_message_changes(_read(ASYNCAPI), asyncapi_document()) == []


@pytest.fixture
def changed_api() -> Any:
    return copy.deepcopy(_read(OPENAPI))


def test_contract_changes_of_the_api_are_all_found(changed_api: Any) -> None:
    calls = changed_api["paths"][CALLS]["get"]
    calls["parameters"] = [parameter for parameter in calls["parameters"] if parameter["name"] != "zone"]
    calls["parameters"].append({"in": "query", "name": "tenant", "required": True, "schema": {"type": "string"}})
    del changed_api["paths"]["/api/v1/audit"]
    schemas = changed_api["components"]["schemas"]
    del schemas["Call"]["properties"]["call_id"]
    schemas["Call"]["required"] = [name for name in schemas["Call"]["required"] if name != "legs"]
    changes = find_api_changes(_read(OPENAPI), changed_api)
    assert f"GET {CALLS}: the parameter zone was removed" in changes
    assert f"GET {CALLS}: the parameter tenant is required now" in changes
    assert "GET /api/v1/audit: the route was removed" in changes
    assert f"GET {CALLS}: response 200.data[].call_id was removed" in changes
    assert f"GET {CALLS}: response 200.data[].legs is no longer always there" in changes


def test_contract_changes_of_a_body_are_all_found() -> None:
    def document(schema: Any) -> Any:
        operation = {"requestBody": {"content": {"application/json": {"schema": schema}}}, "responses": {}}
        return {"paths": {"/pbxs": {"post": operation}}}

    old: Any = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "kind": {"type": "string", "enum": ["yeastar", "asterisk"]},
            "days": {"oneOf": [{"type": "integer"}, {"type": "null"}]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "note": {"type": "string"},
        },
    }
    new = {
        "type": "object",
        "required": ["name", "sn"],
        "properties": {
            "name": {"type": "string", "const": "Office"},
            "sn": {"type": "string"},
            "kind": {"type": "string", "enum": ["yeastar", "3cx"]},
            "days": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "integer"}},
        },
    }
    assert find_api_changes(document(old), document(new)) == [
        "POST /pbxs: body.sn is required now",
        "POST /pbxs: body.name is limited to Office",
        "POST /pbxs: body.kind can no longer be asterisk",
        "POST /pbxs: body.days can no longer be null",
        "POST /pbxs: body.tags[] can no longer be string",
        "POST /pbxs: body.note is no longer accepted",
    ]
    longer = copy.deepcopy(old)
    longer["properties"]["more"] = {"type": "string"}
    assert find_api_changes(document(old), document(longer)) == []


def test_contract_changes_of_messages_are_all_found() -> None:
    changed = copy.deepcopy(_read(ASYNCAPI))
    messages = changed["components"]["messages"]
    content = messages["call-p-2026"]["payload"]["properties"]["msg"]["contentSchema"]
    del content["properties"]["call_id"]
    content["properties"]["status"]["type"] = ["integer"]
    del messages["call-p-2025"]["payload"]["properties"]["msg"]["contentSchema"]
    del messages["issues"]
    assert set(find_message_changes(_read(ASYNCAPI), changed)) == {
        "call-p-2026: payload.msg().call_id was removed",
        "call-p-2026: payload.msg().status can be integer now",
        "call-p-2025: payload.msg is no longer JSON",
        "issues: the message was removed",
    }
