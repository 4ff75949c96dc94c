"""Scenarios of the laboratory, and the expected records of each, row by row, as a table.

`at` counts seconds from the first second of the call. `more` contains `extra`, except channels and applications.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from onhook.cdr.call_details import CallDetails
from tests.pbx.asterisk.lab import AsteriskLab

COLUMNS = ("at", "from", "to", "total", "talk", "status", "type", "in", "out", "did", "ring", "more")
SECONDS = ("at", "total", "talk", "ring")
IGNORED_EXTRA = (
    "channel",
    "dst_channel",
    "context",
    "last_application",
    "last_data",
    "ama_flags",
    "callee_kind",
    "is_display",
    "realclidnum",
)


EXTERNAL_CALLER: Mapping[str, str] = {"caller": "5550199", "name": "Outside"}


class Scenario(msgspec.Struct, frozen=True):
    """A scenario: its calls, the rows of the expected table with a text for every column, and the number of calls."""

    name: str
    run: Callable[[AsteriskLab], None]
    expected: tuple[Mapping[str, str], ...]
    call_count: int = 1


def table(text: str) -> tuple[Mapping[str, str], ...]:
    """Parse the rows of a table with `|` between its cells; the header line is ignored."""
    lines = [line for line in text.strip().splitlines() if line.strip()][1:]
    return tuple(dict(zip(COLUMNS, (cell.strip() for cell in line.split("|")), strict=True)) for line in lines)


def to_table_rows(details: Sequence[CallDetails]) -> list[dict[str, str]]:
    """Format call details as rows of such a table."""
    first_second = min(int(call_details.call_id.partition(".")[0]) for call_details in details)
    return [_row(call_details, first_second) for call_details in details]


def _row(call_details: CallDetails, first_second: int) -> dict[str, str]:
    offset = _seconds(call_details.uid[:14]) - int(call_details.call_id.partition(".")[0])
    extra = {
        name.replace("_duration", ""): value for name, value in call_details.extra.items() if name not in IGNORED_EXTRA
    }
    cells = (
        _seconds(call_details.time_start.translate({ord(separator): None for separator in "-: "}))
        - offset
        - first_second,
        call_details.call_from,
        call_details.call_to,
        call_details.call_duration,
        call_details.talk_duration,
        call_details.status,
        call_details.type,
        call_details.src_trunk_name,
        call_details.dst_trunk_name,
        call_details.did_number,
        call_details.agent_ring_time,
        " ".join(f"{name}={value}" for name, value in extra.items()),
    )
    return dict(zip(COLUMNS, (str(cell) if cell is not None else "" for cell in cells), strict=True))


def _seconds(text: str) -> int:
    return round(time.mktime(time.strptime(text, "%Y%m%d%H%M%S")))


def make_call(number: str, **options: object) -> Callable[[AsteriskLab], None]:
    """Return the run of one call."""

    def run(lab: AsteriskLab) -> None:
        lab.call(number, **options).wait(60)  # type: ignore[arg-type] # as `call` names them

    return run
