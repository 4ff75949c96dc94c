"""The pages `/pbxs`: state, clock, number plan and secrets of each PBX, and the steps from a new PBX to its first call.

Each button is a form of its own, so that everything works without a script.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get, post
from litestar.params import QueryParameter
from litestar.response import Redirect

from onhook.appdb.pbx_conventions import ENCODING_CHARACTERS_MAX, PbxConventions, parse_conventions
from onhook.appdb.pbxs import DIALECT_DEFAULT, Pbx, Secret, new_secret, validate_sn
from onhook.appdb.source_match import FILE_DIALECTS, LINE_DIALECTS, UNSIGNED_DIALECTS, UNTESTED_DIALECTS
from onhook.appdb.swept_folders import SweptFolder
from onhook.appdb.sync_state import AUTO, format_silence_minutes, parse_silence_minutes
from onhook.cdr.number_plan import RANGE_KINDS, parse_number_plan
from onhook.cdr.record_filter import RecordFilter, parse_time
from onhook.console.actions import CheckResult
from onhook.console.addresses import intake_host, intake_port
from onhook.console.file_setup import can_leave_files
from onhook.console.pages.asterisk_overview import AsteriskOverview, load_asterisk_overview
from onhook.console.pages.coverage_calendar import CalendarDay, build_calendar, calendar_start
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX, Message, render_page
from onhook.console.pages.pbx_overview import (
    PbxOverview,
    describe_backfill,
    describe_coverage,
    find_backfill_error,
    list_pbx_overviews,
    load_pbx_overview,
)
from onhook.console.pages.pbx_recordings import RecordingsOverview, load_recordings_overview
from onhook.console.pages.rendering import View
from onhook.console.parameters import PbxNameOrSn, ReaderZone, SecretId
from onhook.console.queries.coverage import Backfill, PbxCoverage, get_backfill, list_coverage, parse_backfill_request
from onhook.console.queries.quarantine import list_counters
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _
from onhook.receiver.rejections import RequestCounter

POLL_SECONDS = 3
"""Reload interval of the page that waits for a first event."""

PLAN_KINDS = (*RANGE_KINDS, "extension_digits_max", "features")

WaitQuery = Annotated[str, QueryParameter(max_length=3)]


class AddPbxForm(msgspec.Struct, frozen=True):
    """Content of the form for a PBX. Without a secret one is generated."""

    name: str = ""
    sn: str = ""
    secret: str = ""
    zone: str = ""


class ChangePbxForm(msgspec.Struct, frozen=True):
    """Content of the form of a PBX's settings; ranges as `6400-6499,7000`."""

    name: str = ""
    zone: str = ""
    ivr: str = ""
    queue: str = ""
    ring_group: str = ""
    conference: str = ""
    voicemail: str = ""
    extension: str = ""
    extension_digits_max: str = ""
    features: str = ""
    keeps_unregistered: str = ""


class ConventionsForm(msgspec.Struct, frozen=True):
    """Content of the form for the encoding and the meaning of `agent_ring_time`."""

    encoding: str = ""
    ring_time: str = ""


class AlarmForm(msgspec.Struct, frozen=True):
    """Content of the form for the alarm of silence, and for whether the PBX must sign: `yes`, or empty."""

    silence: str = AUTO
    signed: str = ""


class SerialNumberForm(msgspec.Struct, frozen=True):
    """Content of the form for a further serial number."""

    sn: str = ""


class BackfillForm(msgspec.Struct, frozen=True):
    """Content of the form for a back-fill; times as in the filters."""

    since: str = "1d"
    until: str = ""


class AddSecretForm(msgspec.Struct, frozen=True):
    """Content of the form for another secret. Without a text one is generated."""

    label: str = "webhook"
    secret: str = ""


