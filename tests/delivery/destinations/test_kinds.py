"""The table of kinds, and what derives from it."""

import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from onhook.appdb.destination_spec import (
    DestinationSettings,
    DestinationSpec,
    FieldValue,
    Kind,
    field_meta,
    validate_spec,
)
from onhook.config import Config
from onhook.delivery.destinations.kinds import KINDS, check_kind, kind_fields
from onhook.delivery.destinations.opening import destination_opener, load_kind
from onhook.lib.errors import UsageError

REQUIRED_FIELDS: dict[str, dict[str, FieldValue]] = {
    "email": {"mail_to": "calls@example.com", "mail_from": "Onhook <onhook@example.com>"}
}
"""Fields without which a kind has no destination."""


def test_kinds_table_has_each_kind() -> None:
    assert tuple(KINDS) == get_args(Kind)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_kinds_each_opens_at_its_example(kind: Kind) -> None:
    check_kind(DestinationSpec(kind=kind, url=KINDS[kind].url_example, fields=REQUIRED_FIELDS.get(kind, {})))
    assert callable(load_kind(KINDS[kind]))


@pytest.mark.parametrize("kind", ["s3", "clickhouse", "otlp", "odoo"])
@pytest.mark.parametrize("suffix", ["?database=calls", "#calls"])
def test_kinds_service_has_no_query(kind: Kind, suffix: str) -> None:
    """It would be left out of the requests, or out of their signatures."""
    with pytest.raises(UsageError) as error:
        check_kind(DestinationSpec(kind=kind, url=KINDS[kind].url_example + suffix))
    assert error.value.location == "url"


@pytest.mark.parametrize("kind", get_args(Kind))
def test_kinds_docs_have_each_with_its_example(kind: Kind) -> None:
    page = (Path(__file__).parents[3] / "docs" / "destinations.md").read_text()
    assert f"| `{kind}` | `{KINDS[kind].url_example}` |" in page


def test_kinds_fields_have_descriptions_and_names_of_their_own() -> None:
    common_names = set(DestinationSettings.__struct_fields__)
    fields = [field for _kind, field in kind_fields()]
    assert all(field_meta(field).description and field.default is not msgspec.NODEFAULT for field in fields)
    assert not common_names & {field.name for field in fields}


def test_kinds_missing_library_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """And stops no other kind."""
    monkeypatch.setitem(sys.modules, "pg8000", None)
    for name in [name for name in sys.modules if name.endswith("destinations.postgresql")]:
        monkeypatch.delitem(sys.modules, name)
    open_destination = destination_opener(Config())
    with pytest.raises(UsageError, match="PostgreSQL need the library pg8000"):
        open_destination(DestinationSpec(kind="postgresql", url="postgresql://db.example.com/calls"), ())


@pytest.mark.parametrize("kind", [kind for kind, entry in KINDS.items() if entry.extra])
def test_kinds_missing_library_of_a_broker_is_a_sentence(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    library = KINDS[kind].library
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, KINDS[kind].module, raising=False)
    with pytest.raises(UsageError, match=f"need the library {library}") as error:
        destination_opener(Config())(DestinationSpec(kind=kind, url=KINDS[kind].url_example), ())
    assert f"the extra {kind}" in error.value.hint


def test_kinds_other_missing_module_is_an_error() -> None:
    """An error of Onhook's own is no missing library."""
    kind = msgspec.structs.replace(KINDS["postgresql"], module="onhook.delivery.destinations.missing")
    with pytest.raises(ModuleNotFoundError):
        load_kind(kind)


@pytest.mark.parametrize(
    "changes", [{"method": "GET"}, {"headers": {"X-Key": "a"}}, {"payload_format": "flat"}, {"proxy": "none"}]
)
def test_kinds_field_of_webhooks_is_refused_elsewhere(changes: dict[str, Any]) -> None:
    from_webhooks = DestinationSpec(kind="postgresql", url="postgresql://db.example.com/calls", **changes)
    with pytest.raises(UsageError, match="for webhooks only"):
        validate_spec(from_webhooks)


@pytest.mark.parametrize(
    "url", ["postgresql://u:geheim@db.example.com/", "no url", "db.example.com", "postgresql://[/"]
)
def test_kinds_address_with_a_password_or_without_a_scheme_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as error:
        validate_spec(DestinationSpec(kind="postgresql", url=url))
    assert "geheim" not in str(error.value)
