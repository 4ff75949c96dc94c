"""Where PBXs may report to, as a person is told."""

import socket
from ipaddress import ip_address

import msgspec

from onhook.config import Config, parse_address
from onhook.lib.errors import OnhookError

PROBE_ADDRESS = ("192.0.2.1", 9)
"""An address for documentation (RFC 5737): asking by which way it would be reached sends nothing."""


class _ProcessAddress(msgspec.Struct, frozen=True):
    address: str


class _RunningFile(msgspec.Struct, frozen=True):
    intake: _ProcessAddress | None = None


def intake_host(config: Config, request_host: str) -> tuple[str, bool]:
    """The host of the intake as a PBX may know it, and whether that is a guess.

    Where one address was set, that; else the name by which the person who asks knows this machine; else the address by
    which this machine reaches others.
    """
    if not _is_unspecified(config.intake.host):
        return _format_host(config.intake.host), False
    if request_host != "localhost" and not _is_loopback(request_host):
        return _format_host(request_host), False
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(PROBE_ADDRESS)
            return str(probe.getsockname()[0]), True
    except OSError:
        return "THIS-MACHINE", True


def intake_port(config: Config) -> int:
    """The port of the intake. Where any free one was asked for, the one that it got; 0 where nobody knows yet."""
    if config.intake.port:
        return config.intake.port
    try:
        running = msgspec.json.decode(config.running_file.read_bytes(), type=_RunningFile)
        return parse_address(running.intake.address, "running.json").port if running.intake else 0
    except (OSError, msgspec.DecodeError, OnhookError):
        return 0


def _is_unspecified(host: str) -> bool:
    return host in ("0.0.0.0", "::", "")  # noqa: S104 - asked, not listened at


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _format_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
