"""Shell completion, of commands that are imported when they are used too."""

import subprocess

import pytest

from tests.runtime.harness import ONHOOK, command_environment


@pytest.mark.parametrize(
    ("line", "words"),
    [("onhook ba", ["backfill", "backup"]), ("onhook pbx add --sec", ["--secret", "--secret-file"])],
)
def test_completion_offers_commands_and_options(line: str, words: list[str]) -> None:
    request = {"_ONHOOK_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    result = subprocess.run([ONHOOK], env=command_environment() | request, capture_output=True, text=True, check=True)
    assert result.stdout.split() == words


def test_completion_script_is_that_of_the_calling_shell() -> None:
    command = ["bash", "-c", f"{ONHOOK} --show-completion; exit $?"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("_onhook_completion()")
    assert "_ONHOOK_COMPLETE" in result.stdout
