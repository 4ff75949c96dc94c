"""The pages `/destinations`: destinations with their status, deliveries, and actions.

Each button is a form of its own, so that everything works without a script.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, get_args

import msgspec
from litestar import Response, get, post
from litestar.params import PathParameter, QueryParameter
from litestar.response import Redirect

from onhook.appdb.deliveries import DELIVERED_ROWS_MAX
from onhook.appdb.delivery_rows import Delivery
from onhook.appdb.destination_log import LogFilter, LoggedAttempt
from onhook.appdb.destination_spec import (
    HTTP_KINDS,
    DestinationSettings,
    Kind,
    Method,
    NotifiesOf,
    PayloadFormat,
    RetryPolicy,
    field_meta,
    log_days_of,
    value_type,
)
from onhook.appdb.destinations import Destination
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX, Secret
from onhook.cdr.number_masking import MASKS
from onhook.console.pages.destination_form import (
    FORM_FILTERS,
    KIND_FIELD_PREFIX,
    fill_form,
    list_other_filters,
    reveal_hidden,
)
from onhook.console.pages.destination_log import build_days_chart
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX, Message, render_page
from onhook.console.pages.rendering import View
from onhook.console.pages.reports.report import Chart
from onhook.console.parameters import SEQ_MAX, DeliveryId, DestinationId, ReaderZone
from onhook.console.queries.destination_log import AttemptDay, count_days
from onhook.console.queries.destinations import (
    AddedDestination,
    DeliveryDetails,
    NewDestination,
    create_destination,
    describe_destination,
    describe_destinations,
    get_delivery_details,
    get_destination_by_id,
    parse_destination_filter,
)
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.delivery.destinations.kinds import KINDS, DestinationKind, kind_fields
from onhook.delivery.destinations.recipes import Recipe, get_recipe, load_recipes
from onhook.delivery.preview import NotificationPreview
from onhook.delivery.status import DestinationTestResult, DestinationView, replay
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _, _n

ROWS_SHOWN_MAX = 100
"""Deliveries in one state on a page; the API has all."""

ATTEMPTS_SHOWN_MAX = 10
"""Latest attempts that are shown before the link to the log."""

DELIVERED_SHOWN_MAX = 10
"""Delivered ones that are shown before the link to all: readers of this page look for problems."""

CopyQuery = Annotated[int | None, QueryParameter(ge=1, le=SEQ_MAX, description="Destination that fills the form")]
RecipeQuery = Annotated[str, QueryParameter(max_length=40, description="Recipe that fills the form")]
PreviewQuery = Annotated[str | None, QueryParameter(max_length=200, description="Call id of a preview; empty: newest")]
PreviewFormatQuery = Annotated[
    PayloadFormat | None, QueryParameter(description="Payload format of a preview; that of the destination without one")
]
ShowAllQuery = Annotated[bool, QueryParameter(description="Show all delivered ones")]
DestinationAction = Literal["pause", "resume", "test", "sample", "retry", "replay", "discard", "remove"]
DestinationActionInPath = Annotated[DestinationAction, PathParameter()]
DeliveryActionInPath = Annotated[Literal["retry", "discard"], PathParameter()]


ID_DIGITS_MAX = 18
"""Of the number of a destination in a form."""

INPUT_CHARACTERS_MAX = 200
"""Of an input without a limit of its own."""

LINE_CHARACTERS_MAX = 500
"""Longer texts have lines."""

FORM_FLAGS = ("allow_private", "accept_redirects", "with_standard_webhooks", "chosen_by_users")
FORM_NUMBERS = ("rate_limit", "timeout_seconds", "max_attempts", "log_days")
FORM_TEXTS = ("headers", "transform", *FORM_NUMBERS, "ca_certificates", "fingerprint", "proxy")
"""Other fields of the form."""

FORM_CHOICES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "notifies_of": get_args(NotifiesOf),
        "payload_format": get_args(PayloadFormat),
        "mask": MASKS,
        "method": get_args(Method),
        "retry_policy": get_args(RetryPolicy),
    }
)

FORM_DEFAULTS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("name", "url", "copy_of", *FORM_FILTERS, *FORM_FLAGS, *FORM_TEXTS), "")
    | {f"{KIND_FIELD_PREFIX}{kind}-{field.name}": "" for kind, field in kind_fields()}
    | {"kind": "webhook"}
    | {field.name: field.default for field in msgspec.structs.fields(DestinationSettings) if field.name in FORM_CHOICES}
)


class KindFieldView(msgspec.Struct, frozen=True):
    """Input for a field of one kind: a choice, or a text, which may have several lines."""

    name: str
    label: str
    default: str
    choices: Sequence[str]
    length_max: int

    @property
    def has_lines(self) -> bool:
        """Return whether the text is long enough for lines."""
        return self.length_max > LINE_CHARACTERS_MAX


FORM_FIELDS: Mapping[str, Sequence[KindFieldView]] = MappingProxyType(
    {
        kind: [
            KindFieldView(
                f"{KIND_FIELD_PREFIX}{kind}-{field.name}",
                field_meta(field).description or "",
                str(field.default),
                get_args(value_type(field)),
                field_meta(field).max_length or INPUT_CHARACTERS_MAX,
            )
            for field_kind, field in kind_fields()
            if field_kind == kind
        ]
        for kind in KINDS
    }
)


class ActionForm(msgspec.Struct, frozen=True):
    """Content of a button's form; the period is for a replay."""

    since: str = ""
    until: str = ""


