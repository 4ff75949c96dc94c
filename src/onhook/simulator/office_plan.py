"""Plan and result of a simulation."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from onhook.cdr.utc_offset import get_zone
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.pbx.avaya.payload import Avaya
from onhook.pbx.avaya.writing import PAYLOAD_FORMAT
from onhook.pbx.cucm.payload import Cucm
from onhook.pbx.cucm.writing import PAYLOAD_FORMAT as CUCM_FORMAT
from onhook.pbx.dialect import Dialect
from onhook.pbx.freeswitch.payload import FreeSwitch
from onhook.pbx.freeswitch.writing import ENCODINGS
from onhook.pbx.grandstream.payload import Grandstream
from onhook.pbx.grandstream.writing import PAYLOAD_FORMATS as UCM_FORMATS
from onhook.pbx.threecx.payload import ThreeCx
from onhook.pbx.threecx.writing import GENERATIONS
from onhook.pbx.yeastar.payload import PAYLOAD_FORMATS, Yeastar
from onhook.simulator.fault_injection import Faults
from onhook.simulator.office import Office, OfficePlan

LINE_CONNECT, LINE_LISTEN = "tcp", "tcp-listen"
"""Schemes of the URL of a connection for lines: the PBX opens it to the receiver, or the receiver to the PBX."""

LINE_FORMATS: Mapping[str, Dialect] = {**dict.fromkeys(GENERATIONS, ThreeCx()), PAYLOAD_FORMAT: Avaya()}
"""The dialects of lines by their payload formats."""

FILE_FORMATS: Mapping[str, Dialect] = {CUCM_FORMAT: Cucm()}
"""The dialects of files by their payload formats."""

DOCUMENT_FORMATS: Mapping[str, str] = {f"fs-{encoding}": encoding for encoding in ENCODINGS}
"""The encodings of the documents of a FreeSWITCH by their payload formats."""

UTC_FORMATS = frozenset({CUCM_FORMAT, *DOCUMENT_FORMATS})
"""Those in which a PBX writes UTC, and not the time of the office."""

WEBHOOK_FORMATS: Mapping[str, Dialect] = {
    **dict.fromkeys(PAYLOAD_FORMATS, Yeastar()),
    **dict.fromkeys(UCM_FORMATS, Grandstream()),
    **dict.fromkeys(DOCUMENT_FORMATS, FreeSwitch()),
}
"""The dialects of webhooks by their payload formats."""

ATTEMPTS_MAX = 5
"""Setting of a P-Series: 1 to 5 attempts (yeastar-p-series.md 4)."""

CONNECTIONS_MAX = 1000
"""Concurrent connections; each uses a file descriptor here and one at the receiver."""

DEMO_HISTORY_CALLS: Final = 200
"""Past calls of the demo: those of a day, so that the first page is not empty."""

DEMO_EVENTS_PER_SECOND: Final = 0.6
"""Rate of the demo. With two events per call on average this is a call every three or four seconds."""


class SimulationPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a simulation; see docs/simulator.md.

    `rate` is events per second; None is as fast as the receiver answers. `count` is the number of events, the last call
    cut short there; None is no end. With `start` (aware) the calls are history from that time on: until now
    at the latest, and then, with `continues_live`, calls that end when they are sent. Without `start` each call ends
    when it is sent, after `history_calls` of the past. With an empty `url` nothing is posted, and an observer is needed
    (`simulator.observer`); that of a connection for lines is `tcp://…` or `tcp-listen://…`, that of a folder
    `file:///…`. An empty `secret` sends without a signature. `max_attempts`, `timeout_seconds` and `retry_seconds` are
    the retries of a PBX.
    """

    url: str = ""
    sn: str
    secret: str = ""
    payload_format: str = "p-2026"
    seed: int = 1
    zone: str = "Europe/Berlin"
    rate: float | None = 1.0
    count: int | None = None
    start: datetime | None = None
    continues_live: bool = False
    history_calls: int = 0
    calls_per_day: int = 200
    with_names: bool = False
    connections: int = 8
    max_attempts: int = 3
    timeout_seconds: float = 5.0
    retry_seconds: float = 1.0
    faults: Faults = Faults()
    truth_path: Path | None = None
    """File with one JSON line per generated record: its faults and all its details, lost ones too."""
    acked_path: Path | None = None
    """File with one line per record at its first acknowledgement: its `record_id`."""

    def __post_init__(self) -> None:
        """Raises `UsageError` for an invalid plan."""
        has_line_url, has_file_url = is_line_url(self.url), is_file_url(self.url)
        if self.url and not has_line_url and not has_file_url and not _is_webhook_url(self.url):
            raise UsageError(
                (_("{url!r} is not the URL of a webhook", url=self.url)),
                hint=_("write one such as http://127.0.0.1:30012/"),
            )
        if not self.sn:
            raise UsageError(
                _("a PBX needs a serial number"), hint=_("use the one of a PBX that the receiver has registered")
            )
        choices = LINE_FORMATS if has_line_url else FILE_FORMATS if has_file_url else WEBHOOK_FORMATS
        if self.payload_format not in choices:
            raise UsageError(
                _("unknown payload format {name!r}", name=self.payload_format),
                hint=_("use one of {choices}", choices=", ".join(choices)),
            )
        if self.start is not None and self.start.tzinfo is None:
            raise UsageError(_("the start has no zone"), hint=_("write an offset, such as 2026-04-27T08:00:00+02:00"))
        self._validate_numbers()

    def _validate_numbers(self) -> None:
        for name, lowest, highest in _NUMBER_RANGES:
            value = getattr(self, name)
            if value is not None and not lowest <= value <= highest:
                raise UsageError(
                    _("{name} cannot be {value}", name=name, value=value),
                    hint=_("write {minimum} to {maximum}", minimum=lowest, maximum=highest),
                )


