"""The options by which a person says how an application is told."""

from typing import Any

import typer
from typer.testing import CliRunner

from onhook.cli.wishes import with_wishes
from onhook.settings.wishes import WISH_NAMES


def _said(*words: str) -> Any:
    app, handed = typer.Typer(), []

    @app.command()
    @with_wishes
    def say(wishes: dict[str, Any]) -> None:
        handed.append(wishes)

    result = CliRunner().invoke(app, words)
    return handed[0] if handed else result.exception


def test_what_was_given_is_handed_on_by_the_names_of_wishes() -> None:
    """And nothing else is, so that a change changes only that."""
    assert _said() == {}
    wishes = _said(
        "--timeout", "9", "--per", "call", "--header", "X-Key: a:b", "--header", "X-Team:1", "--allow-private"
    )
    assert wishes == {
        "timeout_seconds": 9.0,
        "per": "call",
        "headers": {"X-Key": "a:b", "X-Team": "1"},
        "allows_private": True,
    }
    assert set(wishes) <= set(WISH_NAMES)


def test_a_header_needs_a_value() -> None:
    """It says how it is written."""
    assert "write --header 'Name: value'" in str(_said("--header", "X-Key"))