class DestinationsView(View, frozen=True, kw_only=True):
    """Values of the page: all destinations, with the form to add one; the secret of a new one is shown once."""

    template: ClassVar = "destinations.html"
    destinations: Sequence[DestinationView]
    message: str
    error: str
    form: Mapping[str, str]
    choices: Mapping[str, Sequence[str]]
    kinds: Mapping[Kind, DestinationKind]
    form_fields: Mapping[str, Sequence[KindFieldView]]
    is_new: bool = True
    added: AddedDestination | None
    recipes: Mapping[str, Recipe]
    recipe_name: str


class DestinationDetailsView(View, frozen=True, kw_only=True):
    """Values of the page: one destination with its deliveries; `rows` are by state."""

    template: ClassVar = "destination.html"
    destination: DestinationView
    http_kinds: frozenset[Kind]
    secrets: Sequence[Secret]
    preview: NotificationPreview | None
    preview_error: str
    preview_formats: Sequence[str]
    days: Sequence[AttemptDay]
    chart: Chart
    attempts: Sequence[LoggedAttempt]
    log_days: int
    rows: Mapping[str, Sequence[Delivery]]
    delivered: Sequence[Delivery]
    delivered_is_cut: bool
    message: str
    error: str


class DeliveryView(View, frozen=True, kw_only=True):
    """Values of the page: one delivery with its attempts."""

    template: ClassVar = "delivery.html"
    details: DeliveryDetails
    destination: Destination


@get("/destinations", include_in_schema=False)
async def destinations_page(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    message: Message = "",
    recipe: RecipeQuery = "",
    copy_of: CopyQuery = None,
) -> Response[str]:
    """Return the page of all destinations, with their pending notifications, and a form that a recipe or another
    destination can fill.
    """
    form, error = FORM_DEFAULTS, ""
    if copy_of is not None:
        form = {**FORM_DEFAULTS, **_copy_form(await get_destination_by_id(app_state, copy_of))}
    elif recipe:
        try:
            form = {**FORM_DEFAULTS, **_recipe_form(get_recipe(recipe))}
        except UsageError as usage_error:
            error, recipe = str(usage_error), ""
    return await _render_destinations(
        request, app_state, reader_zone, message=message, error=error, form=form, recipe_name=recipe
    )


@post("/destinations", include_in_schema=False, status_code=200)
async def add_destination(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[dict[str, str], FORM_BODY]
) -> Response[str]:
    """Add a destination; its secret is shown this once."""
    try:
        added = await create_destination(app_state, await _parse_new(app_state, data), reader_zone)
    except OnhookError as error:
        return await _render_destinations(request, app_state, reader_zone, error=str(error), form=data)
    return await _render_destinations(request, app_state, reader_zone, added=added)


