"""Options of a destination."""

from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from onhook.appdb.destination_spec import SPEC_FIELDS
from onhook.cli.commands import CommandGroup
from onhook.cli.destination import app
from onhook.cli.destination_options import (
    with_destination_change_options,
    with_destination_options,
)


def _parse(*words: str, decorator: Callable[..., Any] = with_destination_options) -> Any:
    cli_app, passed_values = CommandGroup(), []

    @cli_app.command()
    @decorator
    async def say(spec_values: dict[str, Any]) -> None:
        passed_values.append(spec_values)

    result = CliRunner().invoke(cli_app, words)
    return passed_values[0] if passed_values else result.exception


def test_destination_options_given_ones_are_passed_by_field() -> None:
    """And no others, so that a change changes only these."""
    assert _parse() == {}
    spec_values = _parse(
        "--timeout",
        "9",
        "--retry-policy",
        "original",
        "--header",
        "X-Key: a:b",
        "--header",
        "X-Team:1",
        "--allow-private",
    )
    assert spec_values == {
        "timeout_seconds": 9.0,
        "retry_policy": "original",
        "headers": {"X-Key": "a:b", "X-Team": "1"},
        "allow_private": True,
    }
    assert set(spec_values) <= set(SPEC_FIELDS)


def test_destination_options_header_needs_a_value() -> None:
    assert "write --header 'Name: value'" in str(_parse("--header", "X-Key"))


def test_destination_options_permissions_are_revoked_by_change_only() -> None:
    """A new destination has none yet."""
    words = ("--no-private", "--no-standard", "--no-redirects")
    assert _parse(*words, decorator=with_destination_change_options) == {
        "allow_private": False,
        "accept_redirects": False,
        "with_standard_webhooks": False,
    }
    assert _parse("--allow-private", decorator=with_destination_change_options) == {"allow_private": True}
    assert isinstance(_parse(*words), SystemExit)


def test_destination_options_help_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in ("add", "change"):
        help_text = CliRunner().invoke(app, [command, "--help"]).output
        assert "--standard-webhooks" in help_text
        assert "…" not in help_text


def test_destination_options_field_of_a_kind_is_passed_among_its_fields() -> None:
    assert _parse("--kind", "mysql", "--tls", "off") == {"kind": "mysql", "fields": {"tls": "off"}}
    assert _parse("--kind", "postgresql", "--schema-name", "pbx", "--tls", "off") == {
        "kind": "postgresql",
        "fields": {"schema_name": "pbx", "tls": "off"},
    }
