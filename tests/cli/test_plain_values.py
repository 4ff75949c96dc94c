"""Values that are converted without Typer are those that Typer would return."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.exceptions import TyperException
from typer.main import get_command

from onhook.cli.commands import CommandGroup

LINES: Sequence[Sequence[str]] = (
    ["x"],
    [""],
    [],
    ["x", "y"],
    ["--", "-5"],
    ["x", "--limit", "5"],
    *(
        ["x", f"--limit={text}"]
        for text in ("0", "007", "1001", "-1", "+5", "5.0", " 5 ", "1_000", "\u0665", "five", "")
    ),
    ["x", "--limit", "9" * 18],
    ["x", "--limit", "9" * 5000],
    *(["x", f"--format={text}"] for text in ("json", "JSON", "table", "", "xml")),
    *(["x", f"--rate={text}"] for text in ("1.5", "2", "fast")),
    ["x", "--tag", "a", "--tag", "", "--tag", "a"],
    ["x", "--share", "--no-text"],
    ["x", "--is-live"],
    ["x", "--no-is-live"],
    ["x", "--even", "4"],
    ["x", "--even", "5"],
    ["x", "--text", "a\nb"],
)


def _check_even(value: int | None) -> int | None:
    if value is not None and value % 2:
        raise typer.BadParameter("odd")
    return value


def _parse(group: typer.Typer, line: Sequence[str]) -> object:
    """Return the parsed values, or the error."""
    results: list[dict[str, Any]] = []

    @group.command()
    def command(
        name: str,
        labels: Annotated[list[str] | None, typer.Argument()] = None,
        *,
        limit: Annotated[int, typer.Option(min=1, max=10**18)] = 50,
        form: Annotated[Literal["table", "json"], typer.Option("--format")] = "table",
        rate: float | None = None,
        tag: list[str] | None = None,
        share: Annotated[bool, typer.Option("--share")] = False,
        is_live: bool | None = None,
        even: Annotated[int | None, typer.Option(callback=_check_even)] = None,
        text: Annotated[str, typer.Option("--text")] = "-",
    ) -> None:
        results.append(dict(locals()))

    try:
        get_command(group).main(list(line), prog_name="onhook", standalone_mode=False)
    except TyperException as error:
        return type(error), error.format_message(), error.exit_code
    values = [(name, type(value), value) for name, value in results[0].items() if name != "results"]
    return sorted(values, key=lambda value: value[0])


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line)[:40])
def test_plain_values_are_those_of_typer(line: Sequence[str]) -> None:
    assert _parse(CommandGroup(add_completion=False), line) == _parse(typer.Typer(add_completion=False), line)
