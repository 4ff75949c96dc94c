"""`/pbxs/NAME/connection`: change how a PBX is reached or identified, and pin its certificate; `/pbxs/NAME/remove`.

A secret is never shown: an empty field keeps the stored one, and that is sent to no other host than its own.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

import msgspec
from litestar import Response, get, post
from litestar.response import Redirect

from onhook.appdb.asterisks import TLS_OFF, TLS_ON, AsteriskPbx
from onhook.appdb.cdr_sources import CdrSource
from onhook.appdb.line_connections import LineConnection
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.appdb.pbxs import Pbx
from onhook.appdb.source_match import (
    LINE_DIALECTS,
    UNSIGNED_DIALECTS,
    SourceMatch,
    validate_sender_identification,
)
from onhook.config import Address
from onhook.console.actions import CertificateResult
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.line_setup import LineChanges, merge_line_changes, store_line_connection
from onhook.console.pages.add_pbx import (
    KINDS,
    TLS_CERTIFICATES,
    FormFields,
    NewPbxForm,
    PbxKind,
    parse_asterisk_form,
    parse_credentials,
    parse_line_form,
    parse_sender,
    strip_fields,
)
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import PbxNameOrSn, ReaderZone
from onhook.console.pbx_setup import AUTO, NewAsterisk, change_connection, check_pbx_url
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _
from onhook.pbx.asterisk.payload import Asterisk


class FingerprintForm(msgspec.Struct, frozen=True):
    """Content of the form that pins a certificate."""

    fingerprint: str = ""


class PbxConnectionView(View, frozen=True, kw_only=True):
    """Values of the page; `errors` are messages by field. `certificate` is shown for comparing before it is pinned."""

    template: ClassVar = "pbx_connection.html"
    pbx: Pbx
    kind: PbxKind
    form: NewPbxForm
    has_api: bool
    errors: Mapping[str, str] = {}
    error: str = ""
    certificate: CertificateResult | None = None
    is_stored: bool = True


class RemovePbxView(View, frozen=True, kw_only=True):
    """Values of the page that asks before a PBX is removed."""

    template: ClassVar = "remove_pbx.html"
    pbx: Pbx
    is_asterisk: bool


@get("/pbxs/{name:str}/remove", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def remove_pbx_page(
    request: AnyRequest, app_state: AppStateDep, name: PbxNameOrSn, reader_zone: ReaderZone
) -> Response[str]:
    """Return the page that asks before a PBX is removed."""
    pbx = await app_state.appdb.pbx(name)
    view = RemovePbxView(pbx=pbx, is_asterisk=pbx.dialect == Asterisk.name)
    return await render_page(request, app_state, reader_zone, view)


@get("/pbxs/{name:str}/connection", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def connection_page(
    request: AnyRequest, app_state: AppStateDep, name: PbxNameOrSn, reader_zone: ReaderZone
) -> Response[str]:
    """Return the page with the stored settings."""
    view = await _load_view(app_state, await app_state.appdb.pbx(name))
    return await render_page(request, app_state, reader_zone, view)


@post("/pbxs/{name:str}/connection", include_in_schema=False, status_code=200)
async def save_connection(
    request: AnyRequest,
    app_state: AppStateDep,
    name: PbxNameOrSn,
    reader_zone: ReaderZone,
    data: Annotated[NewPbxForm, FORM_BODY],
) -> Response[str] | Redirect:
    """Change how a PBX is reached or identified."""
    pbx = await app_state.appdb.pbx(name)
    fields = FormFields()
    error = ""
    try:
        is_saved = await _save(app_state, pbx, fields, strip_fields(data))
    except OnhookError as refusal:
        is_saved, error = False, str(refusal)
    if is_saved:
        return _redirect(pbx, _("Connection saved. Run the diagnostics to check it."))
    view = await _load_view(app_state, pbx)
    view = msgspec.structs.replace(view, form=data, errors=fields.errors, error=error)
    return await render_page(request, app_state, reader_zone, view)


@post("/pbxs/{name:str}/certificate", include_in_schema=False, status_code=200)
async def show_certificate(
    request: AnyRequest, app_state: AppStateDep, name: PbxNameOrSn, reader_zone: ReaderZone
) -> Response[str]:
    """Return the page with the certificate that the PBX has now."""
    pbx = await app_state.appdb.pbx(name)
    view = await _load_view(app_state, pbx)
    try:
        credentials = await app_state.appdb.pbx_credentials.require(pbx.sn, pbx.name)
        view = msgspec.structs.replace(view, certificate=await app_state.actions.fetch_certificate(credentials.url))
    except OnhookError as error:
        view = msgspec.structs.replace(view, error=str(error))
    return await render_page(request, app_state, reader_zone, view)


@post("/pbxs/{name:str}/certificate/pin", include_in_schema=False, status_code=200)
async def pin_certificate(
    app_state: AppStateDep, name: PbxNameOrSn, data: Annotated[FingerprintForm, FORM_BODY]
) -> Redirect:
    """Trust the certificate that was shown, and no other."""
    pbx = await app_state.appdb.pbx(name)
    await app_state.appdb.pbx_credentials.require(pbx.sn, pbx.name)
    await app_state.appdb.pbx_credentials.pin(pbx.sn, data.fingerprint)
    return _redirect(pbx, _("Certificate pinned."))


ROUTES = (remove_pbx_page, connection_page, save_connection, show_certificate, pin_certificate)


def _redirect(pbx: Pbx, message: str) -> Redirect:
    return Redirect(url(f"/pbxs/{pbx.sn}", message=message[:MESSAGE_CHARACTERS_MAX]), status_code=303)


def _kind_of(pbx: Pbx) -> PbxKind:
    if pbx.dialect == Asterisk.name:
        return KINDS["asterisk"]
    return KINDS[pbx.dialect if pbx.dialect in UNSIGNED_DIALECTS else "p-series-api"]


async def _load_view(app_state: AppState, pbx: Pbx) -> PbxConnectionView:
    kind, appdb = _kind_of(pbx), app_state.appdb
    credentials = await appdb.pbx_credentials.get(pbx.sn)
    if kind.name == "asterisk":
        form = _fill_asterisk_form(await appdb.asterisks.get(pbx.sn), await appdb.cdr_sources.get(pbx.sn))
    elif kind.name in LINE_DIALECTS:
        addresses = (await appdb.source_matches.get(pbx.sn)).addresses
        form = _fill_line_form(await appdb.line_connections.get(pbx.sn), addresses)
    elif kind.name in UNSIGNED_DIALECTS:
        form = NewPbxForm(addresses=", ".join((await appdb.source_matches.get(pbx.sn)).addresses))
    elif credentials is None:
        form = NewPbxForm()
    else:
        form = NewPbxForm(api_url=credentials.url, client_id=credentials.client_id, fingerprint=credentials.fingerprint)
    return PbxConnectionView(pbx=pbx, kind=kind, form=form, has_api=credentials is not None)


def _fill_line_form(connection: LineConnection | None, addresses: Sequence[str]) -> NewPbxForm:
    form = NewPbxForm(addresses=", ".join(addresses))
    if connection is None:
        return form
    return msgspec.structs.replace(
        form,
        mode=connection.mode,
        line_address=str(Address(connection.host, connection.port)),
        line_fields=", ".join(connection.fields),
    )


def _fill_asterisk_form(asterisk: AsteriskPbx, source: CdrSource | None) -> NewPbxForm:
    has_certificates = asterisk.tls not in (TLS_OFF, TLS_ON)
    return NewPbxForm(
        address=str(Address(asterisk.host, asterisk.port)),
        user=asterisk.user,
        tls=TLS_CERTIFICATES if has_certificates else asterisk.tls,
        certificates=asterisk.tls if has_certificates else "",
        trunks="" if asterisk.trunks is None else ", ".join(asterisk.trunks),
        inbound=", ".join(asterisk.inbound),
        cdr="" if source is None else source.location,
        cdr_table="" if source is None else source.table,
        cdr_columns="" if source is None else ", ".join(source.columns),
    )


async def _save(app_state: AppState, pbx: Pbx, fields: FormFields, form: NewPbxForm) -> bool:
    """Store the settings of a form; return False where a field is invalid. Raises `OnhookError` for refused ones."""
    kind = _kind_of(pbx)
    if kind.name == "asterisk":
        return await _save_asterisk(app_state, pbx, fields, form)
    if kind.name in LINE_DIALECTS:
        return await _save_line_connection(app_state, pbx, fields, form)
    if kind.name in UNSIGNED_DIALECTS:
        return await _save_sender(app_state, pbx, fields, form)
    stored = await app_state.appdb.pbx_credentials.get(pbx.sn)
    return await _save_credentials(app_state, pbx, fields, form, stored)


async def _save_credentials(
    app_state: AppState, pbx: Pbx, fields: FormFields, form: NewPbxForm, stored: PbxCredentials | None
) -> bool:
    if not form.client_secret and stored is not None and _has_host(form.api_url, urlsplit(stored.url).hostname or ""):
        form = msgspec.structs.replace(form, client_secret=stored.client_secret)
    credentials = parse_credentials(fields, form)
    if credentials is None:
        return False
    await check_pbx_url(app_state.config, credentials.url, location=_("API address"))
    await app_state.appdb.pbx_credentials.put(pbx.sn, credentials)
    return True


def _has_host(url: str, stored_host: str) -> bool:
    """Return whether an address is on the machine that is stored; an invalid one has another error."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return True
    return host is None or host == stored_host.lower()


