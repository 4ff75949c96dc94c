"""The address of a ledger on NATS JetStream: servers, stream, and what is demanded of them."""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from onhook.lib.errors import UsageError
from onhook.lib.messages import _

PORT_DEFAULT = 4222
SERVERS_MAX = 9
REPLICAS_DEFAULT = 3
TRIAL_REPLICAS = 1
"""One server and one disk, for trying out: it is lost with the disk."""

_STREAM = re.compile(r"[A-Za-z0-9_-]{1,32}")
_HOST = re.compile(r"(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_SCHEMES = {"nats": False, "nats+tls": True}
_OPTIONS = frozenset({"replicas", "monitor", "ca"})


class JetStreamAddress(msgspec.Struct, frozen=True, kw_only=True):
    """`servers` are `HOST:PORT`. `user` without a password is a token. `monitor_port` is the port of the servers' pages
    of figures; 0 where they have none. `ca_file` has the certificates of an authority (PEM); empty: the system's.
    """

    servers: tuple[str, ...]
    stream: str
    has_tls: bool = False
    user: str = ""
    password: str = ""
    replicas: int = REPLICAS_DEFAULT
    monitor_port: int = 0
    ca_file: str = ""

    @property
    def location(self) -> str:
        """The address without secrets, for errors and logs."""
        return f"{'nats+tls' if self.has_tls else 'nats'}://{','.join(self.servers)}/{self.stream}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of the servers, each once, an IPv6 address without brackets."""
        return tuple(dict.fromkeys(server.rpartition(":")[0].strip("[]") for server in self.servers))


def parse_jetstream_address(url: str) -> JetStreamAddress:
    """Parse `nats://USER:PASSWORD@HOST[:PORT][,HOST]/STREAM?monitor=8222&replicas=3&ca=FILE`. Raises `UsageError`."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else ())
    except ValueError as error:
        raise _address_error() from error
    login, _separator, hosts = parts.netloc.rpartition("@")
    user, _separator, password = login.partition(":")
    stream = parts.path.removeprefix("/")
    if parts.scheme not in _SCHEMES or not _STREAM.fullmatch(stream) or not options.keys() <= _OPTIONS:
        raise _address_error()
    address = JetStreamAddress(
        servers=_parse_servers(hosts),
        stream=stream,
        has_tls=_SCHEMES[parts.scheme],
        user=unquote(user),
        password=unquote(password),
        replicas=_parse_number(options, "replicas", REPLICAS_DEFAULT),
        monitor_port=_parse_number(options, "monitor", 0),
        ca_file=options.get("ca", ""),
    )
    _check(address)
    return address


def _check(address: JetStreamAddress) -> None:
    if address.replicas not in (TRIAL_REPLICAS, REPLICAS_DEFAULT):
        raise UsageError(
            _("a ledger on NATS has 1 or 3 replicas"), location=address.location, hint=_("write replicas=3")
        )
    if address.replicas == REPLICAS_DEFAULT and not address.monitor_port:
        raise UsageError(
            _("the port on which the NATS servers show their settings is not named"),
            location=address.location,
            hint=_("write monitor=8222, the port `http_port` of the servers: Onhook checks that they write to disk"),
        )


def _parse_servers(hosts: str) -> tuple[str, ...]:
    servers = hosts.split(",")
    if len(servers) > SERVERS_MAX or not all(_HOST.fullmatch(server) for server in servers):
        raise _address_error()
    return tuple(
        server if server.rpartition(":")[2].isdigit() else f"{server.removesuffix(':')}:{PORT_DEFAULT}"
        for server in servers
    )


def _parse_number(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= len("65535")):
        raise _address_error()
    return int(text)


def _address_error() -> UsageError:
    # Without the address, which may have a password.
    return UsageError(
        _("this is no address of a ledger on NATS"),
        location="ledger",
        hint=_("write nats://USER:PASSWORD@HOST,HOST,HOST/ONHOOK?monitor=8222"),
    )
