"""The options by which a person says how an application is told."""

from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from onhook.appdb.destination_spec import SPEC_FIELDS
from onhook.cli.destination import app
from onhook.cli.destination_options import with_destination_change_options, with_destination_options


def _said(*words: str, has: Callable[..., Any] = with_destination_options) -> Any:
    made, handed = typer.Typer(), []

    @made.command()
    @has
    def say(spec_values: dict[str, Any]) -> None:
        handed.append(spec_values)

    result = CliRunner().invoke(made, words)
    return handed[0] if handed else result.exception


def test_what_was_given_is_handed_on_by_the_names_of_wishes() -> None:
    """And nothing else is, so that a change changes only that."""
    assert _said() == {}
    spec_values = _said(
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


def test_a_header_needs_a_value() -> None:
    """It says how it is written."""
    assert "write --header 'Name: value'" in str(_said("--header", "X-Key"))


def test_what_was_allowed_is_taken_back_by_a_change_alone() -> None:
    """A new destination is allowed nothing yet."""
    words = ("--no-private", "--no-standard")
    assert _said(*words, has=with_destination_change_options) == {
        "allow_private": False,
        "with_standard_webhooks": False,
    }
    assert _said("--allow-private", has=with_destination_change_options) == {"allow_private": True}
    assert isinstance(_said(*words), SystemExit)


def test_names_are_not_cut_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    for command in ("add", "change"):
        shown = CliRunner().invoke(app, [command, "--help"]).output
        assert "--standard-webhooks" in shown
        assert "…" not in shown