class PbxsView(View, frozen=True, kw_only=True):
    """Values of the page: all PBXs, with the form to add one."""

    template: ClassVar = "pbxs.html"
    pbxs: Sequence[PbxOverview]
    today: Mapping[str, int]
    unknown_pbxs: Sequence[RequestCounter]
    error: str
    form: AddPbxForm
    has_calls: bool


class PbxView(View, frozen=True, kw_only=True):
    """Values of the page: one PBX; a new secret is shown once.

    `asterisk` is the state of an Asterisk, None for a PBX that sends webhooks: the page shows what belongs to either.
    `unregistered` are counters of serial numbers that know its secret. `coverage_text` has commands between backticks.
    Without a source to compare with, and without a live connection, there is no calendar (`has_calendar`).
    """

    template: ClassVar = "pbx.html"
    overview: PbxOverview
    pbx: Pbx
    asterisk: AsteriskOverview | None
    conventions: PbxConventions
    encoding_characters_max: int
    silence: str
    can_sign: bool
    has_signature: bool
    has_test_event: bool
    sends_requests: bool
    can_leave_files: bool
    swept_folder: SweptFolder | None
    recordings: RecordingsOverview
    secrets: Sequence[Secret]
    unregistered: Sequence[RequestCounter]
    kinds: Sequence[str]
    intake_port: int
    host: str
    is_guess: bool
    days: Sequence[CalendarDay]
    coverage: PbxCoverage
    coverage_text: str
    has_calendar: bool
    backfill: Backfill
    backfill_sentence: str
    backfill_error: str
    poll_seconds: int
    message: str = ""
    error: str = ""
    secret: str = ""
    is_new: bool = False
    is_waiting: bool = False
    checks: Sequence[CheckResult] = ()