async def _save_sender(app_state: AppState, pbx: Pbx, fields: FormFields, form: NewPbxForm) -> bool:
    source_match = parse_sender(fields, form.addresses, form.path)
    if fields.errors:
        return False
    stored = await app_state.appdb.source_matches.get(pbx.sn)
    source_match = SourceMatch(source_match.addresses, source_match.path or stored.path)
    validate_sender_identification(pbx.dialect, source_match, has_secret=bool(pbx.secrets), is_unsigned=pbx.is_unsigned)
    await app_state.appdb.source_matches.put(pbx.sn, source_match)
    return True


async def _save_line_connection(app_state: AppState, pbx: Pbx, fields: FormFields, form: NewPbxForm) -> bool:
    new_pbx = parse_line_form(fields, pbx.dialect, msgspec.structs.replace(form, name=pbx.name, sn=pbx.sn))
    if new_pbx is None:
        return False
    changes = LineChanges(new_pbx.listen or None, new_pbx.connect or None, new_pbx.fields)
    source_match = SourceMatch(tuple(new_pbx.addresses))
    connection = await merge_line_changes(app_state.config, app_state.appdb, pbx, changes)
    async with app_state.appdb.transaction():
        await store_line_connection(app_state.appdb, pbx, connection, source_match)
        await app_state.appdb.source_matches.put(pbx.sn, source_match)
    return True


