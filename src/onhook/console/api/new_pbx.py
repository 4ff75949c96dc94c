"""The body with which a PBX of any kind is added by the API: the same settings and checks as those of the pages."""

from typing import Annotated, Literal

import msgspec

from onhook.appdb.asterisks import TLS_OFF
from onhook.appdb.cdr_sources import LOCATION_CHARACTERS_MAX, CdrSource, parse_cdr_source
from onhook.appdb.pbx_credentials import CREDENTIAL_CHARACTERS_MAX, URL_CHARACTERS_MAX, parse_pbx_credentials
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX, SN_CHARACTERS_MAX, new_secret
from onhook.appdb.source_match import LINE_DIALECTS, PATH_CHARACTERS_MAX, UNSIGNED_DIALECTS, parse_source_match
from onhook.cdr.number_plan import NumberPlan, parse_number_plan
from onhook.console.line_setup import NewLinePbx, add_line_pbx
from onhook.console.parameters import Label, SecretText
from onhook.console.pbx_setup import (
    PEM_BYTES_MAX,
    NewAsterisk,
    NewPbxSettings,
    PbxAddition,
    add_asterisk,
    add_pbx,
)
from onhook.console.state import AppState
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

NAMES_CHARACTERS_MAX = 2_000
"""Names of trunks or fields with commas between them, as in the forms."""

ADDRESS_CHARACTERS_MAX = 300
"""A host name has 253 at most (RFC 1035), and a port."""

NewDialect = Literal["yeastar", "newcdr", "freeswitch", "grandstream", "3cx", "avaya", "cucm", "asterisk"]

SerialNumberText = Annotated[str, msgspec.Meta(pattern=r"^[!-~]+$", max_length=SN_CHARACTERS_MAX)]
Credential = Annotated[str, msgspec.Meta(min_length=1, max_length=CREDENTIAL_CHARACTERS_MAX)]
AddressText = Annotated[str, msgspec.Meta(min_length=1, max_length=ADDRESS_CHARACTERS_MAX)]
NamesText = Annotated[str, msgspec.Meta(max_length=NAMES_CHARACTERS_MAX)]


class NewPbxCredentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credentials of a PBX's web API: `url` is `https://HOST:PORT`, `fingerprint` the SHA-256 of its certificate."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=URL_CHARACTERS_MAX)]
    client_id: Annotated[str, msgspec.Meta(min_length=1, max_length=CREDENTIAL_CHARACTERS_MAX)]
    client_secret: Annotated[str, msgspec.Meta(min_length=1, max_length=CREDENTIAL_CHARACTERS_MAX)]
    fingerprint: Annotated[str, msgspec.Meta(max_length=CREDENTIAL_CHARACTERS_MAX)] = ""


class NewCdrSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an Asterisk keeps its calls: `location` is the path of a file, `mysql://USER@HOST/DATABASE` or
    `postgresql://USER@HOST/DATABASE`. `columns` of a file have commas between them.
    """

    location: Annotated[str, msgspec.Meta(min_length=1, max_length=LOCATION_CHARACTERS_MAX)]
    password: Annotated[str, msgspec.Meta(max_length=CREDENTIAL_CHARACTERS_MAX)] = ""
    table: Annotated[str, msgspec.Meta(max_length=NAME_CHARACTERS_MAX)] = ""
    columns: NamesText = ""

    def parse(self) -> CdrSource:
        """Return the source. Raises `UsageError`."""
        source = parse_cdr_source(self.location, table=self.table or None, columns=self.columns or None)
        # A file needs no password: none is stored that is not used.
        has_password = self.password and source.is_database
        return msgspec.structs.replace(source, password=self.password) if has_password else source


class NewManager(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The manager interface of an Asterisk: `address` is `HOST` or `HOST:PORT`, `tls` is `off`, `on` or certificates as
    PEM. `trunks` and `inbound` are names with commas between them; without `trunks` they are detected.
    """

    address: AddressText
    user: Credential
    secret: Credential
    tls: Annotated[str, msgspec.Meta(max_length=PEM_BYTES_MAX)] = TLS_OFF
    trunks: NamesText | None = None
    inbound: NamesText | None = None
    has_pins: bool = False
    cdr: NewCdrSource | None = None


