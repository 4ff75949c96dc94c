"""The examples of commands for secrets work as they are printed, with what was just added."""

import re
import shlex
from pathlib import Path

import pytest

from onhook.cli.main import load_command
from tests.cli.conftest import Command

DOCS = Path(__file__).parents[2] / "docs" / "commands.md"
ADD_COMMANDS = {
    "pbx": "pbx add Office --sn 3631A2124ABC --secret first-secret",
    "destination": "destination add CRM --url https://crm.example.com/",
}


def _documented_commands(noun: str) -> list[str]:
    (block,) = re.findall(rf"### `onhook {noun} secret remove`\n.*?```\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return str(block).splitlines()


@pytest.mark.parametrize("noun", ADD_COMMANDS)
def test_secret_remove_example_of_help_and_docs_works(noun: str, onhook: Command) -> None:
    """The last secret cannot be removed, so another one is added first."""
    epilog = load_command(noun).commands["secret"].commands["remove"].epilog
    commands = epilog.removeprefix("Example: ").split(", after: ")[::-1]
    assert commands == _documented_commands(noun)
    assert onhook(*shlex.split(ADD_COMMANDS[noun]))[0] == 0
    for command in commands:
        code, _, error = onhook(*shlex.split(command.replace("SECRET", "second-secret"))[1:])
        assert (code, error) == (0, ""), command
