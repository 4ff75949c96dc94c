"""The documents of the interfaces that others build on: OpenAPI of the API, and AsyncAPI of what destinations get.

`python -m tools.contracts DIRECTORY` writes both. Those of the last release are in `tests/contracts`; a test compares
them with those of the tree (`tools/contract_changes.py`).
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from onhook.appdb.destination_spec import NotifiesOf, PayloadFormat
from onhook.cdr.call_details import CallDetails
from onhook.console.app import create_routes
from onhook.delivery.samples import SAMPLE_SN, sample_operational_event, sample_record
from onhook.lib.versions import installed_version
from onhook.pbx.yeastar.payload import Yeastar

SAMPLE_TIME: Final = datetime(2026, 4, 27, 12, 0, tzinfo=UTC)
MINIMAL_DETAILS: Final = CallDetails(call_id="1777287876.1", time_start="2026-04-27 12:00:00", call_from="", call_to="")
"""A call of which a PBX reports nothing else."""

OPENAPI: Final = "openapi.json"
ASYNCAPI: Final = "asyncapi.json"
OPERATIONAL: Final[Sequence[NotifiesOf]] = ("alarms", "issues")

TEXTS: Final = frozenset({"description", "summary", "title", "tags", "examples", "example", "operationId"})
"""Members of the documents that are for people."""

Json = dict[str, Any]


def openapi_document() -> Json:
    """Return the document that `/schema/openapi.json` serves."""
    document: Json = msgspec.json.decode(msgspec.json.encode(create_routes().openapi_schema.to_schema()))
    return document


def asyncapi_document() -> Json:
    """Return the messages that destinations get, each with its schema, which is read off the messages themselves."""
    messages = {name: _message(name, bodies) for name, bodies in _bodies().items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Onhook",
            "version": installed_version("onhook"),
            "description": "What destinations get: a call's leg or a call in each payload format, alarms and issues.",
        },
        "channels": {
            "destination": {
                "description": "The address of a destination, such as the URL of a webhook.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": {"notify": {"action": "send", "channel": {"$ref": "#/channels/destination"}}},
        "components": {"messages": messages},
    }


def _bodies() -> Mapping[str, Sequence[bytes]]:
    """Return real messages by name: with all that can be known, and with the least."""
    dialect, record = Yeastar(), sample_record(SAMPLE_TIME)
    bodies: dict[str, Sequence[bytes]] = {
        f"call-{payload_format}": [
            dialect.format(details, SAMPLE_SN, payload_format) for details in (record, MINIMAL_DETAILS)
        ]
        for payload_format in get_args(PayloadFormat)
    }
    return bodies | {name: [sample_operational_event(name, SAMPLE_TIME)] for name in OPERATIONAL}


def _message(name: str, bodies: Sequence[bytes]) -> Json:
    values = [msgspec.json.decode(body) for body in bodies]
    return {
        "name": name,
        "contentType": "application/json",
        "payload": infer_schema(values),
        "examples": [{"payload": values[0]}],
    }


def infer_schema(values: Sequence[Any]) -> Json:
    """Return the JSON Schema of these values: members that all have are required.

    A text that is JSON itself, as `msg` is, has the schema of its content.

    >>> infer_schema([{"a": 1, "b": None}, {"a": 2}])["required"]
    ['a']
    """
    objects = [value for value in values if isinstance(value, dict)]
    schema: Json = {"type": sorted({_type_name(value) for value in values})}
    if objects and len(objects) == len(values):
        names = dict.fromkeys(name for value in objects for name in value)
        schema["properties"] = {
            name: infer_schema([value[name] for value in objects if name in value]) for name in names
        }
        schema["required"] = [name for name in names if all(name in value for value in objects)]
    if all(isinstance(value, str) and value.startswith("{") for value in values):
        schema["contentMediaType"] = "application/json"
        schema["contentSchema"] = infer_schema([msgspec.json.decode(value) for value in values])
    return schema


def _type_name(value: Any) -> str:
    """Return the type of JSON Schema.

    >>> [_type_name(value) for value in (None, True, 1, 1.5, "", [], {})]
    ['null', 'boolean', 'integer', 'number', 'string', 'array', 'object']
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    names = {int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def remove_texts(document: Any) -> Any:
    """Return a document without what is for people alone, so that a changed sentence changes no contract.

    >>> remove_texts({"type": "string", "description": "Name of the PBX"})
    {'type': 'string'}
    """
    if isinstance(document, list):
        return [remove_texts(value) for value in document]
    if not isinstance(document, dict):
        return document
    # The name of a member may be one of these words; its schema is a mapping.
    return {
        name: remove_texts(value) for name, value in document.items() if name not in TEXTS or isinstance(value, dict)
    }


def write_contracts(directory: Path) -> None:
    """Write both documents without their texts, in a form that can be compared line by line."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, document in ((OPENAPI, openapi_document()), (ASYNCAPI, asyncapi_document())):
        text = msgspec.json.format(msgspec.json.encode(remove_texts(document), order="sorted"), indent=1)
        (directory / name).write_bytes(text + b"\n")


def main() -> int:
    """Write the documents to the directory that the first argument names; return the exit code."""
    write_contracts(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