@get("/destinations/{destination_id:int}", include_in_schema=False)
async def destination_page(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    destination_id: DestinationId,
    reader_zone: ReaderZone,
    message: Message = "",
    error: Message = "",
    show_all: ShowAllQuery = False,
    preview: PreviewQuery = None,
    payload_format: PreviewFormatQuery = None,
) -> Response[str]:
    """Return the page of one destination: its status, its last days and attempts, retrying, failed and delivered
    notifications.
    """
    destination = await get_destination_by_id(app_state, destination_id)
    notification_preview, preview_error = None, ""
    if preview is not None:
        try:
            notification_preview = await app_state.delivery_actions.preview(
                destination.name, preview.strip(), payload_format
            )
        except OnhookError as preview_failure:
            preview_error = str(preview_failure)
    days = await count_days(app_state, destination_id, reader_zone)
    log_page = await app_state.appdb.destination_log.page(destination_id, LogFilter(), ATTEMPTS_SHOWN_MAX)
    delivered = await app_state.appdb.deliveries.newest(destination.destination_id, "delivered", DELIVERED_ROWS_MAX)
    return await render_page(
        request,
        app_state,
        reader_zone,
        DestinationDetailsView(
            destination=await describe_destination(app_state, destination),
            http_kinds=HTTP_KINDS,
            secrets=await app_state.appdb.destinations.secrets(destination.name),
            preview=notification_preview,
            preview_error=preview_error,
            preview_formats=get_args(PayloadFormat) if destination.kind == "webhook" else (),
            days=days,
            chart=build_days_chart(days, destination.destination_id),
            attempts=log_page.data,
            log_days=log_days_of(destination, app_state.config.log_days),
            rows={state: await _list_deliveries(app_state, destination, state) for state in ("failed", "retrying")},
            delivered=delivered if show_all else delivered[:DELIVERED_SHOWN_MAX],
            delivered_is_cut=not show_all and len(delivered) > DELIVERED_SHOWN_MAX,
            message=message,
            error=error,
        ),
    )


@post("/destinations/{destination_id:int}/{action:str}", include_in_schema=False, status_code=200)
async def run_action(
    app_state: AppStateDep,
    destination_id: DestinationId,
    action: DestinationActionInPath,
    reader_zone: ReaderZone,
    data: Annotated[ActionForm, FORM_BODY],
) -> Redirect:
    """Run the action of a button, and show its result."""
    destination = await get_destination_by_id(app_state, destination_id)
    try:
        if action == "replay":
            replay_filter = parse_destination_filter(app_state, {"since": data.since, "until": data.until}, reader_zone)
            count = await replay(app_state.appdb, app_state.store, destination.name, replay_filter, app_state.clock)
            message = _n("1 record is sent again.", "{count} records are sent again.", count)
        elif action in ("test", "sample"):
            is_sample = action == "sample"
            result = await app_state.delivery_actions.send_test(destination.name, is_sample=is_sample)
            if not result.accepted:
                return _redirect(f"/destinations/{destination_id}", error=_describe_test(result))
            message = _describe_test(result)
        else:
            message = await _apply_action(app_state, destination, action)
    except OnhookError as error:
        return _redirect(f"/destinations/{destination_id}", error=str(error))
    return _redirect("/destinations" if action == "remove" else f"/destinations/{destination_id}", message=message)


@get("/destinations/deliveries/{delivery_id:int}", include_in_schema=False)
async def delivery_page(
    request: AnyRequest, app_state: AppStateDep, delivery_id: DeliveryId, reader_zone: ReaderZone
) -> Response[str]:
    """Return the page of one delivery: its attempts, and the notification."""
    details = await get_delivery_details(app_state, delivery_id)
    return await render_page(
        request,
        app_state,
        reader_zone,
        DeliveryView(
            details=details, destination=await get_destination_by_id(app_state, details.delivery.destination_id)
        ),
    )


@post("/destinations/deliveries/{delivery_id:int}/{action:str}", include_in_schema=False, status_code=200)
async def run_delivery_action(
    app_state: AppStateDep, delivery_id: DeliveryId, action: DeliveryActionInPath
) -> Redirect:
    """Retry or discard one delivery."""
    destination_id = (await app_state.appdb.deliveries.get(delivery_id)).destination_id
    if action == "retry":
        await app_state.appdb.deliveries.retry(delivery_id, now_us=app_state.clock.microseconds())
        return _redirect(
            f"/destinations/{destination_id}",
            message=_("Delivery {delivery_id} is being retried.", delivery_id=delivery_id),
        )
    await app_state.appdb.deliveries.discard(delivery_id, now_us=app_state.clock.microseconds())
    return _redirect(
        f"/destinations/{destination_id}", message=_("Delivery {delivery_id} discarded.", delivery_id=delivery_id)
    )


ROUTES = (destinations_page, add_destination, destination_page, run_action, delivery_page, run_delivery_action)


def _describe_test(result: DestinationTestResult) -> str:
    text = (
        _("Test succeeded: {detail}.", detail=result.detail)
        if result.accepted
        else _("Test failed: {detail}.", detail=result.detail)
    )
    return f"{text} {result.hint[:1].upper()}{result.hint[1:]}." if result.hint else text


