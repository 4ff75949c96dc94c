"""`onhook intake`: the intake alone, in the foreground."""

import os
import sys

import msgspec

from onhook.cli.commands import CommandGroup
from onhook.cli.options import DataOption, load_config
from onhook.cli.serve import IntakeOption
from onhook.config import read_service_manager
from onhook.ops.instance_lock import prepare_directory
from onhook.runtime.child import build_command, listen_arguments

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook intake --data /var/lib/onhook --intake 0.0.0.0:30012")
def intake(data: DataOption = None, intake: IntakeOption = None) -> None:
    """Receive and store events, and nothing else; a server on the same data directory shows them."""
    config = load_config(data=data, intake=intake)
    config = msgspec.structs.replace(config, data=config.data.absolute())
    prepare_directory(config)
    arguments = listen_arguments(read_service_manager().listen_fd)
    command = build_command("onhook.runtime.intake_process", config, *arguments, is_supervised=False)
    # Replaces this process: the intake needs no command line.
    os.execv(sys.executable, command)  # noqa: S606 - own program, no shell
