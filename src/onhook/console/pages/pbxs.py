"""The pages `/pbxs`: state, clock, number plan and secrets of each PBX, and the steps from a new PBX to its first call.

Each button is a form of its own, so that everything works without a script.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get, post
from litestar.params import PathParameter, QueryParameter
from litestar.response import Redirect

from onhook.appdb.pbxs import Pbx, Secret, new_secret
from onhook.cdr.number_plan import NumberPlan, parse_number_plan
from onhook.cdr.record import Record
from onhook.cdr.record_filter import RecordFilter, parse_time
from onhook.console.actions import CheckResult
from onhook.console.addresses import intake_host, intake_port
from onhook.console.pages.coverage_calendar import CalendarDay, build_calendar, calendar_start
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX, Message, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import SEQ_MAX, PbxNameOrSn, ReaderZone
from onhook.console.queries.coverage import Backfill, PbxCoverage, get_backfill, list_coverage, parse_backfill_request
from onhook.console.queries.quarantine import NamedCounter, list_counters
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _

STORED_KINDS = frozenset({"stored", "duplicate", "unparsable"})
REJECTED_KINDS = frozenset({"invalid_signature", "missing_signature"})
"""Verdicts on events of a PBX: stored, and not stored."""

QUIET_PERIOD = timedelta(days=1)
"""A PBX without events for this long is marked; a weekend may be the reason."""

POLL_SECONDS = 3
"""Reload interval of the page that waits for a first event."""

CLOCK_SKEW_SECONDS_MAX = 120
"""An event arrives within seconds of a call's end: a longer delay means a wrong clock, or a lost connection."""

PLAN_KINDS = ("ivr", "queue", "ring_group", "conference")

WaitQuery = Annotated[str, QueryParameter(max_length=3)]
SecretId = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]


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


class BackfillForm(msgspec.Struct, frozen=True):
    """Content of the form for a back-fill; times as in the filters."""

    since: str = "1d"
    until: str = ""


class AddSecretForm(msgspec.Struct, frozen=True):
    """Content of the form for another secret. Without a text one is generated."""

    label: str = "webhook"
    secret: str = ""


class PbxOverview(msgspec.Struct, frozen=True, kw_only=True):
    """State of a PBX: its events, and the clock skew that they show."""

    pbx: Pbx
    last_at: datetime | None
    stored: int
    duplicates: int
    rejected: int
    last_rejected_at: datetime | None
    tested_at: datetime | None
    latest_record: Record | None

    def state(self, now: datetime) -> tuple[str, str]:
        """Return the state in a word, and the meaning of its colour."""
        if self.last_rejected_at and (self.last_at is None or self.last_rejected_at > self.last_at):
            return "rejected", "bad"
        if self.last_at is None:
            return ("tested", "soft") if self.tested_at else ("waiting", "soft")
        return ("reporting", "good") if now - self.last_at < QUIET_PERIOD else ("quiet", "soft")

    @property
    def delay_seconds(self) -> int | None:
        """Return how long after its end the latest call was received; negative where the PBX's clock is ahead."""
        if self.latest_record is None or self.latest_record.ended_at is None:
            return None
        return round((self.latest_record.received_at - self.latest_record.ended_at).total_seconds())

    @property
    def has_clock_skew(self) -> bool:
        """Return whether the delay is longer than any transmission."""
        return self.delay_seconds is not None and abs(self.delay_seconds) > CLOCK_SKEW_SECONDS_MAX


class PbxsView(View, frozen=True, kw_only=True):
    """Values of the page: all PBXs, with the form to add one."""

    template: ClassVar = "pbxs.html"
    pbxs: Sequence[PbxOverview]
    today: Mapping[str, int]
    unknown_pbxs: Sequence[NamedCounter]
    error: str
    form: AddPbxForm
    has_calls: bool


