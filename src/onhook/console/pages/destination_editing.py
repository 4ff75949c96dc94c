"""`/destinations/ID/edit`: change the settings of a destination, and its secrets."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.response import Redirect

from onhook.appdb.destination_spec import Kind
from onhook.appdb.destinations import Destination
from onhook.appdb.pbxs import Secret
from onhook.cdr.record_filter import RecordFilter
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.pages.destination_form import FORM_FILTERS, fill_form, reveal_hidden
from onhook.console.pages.destinations import (
    FORM_CHOICES,
    FORM_DEFAULTS,
    FORM_FIELDS,
    FORM_FLAGS,
    FORM_TEXTS,
    KindFieldView,
    parse_form,
)
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import DestinationId, ReaderZone, SecretId
from onhook.console.queries.destinations import get_destination_by_id, parse_destination_filter
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.delivery.address_check import check_change
from onhook.delivery.destinations.kinds import KINDS, DestinationKind
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _

CHANGED_FIELDS = ("url", "fields", *FORM_CHOICES, *FORM_FLAGS, *FORM_TEXTS)
"""Settings that the form has; any other stays."""


class SecretForm(msgspec.Struct, frozen=True):
    """Content of the form for another secret. Without a text one is generated, for a kind that signs."""

    label: str = "webhook"
    secret: str = ""


class DestinationEditView(View, frozen=True, kw_only=True):
    """Values of the page; `form` has the values entered after an error. A new secret is shown once."""

    template: ClassVar = "destination_edit.html"
    destination: Destination
    form: Mapping[str, str]
    secrets: Sequence[Secret]
    choices: Mapping[str, Sequence[str]] = FORM_CHOICES
    kinds: Mapping[Kind, DestinationKind] = KINDS
    form_fields: Mapping[str, Sequence[KindFieldView]] = FORM_FIELDS
    is_new: bool = False
    error: str = ""
    message: str = ""
    secret: str = ""


@get("/destinations/{destination_id:int}/edit", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def edit_page(
    request: AnyRequest, app_state: AppStateDep, destination_id: DestinationId, reader_zone: ReaderZone
) -> Response[str]:
    """Return the page with the stored settings."""
    return await _render(request, app_state, reader_zone, await get_destination_by_id(app_state, destination_id))


@post("/destinations/{destination_id:int}/edit", include_in_schema=False, status_code=200)
async def change_destination(
    request: AnyRequest,
    app_state: AppStateDep,
    destination_id: DestinationId,
    reader_zone: ReaderZone,
    data: Annotated[dict[str, str], FORM_BODY],
) -> Response[str] | Redirect:
    """Change a destination; delivery continues where it is."""
    destination = await get_destination_by_id(app_state, destination_id)
    try:
        changes = _find_changes(app_state, destination, data, reader_zone)
        warnings = await check_change(app_state.config, destination, changes) if changes else []
        if changes:
            await app_state.appdb.destinations.change(destination.name, changes)
    except OnhookError as error:
        return await _render(request, app_state, reader_zone, destination, form=data, error=str(error))
    message = " ".join([_("Settings saved."), *warnings])[:MESSAGE_CHARACTERS_MAX]
    return Redirect(url(f"/destinations/{destination_id}", message=message), status_code=303)


@post("/destinations/{destination_id:int}/secrets", include_in_schema=False, status_code=200)
async def add_secret(
    request: AnyRequest,
    app_state: AppStateDep,
    destination_id: DestinationId,
    reader_zone: ReaderZone,
    data: Annotated[SecretForm, FORM_BODY],
) -> Response[str]:
    """Add a secret beside the others; one that was generated is shown this once."""
    destination = await get_destination_by_id(app_state, destination_id)
    try:
        _stored, text = await app_state.appdb.destinations.add_secret(
            destination.name,
            data.secret or None,
            now_us=app_state.clock.microseconds(),
            label=data.label or destination.kind,
        )
    except OnhookError as error:
        return await _render(request, app_state, reader_zone, destination, error=str(error))
    return await _render(
        request,
        app_state,
        reader_zone,
        await get_destination_by_id(app_state, destination_id),
        secret="" if data.secret else text,
        message=_("Secret added."),
    )


@post("/destinations/{destination_id:int}/secrets/{secret_id:int}/remove", include_in_schema=False, status_code=200)
async def remove_secret(
    request: AnyRequest,
    app_state: AppStateDep,
    destination_id: DestinationId,
    secret_id: SecretId,
    reader_zone: ReaderZone,
) -> Response[str]:
    """Remove a secret; the last one stays."""
    destination = await get_destination_by_id(app_state, destination_id)
    try:
        await app_state.appdb.destinations.remove_secret(destination.name, secret_id)
    except OnhookError as error:
        return await _render(request, app_state, reader_zone, destination, error=str(error))
    return await _render(request, app_state, reader_zone, destination, message=_("Secret revoked."))


ROUTES = (edit_page, change_destination, add_secret, remove_secret)


def _find_changes(
    app_state: AppState, destination: Destination, form: Mapping[str, str], zone: ReaderZone
) -> dict[str, Any]:
    """Return what a form changes of a destination. Raises `UsageError`."""
    texts = reveal_hidden(form, destination) | {"kind": destination.kind}
    new = parse_form({name: text for name, text in texts.items() if name not in FORM_FILTERS})
    changes = {name: getattr(new, name) for name in CHANGED_FIELDS if getattr(new, name) != getattr(destination, name)}
    if "url" in changes or "proxy" in changes:
        changes["headers"] = new.headers  # entered again for another host or proxy, also where they stay the same
    record_filter = _change_filter(app_state, destination, form, zone)
    if record_filter != destination.filter:
        changes["filter"] = record_filter
    if new.name != destination.name:
        changes["name"] = new.name
    return changes


def _change_filter(
    app_state: AppState, destination: Destination, form: Mapping[str, str], zone: ReaderZone
) -> RecordFilter:
    """Return the filter with what the form changes: a text that stays is the stored value, and so is what the form
    does not have.
    """
    shown_texts = fill_form(destination)
    texts = {name: form.get(name, "").strip() for name in FORM_FILTERS}
    changed_texts = {name: text for name, text in texts.items() if text != shown_texts[name]}
    parsed = parse_destination_filter(app_state, changed_texts, zone)
    return msgspec.structs.replace(destination.filter, **{name: getattr(parsed, name) for name in changed_texts})


async def _render(
    request: AnyRequest,
    app_state: AppState,
    zone: ReaderZone,
    destination: Destination,
    *,
    form: Mapping[str, str] | None = None,
    **extra_values: Any,
) -> Response[str]:
    view = DestinationEditView(
        destination=destination,
        form={**FORM_DEFAULTS, **fill_form(destination), **(form or {}), "kind": destination.kind},
        secrets=await app_state.appdb.destinations.secrets(destination.name),
        **extra_values,
    )
    return await render_page(request, app_state, zone, view)
