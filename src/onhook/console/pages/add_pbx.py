"""`/add-pbx`: add a PBX of any kind in three steps: its kind, its settings, what to enter at the PBX and the checks.

Everything works without a script. After an error the form has what was entered, except secrets, which no page shows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar, TypeVar
from urllib.parse import urlsplit

import msgspec
from litestar import Response, get, post
from litestar.params import PathParameter, QueryParameter

from onhook.appdb.asterisks import TLS_OFF, TLS_ON
from onhook.appdb.cdr_sources import CdrSource, parse_cdr_source
from onhook.appdb.pbx_credentials import PbxCredentials, parse_pbx_credentials
from onhook.appdb.pbxs import (
    DIALECT_DEFAULT,
    SN_CHARACTERS_MAX,
    Pbx,
    new_secret,
    validate_name,
    validate_secret,
    validate_sn,
    validate_zone,
)
from onhook.appdb.source_match import (
    LINE_DIALECTS,
    PASSWORD_DIALECTS,
    UNSIGNED_DIALECTS,
    SourceMatch,
    parse_source_match,
)
from onhook.console.actions import CheckResult
from onhook.console.addresses import intake_host, intake_port
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.line_setup import (
    CONNECT,
    LISTEN,
    NewLinePbx,
    add_line_pbx,
    parse_line_connection,
    parse_line_fields,
)
from onhook.console.pages.page import FORM_BODY, render_page
from onhook.console.pages.pbx_overview import PbxOverview, load_pbx_overview
from onhook.console.pages.rendering import View
from onhook.console.parameters import ReaderZone
from onhook.console.pbx_setup import (
    NewAsterisk,
    NewPbxSettings,
    PbxAddition,
    add_asterisk,
    add_pbx,
    parse_ami_address,
    validate_tls,
)
from onhook.console.queries.quarantine import list_counters
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import NotFound, OnhookError, UsageError
from onhook.lib.messages import _, mark
from onhook.lib.text import split_list

POLL_SECONDS = 3
"""Interval at which the last step looks for a first event."""

Value = TypeVar("Value")

TLS_CERTIFICATES = "certificates"
"""Choice of TLS by the certificates in the form."""


class PbxKind(msgspec.Struct, frozen=True):
    """A kind of PBX, as it is offered. `menu` is where its settings are found at the PBX."""

    name: str
    title: str
    description: str

    @property
    def writes_lines(self) -> bool:
        """Return whether a connection identifies it, in which it writes lines."""
        return self.name in LINE_DIALECTS

    @property
    def sends_password(self) -> bool:
        """Return whether a secret path identifies it, and a password if it has one."""
        return self.name in PASSWORD_DIALECTS


KINDS: Mapping[str, PbxKind] = {
    kind.name: kind
    for kind in (
        PbxKind(
            "p-series",
            mark("Yeastar P-Series, by webhook"),
            mark(
                "The PBX posts each ended call to Onhook. The quickest way; calls that it fails to send stay missing."
            ),
        ),
        PbxKind(
            "p-series-api",
            mark("Yeastar P-Series, by its API"),
            mark("Onhook connects to the PBX, receives calls at once, and fills gaps from the PBX's own list."),
        ),
        PbxKind(
            "newcdr",
            mark("Yeastar S-Series, K2 or Cloud PBX"),
            mark("The PBX posts each ended call in its earlier format. Its address or a secret path identifies it."),
        ),
        PbxKind(
            "freeswitch",
            mark("FreeSWITCH or FusionPBX"),
            mark("The PBX posts a document about each leg of a call. A secret path and its address identify it."),
        ),
        PbxKind(
            "grandstream",
            mark("Grandstream UCM"),
            mark("The PBX posts the rows of each ended call. A secret path and its address identify it."),
        ),
        PbxKind(
            "3cx",
            mark("3CX"),
            mark("The PBX writes a line for each ended call to a connection. Its address identifies it."),
        ),
        PbxKind(
            "avaya",
            mark("Avaya IP Office"),
            mark("The PBX writes a line of SMDR for each part of a call to a connection. Its address identifies it."),
        ),
        PbxKind(
            "cucm",
            mark("Cisco Unified Communications Manager"),
            mark("The PBX delivers CDR files to a server for SFTP. Onhook reads the folder on this machine."),
        ),
        PbxKind(
            "asterisk",
            mark("Asterisk"),
            mark("Onhook connects to the manager interface (AMI), and fills gaps from the CDR file or table."),
        ),
    )
}

KindName = Annotated[str, PathParameter(max_length=40)]
SnQuery = Annotated[str, QueryParameter(max_length=SN_CHARACTERS_MAX)]


class NewPbxForm(msgspec.Struct, frozen=True):
    """Content of the form, for all kinds; `tls` is `off`, `on` or `certificates`, `mode` is `listen` or `connect`."""

    name: str = ""
    sn: str = ""
    zone: str = ""
    secret: str = ""
    api_url: str = ""
    client_id: str = ""
    client_secret: str = ""
    fingerprint: str = ""
    addresses: str = ""
    path: str = ""
    address: str = ""
    user: str = ""
    manager_secret: str = ""
    tls: str = TLS_OFF
    certificates: str = ""
    trunks: str = ""
    inbound: str = ""
    cdr: str = ""
    cdr_password: str = ""
    cdr_table: str = ""
    cdr_columns: str = ""
    mode: str = LISTEN
    line_address: str = ""
    line_fields: str = ""


class PbxKindsView(View, frozen=True, kw_only=True):
    """Values of the first step."""

    template: ClassVar = "add_pbx_kinds.html"
    kinds: Sequence[PbxKind]
    sn: str


class AddPbxView(View, frozen=True, kw_only=True):
    """Values of the second step; `errors` are messages by field, `error` is about none of them."""

    template: ClassVar = "add_pbx.html"
    kind: PbxKind
    form: NewPbxForm
    errors: Mapping[str, str] = {}
    error: str = ""
    is_stored: bool = False


class AddedPbxView(View, frozen=True, kw_only=True):
    """Values of the last step: what to enter at the PBX, with its secrets this once, and the checks."""

    template: ClassVar = "added_pbx.html"
    kind: PbxKind
    pbx: Pbx
    overview: PbxOverview
    manager_user: str
    secret: str
    path: str
    line_mode: str
    line_port: str
    host: str
    is_guess: bool
    intake_port: int
    warnings: Sequence[str]
    checks: Sequence[CheckResult]
    check_error: str
    poll_seconds: int = POLL_SECONDS
    is_new: bool = True
    is_waiting: bool = False


@get("/add-pbx", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def pbx_kinds_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, sn: SnQuery = ""
) -> Response[str]:
    """Return the first step: the kinds of PBXs."""
    return await render_page(request, app_state, reader_zone, PbxKindsView(kinds=tuple(KINDS.values()), sn=sn))


@get("/add-pbx/{kind_name:str}", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def add_pbx_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, kind_name: KindName, sn: SnQuery = ""
) -> Response[str]:
    """Return the second step: the settings of a kind."""
    view = AddPbxView(kind=_get_kind(kind_name), form=NewPbxForm(sn=sn))
    return await render_page(request, app_state, reader_zone, view)


@post("/add-pbx/{kind_name:str}", include_in_schema=False, status_code=200)
async def add_new_pbx(
    request: AnyRequest,
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    kind_name: KindName,
    data: Annotated[NewPbxForm, FORM_BODY],
) -> Response[str]:
    """Add a PBX; return the last step, or the second one with what is to be corrected."""
    kind = _get_kind(kind_name)
    form = _complete_form(kind, strip_fields(data))
    fields = FormFields()
    new_pbx: NewPbxSettings | NewAsterisk | NewLinePbx | None
    if kind.name == "asterisk":
        new_pbx = parse_asterisk_form(fields, form)
    elif kind.name in LINE_DIALECTS:
        new_pbx = parse_line_form(fields, kind.name, form)
    else:
        new_pbx = _parse_form(fields, kind, form)
    if new_pbx is None:
        view = AddPbxView(kind=kind, form=data, errors=fields.errors)
        return await render_page(request, app_state, reader_zone, view)
    try:
        added = await _store_pbx(app_state, new_pbx)
    except OnhookError as error:
        view = AddPbxView(kind=kind, form=data, error=str(error))
        return await render_page(request, app_state, reader_zone, view)
    added_view = await _load_added_view(app_state, request.url.hostname or "", kind, form, added)
    return await render_page(request, app_state, reader_zone, added_view)


ROUTES = (pbx_kinds_page, add_pbx_page, add_new_pbx)


class FormFields:
    """The errors of a form by field; a form is read to its end, so that all of them are shown at once."""

    def __init__(self) -> None:
        self.errors: dict[str, str] = {}

    def parse(self, field: str, parse: Callable[[], Value]) -> Value | None:
        """Return the value of a field; None where it is invalid, which is noted."""
        try:
            return parse()
        except OnhookError as error:
            self.errors[field] = f"{error.message}: {error.hint}" if error.hint else error.message
            return None

    def require(self, field: str, text: str, message: str) -> None:
        """Note that a field is empty."""
        if not text:
            self.errors[field] = message


def strip_fields(form: NewPbxForm) -> NewPbxForm:
    """Return a form without blanks around its values."""
    return NewPbxForm(**{name: value.strip() for name, value in msgspec.structs.asdict(form).items()})


def _get_kind(name: str) -> PbxKind:
    kind = KINDS.get(name)
    if kind is None:
        raise NotFound(_("there is no kind of PBX {name}", name=repr(name)), hint=_("choose one on the page PBXs"))
    return kind


def _complete_form(kind: PbxKind, form: NewPbxForm) -> NewPbxForm:
    """Return the form with a generated secret or path where the PBX needs one and none was entered."""
    if kind.name == "p-series" and not form.secret:
        return msgspec.structs.replace(form, secret=new_secret())
    needs_path = kind.name in PASSWORD_DIALECTS or (kind.name == "newcdr" and not form.addresses)
    if needs_path and not form.path:
        return msgspec.structs.replace(form, path=f"/{new_secret()}")
    return form


def _parse_form(fields: FormFields, kind: PbxKind, form: NewPbxForm) -> NewPbxSettings | None:
    """Return the PBX of a form; None where a field is invalid."""
    fields.parse("name", lambda: validate_name(form.name))
    fields.parse("sn", lambda: validate_sn(form.sn))
    fields.parse("zone", lambda: validate_zone(form.zone or None))
    credentials: PbxCredentials | None = None
    source_match = SourceMatch()
    if kind.name == "p-series":
        fields.parse("secret", lambda: validate_secret(form.secret))
    elif kind.name == "p-series-api":
        credentials = parse_credentials(fields, form)
    else:
        source_match = parse_sender(fields, form.addresses, form.path)
    if fields.errors:
        return None
    return NewPbxSettings(
        name=form.name,
        sn=form.sn,
        zone=form.zone or None,
        dialect=kind.name if kind.name in UNSIGNED_DIALECTS else DIALECT_DEFAULT,
        secret=form.secret if kind.name == "p-series" else None,
        source_match=source_match,
        credentials=credentials,
    )


def parse_sender(fields: FormFields, addresses: str, path: str) -> SourceMatch:
    """Return the addresses, with commas between them, and the path of a PBX that cannot sign; an invalid one is noted
    and left out.
    """
    address_texts = split_list(addresses)
    by_address = fields.parse("addresses", lambda: parse_source_match(address_texts, None)) or SourceMatch()
    by_path = fields.parse("path", lambda: parse_source_match((), path)) or SourceMatch()
    return SourceMatch(by_address.addresses, by_path.path)


def parse_credentials(fields: FormFields, form: NewPbxForm) -> PbxCredentials | None:
    """Return the credentials of a web API; None where a field is invalid."""
    fields.require("client_id", form.client_id, _("copy the client ID from the PBX, under Integrations > API"))
    fields.require("client_secret", form.client_secret, _("enter the client secret from the PBX"))
    fields.parse("api_url", lambda: parse_pbx_credentials(form.api_url, "id", "secret"))
    if "api_url" not in fields.errors and form.fingerprint:
        fields.parse("fingerprint", lambda: parse_pbx_credentials(form.api_url, "id", "secret", form.fingerprint))
    if fields.errors:
        return None
    return fields.parse(
        "client_secret",
        lambda: parse_pbx_credentials(form.api_url, form.client_id, form.client_secret, form.fingerprint),
    )


def parse_line_form(fields: FormFields, dialect: str, form: NewPbxForm) -> NewLinePbx | None:
    """Return the PBX of a form that writes lines; None where a field is invalid."""
    fields.parse("name", lambda: validate_name(form.name))
    fields.parse("sn", lambda: validate_sn(form.sn) if form.sn else None)
    fields.parse("zone", lambda: validate_zone(form.zone or None))
    new_pbx = NewLinePbx(
        name=form.name,
        dialect=dialect,
        listen="" if form.mode == CONNECT else form.line_address,
        connect=form.line_address if form.mode == CONNECT else "",
        addresses=parse_sender(fields, form.addresses, "").addresses,
        fields=form.line_fields,
        sn=form.sn or None,
        zone=form.zone or None,
    )
    fields.require("line_address", form.line_address, _("enter HOST:PORT, such as 0.0.0.0:5015"))
    if form.line_address:
        fields.parse("line_address", lambda: parse_line_connection(msgspec.structs.replace(new_pbx, fields="")))
    fields.parse("line_fields", lambda: parse_line_fields(dialect, form.line_fields))
    return None if fields.errors else new_pbx


def parse_asterisk_form(fields: FormFields, form: NewPbxForm) -> NewAsterisk | None:
    """Return the Asterisk of a form; None where a field is invalid."""
    tls = form.certificates if form.tls == TLS_CERTIFICATES else form.tls
    fields.parse("name", lambda: validate_name(form.name))
    fields.parse("zone", lambda: validate_zone(form.zone or None))
    fields.require("address", form.address, _("enter the name or address of the machine of the Asterisk"))
    fields.require("user", form.user, _("enter the name of a section of manager.conf, such as onhook"))
    fields.require("manager_secret", form.manager_secret, _("enter the secret of this user in manager.conf"))
    if form.address:
        fields.parse("address", lambda: parse_ami_address(form.address, TLS_OFF, location=""))
    if form.tls not in (TLS_OFF, TLS_ON):
        fields.parse("certificates", lambda: validate_tls(tls))
    source = fields.parse("cdr", lambda: parse_source(form)) if form.cdr else None
    if fields.errors:
        return None
    return NewAsterisk(
        name=form.name,
        address=form.address,
        user=form.user,
        secret=form.manager_secret,
        tls=tls,
        trunks=form.trunks or None,
        inbound=form.inbound or None,
        zone=form.zone or None,
        source=source,
    )


def parse_source(form: NewPbxForm) -> CdrSource:
    """Return the CDR source of a form, with the password of its own field. Raises `UsageError`."""
    if "://" in form.cdr and urlsplit(form.cdr).password:
        raise UsageError(_("the address contains the password"), hint=_("enter the password in its own field"))
    try:
        source = parse_cdr_source(form.cdr, table=form.cdr_table or None, columns=form.cdr_columns or None)
    except UsageError as error:
        example = _("write the path of a file, mysql://USER@HOST/DATABASE or postgresql://USER@HOST/DATABASE")
        raise UsageError(error.message, hint=example) from error
    return msgspec.structs.replace(source, password=form.cdr_password) if source.is_database else source


async def _store_pbx(app_state: AppState, new_pbx: NewPbxSettings | NewAsterisk | NewLinePbx) -> PbxAddition:
    now_us = app_state.clock.microseconds()
    if isinstance(new_pbx, NewLinePbx):
        return await add_line_pbx(app_state.config, app_state.appdb, new_pbx, now_us=now_us)
    if isinstance(new_pbx, NewPbxSettings):
        return await add_pbx(app_state.config, app_state.appdb, new_pbx, location=_("API address"), now_us=now_us)
    return await add_asterisk(
        app_state.config,
        app_state.appdb,
        new_pbx,
        location=_("manager address"),
        source_location=_("CDR source"),
        now_us=now_us,
    )


async def _load_added_view(
    app_state: AppState, request_host: str, kind: PbxKind, form: NewPbxForm, added: PbxAddition
) -> AddedPbxView:
    """Return the values of the last step, after running the checks. The PBX is added whatever the checks say."""
    checks: Sequence[CheckResult] = ()
    check_error = ""
    try:
        checks = await app_state.actions.run_pbx_checks(added.pbx.sn)
    except OnhookError as error:
        check_error = str(error)
    host, is_guess = intake_host(app_state.config, request_host)
    counters = await list_counters(app_state.ledger, app_state.appdb)
    return AddedPbxView(
        kind=kind,
        pbx=added.pbx,
        overview=await load_pbx_overview(app_state, added.pbx, counters, ()),
        manager_user=form.user,
        secret=form.secret if kind.name == "p-series" else "",
        path=form.path,
        line_mode=form.mode,
        line_port=form.line_address.rpartition(":")[2],
        host=host,
        is_guess=is_guess,
        intake_port=intake_port(app_state.config),
        warnings=added.warnings,
        checks=checks,
        check_error=check_error,
    )
