"""The command `onhook`: finds the command, and prints errors in one sentence.

Exit codes: 0 success, 1 failure, 2 usage error, 130 stopped by Ctrl-C.
"""

import importlib
import io
import os
import re
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from onhook.config import read_config
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _
from onhook.lib.text import replace_control_characters

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "serve": "serve",
        "intake": "intake",
        "pbx": "pbx",
        "asterisk": "asterisk",
        "app": "app",
        "calls": "calls",
        "records": "records",
        "export": "export",
        "sql": "sql",
        "destination": "destination",
        "backfill": "backfill",
        "import": "import_file",
        "import-events": "import_events",
        "export-events": "export_events",
        "coverage": "coverage",
        "quarantine": "quarantine",
        "simulate": "simulate",
        "doctor": "doctor",
        "rebuild": "rebuild",
        "backup": "backup",
        "restore": "restore",
        "token": "token",
        "version": "version",
    }
)
"""Each command and its module, which is imported when the command is used: `serve` needs no store."""

_VALUE_ERROR_TEXTS = (
    (r"valid integer", "a whole number"),
    (r"valid number", "a number"),
    (r"greater than or equal to (\S+)", r"\1 or more"),
    (r"less than or equal to (\S+)", r"\1 or less"),
    (r"is not one of (.*)\.", r"\1"),
)
"""Messages of Typer about invalid values, and Onhook's texts."""

UNEXPECTED_EXIT_CODE = 1
STDERR_FD = 2
INTERRUPTED_EXIT_CODE = 130
"""128 and the number of SIGINT, as in shells."""


class LazyCommandGroup(TyperGroup):
    """The commands of the table, loaded lazily (Click's documented way)."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command with this name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(importlib.import_module(f"onhook.cli.{COMMANDS[cmd_name]}").app)
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command. A closed pipe (`| head`) is no failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _drop_output()
            return 0


app = typer.Typer(
    cls=LazyCommandGroup,
    help=_("Self-hosted call history, reports and webhooks for Yeastar and Asterisk PBXs."),
    epilog="Example: onhook serve --demo",
)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        importlib.import_module("onhook.cli.version").version()
        raise typer.Exit


@app.callback()
def onhook(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help=_("Show the version and exit."))
    ] = False,
) -> None:
    """Options of all commands."""


def main() -> int:
    """Run the command line; return the exit code."""
    try:
        _prepare_streams()
        code = _run(_validate_arguments(sys.argv[1:]))
    except TyperException as error:
        code = _print_error(_usage_sentence(error), error.exit_code)
    except OnhookError as error:
        code = _print_error(str(error), error.exit_code)
    except KeyboardInterrupt:
        code = INTERRUPTED_EXIT_CODE
    except OSError as error:
        code = _print_error(_system_sentence(error), UNEXPECTED_EXIT_CODE, error)
    except Exception as error:  # noqa: BLE001 - the last handler
        code = _print_error(_unexpected_sentence(error), UNEXPECTED_EXIT_CODE, error)
    return _finish_output(code)


def _run(arguments: list[str]) -> int:
    code = typer.main.get_command(app).main(arguments or ["--help"], prog_name="onhook", standalone_mode=False)
    return code if isinstance(code, int) else 0


def _prepare_streams() -> None:
    """Replace characters that the terminal cannot show. Raises `UsageError` without an output."""
    has_output = sys.stdout is not None
    # The next opened file would get the descriptor of a closed stream, and would be written to.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR_FD:
        pass
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - open until the end, like any stream
    if not has_output:
        raise UsageError(_("standard output is closed"), hint=_("redirect it to a file, or to /dev/null"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _validate_arguments(arguments: list[str]) -> list[str]:
    """Check the encoding of the arguments without showing them: one may be a secret."""
    for position, argument in enumerate(arguments, 1):
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise UsageError(
                _("word {position} of the command line is not UTF-8", position=position), hint=_("write it in UTF-8")
            )
    return arguments


def _finish_output(code: int) -> int:
    """Flush the output. A closed pipe is no failure, a full disk is one."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _drop_output()
        if code == 0 and not isinstance(error, BrokenPipeError):
            code = _print_error(
                _("cannot write the output: {reason}: free some space", reason=error.strerror), UNEXPECTED_EXIT_CODE
            )
    return code


def _drop_output() -> None:
    """Discard buffered output, or Python would report an error at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(sentence: str, exit_code: int, unexpected: BaseException | None = None) -> int:
    if unexpected is not None and _shows_traces():
        traceback.print_exception(unexpected)
    print(f"onhook: {replace_control_characters(sentence)}", file=sys.stderr)
    return exit_code


def _usage_sentence(error: TyperException) -> str:
    """Return the error and the command that shows the help."""
    sentence = _value_sentence(error) or " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "onhook"
    # An argument stays as the help writes it.
    is_name = sentence.split(" ", 1)[0].isupper()
    sentence = sentence if is_name else sentence[:1].lower() + sentence[1:]
    return _("{sentence}: see `{command} --help`", sentence=sentence, command=path)


def _value_sentence(error: TyperException) -> str:
    """Return the error of an invalid value; empty for other errors."""
    # Of pydantic, which Typer imports only when it parses a value.
    get_errors = getattr(error.__cause__, "errors", None)
    if not isinstance(error, typer.BadParameter) or get_errors is None:
        return ""
    first_error = get_errors()[0]
    for pattern, replacement in _VALUE_ERROR_TEXTS:
        if match := re.search(pattern, first_error["msg"]):
            name = str(error.param.get_error_hint()).strip("'") if error.param else _("the value")
            return _(
                "{name} cannot be {value!r}: write {choices}",
                name=name,
                value=str(first_error["input"]),
                choices=_join_choices(match.expand(replacement)),
            )
    return ""


def _join_choices(choices: str) -> str:
    """Return `'a', 'b', 'c'` as `a, b or c`."""
    return " or ".join(choices.replace("'", "").rsplit(", ", 1))


def _system_sentence(error: OSError) -> str:
    location = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, str | bytes) else ""
    return _(
        "operating system error: {reason}{location}: check the permissions and the disk space",
        reason=error.strerror or error,
        location=location,
    )


def _unexpected_sentence(error: Exception) -> str:
    return _(
        "internal error ({kind}: {error}): ONHOOK_TRACE=true shows the traceback",
        kind=type(error).__name__,
        error=error,
    )


def _shows_traces() -> bool:
    try:
        return read_config({}, Path.cwd()).trace
    except Exception:  # noqa: BLE001 - an error handler must not raise
        return False