async def _save_asterisk(app_state: AppState, pbx: Pbx, fields: FormFields, form: NewPbxForm) -> bool:
    asterisk = await app_state.appdb.asterisks.get(pbx.sn)
    stored_source = await app_state.appdb.cdr_sources.get(pbx.sn)
    secret = form.manager_secret
    if not secret and _has_host(f"//{form.address}", asterisk.host):
        secret = await app_state.appdb.asterisks.get_secret(pbx.sn)
    new_asterisk = parse_asterisk_form(fields, msgspec.structs.replace(form, name=pbx.name, manager_secret=secret))
    if new_asterisk is None:
        return False
    new_asterisk = msgspec.structs.replace(
        new_asterisk,
        sn=pbx.sn,
        trunks=new_asterisk.trunks or AUTO,
        inbound=new_asterisk.inbound or "",
        has_pins=asterisk.has_pins,
        source=_keep_password(new_asterisk, stored_source),
    )
    await change_connection(app_state.config, app_state.appdb, new_asterisk, location=_("manager address"))
    return True


def _keep_password(new_asterisk: NewAsterisk, stored: CdrSource | None) -> CdrSource | None:
    """Return the CDR source, with the stored password where the same database has none in the form."""
    source = new_asterisk.source
    if source is None or stored is None or source.password or source.location != stored.location:
        return source
    return msgspec.structs.replace(source, password=stored.password)
