"""The command `onhook`: finds the command that is meant, and says in one sentence what went wrong.

Exit codes: 0 done, 1 failed, 2 not meant so (a usage error), 130 stopped by Ctrl-C.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from onhook.config import load
from onhook.errors import OnhookError

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "serve": "serve",
        "intake": "intake",
        "pbx": "pbx",
        "calls": "calls",
        "records": "records",
        "export": "export",
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
"""Each command and its module in this room, which is imported when the command is used: `serve` needs no store."""

UNEXPECTED_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130
"""128 and the number of SIGINT, as shells count."""


class Commands(TyperGroup):
    """The commands of the table, each loaded when it is asked for (Click's documented way to load lazily)."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command with this name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(importlib.import_module(f"onhook.cli.{COMMANDS[cmd_name]}").app)
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command. A reader who has seen enough (`| head`) is no failure."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still buffered has nowhere to go, or Python would complain at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return result


app = typer.Typer(
    cls=Commands,
    help="Keeps every call that ends: receives a PBX's call details, keeps them, lets people and programs read them.",
    epilog="Example: onhook serve --demo",
)


@app.callback()
def onhook() -> None:
    """Nothing is common to all commands."""


def main() -> int:
    """Run the command line; the exit code."""
    try:
        code = typer.main.get_command(app).main(sys.argv[1:] or ["--help"], prog_name="onhook", standalone_mode=False)
    except TyperException as error:
        return _tell(_usage_sentence(error), error.exit_code)
    except OnhookError as error:
        return _tell(str(error), error.exit_code, error)
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT_CODE
    except Exception as error:  # noqa: BLE001 - the last one who can tell a person
        return _tell(_unexpected_sentence(error), UNEXPECTED_EXIT_CODE, error)
    return code if isinstance(code, int) else 0


def _tell(sentence: str, exit_code: int, error: BaseException | None = None) -> int:
    if error is not None and _shows_traces():
        traceback.print_exception(error)
    printable = "".join(character if character.isprintable() else " " for character in sentence)
    print(f"onhook: {printable}", file=sys.stderr)
    return exit_code


def _usage_sentence(error: TyperException) -> str:
    """Typer's sentence, and where the help is."""
    sentence = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "onhook"
    return f"{sentence[:1].lower()}{sentence[1:]}: see `{path} --help`"


def _unexpected_sentence(error: Exception) -> str:
    return f"this should not have happened ({type(error).__name__}: {error}): ONHOOK_TRACE=true shows where"


def _shows_traces() -> bool:
    try:
        return load({}, Path.cwd()).trace
    except OnhookError:
        return False
