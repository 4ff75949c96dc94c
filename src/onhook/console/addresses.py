"""Addresses of the intake, as shown to a person."""

import socket
from ipaddress import ip_address

import msgspec

from onhook.config import Config, parse_address
from onhook.lib.errors import OnhookError

PROBE_ADDRESS = ("192.0.2.1", 9)
"""An address for documentation (RFC 5737): asking the kernel for its route sends nothing."""


class _ProcessAddress(msgspec.Struct, frozen=True):
    address: str


class _RunningFile(msgspec.Struct, frozen=True):
    intake: _ProcessAddress | None = None


def intake_host(config: Config, request_host: str) -> tuple[str, bool]:
    """Return the host of the intake as a PBX may reach it, and whether that is a guess.

    The configured address if there is one; else the name of this machine in the request; else the address by which this
    machine reaches others.
    """
    if not _is_unspecified(config.intake.host):
        return _format_host(config.intake.host), False
    if not is_loopback(request_host):
        return _format_host(request_host), False
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(PROBE_ADDRESS)
            return str(probe.getsockname()[0]), True
    except OSError:
        return "THIS-MACHINE", True


def intake_port(config: Config) -> int:
    """Return the port of the intake. Where 0 is configured, the actual one; 0 while it is unknown."""
    if config.intake.port:
        return config.intake.port
    try:
        running = msgspec.json.decode(config.running_file.read_bytes(), type=_RunningFile)
        return parse_address(running.intake.address, "running.json").port if running.intake else 0
    except (OSError, msgspec.DecodeError, OnhookError):
        return 0


def _is_unspecified(host: str) -> bool:
    return host in ("0.0.0.0", "::", "")  # noqa: S104 - compared, not listened on


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine reach the host."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _format_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