@get("/pbxs", include_in_schema=False)
async def pbxs_page(request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """Return the page of all PBXs, with the form to add one."""
    return await _render_pbxs(request, app_state, reader_zone)


@post("/pbxs", include_in_schema=False, status_code=200)
async def add_pbx(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[AddPbxForm, FORM_BODY]
) -> Response[str]:
    """Add a PBX; the settings to copy are shown, with the secret this once."""
    secret = data.secret or new_secret()
    try:
        pbx = await app_state.appdb.add_pbx(
            name=data.name,
            sn=data.sn,
            secret=secret,
            zone=data.zone.strip() or None,
            now_us=app_state.clock.microseconds(),
        )
    except OnhookError as error:
        return await _render_pbxs(request, app_state, reader_zone, error=str(error), form=data)
    return await _render_pbx(request, app_state, reader_zone, pbx, secret=secret, is_new=True)


@post("/pbxs/simulated", include_in_schema=False, status_code=200)
async def start_simulated_pbx(app_state: AppStateDep) -> Redirect:
    """Start a simulated PBX: only where nothing was ever stored, because its calls are stored like all others."""
    if await app_state.ledger.has_events():
        raise UsageError(
            _("there are calls already, and simulated ones would be mixed with them"),
            hint=_("start `onhook serve --demo --data ANOTHER-DIRECTORY`"),
        )
    await app_state.actions.start_simulated_pbx()
    return Redirect("/", status_code=303)


@get("/pbxs/{name:str}", include_in_schema=False)
async def pbx_page(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    name: PbxNameOrSn,
    reader_zone: ReaderZone,
    message: Message = "",
    error: Message = "",
    wait: WaitQuery = "",
) -> Response[str]:
    """Return the page of one PBX."""
    pbx = await app_state.appdb.pbx(name)
    return await _render_pbx(request, app_state, reader_zone, pbx, message=message, error=error, is_waiting=bool(wait))


@post("/pbxs/{name:str}", include_in_schema=False, status_code=200)
async def change_pbx(app_state: AppStateDep, name: PbxNameOrSn, data: Annotated[ChangePbxForm, FORM_BODY]) -> Redirect:
    """Change name, zone and number plan; they apply to calls from now on. An empty field has its default."""
    try:
        ranges = {kind: text for kind in PLAN_KINDS if (text := getattr(data, kind).strip())}
        changes: dict[str, Any] = {
            "name": data.name, "zone": data.zone.strip() or None,
            "number_plan": parse_number_plan(ranges), "keeps_unregistered": bool(data.keeps_unregistered),
        }  # fmt: skip
        pbx = await app_state.appdb.change_pbx(name, changes)
    except OnhookError as error:
        return _redirect(name, error=str(error))
    return _redirect(
        pbx.sn, message=_("Settings saved. Earlier calls do not change until the settings are applied to them.")
    )


@post("/pbxs/{name:str}/conventions", include_in_schema=False, status_code=200)
async def change_conventions(
    app_state: AppStateDep, name: PbxNameOrSn, data: Annotated[ConventionsForm, FORM_BODY]
) -> Redirect:
    """Change the encoding of its texts and the meaning of `agent_ring_time`."""
    pbx = await app_state.appdb.pbx(name)
    try:
        await app_state.appdb.pbx_conventions.put(pbx.sn, parse_conventions(data.encoding, data.ring_time))
    except OnhookError as error:
        return _redirect(pbx.sn, error=str(error))
    return _redirect(
        pbx.sn, message=_("Settings saved. Earlier calls do not change until the settings are applied to them.")
    )


@post("/pbxs/{name:str}/alarm", include_in_schema=False, status_code=200)
async def change_alarm(app_state: AppStateDep, name: PbxNameOrSn, data: Annotated[AlarmForm, FORM_BODY]) -> Redirect:
    """Change after how many minutes of silence there is an alarm, and whether the PBX must sign."""
    pbx = await app_state.appdb.pbx(name)
    try:
        minutes = parse_silence_minutes(data.silence.strip() or AUTO, location="")
        async with app_state.appdb.transaction():
            await app_state.appdb.sync_states.save_silence_minutes(pbx.sn, minutes)
            if _can_sign(pbx) and pbx.is_unsigned == bool(data.signed):
                if data.signed and not pbx.secrets:
                    raise UsageError(_("{name} has no secret to sign with", name=pbx.name), hint=_("add one below"))
                await app_state.appdb.change_pbx(pbx.sn, {"is_unsigned": not data.signed})
    except OnhookError as error:
        return _redirect(pbx.sn, error=str(error))
    return _redirect(pbx.sn, message=_("Settings saved."))


@post("/pbxs/{name:str}/serial-numbers", include_in_schema=False, status_code=200)
async def add_serial_number(
    app_state: AppStateDep, name: PbxNameOrSn, data: Annotated[SerialNumberForm, FORM_BODY]
) -> Redirect:
    """Accept events of a further serial number; its earlier calls are joined."""
    try:
        pbx = await app_state.appdb.pbx(name)
        await app_state.appdb.serial_numbers.add(pbx.sn, validate_sn(data.sn))
    except OnhookError as error:
        return _redirect(name, error=str(error))
    return _redirect(name, message=_("Serial number added. Calls that it has already are being joined."))


@post("/pbxs/{name:str}/serial-numbers/remove", include_in_schema=False, status_code=200)
async def remove_serial_number(
    app_state: AppStateDep, name: PbxNameOrSn, data: Annotated[SerialNumberForm, FORM_BODY]
) -> Redirect:
    """Accept no events of a further serial number."""
    try:
        pbx = await app_state.appdb.pbx(name)
        await app_state.appdb.serial_numbers.remove(pbx.sn, data.sn, now_us=app_state.clock.microseconds())
    except OnhookError as error:
        return _redirect(name, error=str(error))
    return _redirect(name, message=_("Serial number removed. Its earlier calls stay."))


@post("/pbxs/{name:str}/secrets", include_in_schema=False, status_code=200)
async def add_secret(
    request: AnyRequest,
    app_state: AppStateDep,
    name: PbxNameOrSn,
    reader_zone: ReaderZone,
    data: Annotated[AddSecretForm, FORM_BODY],
) -> Response[str]:
    """Add a secret; it is shown this once."""
    text = data.secret or new_secret()
    try:
        await app_state.appdb.add_secret(
            name, text, now_us=app_state.clock.microseconds(), label=data.label or "webhook"
        )
    except OnhookError as error:
        return await _render_pbx(request, app_state, reader_zone, await app_state.appdb.pbx(name), error=str(error))
    return await _render_pbx(request, app_state, reader_zone, await app_state.appdb.pbx(name), secret=text)


@post("/pbxs/{name:str}/secrets/{secret_id:int}/remove", include_in_schema=False, status_code=200)
async def remove_secret(app_state: AppStateDep, name: PbxNameOrSn, secret_id: SecretId) -> Redirect:
    """Remove a secret; the last one stays."""
    try:
        await app_state.appdb.remove_secret(name, secret_id)
    except OnhookError as error:
        return _redirect(name, error=str(error))
    return _redirect(name, message=_("Secret revoked."))


@post("/pbxs/{name:str}/test", include_in_schema=False, status_code=200)
async def send_test_event(app_state: AppStateDep, name: PbxNameOrSn) -> Redirect:
    """Send a signed test event to the intake, as this PBX would."""
    pbx = await app_state.appdb.pbx(name)
    try:
        result = await app_state.actions.send_test_event(pbx.sn)
    except OnhookError as error:
        return _redirect(pbx.sn, error=str(error))
    return _redirect(pbx.sn, message=_("Test event sent: {result}.", result=result))


@post("/pbxs/{name:str}/checks", include_in_schema=False, status_code=200)
async def run_pbx_checks(
    request: AnyRequest, app_state: AppStateDep, name: PbxNameOrSn, reader_zone: ReaderZone
) -> Response[str]:
    """Return the page with the checks of `onhook doctor` for this PBX."""
    pbx = await app_state.appdb.pbx(name)
    try:
        checks = await app_state.actions.run_pbx_checks(pbx.sn)
    except OnhookError as error:
        return await _render_pbx(request, app_state, reader_zone, pbx, error=str(error))
    return await _render_pbx(request, app_state, reader_zone, pbx, checks=checks)


@post("/pbxs/{name:str}/backfill", include_in_schema=False, status_code=200)
async def request_backfill(
    app_state: AppStateDep, name: PbxNameOrSn, reader_zone: ReaderZone, data: Annotated[BackfillForm, FORM_BODY]
) -> Redirect:
    """Request a back-fill, where the PBX has a source."""
    pbx = await app_state.appdb.pbx(name)
    try:
        await app_state.appdb.require_backfill_source(pbx)
        backfill_request = parse_backfill_request(data.since, data.until, reader_zone, app_state.clock.now())
        await app_state.appdb.sync_states.save_backfill_request(pbx.sn, backfill_request)
    except OnhookError as error:
        return _redirect(pbx.sn, error=str(error))
    return _redirect(pbx.sn, message=_("Back-fill requested. This page shows its progress."))


@post("/pbxs/{name:str}/remove", include_in_schema=False, status_code=200)
async def remove_pbx(app_state: AppStateDep, name: PbxNameOrSn) -> Redirect:
    """Remove a PBX; its calls stay."""
    await app_state.appdb.remove_pbx(name)
    return Redirect("/pbxs", status_code=303)


ROUTES = (
    *(pbxs_page, add_pbx, start_simulated_pbx, pbx_page, change_pbx, change_conventions, change_alarm),
    *(
        add_serial_number,
        remove_serial_number,
        add_secret,
        remove_secret,
        send_test_event,
        run_pbx_checks,
        request_backfill,
        remove_pbx,
    ),
)


def _can_sign(pbx: Pbx) -> bool:
    """Return whether a PBX of this kind signs what it sends."""
    return pbx.dialect == DIALECT_DEFAULT


async def _render_pbxs(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, *, error: str = "", form: AddPbxForm | None = None
) -> Response[str]:
    counters = await list_counters(app_state.ledger, app_state.appdb)
    open_alarms = await app_state.appdb.alarms.open_alarms()
    today = parse_time("today", zone, app_state.clock.now())
    summary = await app_state.store.summary(RecordFilter(since=today), "pbx", zone.key)
    unknown_pbxs = [
        counter
        for counter in counters
        if counter.kind == "unknown_pbx" and counter.sn and not counter.is_registered_now
    ]
    return await render_page(
        request,
        app_state,
        zone,
        PbxsView(
            pbxs=await list_pbx_overviews(app_state, await app_state.appdb.pbxs(), counters, open_alarms),
            today={row["pbx"]: row["calls"] for row in summary},
            unknown_pbxs=unknown_pbxs,
            error=error,
            form=form or AddPbxForm(),
            has_calls=await app_state.ledger.has_events(),
        ),
    )


async def _render_pbx(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, pbx: Pbx, **extra_values: Any
) -> Response[str]:
    counters = await list_counters(app_state.ledger, app_state.appdb)
    overview = await load_pbx_overview(app_state, pbx, counters, await app_state.appdb.alarms.open_alarms())
    coverage, days = await _load_calendar(app_state, pbx, zone)
    backfill = await get_backfill(app_state, pbx.sn)
    host, is_guess = intake_host(app_state.config, request.url.hostname or "")
    return await render_page(
        request,
        app_state,
        zone,
        PbxView(
            overview=overview,
            pbx=pbx,
            asterisk=await load_asterisk_overview(app_state, pbx, overview.latest_record),
            conventions=await app_state.appdb.pbx_conventions.get(pbx.sn),
            encoding_characters_max=ENCODING_CHARACTERS_MAX,
            silence=format_silence_minutes(await app_state.appdb.sync_states.silence_minutes(pbx.sn)),
            can_sign=_can_sign(pbx),
            has_signature=pbx.dialect not in UNSIGNED_DIALECTS,
            has_test_event=pbx.dialect not in UNTESTED_DIALECTS,
            sends_requests=pbx.dialect not in LINE_DIALECTS | FILE_DIALECTS,
            can_leave_files=can_leave_files(pbx),
            swept_folder=await app_state.appdb.swept_folders.get(pbx.sn),
            recordings=await load_recordings_overview(app_state, pbx),
            secrets=await app_state.appdb.secrets(pbx.sn),
            unregistered=[
                counter
                for counter in counters
                if counter.kind == "unregistered" and counter.label == pbx.sn and not counter.pbx
            ],
            kinds=RANGE_KINDS,
            intake_port=intake_port(app_state.config),
            host=host,
            is_guess=is_guess,
            days=days,
            coverage=coverage,
            coverage_text=describe_coverage(pbx, coverage, zone),
            has_calendar=coverage.has_backfill_source or bool(coverage.complete_until) or pbx.dialect == "asterisk",
            backfill=backfill,
            backfill_sentence=describe_backfill(backfill, zone),
            backfill_error=find_backfill_error(backfill),
            poll_seconds=POLL_SECONDS,
            **extra_values,
        ),
    )


async def _load_calendar(app_state: AppState, pbx: Pbx, zone: ZoneInfo) -> tuple[PbxCoverage, list[CalendarDay]]:
    now = app_state.clock.now()
    (coverage,) = await list_coverage(app_state, calendar_start(zone, now), now, pbx.sn)
    return coverage, build_calendar(coverage.intervals, zone, now)


def _redirect(name: str, message: str = "", error: str = "") -> Redirect:
    address = url(f"/pbxs/{name}", message=message[:MESSAGE_CHARACTERS_MAX], error=error[:MESSAGE_CHARACTERS_MAX])
    return Redirect(address, status_code=303)