async def _apply_action(app_state: AppState, destination: Destination, action: DestinationAction) -> str:
    """Run an action that needs the application database only; return its result."""
    destinations, deliveries = app_state.appdb.destinations, app_state.appdb.deliveries
    if action == "pause":
        await destinations.set_state(destination.name, "paused")
        return _("Destination paused. Pending notifications are kept.")
    if action == "resume":
        await destinations.set_state(destination.name, "active")
        return _("Destination resumed.")
    if action == "retry":
        count = await deliveries.retry_all(destination.destination_id, now_us=app_state.clock.microseconds())
        return _n("1 notification is being retried.", "{count} notifications are being retried.", count)
    if action == "discard":
        count = await deliveries.discard_failed(destination.destination_id)
        return _n("1 failed notification discarded.", "{count} failed notifications discarded.", count)
    await destinations.remove(destination.name)
    return _('Destination "{name}" deleted, with its pending notifications.', name=destination.name)


async def _render_destinations(
    request: AnyRequest, app_state: AppState, reader_zone: ReaderZone, *, message: str = "", error: str = "",
    form: Mapping[str, str] = FORM_DEFAULTS, added: AddedDestination | None = None, recipe_name: str = "",
) -> Response[str]:  # fmt: skip
    return await render_page(
        request,
        app_state,
        reader_zone,
        DestinationsView(
            destinations=await describe_destinations(app_state),
            message=message,
            error=error,
            form={**FORM_DEFAULTS, **form, "secret": ""},
            choices=FORM_CHOICES,
            kinds=KINDS,
            form_fields=FORM_FIELDS,
            added=added,
            recipes=load_recipes(),
            recipe_name=recipe_name,
        ),
    )


def _copy_form(destination: Destination) -> dict[str, str]:
    """Return the values of the form for another destination like this one, from now on."""
    name = _("{name} copy", name=destination.name[: NAME_CHARACTERS_MAX - 10])
    return fill_form(destination) | {"name": name, "since": "", "copy_of": str(destination.destination_id)}


def _recipe_form(recipe: Recipe) -> dict[str, str]:
    """Return the values of the form that a recipe sets."""
    return {
        "name": recipe.title,
        "kind": "http",
        "url": recipe.url,
        "notifies_of": recipe.notifies_of,
        "accept_redirects": "true" if recipe.accept_redirects else "",
        "headers": "\n".join(f"{name}: {value}" for name, value in recipe.headers.items()),
    } | {f"{KIND_FIELD_PREFIX}http-{name}": str(value).strip() for name, value in recipe.fields.items()}


async def _parse_new(app_state: AppState, form: Mapping[str, str]) -> NewDestination:
    """Return the destination to add: one that is like another has its hidden values, and those of its filters that the
    form does not have. Raises `UsageError`, `NotFound`.
    """
    texts = {name: text for name, text in form.items() if name != "copy_of"}
    copied = form.get("copy_of", "")
    if not copied:
        return parse_form(texts)
    stored = await get_destination_by_id(
        app_state, int(copied) if copied.isdecimal() and len(copied) <= ID_DIGITS_MAX else 0
    )
    new = parse_form(reveal_hidden(texts, stored))
    return msgspec.structs.replace(new, filter=list_other_filters(stored) | new.filter)


def parse_form(form: Mapping[str, str]) -> NewDestination:
    """Return the destination that a form describes. Raises `UsageError`."""
    # A form sends each end of a line as CR LF.
    texts = {name: text.replace("\r\n", "\n").strip() for name, text in form.items() if text.strip()}
    members: dict[str, object] = {
        name: text
        for name, text in texts.items()
        if name not in FORM_FILTERS and not name.startswith(KIND_FIELD_PREFIX)
    }
    prefix = f"{KIND_FIELD_PREFIX}{texts.get('kind', 'webhook')}-"
    members["fields"] = {name.removeprefix(prefix): text for name, text in texts.items() if name.startswith(prefix)}
    if "headers" in texts:
        members["headers"] = _parse_headers(texts["headers"])
    filters = {name: text for name, text in texts.items() if name in FORM_FILTERS}
    try:
        return msgspec.convert(members | {"filter": filters}, NewDestination, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(str(error), hint=_("correct the form")) from error


def _parse_headers(text: str) -> dict[str, str]:
    """Return the headers in lines as `Name: value`. Raises `UsageError`."""
    headers = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, value = line.partition(":")
        if not colon:
            raise UsageError(_("a header has no value"), location="headers", hint=_("write lines as Name: value"))
        headers[name.strip()] = value.strip()
    return headers


async def _list_deliveries(
    app_state: AppState, destination: Destination, state: Literal["failed", "retrying"]
) -> list[Delivery]:
    return await app_state.appdb.deliveries.page(destination.destination_id, state, ROWS_SHOWN_MAX)


def _redirect(path: str, **query: str) -> Redirect:
    return Redirect(url(path, **{name: text[:MESSAGE_CHARACTERS_MAX] for name, text in query.items()}), status_code=303)
