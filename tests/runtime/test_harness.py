"""The commands of the tests run the code that is tested."""

import subprocess
import sys
from pathlib import Path

import onhook
from tests.runtime.harness import SOURCE, command_environment


def test_command_environment_has_the_code_of_the_tests_and_that_of_another_program_its_own() -> None:
    command = [sys.executable, "-c", "import onhook; print(onhook.__file__)"]
    completed = subprocess.run(command, env=command_environment(), cwd="/", capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == onhook.__file__
    assert Path(onhook.__file__).is_relative_to(SOURCE)
    assert "PYTHONPATH" not in command_environment(Path("data"), Path("/usr/bin/onhook"))
