"""Adding and changing PBXs of every kind, for the pages, the API and the command line.

Invariants: an address is checked before it is stored; a PBX is stored with all that belongs to it, or not at all. Texts
are those that a person entered; the caller names the `location` of an error in its own words.
"""

import ssl
from urllib.parse import urlsplit

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import PORT, TLS_OFF, TLS_ON, TLS_PORT, AsteriskPbx, validate_asterisk
from onhook.appdb.cdr_sources import CdrSource, parse_cdr_source
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.appdb.pbxs import DIALECT_DEFAULT, Pbx
from onhook.appdb.source_match import SourceMatch
from onhook.appdb.tokens import generate_token
from onhook.cdr.number_plan import NumberPlan
from onhook.config import Address, Config, parse_address
from onhook.delivery.address_check import check_pbx_host
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.text import split_list
from onhook.pbx.asterisk.payload import Asterisk

AUTO = "auto"
"""Text for trunks that are detected."""

NO_SOURCE = "none"
"""Text for a CDR source that is removed."""

PEM_BYTES_MAX = 64 * 1024
"""A certificate and its chain have some 6 KiB."""


class NewPbxSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A PBX that sends events or has a web API; its parts are parsed already."""

    name: str
    sn: str
    dialect: str = DIALECT_DEFAULT
    secret: str | None = None
    is_unsigned: bool = False
    zone: str | None = None
    number_plan: NumberPlan = NumberPlan()
    source_match: SourceMatch = SourceMatch()
    credentials: PbxCredentials | None = None
    keeps_unregistered: bool = True

    def __repr__(self) -> str:
        return f"NewPbxSettings({self.name!r}, {self.sn!r})"


class NewAsterisk(msgspec.Struct, frozen=True, kw_only=True):
    """An Asterisk: `address` is `HOST` or `HOST:PORT`, `tls` is `off`, `on` or certificates as PEM; `trunks` and
    `inbound` are names with commas between them, None to detect the trunks.
    """

    name: str
    address: str
    user: str
    secret: str
    sn: str | None = None
    tls: str = TLS_OFF
    trunks: str | None = None
    inbound: str | None = None
    has_pins: bool = False
    zone: str | None = None
    number_plan: NumberPlan = NumberPlan()
    source: CdrSource | None = None

    def __repr__(self) -> str:
        return f"NewAsterisk({self.name!r}, {self.address!r})"


class PbxAddition(msgspec.Struct, frozen=True):
    """A PBX that was added; `warnings` are about addresses that cannot be reached now."""

    pbx: Pbx
    warnings: tuple[str, ...] = ()


class AsteriskChanges(msgspec.Struct, frozen=True):
    """Changed settings of an Asterisk; None for those that stay."""

    source: CdrSource | None = None
    trunks: str | None = None
    inbound: str | None = None


async def add_pbx(config: Config, appdb: AppDb, new_pbx: NewPbxSettings, *, location: str, now_us: int) -> PbxAddition:
    """Add a PBX; `location` names the address of its API in an error. Raises `UsageError`."""
    url = "" if new_pbx.credentials is None else new_pbx.credentials.url
    warning = await check_pbx_url(config, url, location=location) if url else ""
    pbx = await appdb.add_pbx(
        name=new_pbx.name,
        sn=new_pbx.sn,
        secret=new_pbx.secret,
        zone=new_pbx.zone,
        dialect=new_pbx.dialect,
        is_unsigned=new_pbx.is_unsigned,
        number_plan=new_pbx.number_plan,
        source_match=new_pbx.source_match,
        credentials=new_pbx.credentials,
        keeps_unregistered=new_pbx.keeps_unregistered,
        now_us=now_us,
    )
    return PbxAddition(pbx, (warning,) if warning else ())


async def add_asterisk(
    config: Config,
    appdb: AppDb,
    new_asterisk: NewAsterisk,
    *,
    location: str,
    source_location: str = "--cdr",
    now_us: int,
) -> PbxAddition:
    """Add an Asterisk with its connection and CDR source; `location` and `source_location` name their addresses in an
    error. Raises `UsageError`.

    It sends no webhooks, so it gets a random webhook secret that is never shown.
    """
    asterisk = parse_asterisk(new_asterisk, location=location)
    warnings = [await check_pbx_url(config, f"//{Address(asterisk.host, asterisk.port)}", location=location)]
    if new_asterisk.source is not None:
        warnings.append(await check_source_host(config, new_asterisk.source, location=source_location))
    async with appdb.transaction():
        pbx = await appdb.add_pbx(
            name=new_asterisk.name,
            sn=asterisk.sn,
            secret=generate_token(),
            dialect=Asterisk.name,
            zone=new_asterisk.zone,
            number_plan=new_asterisk.number_plan,
            now_us=now_us,
        )
        await appdb.asterisks.add(asterisk, new_asterisk.secret)
        await appdb.cdr_sources.put(pbx.sn, new_asterisk.source)
    return PbxAddition(pbx, tuple(warning for warning in warnings if warning))


async def change_connection(config: Config, appdb: AppDb, settings: NewAsterisk, *, location: str) -> None:
    """Change the connection, the trunks and the CDR source of an Asterisk; `settings` has its serial number. Raises
    `NotFound`, `UsageError`.
    """
    asterisk = parse_asterisk(settings, location=location)
    await check_pbx_url(config, f"//{Address(asterisk.host, asterisk.port)}", location=location)
    if settings.source is not None:
        await check_source_host(config, settings.source, location=_("CDR source"))
    async with appdb.transaction():
        await appdb.asterisks.change(asterisk, settings.secret)
        await appdb.cdr_sources.put(asterisk.sn, settings.source)


async def change_asterisk(appdb: AppDb, pbx: Pbx, changes: AsteriskChanges) -> None:
    """Set the CDR source and the trunks of a PBX. Raises `NotFound` for one without an AMI connection."""
    if any(change is not None for change in msgspec.structs.astuple(changes)):
        await appdb.asterisks.get(pbx.sn)
    if changes.source is not None:
        source = None if changes.source == parse_cdr_source(NO_SOURCE) else changes.source
        await appdb.cdr_sources.put(pbx.sn, source)
    if changes.trunks is not None:
        await appdb.asterisks.set_trunks(pbx.sn, trunks=_parse_trunks(changes.trunks))
    if changes.inbound is not None:
        await appdb.asterisks.set_trunks(pbx.sn, inbound=_split_names(changes.inbound))


async def check_pbx_url(config: Config, url: str, *, location: str) -> str:
    """Return a warning where the host of a PBX or of its CDR table has no address now, or an empty text. Raises
    `UsageError` for an address that may not be connected to.
    """
    return await check_pbx_host(config, urlsplit(url).hostname or "", location=location)


async def check_source_host(config: Config, source: CdrSource, *, location: str = "--cdr") -> str:
    """Return a warning about the host of a CDR table, as `check_pbx_url`; a file has none."""
    return await check_pbx_url(config, source.location, location=location) if source.is_database else ""


def parse_asterisk(new_asterisk: NewAsterisk, *, location: str) -> AsteriskPbx:
    """Return the connection. Without a serial number it has that of its address. Raises `UsageError`."""
    address, default_port = parse_ami_address(new_asterisk.address, new_asterisk.tls, location=location)
    asterisk = AsteriskPbx(
        sn=new_asterisk.sn or (address.host if address.port == default_port else str(address)),
        host=address.host,
        port=address.port,
        user=new_asterisk.user,
        tls=validate_tls(new_asterisk.tls),
        trunks=None if new_asterisk.trunks is None else _parse_trunks(new_asterisk.trunks),
        inbound=_split_names(new_asterisk.inbound or ""),
        has_pins=new_asterisk.has_pins,
    )
    validate_asterisk(asterisk, new_asterisk.secret)
    return asterisk


def parse_ami_address(text: str, tls: str, *, location: str) -> tuple[Address, int]:
    """Return the address of a manager interface, and the default port with this kind of TLS. Raises `UsageError`."""
    default_port = PORT if tls == TLS_OFF else TLS_PORT
    has_port = text.rpartition(":")[2].isdigit() and not text.endswith("]")
    return parse_address(text if has_port else f"{text}:{default_port}", location), default_port


def validate_tls(tls: str) -> str:
    """Return `off`, `on`, or the certificates. Raises `UsageError`."""
    if tls in (TLS_OFF, TLS_ON):
        return tls
    try:
        if len(tls) > PEM_BYTES_MAX:
            raise ValueError(_("they have more than {maximum} characters", maximum=PEM_BYTES_MAX))
        ssl.create_default_context(cadata=tls)
    except (OSError, ValueError) as error:
        raise UsageError(
            _("cannot read certificates: {error}", error=error), hint=_("give certificates in PEM, or write on or off")
        ) from error
    return tls


def _parse_trunks(text: str) -> tuple[str, ...] | None:
    """Return the names, or None where they are to be detected."""
    return None if text.strip() == AUTO else _split_names(text)


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(split_list(text))