_NUMBER_RANGES: Final = (
    ("rate", 0.001, 1_000_000),
    ("count", 1, 10**12),
    ("history_calls", 0, 1_000_000),
    ("connections", 1, CONNECTIONS_MAX),
    ("max_attempts", 1, ATTEMPTS_MAX),
    ("timeout_seconds", 0.1, 600),
    ("retry_seconds", 0, 600),
)


def is_file_url(url: str) -> bool:
    """Return whether a URL is that of a folder."""
    return url.startswith("file:///")


def is_line_url(url: str) -> bool:
    """Return whether a URL is that of a connection for lines. Raises `UsageError` for one without a host or port."""
    scheme = url.partition("://")[0]
    if scheme not in (LINE_CONNECT, LINE_LISTEN):
        return False
    try:
        parts = urlsplit(url)
        is_complete = bool(parts.hostname and parts.port) and not parts.path.strip("/")
    except ValueError:
        is_complete = False
    if not is_complete:
        raise UsageError(
            _("{url!r} is not the address of a connection for lines", url=url),
            hint=_("write tcp://HOST:PORT, or tcp-listen://HOST:PORT where Onhook connects"),
        )
    return True


def _is_webhook_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an open bracket, or a port that is not a number
        return False


class SimulationResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a simulation, so far or at its end.

    Records: `records` = `lost` on purpose + to be sent; of those, `acknowledged` got a 2xx at least once, and `failed`
    got none in all attempts. Requests: `requests` counts every attempt, `repeats` the duplicates injected by faults,
    `malformed` the acknowledged events that cannot be parsed as a call. `responses` counts each response by its status,
    and `no response` when there was none. `duration_seconds` is the duration.
    """

    records: int = 0
    lost: int = 0
    requests: int = 0
    repeats: int = 0
    acknowledged: int = 0
    malformed: int = 0
    failed: int = 0
    responses: Mapping[str, int] = {}
    duration_seconds: float = 0.0


def demo_plan(url: str, sn: str, secret: str, *, seed: int = 1) -> SimulationPlan:
    """Return the plan of the demo: history of a day, then a call every few seconds, without end."""
    return SimulationPlan(
        url=url,
        sn=sn,
        secret=secret,
        seed=seed,
        with_names=True,
        history_calls=DEMO_HISTORY_CALLS,
        rate=DEMO_EVENTS_PER_SECOND,
    )


def find_dialect(plan: SimulationPlan) -> Dialect:
    """Return the dialect in which the simulated PBX reports its calls."""
    return {**LINE_FORMATS, **FILE_FORMATS, **WEBHOOK_FORMATS}[plan.payload_format]


def create_office(plan: SimulationPlan) -> Office:
    """Return the office of a plan. Raises `UsageError`."""
    return Office(
        plan.seed,
        get_zone(plan.zone),
        OfficePlan(
            start=plan.start or datetime.fromtimestamp(0, UTC),
            calls_per_day=plan.calls_per_day,
            with_names=plan.with_names,
            clock_error_seconds=plan.faults.wrong_clock,
        ),
    )
