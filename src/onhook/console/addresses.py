"""Where PBXs may report to, as a person is told."""

import msgspec

from onhook.config import Config, parse_address
from onhook.errors import OnhookError


class _Part(msgspec.Struct, frozen=True):
    address: str


class _Running(msgspec.Struct, frozen=True):
    intake: _Part | None = None


def intake_port(config: Config) -> int:
    """The port of the intake. Where any free one was asked for, the one that it got; 0 where nobody knows yet."""
    if config.intake.port:
        return config.intake.port
    try:
        running = msgspec.json.decode(config.running_file.read_bytes(), type=_Running)
        return parse_address(running.intake.address, "running.json").port if running.intake else 0
    except (OSError, msgspec.DecodeError, OnhookError):
        return 0
