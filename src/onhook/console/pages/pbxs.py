"""The pages `/pbxs`: each PBX's state, clock, number plan and secrets, and the way from a new PBX to its first call.

Each button is a form of its own, so that everything works without a script.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg, PathParameter, QueryParameter
from litestar.response import Redirect

from onhook.appdb.pbxs import Pbx, new_secret
from onhook.cdr.number_plan import NumberPlan, parse_number_plan
from onhook.cdr.record import Record
from onhook.cdr.record_filter import RecordFilter, parse_time
from onhook.console.addresses import intake_host, intake_port
from onhook.console.api.coverage import PbxCoverage, get_backfill, list_coverage, parse_backfill_request
from onhook.console.api.pbxs import Name
from onhook.console.api.quarantine import NamedCounter, list_counters
from onhook.console.api.records import SEQ_MAX
from onhook.console.pages.coverage_calendar import CalendarDay, build_calendar, calendar_start
from onhook.console.pages.formatting import url
from onhook.console.pages.page import AnyRequest, render_page
from onhook.console.parameters import ReaderZone
from onhook.console.state import AppState, AppStateDep
from onhook.lib.errors import OnhookError, UsageError

MESSAGE_CHARACTERS_MAX = 500
"""Of what came of a button, handed to the page that follows in its address."""

STORED_KINDS = frozenset({"kept", "repeat", "unreadable"})
REJECTED_KINDS = frozenset({"wrong_signature", "no_signature"})
"""The intake's words for reports of a PBX: on disk, and not."""

QUIET_PERIOD = timedelta(days=1)
"""A PBX that has reported nothing for so long is worth a look; a weekend may be a reason."""

POLL_SECONDS = 3
"""How often the page that waits for a first report asks again."""

CLOCK_SKEW_SECONDS_MAX = 120
"""A call is reported within seconds of its end: past this the clock of one of the two is wrong, or the way was shut."""

PLAN_KINDS = ("ivr", "queue", "ring_group", "conference")

FORM_BODY = BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)
Message = Annotated[str, QueryParameter(max_length=MESSAGE_CHARACTERS_MAX)]
WaitQuery = Annotated[str, QueryParameter(max_length=3)]
SecretId = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]


class AddPbxForm(msgspec.Struct, frozen=True):
    """What the form for a PBX sends. Without a secret one is made."""

    name: str = ""
    sn: str = ""
    secret: str = ""
    zone: str = ""


class ChangePbxForm(msgspec.Struct, frozen=True):
    """What the form of a PBX's values sends; ranges as `6400-6499,7000`."""

    name: str = ""
    zone: str = ""
    ivr: str = ""
    queue: str = ""
    ring_group: str = ""
    conference: str = ""


class BackfillForm(msgspec.Struct, frozen=True):
    """What the form for a back-fill sends; moments as in the filters."""

    since: str = "1d"
    until: str = ""


class AddSecretForm(msgspec.Struct, frozen=True):
    """What the form for another secret sends. Without a text one is made."""

    label: str = "webhook"
    secret: str = ""


class PbxOverview(msgspec.Struct, frozen=True, kw_only=True):
    """How a PBX stands: what came from it, and what that tells of its clock."""

    pbx: Pbx
    last_at: datetime | None
    kept: int
    repeats: int
    refused: int
    last_refused_at: datetime | None
    tested_at: datetime | None
    latest: Record | None

    def state(self, now: datetime) -> tuple[str, str]:
        """In a word, and the tone of its colour."""
        if self.last_refused_at and (self.last_at is None or self.last_refused_at > self.last_at):
            return "refused", "bad"
        if self.last_at is None:
            return ("tested", "soft") if self.tested_at else ("waiting", "soft")
        return ("reporting", "good") if now - self.last_at < QUIET_PERIOD else ("quiet", "soft")

    @property
    def late_seconds(self) -> int | None:
        """How long after its end the latest call was received; below 0 where the PBX's clock is ahead."""
        if self.latest is None or self.latest.ended_at is None:
            return None
        return round((self.latest.received_at - self.latest.ended_at).total_seconds())

    @property
    def has_odd_clock(self) -> bool:
        """Whether that is further off than any way is long."""
        return self.late_seconds is not None and abs(self.late_seconds) > CLOCK_SKEW_SECONDS_MAX


