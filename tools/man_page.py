"""The man page onhook(1), made from the commands themselves: what `--help` says, and a variable for each setting."""

import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import typer
from rich.text import Text

from onhook.cli.main import COMMANDS, app, load_command
from onhook.config import ENVIRONMENT_PREFIX, Config
from onhook.lib.clock import SystemClock
from onhook.lib.versions import installed_version

EXIT_CODES: Final = (
    ("0", "Success."),
    ("1", "Failure."),
    ("2", "Usage error: a wrong option, setting or filter."),
    ("130", "Stopped by Ctrl-C."),
)
FILES: Final = (
    ("onhook.toml", "Settings, in the working directory."),
    ("onhook-data/", "The data directory, unless --data or ONHOOK_DATA names another one."),
)
_ESCAPES: Final = {"\\": "\\e", "-": "\\-"}


def render(version: str, epoch: int) -> bytes:
    """Return the page in the format of man(7); `epoch` is its date in Unix seconds."""
    date = datetime.fromtimestamp(epoch, UTC).date()
    root = typer.main.get_command(app)
    lines = [
        f'.TH ONHOOK 1 "{date}" "onhook {escape(version)}" "Onhook"',
        ".SH NAME",
        f"onhook \\- {escape(_sentence(root.help or '').rstrip('.'))}",
        ".SH SYNOPSIS",
        "\\fBonhook\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR]...",
        ".SH DESCRIPTION",
        *_paragraphs(root.help or ""),
        "Each command works with and without a running server.",
        ".SH OPTIONS",
        *_parameters(root),
        ".SH COMMANDS",
    ]
    for name in COMMANDS:
        lines += _command(f"onhook {name}", load_command(name))
    lines += [".SH EXIT STATUS", *_pairs(EXIT_CODES), ".SH ENVIRONMENT"]
    for field in Config.__struct_fields__:
        lines += _pair(f"{ENVIRONMENT_PREFIX}{field.upper()}", f"The setting {field}.")
    lines += [".SH FILES", *_pairs(FILES)]
    return ("\n".join(lines) + "\n").encode()


def _command(path: str, command: Any) -> Iterator[str]:
    """Yield the section of a command, and those of its subcommands."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    words = [f"\\fB{escape(path)}\\fR", *(f"\\fI{escape(_metavar(command, argument))}\\fR" for argument in arguments)]
    yield f'.SS "{" ".join(words)}"'
    yield from _paragraphs(command.help or "")
    yield from _parameters(command)
    if command.epilog:
        yield ".PP"
        yield escape(command.epilog)
    for name, subcommand in getattr(command, "commands", {}).items():
        yield from _command(f"{path} {name}", subcommand)


def _parameters(command: Any) -> Iterator[str]:
    """Yield arguments and options, but those that a page does not need."""
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
            continue
        metavar = _metavar(command, parameter)
        if parameter.param_type_name == "argument":
            yield from _pair(metavar, _sentence(parameter.help or ""), font="I")
            continue
        names = ", ".join(f"\\fB{escape(name)}\\fR" for name in [*parameter.opts, *parameter.secondary_opts])
        value = "" if parameter.is_flag else f" \\fI{escape(metavar)}\\fR"
        yield from (".TP", f"{names}{value}", escape(_sentence(parameter.help or "")))


def _metavar(command: Any, parameter: Any) -> str:
    """Return how the help writes a value: `FILE`, or the choices."""
    return str(parameter.metavar or parameter.display_type(typer.Context(command)))


def _pairs(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    for term, text in pairs:
        yield from _pair(term, text)


def _pair(term: str, text: str, font: str = "B") -> tuple[str, str, str]:
    return ".TP", f"\\f{font}{escape(term)}\\fR", escape(text)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        yield ".PP"
        yield escape(_sentence(paragraph))


def _sentence(text: str) -> str:
    """Return a help text in one line, with a full stop, without the markup of Rich.

    >>> _sentence(r"Address of the intake [dim]\\[default: 0.0.0.0:30012][/dim]")
    'Address of the intake [default: 0.0.0.0:30012].'
    """
    plain = " ".join(Text.from_markup(text).plain.split())
    return plain if plain.endswith((".", "?")) else f"{plain}."


def escape(text: str) -> str:
    r"""Return a text as roff shows it unchanged.

    >>> print(escape(".5 of C:\\calls, --data"))
    \&.5 of C:\ecalls, \-\-data
    >>> print(escape("1 – 2"))
    1 \[u2013] 2
    """
    escaped = "".join(_ESCAPES.get(c) or (c if c.isascii() else f"\\[u{ord(c):04X}]") for c in text)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def main() -> int:
    """Write the page to the file that the first argument names; return the exit code."""
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(render(installed_version("onhook"), int(SystemClock().now().timestamp())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
