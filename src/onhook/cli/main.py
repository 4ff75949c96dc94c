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
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from onhook.cli.plain_values import PlainValueGroup
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _
from onhook.lib.text import replace_control_characters


class Command(NamedTuple):
    """The module of a command, and the line about it in the list of commands."""

    module: str
    summary: str


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "serve": Command("serve", _("Run the server until it is stopped by Ctrl-C or SIGTERM.")),
        "intake": Command(
            "intake",
            _("Receive and store events, and nothing else; a server on the same data directory shows them."),
        ),
        "service": Command("service", _("Run Onhook as a service of systemd.")),
        "pbx": Command("pbx", _("Manage PBXs.")),
        "asterisk": Command("asterisk", _("Show AMI connections.")),
        "app": Command("app", _("Manage apps of the PBX API.")),
        "calls": Command("calls", _("List matching calls, each once however many legs it has.")),
        "records": Command(
            "records",
            _("List matching records: one for each leg of a call, with all fields of its event."),
        ),
        "export": Command("export", _("Write all matching records to a file, the earliest first.")),
        "sql": Command("sql", _("Run one SELECT in the SQL of DuckDB on a recent copy of the store.")),
        "mcp": Command("mcp", _("Let an assistant read calls (Model Context Protocol).")),
        "directory": Command("directory", _("Manage names of extensions, queues, DIDs and contacts.")),
        "destination": Command("destination", _("Manage destinations that are notified when a call ends.")),
        "backfill": Command(
            "backfill",
            _("Fetch past calls from the API or the CDR source of a PBX, and store those that are missing."),
        ),
        "import": Command(
            "import_file",
            _("Import a call file that was downloaded from a PBX; calls that are stored already are detected."),
        ),
        "sweep": Command(
            "sweep",
            _("Store the files in which a PBX has left its calls or what it could not send."),
        ),
        "import-events": Command(
            "import_events",
            _("Add the raw events of a file to the ledger, also while the server runs."),
        ),
        "export-events": Command(
            "export_events",
            _("Write raw events to a file that `onhook import-events` reads, also while the server runs."),
        ),
        "coverage": Command(
            "coverage",
            _("Show which times are verified complete, which are connected, and the gaps, with reasons."),
        ),
        "quarantine": Command("quarantine", _("Show and retry events that could not be parsed.")),
        "simulate": Command("simulate", _("Send the calls of a simulated office to a receiver, like a PBX.")),
        "doctor": Command("doctor", _("Run health checks for the installation or for one PBX.")),
        "erase": Command("erase", _("Erase a telephone number from all that is stored.")),
        "rebuild": Command("rebuild", _("Rebuild calls.duckdb from the ledger.")),
        "backup": Command(
            "backup",
            _("Copy the ledger and the application database, secrets included, to a directory."),
        ),
        "restore": Command("restore", _("Restore a backup to the data directory, while no server and no intake runs.")),
        "begin-ledger": Command(
            "begin_ledger",
            _("Begin a new ledger in place of one that was lost without a backup."),
        ),
        "cluster": Command("cluster", _("Move from one machine to several.")),
        "token": Command("token", _("Manage API tokens.")),
        "user": Command("user", _("Manage users of the console.")),
        "sign-in": Command("sign_in", _("Set how people sign in to the console.")),
        "mail": Command("mail", _("Manage the mail server and the mails.")),
        "alert": Command("alert", _("Manage by which ways users are notified of issues.")),
        "report-schedule": Command("report_schedule", _("Manage reports that are mailed regularly.")),
        "version": Command("version", _("Show the versions of Onhook and its components.")),
    }
)
"""Each command. Its module is imported when it is used: `serve` needs no store, and the list of commands needs none."""

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


class LazyCommandGroup(PlainValueGroup):
    """The commands of the table, loaded lazily (Click's documented way)."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return what the list of commands says about the one with this name, or None."""
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name].summary) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the command and the other arguments. Raises a usage error for an unknown command."""
        name, _command, arguments = super().resolve_command(ctx, args)
        return name, None if name is None else load_command(name), arguments

    def invoke(self, ctx: Any) -> Any:
        """Run the command. A closed pipe (`| head`) is no failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _drop_output()
            return 0


def load_command(name: str) -> Any:
    """Import a command of the table."""
    command = typer.main.get_command(importlib.import_module(f"onhook.cli.{COMMANDS[name].module}").app)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyCommandGroup,
    help=_("Self-hosted call history, reports and webhooks for PBXs."),
    epilog="Example: onhook serve --demo",
)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        importlib.import_module("onhook.cli.version").version()
        raise typer.Exit


@app.callback()
def onhook(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help=_("Show the version and exit."))
    ] = False,
    url: Annotated[
        str,
        typer.Option("--url", metavar="URL", help=_("Read this server, with --token-file"), show_default=False),
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help=_("File with the token"), show_default=False)
    ] = None,
) -> None:
    """Options of all commands."""
    assert not version  # its callback has ended the command
    if url or token_file is not None:
        importlib.import_module("onhook.cli.server_url").set_server(url, token_file, context.invoked_subcommand or "")


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
    return finish_output(code)


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


def finish_output(code: int) -> int:
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
        return bool(importlib.import_module("onhook.config").read_config({}, Path.cwd()).trace)
    except Exception:  # noqa: BLE001 - an error handler must not raise
        return False