@get("/pbxs", include_in_schema=False)
async def pbxs_page(request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """All PBXs, and how to add one."""
    return await _render_pbxs(request, rooms, reader_zone)


@post("/pbxs", include_in_schema=False, status_code=200)
async def add_pbx(
    request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone, data: Annotated[AddPbxForm, FORM_BODY]
) -> Response[str]:
    """A new PBX; what to paste into it is shown, with the secret, this once."""
    secret = data.secret or new_secret()
    try:
        pbx = rooms.settings.add_pbx(
            name=data.name, sn=data.sn, secret=secret, zone=data.zone.strip() or None, at=rooms.clock.microseconds()
        )
    except OnhookError as error:
        return await _render_pbxs(request, rooms, reader_zone, wrong=str(error), asked=data)
    return await _render_pbx(request, rooms, reader_zone, pbx, secret=secret, is_new=True)


@post("/pbxs/made-up", include_in_schema=False, status_code=200)
async def start_simulated_pbx(rooms: AppStateDep) -> Redirect:
    """A made-up PBX calls: only where nothing was ever kept, for its calls are kept like all others."""
    if await rooms.ledger.last():
        raise UsageError(
            "there are calls here already, and made-up ones would stand among them",
            todo="start `onhook serve --demo --data ANOTHER-DIRECTORY`",
        )
    await rooms.acts.show_made_up()
    return Redirect("/", status_code=303)


@get("/pbxs/{name:str}", include_in_schema=False)
async def pbx_page(  # noqa: PLR0917 - what the address may say
    request: AnyRequest,
    rooms: AppStateDep,
    name: Name,
    reader_zone: ReaderZone,
    told: Message = "",
    wrong: Message = "",
    wait: WaitQuery = "",
) -> Response[str]:
    """One PBX."""
    pbx = rooms.settings.pbx(name)
    return await _render_pbx(request, rooms, reader_zone, pbx, told=told, wrong=wrong, waits=bool(wait))


@post("/pbxs/{name:str}", include_in_schema=False, status_code=200)
async def change_pbx(rooms: AppStateDep, name: Name, data: Annotated[ChangePbxForm, FORM_BODY]) -> Redirect:
    """Its name, zone and number plan; calls that come from now on are read by them."""
    try:
        ranges = {kind: text for kind in PLAN_KINDS if (text := getattr(data, kind).strip())}
        changes: dict[str, Any] = {
            "name": data.name, "zone": data.zone.strip() or None, "plan": _build_number_plan(rooms, name, ranges)
        }  # fmt: skip
        pbx = rooms.settings.change_pbx(name, changes)
    except OnhookError as error:
        return _redirect(name, wrong=str(error))
    return _redirect(pbx.sn, told="Changed. Calls of before keep what they were read by until `onhook rebuild`.")


@post("/pbxs/{name:str}/secrets", include_in_schema=False, status_code=200)
async def add_secret(
    request: AnyRequest,
    rooms: AppStateDep,
    name: Name,
    reader_zone: ReaderZone,
    data: Annotated[AddSecretForm, FORM_BODY],
) -> Response[str]:
    """Another secret beside those it has; shown this once."""
    text = data.secret or new_secret()
    try:
        rooms.settings.add_secret(name, text, at=rooms.clock.microseconds(), label=data.label or "webhook")
    except OnhookError as error:
        return await _render_pbx(request, rooms, reader_zone, rooms.settings.pbx(name), wrong=str(error))
    return await _render_pbx(request, rooms, reader_zone, rooms.settings.pbx(name), secret=text)


@post("/pbxs/{name:str}/secrets/{secret_id:int}/remove", include_in_schema=False, status_code=200)
async def remove_secret(rooms: AppStateDep, name: Name, secret_id: SecretId) -> Redirect:
    """Accepted no more; the last one stays."""
    try:
        rooms.settings.remove_secret(name, secret_id)
    except OnhookError as error:
        return _redirect(name, wrong=str(error))
    return _redirect(name, told="That secret is accepted no more.")


@post("/pbxs/{name:str}/test", include_in_schema=False, status_code=200)
async def send_test_event(rooms: AppStateDep, name: Name) -> Redirect:
    """A signed test to our own intake, as this PBX would send it."""
    pbx = rooms.settings.pbx(name)
    try:
        result = await rooms.acts.try_intake(pbx.sn)
    except OnhookError as error:
        return _redirect(pbx.sn, wrong=str(error))
    return _redirect(pbx.sn, told=f"Signed and sent as this PBX would: {result}.")


@post("/pbxs/{name:str}/examine", include_in_schema=False, status_code=200)
async def run_pbx_checks(request: AnyRequest, rooms: AppStateDep, name: Name, reader_zone: ReaderZone) -> Response[str]:
    """What `onhook doctor` with this PBX's name tells, a line each."""
    pbx = rooms.settings.pbx(name)
    try:
        checks = await rooms.acts.examine(pbx.sn)
    except OnhookError as error:
        return await _render_pbx(request, rooms, reader_zone, pbx, wrong=str(error))
    return await _render_pbx(request, rooms, reader_zone, pbx, findings=checks)


@post("/pbxs/{name:str}/fetch", include_in_schema=False, status_code=200)
async def request_backfill(
    rooms: AppStateDep, name: Name, reader_zone: ReaderZone, data: Annotated[BackfillForm, FORM_BODY]
) -> Redirect:
    """Ask the PBX for calls again, where its own list can be read."""
    pbx = rooms.settings.pbx(name)
    try:
        rooms.settings.check_can_be_asked(pbx)
        backfill_request = parse_backfill_request(data.since, data.until, reader_zone, rooms.clock.now())
        rooms.settings.receiving.keep_wish(pbx.sn, backfill_request)
    except OnhookError as error:
        return _redirect(pbx.sn, wrong=str(error))
    return _redirect(pbx.sn, told="The PBX is asked for its calls again; this page says how far that has come.")


@post("/pbxs/{name:str}/remove", include_in_schema=False, status_code=200)
async def remove_pbx(rooms: AppStateDep, name: Name) -> Redirect:
    """It may report no more; its calls stay."""
    rooms.settings.remove_pbx(name)
    return Redirect("/pbxs", status_code=303)


ROUTES = (
    *(pbxs_page, add_pbx, start_simulated_pbx, pbx_page, change_pbx),
    *(add_secret, remove_secret, send_test_event, run_pbx_checks, request_backfill, remove_pbx),
)


def _build_number_plan(rooms: AppState, name: str, ranges: Mapping[str, str]) -> NumberPlan:
    """The plan with these ranges; a kind that is left empty has its default again."""
    current_plan = rooms.settings.pbx(name).plan
    return msgspec.structs.replace(parse_number_plan(ranges), extension_digits_max=current_plan.extension_digits_max)


async def load_pbx_overview(rooms: AppState, pbx: Pbx, tallies: list[NamedCounter]) -> PbxOverview:
    """How one PBX stands."""
    pbx_counters = [counter for counter in tallies if counter.sn == pbx.sn]
    latest_page = await rooms.store.records(RecordFilter(sn=pbx.sn), 1)
    return PbxOverview(
        pbx=pbx,
        last_at=_latest_time(counter for counter in pbx_counters if counter.what in STORED_KINDS)
        or (latest_page.data[0].received_at if latest_page.data else None),
        kept=sum(counter.count for counter in pbx_counters if counter.what == "kept"),
        repeats=sum(counter.count for counter in pbx_counters if counter.what == "repeat"),
        refused=sum(counter.count for counter in pbx_counters if counter.what in REJECTED_KINDS),
        last_refused_at=_latest_time(counter for counter in pbx_counters if counter.what in REJECTED_KINDS),
        tested_at=_latest_time(counter for counter in pbx_counters if counter.what == "test"),
        latest=latest_page.data[0] if latest_page.data else None,
    )


def _latest_time(tallies: Any) -> datetime | None:
    return max((counter.last_at for counter in tallies), default=None)


async def _render_pbxs(
    request: AnyRequest, rooms: AppState, zone: ReaderZone, *, wrong: str = "", asked: AddPbxForm | None = None
) -> Response[str]:
    counters = await list_counters(rooms)
    today = parse_time("today", zone, rooms.clock.now())
    summary = await rooms.store.summary(RecordFilter(since=today), "pbx", zone.key)
    unknown_pbxs = [
        counter for counter in counters if counter.what == "unknown_sn" and counter.sn and not counter.is_known_by_now
    ]
    return render_page(
        request,
        rooms,
        zone,
        "pbxs.html",
        pbxs=[await load_pbx_overview(rooms, pbx, counters) for pbx in rooms.settings.pbxs()],
        today={row["pbx"]: row["calls"] for row in summary},
        strangers=unknown_pbxs,
        wrong=wrong,
        asked=asked or AddPbxForm(),
        has_calls=bool(await rooms.ledger.last()),
    )


async def _render_pbx(request: AnyRequest, rooms: AppState, zone: ReaderZone, pbx: Pbx, **told: Any) -> Response[str]:
    values = {"told": "", "wrong": "", "secret": "", "is_new": False, "waits": False, "findings": (), **told}
    overview = await load_pbx_overview(rooms, pbx, await list_counters(rooms))
    host, is_guess = intake_host(rooms.config, request.url.hostname or "")
    return render_page(
        request,
        rooms,
        zone,
        "pbx.html",
        one=overview,
        pbx=pbx,
        secrets=rooms.settings.secrets(pbx.sn),
        kinds=PLAN_KINDS,
        intake_port=intake_port(rooms.config),
        host=host,
        is_guessed=is_guess,
        covered=_load_calendar(rooms, pbx, zone),
        backfill=get_backfill(rooms, pbx.sn),
        watch_seconds=POLL_SECONDS,
        **values,
    )


def _load_calendar(rooms: AppState, pbx: Pbx, zone: ZoneInfo) -> tuple[PbxCoverage, list[CalendarDay]]:
    now = rooms.clock.now()
    (coverage,) = list_coverage(rooms, calendar_start(zone, now), now, pbx.sn)
    return coverage, build_calendar(coverage.stretches, zone, now)


def _redirect(name: str, told: str = "", wrong: str = "") -> Redirect:
    address = url(f"/pbxs/{name}", told=told[:MESSAGE_CHARACTERS_MAX], wrong=wrong[:MESSAGE_CHARACTERS_MAX])
    return Redirect(address, status_code=303)