class NewLines(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The connection in which a PBX writes lines: `listen` is `HOST:PORT` of this machine, or `connect` that of the
    PBX. `fields` are the names of the fields of a 3CX with commas between them; empty are the usual ones.
    """

    listen: Annotated[str, msgspec.Meta(max_length=ADDRESS_CHARACTERS_MAX)] = ""
    connect: Annotated[str, msgspec.Meta(max_length=ADDRESS_CHARACTERS_MAX)] = ""
    fields: NamesText = ""


class NewPbx(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A PBX to add. Without `secret` one is generated, unless it `is_unsigned` or is identified otherwise, by
    `addresses` or `path`, or as its dialect has it. `number_plan` has ranges: `6400-6499`. A PBX with `lines` or a
    `manager` needs no serial number: without one it is named for its address.
    """

    name: Label
    sn: SerialNumberText | None = None
    secret: SecretText | None = None
    zone: str | None = None
    is_unsigned: bool = False
    number_plan: dict[str, str] = {}
    dialect: NewDialect = "yeastar"
    addresses: list[Annotated[str, msgspec.Meta(max_length=NAME_CHARACTERS_MAX)]] = []
    path: Annotated[str, msgspec.Meta(max_length=PATH_CHARACTERS_MAX + 1)] = ""
    keeps_unregistered: bool = True
    credentials: NewPbxCredentials | None = None
    lines: NewLines | None = None
    manager: NewManager | None = None


_ONLY_OF_LINES = frozenset({"addresses", "lines"})
_ONLY_OF_ASTERISK = frozenset({"manager"})
_ONLY_OF_SENDERS = frozenset({"secret", "is_unsigned", "addresses", "path", "keeps_unregistered", "credentials"})
_OF_ALL = frozenset({"name", "sn", "zone", "number_plan", "dialect"})


async def add_new_pbx(app_state: AppState, new_pbx: NewPbx) -> tuple[PbxAddition, str | None]:
    """Add a PBX; return it with its webhook secret, None where it need not sign. Raises `UsageError`."""
    number_plan = parse_number_plan(new_pbx.number_plan) if new_pbx.number_plan else NumberPlan()
    now_us = app_state.clock.microseconds()
    if new_pbx.dialect == "asterisk":
        return await _add_asterisk(app_state, new_pbx, number_plan, now_us=now_us), None
    if new_pbx.dialect in LINE_DIALECTS:
        return await _add_line_pbx(app_state, new_pbx, number_plan, now_us=now_us), None
    return await _add_sender(app_state, new_pbx, number_plan, now_us=now_us)


async def _add_asterisk(app_state: AppState, new_pbx: NewPbx, number_plan: NumberPlan, *, now_us: int) -> PbxAddition:
    _reject_others(new_pbx, _ONLY_OF_ASTERISK)
    manager = new_pbx.manager
    if manager is None:
        raise _missing_error("manager", new_pbx.dialect, _("give its address, user and secret"))
    source = None if manager.cdr is None else manager.cdr.parse()
    new_asterisk = NewAsterisk(
        name=new_pbx.name,
        sn=new_pbx.sn,
        address=manager.address,
        user=manager.user,
        secret=manager.secret,
        tls=manager.tls,
        trunks=manager.trunks,
        inbound=manager.inbound,
        has_pins=manager.has_pins,
        zone=new_pbx.zone,
        number_plan=number_plan,
        source=source,
    )
    return await add_asterisk(
        app_state.config,
        app_state.appdb,
        new_asterisk,
        location="manager.address",
        source_location="manager.cdr",
        now_us=now_us,
    )


async def _add_line_pbx(app_state: AppState, new_pbx: NewPbx, number_plan: NumberPlan, *, now_us: int) -> PbxAddition:
    _reject_others(new_pbx, _ONLY_OF_LINES)
    if new_pbx.lines is None:
        raise _missing_error("lines", new_pbx.dialect, _("give `listen` or `connect` as HOST:PORT"))
    new_line_pbx = NewLinePbx(
        name=new_pbx.name,
        dialect=new_pbx.dialect,
        listen=new_pbx.lines.listen,
        connect=new_pbx.lines.connect,
        addresses=new_pbx.addresses,
        fields=new_pbx.lines.fields,
        sn=new_pbx.sn,
        zone=new_pbx.zone,
        number_plan=number_plan,
    )
    return await add_line_pbx(app_state.config, app_state.appdb, new_line_pbx, now_us=now_us)


async def _add_sender(
    app_state: AppState, new_pbx: NewPbx, number_plan: NumberPlan, *, now_us: int
) -> tuple[PbxAddition, str | None]:
    """Add a PBX that sends events, has a web API, or leaves files."""
    _reject_others(new_pbx, _ONLY_OF_SENDERS)
    if new_pbx.sn is None:
        raise _missing_error("sn", new_pbx.dialect, _("its events have it"))
    if new_pbx.secret is not None and new_pbx.is_unsigned:
        raise UsageError(_("a PBX that is_unsigned needs no secret"), hint=_("leave one of the two out"))
    needs_secret = not new_pbx.is_unsigned and new_pbx.dialect not in UNSIGNED_DIALECTS
    secret = new_pbx.secret or (new_secret() if needs_secret else None)
    credentials = new_pbx.credentials
    settings = NewPbxSettings(
        name=new_pbx.name,
        sn=new_pbx.sn,
        secret=secret,
        zone=new_pbx.zone,
        is_unsigned=new_pbx.is_unsigned,
        number_plan=number_plan,
        dialect=new_pbx.dialect,
        source_match=parse_source_match(new_pbx.addresses, new_pbx.path),
        credentials=None if credentials is None else parse_pbx_credentials(**msgspec.structs.asdict(credentials)),
        keeps_unregistered=new_pbx.keeps_unregistered,
    )
    return await add_pbx(app_state.config, app_state.appdb, settings, location="url", now_us=now_us), secret


def _reject_others(new_pbx: NewPbx, own_names: frozenset[str]) -> None:
    """Check that settings of other kinds of PBXs have their usual values. Raises `UsageError`."""
    usual = NewPbx(name=new_pbx.name)
    for name in NewPbx.__struct_fields__:
        if name not in _OF_ALL | own_names and getattr(new_pbx, name) != getattr(usual, name):
            raise UsageError(
                _("a PBX of the dialect {dialect} does not have {name}", dialect=new_pbx.dialect, name=name),
                parameter=name,
                hint=_("leave it out, or choose another dialect"),
            )


def _missing_error(name: str, dialect: str, hint: str) -> UsageError:
    return UsageError(
        _("a PBX of the dialect {dialect} needs {name}", dialect=dialect, name=name), parameter=name, hint=hint
    )
