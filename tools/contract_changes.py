"""Compare two versions of a contract: what was promised, and is broken. What was only added breaks nothing.

Invariant: pure functions of the two documents.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

METHODS: Final = ("get", "post", "put", "patch", "delete")
DEPTH_MAX: Final = 12
"""Of members within members; schemas that contain themselves end here."""

Json = Mapping[str, Any]


class Shape(NamedTuple):
    """A schema without references and alternatives: its types, its members, those that are always there, its values."""

    types: frozenset[str]
    members: Mapping[str, Json]
    required: frozenset[str]
    values: frozenset[str] | None
    """None: any value of the types."""
    items: Json | None
    content: Json | None
    """Of a text that is JSON itself."""


class Documents(NamedTuple):
    """The document of the last release, and that of now, in which references are looked up."""

    old: Json
    new: Json


def find_api_changes(old: Json, new: Json) -> list[str]:
    """Return what the OpenAPI document `new` breaks of `old`, a sentence each."""
    documents = Documents(old, new)
    return [
        f"{method.upper()} {path}: {change}"
        for path, methods in old["paths"].items()
        for method in METHODS
        if method in methods
        for change in _compare_operations(documents, methods[method], new["paths"].get(path, {}).get(method))
    ]


def find_message_changes(old: Json, new: Json) -> list[str]:
    """Return what the AsyncAPI document `new` breaks of `old`, a sentence each."""
    documents = Documents(old, new)
    new_messages = new["components"]["messages"]
    changes = []
    for name, message in old["components"]["messages"].items():
        if name not in new_messages:
            changes.append(f"{name}: the message was removed")
            continue
        breaks = _compare_read(documents, message["payload"], new_messages[name]["payload"], "payload", 0)
        changes += [f"{name}: {change}" for change in breaks]
    return changes


def _compare_operations(documents: Documents, old: Json, new: Json | None) -> Iterator[str]:
    if new is None:
        yield "the route was removed"
        return
    yield from _compare_parameters(documents, old, new)
    old_bodies, new_bodies = (operation.get("requestBody", {}).get("content", {}) for operation in (old, new))
    if new_bodies and not old_bodies and new["requestBody"].get("required"):
        yield "a body is required now"
    for media_type, body in old_bodies.items():
        if media_type not in new_bodies:
            yield f"a body of {media_type} is no longer accepted"
        else:
            yield from _compare_written(documents, body["schema"], new_bodies[media_type]["schema"], "body", 0)
    for status, response in old["responses"].items():
        if status not in new["responses"]:
            if status.startswith("2"):
                yield f"the response {status} was removed"
            continue
        new_content = new["responses"][status].get("content", {})
        for media_type, content in response.get("content", {}).items():
            if media_type not in new_content:
                yield f"the response {status} is no longer {media_type}"
            elif "schema" in content:
                new_schema = new_content[media_type]["schema"]
                yield from _compare_read(documents, content["schema"], new_schema, f"response {status}", 0)


def _compare_parameters(documents: Documents, old: Json, new: Json) -> Iterator[str]:
    old_parameters, new_parameters = (
        {(parameter["in"], parameter["name"]): parameter for parameter in operation.get("parameters", ())}
        for operation in (old, new)
    )
    for key, parameter in old_parameters.items():
        if key not in new_parameters:
            yield f"the parameter {key[1]} was removed"
        else:
            new_parameter = new_parameters[key]
            yield from _compare_written(documents, parameter["schema"], new_parameter["schema"], key[1], 0)
    for key, parameter in new_parameters.items():
        was_required = key in old_parameters and old_parameters[key].get("required", False)
        if parameter.get("required", False) and not was_required:
            yield f"the parameter {key[1]} is required now"


def _compare_read(documents: Documents, old: Json, new: Json, place: str, depth: int) -> Iterator[str]:
    """Yield what breaks a program that reads this: less than before, or something of another type."""
    before, after = simplify(documents.old, old), simplify(documents.new, new)
    if added_types := after.types - before.types:
        yield f"{place} can be {', '.join(sorted(added_types))} now"
    for name, member in before.members.items():
        if name not in after.members:
            yield f"{place}.{name} was removed"
            continue
        if name in before.required and name not in after.required:
            yield f"{place}.{name} is no longer always there"
        if depth < DEPTH_MAX:
            yield from _compare_read(documents, member, after.members[name], f"{place}.{name}", depth + 1)
    if before.items is not None and after.items is not None and depth < DEPTH_MAX:
        yield from _compare_read(documents, before.items, after.items, f"{place}[]", depth + 1)
    if before.content is not None:
        if after.content is None:
            yield f"{place} is no longer JSON"
        else:
            yield from _compare_read(documents, before.content, after.content, f"{place}()", depth + 1)


def _compare_written(documents: Documents, old: Json, new: Json, place: str, depth: int) -> Iterator[str]:
    """Yield what breaks a program that writes this: something that was accepted and is not, or is required now."""
    before, after = simplify(documents.old, old), simplify(documents.new, new)
    if after.types and (removed_types := before.types - after.types):
        yield f"{place} can no longer be {', '.join(sorted(removed_types))}"
    if before.values is not None and after.values is not None and (removed := before.values - after.values):
        yield f"{place} can no longer be {', '.join(sorted(removed))}"
    if before.values is None and after.values is not None:
        yield f"{place} is limited to {', '.join(sorted(after.values))}"
    for name in sorted(after.required - before.required):
        yield f"{place}.{name} is required now"
    for name, member in before.members.items():
        if name not in after.members:
            yield f"{place}.{name} is no longer accepted"
        elif depth < DEPTH_MAX:
            yield from _compare_written(documents, member, after.members[name], f"{place}.{name}", depth + 1)
    if before.items is not None and after.items is not None and depth < DEPTH_MAX:
        yield from _compare_written(documents, before.items, after.items, f"{place}[]", depth + 1)


def simplify(document: Json, schema: Json) -> Shape:
    """Return the shape of a schema; of alternatives, what any of them has, and requires what all objects require.

    >>> alternatives = [{"type": "null"}, {"type": "object", "properties": {"a": {}}, "required": ["a"]}]
    >>> shape = simplify({}, {"oneOf": alternatives})
    >>> sorted(shape.types), sorted(shape.members), sorted(shape.required)
    (['null', 'object'], ['a'], ['a'])
    """
    shapes = [_read_shape(alternative) for alternative in _iter_alternatives(document, schema)]
    objects = [shape for shape in shapes if shape.members]
    values = [shape.values for shape in shapes if shape.types != {"null"}]
    return Shape(
        types=frozenset().union(*(shape.types for shape in shapes)),
        members={name: member for shape in reversed(objects) for name, member in shape.members.items()},
        required=frozenset.intersection(*(shape.required for shape in objects)) if objects else frozenset(),
        values=None if not values or None in values else frozenset().union(*filter(None, values)),
        items=next((shape.items for shape in shapes if shape.items is not None), None),
        content=next((shape.content for shape in shapes if shape.content is not None), None),
    )


def _iter_alternatives(document: Json, schema: Json) -> Iterator[Json]:
    if "$ref" in schema:
        target: Any = document
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        yield from _iter_alternatives(document, target)
        return
    alternatives = [alternative for word in ("oneOf", "anyOf") for alternative in schema.get(word, ())]
    if not alternatives:
        yield schema
    for alternative in alternatives:
        yield from _iter_alternatives(document, alternative)


def _read_shape(schema: Json) -> Shape:
    types = schema.get("type", [])
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return Shape(
        types=frozenset([types] if isinstance(types, str) else types),
        members=schema.get("properties", {}),
        required=frozenset(schema.get("required", ())),
        values=None if values is None else frozenset(map(str, values)),
        items=schema.get("items"),
        content=schema.get("contentSchema"),
    )