class PbxView(View, frozen=True, kw_only=True):
    """Values of the page: one PBX; a new secret is shown once."""

    template: ClassVar = "pbx.html"
    overview: PbxOverview
    pbx: Pbx
    secrets: Sequence[Secret]
    kinds: Sequence[str]
    intake_port: int
    host: str
    is_guess: bool
    calendar: tuple[PbxCoverage, Sequence[CalendarDay]]
    backfill: Backfill
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
        pbx = app_state.appdb.add_pbx(
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
    if await app_state.ledger.last_seq():
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
    pbx = app_state.appdb.pbx(name)
    return await _render_pbx(request, app_state, reader_zone, pbx, message=message, error=error, is_waiting=bool(wait))


@post("/pbxs/{name:str}", include_in_schema=False, status_code=200)
async def change_pbx(app_state: AppStateDep, name: PbxNameOrSn, data: Annotated[ChangePbxForm, FORM_BODY]) -> Redirect:
    """Change name, zone and number plan; they apply to calls from now on."""
    try:
        ranges = {kind: text for kind in PLAN_KINDS if (text := getattr(data, kind).strip())}
        changes: dict[str, Any] = {
            "name": data.name, "zone": data.zone.strip() or None,
            "number_plan": _build_number_plan(app_state, name, ranges),
        }  # fmt: skip
        pbx = app_state.appdb.change_pbx(name, changes)
    except OnhookError as error:
        return _redirect(name, error=str(error))
    return _redirect(pbx.sn, message=_("Settings saved. Earlier calls are not changed until `onhook rebuild`."))


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
        app_state.appdb.add_secret(name, text, now_us=app_state.clock.microseconds(), label=data.label or "webhook")
    except OnhookError as error:
        return await _render_pbx(request, app_state, reader_zone, app_state.appdb.pbx(name), error=str(error))
    return await _render_pbx(request, app_state, reader_zone, app_state.appdb.pbx(name), secret=text)


@post("/pbxs/{name:str}/secrets/{secret_id:int}/remove", include_in_schema=False, status_code=200)
async def remove_secret(app_state: AppStateDep, name: PbxNameOrSn, secret_id: SecretId) -> Redirect:
    """Remove a secret; the last one stays."""
    try:
        app_state.appdb.remove_secret(name, secret_id)
    except OnhookError as error:
        return _redirect(name, error=str(error))
    return _redirect(name, message=_("Secret revoked."))


@post("/pbxs/{name:str}/test", include_in_schema=False, status_code=200)
async def send_test_event(app_state: AppStateDep, name: PbxNameOrSn) -> Redirect:
    """Send a signed test event to the intake, as this PBX would."""
    pbx = app_state.appdb.pbx(name)
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
    pbx = app_state.appdb.pbx(name)
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
    pbx = app_state.appdb.pbx(name)
    try:
        app_state.appdb.require_backfill_source(pbx)
        backfill_request = parse_backfill_request(data.since, data.until, reader_zone, app_state.clock.now())
        app_state.appdb.sync_states.save_backfill_request(pbx.sn, backfill_request)
    except OnhookError as error:
        return _redirect(pbx.sn, error=str(error))
    return _redirect(pbx.sn, message=_("Back-fill requested. This page shows its progress."))


@post("/pbxs/{name:str}/remove", include_in_schema=False, status_code=200)
async def remove_pbx(app_state: AppStateDep, name: PbxNameOrSn) -> Redirect:
    """Remove a PBX; its calls stay."""
    app_state.appdb.remove_pbx(name)
    return Redirect("/pbxs", status_code=303)


ROUTES = (
    *(pbxs_page, add_pbx, start_simulated_pbx, pbx_page, change_pbx),
    *(add_secret, remove_secret, send_test_event, run_pbx_checks, request_backfill, remove_pbx),
)


def _build_number_plan(app_state: AppState, name: str, ranges: Mapping[str, str]) -> NumberPlan:
    """Return the number plan with these ranges; an empty kind has its default."""
    current_plan = app_state.appdb.pbx(name).number_plan
    return msgspec.structs.replace(parse_number_plan(ranges), extension_digits_max=current_plan.extension_digits_max)


async def load_pbx_overview(app_state: AppState, pbx: Pbx, counters: list[NamedCounter]) -> PbxOverview:
    """Return the state of one PBX."""
    pbx_counters = [counter for counter in counters if counter.sn == pbx.sn]
    latest_page = await app_state.store.records(RecordFilter(sn=pbx.sn), 1)
    return PbxOverview(
        pbx=pbx,
        last_at=_latest_time(counter for counter in pbx_counters if counter.kind in STORED_KINDS)
        or (latest_page.data[0].received_at if latest_page.data else None),
        stored=sum(counter.count for counter in pbx_counters if counter.kind == "stored"),
        duplicates=sum(counter.count for counter in pbx_counters if counter.kind == "duplicate"),
        rejected=sum(counter.count for counter in pbx_counters if counter.kind in REJECTED_KINDS),
        last_rejected_at=_latest_time(counter for counter in pbx_counters if counter.kind in REJECTED_KINDS),
        tested_at=_latest_time(counter for counter in pbx_counters if counter.kind == "test_message"),
        latest_record=latest_page.data[0] if latest_page.data else None,
    )


def _latest_time(counters: Any) -> datetime | None:
    return max((counter.last_at for counter in counters), default=None)


async def _render_pbxs(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, *, error: str = "", form: AddPbxForm | None = None
) -> Response[str]:
    counters = await list_counters(app_state.ledger, app_state.appdb)
    today = parse_time("today", zone, app_state.clock.now())
    summary = await app_state.store.summary(RecordFilter(since=today), "pbx", zone.key)
    unknown_pbxs = [
        counter
        for counter in counters
        if counter.kind == "unknown_pbx" and counter.sn and not counter.is_registered_now
    ]
    return render_page(
        request,
        app_state,
        zone,
        PbxsView(
            pbxs=[await load_pbx_overview(app_state, pbx, counters) for pbx in app_state.appdb.pbxs()],
            today={row["pbx"]: row["calls"] for row in summary},
            unknown_pbxs=unknown_pbxs,
            error=error,
            form=form or AddPbxForm(),
            has_calls=bool(await app_state.ledger.last_seq()),
        ),
    )


async def _render_pbx(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, pbx: Pbx, **extra_values: Any
) -> Response[str]:
    overview = await load_pbx_overview(app_state, pbx, await list_counters(app_state.ledger, app_state.appdb))
    host, is_guess = intake_host(app_state.config, request.url.hostname or "")
    return render_page(
        request,
        app_state,
        zone,
        PbxView(
            overview=overview,
            pbx=pbx,
            secrets=app_state.appdb.secrets(pbx.sn),
            kinds=PLAN_KINDS,
            intake_port=intake_port(app_state.config),
            host=host,
            is_guess=is_guess,
            calendar=_load_calendar(app_state, pbx, zone),
            backfill=get_backfill(app_state, pbx.sn),
            poll_seconds=POLL_SECONDS,
            **extra_values,
        ),
    )


def _load_calendar(app_state: AppState, pbx: Pbx, zone: ZoneInfo) -> tuple[PbxCoverage, list[CalendarDay]]:
    now = app_state.clock.now()
    (coverage,) = list_coverage(app_state, calendar_start(zone, now), now, pbx.sn)
    return coverage, build_calendar(coverage.intervals, zone, now)


def _redirect(name: str, message: str = "", error: str = "") -> Redirect:
    address = url(f"/pbxs/{name}", message=message[:MESSAGE_CHARACTERS_MAX], error=error[:MESSAGE_CHARACTERS_MAX])
    return Redirect(address, status_code=303)
