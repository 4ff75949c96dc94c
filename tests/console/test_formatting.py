"""Formatting of values: unknown values are dashes, and links lead to their targets."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.extra_filter import ExtraFilter
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX
from onhook.console.pages import formatting
from onhook.console.pages.call_chart import draw_call_chart
from onhook.console.pages.totals import add_up
from onhook.lib.text import UNKNOWN
from tests.factories import BOB, IVR, QUEUE, STARTED_AT, call, record

BERLIN = ZoneInfo("Europe/Berlin")


@given(st.text(min_size=1), st.text(min_size=1))
def test_call_url_leads_to_call(sn: str, call_id: str) -> None:
    """The ids may contain any characters."""
    parts = urlsplit(formatting.call_url(sn, call_id))
    if parts.path == "/call":
        query = parse_qs(parts.query, encoding="utf-8", errors="strict", keep_blank_values=True)
        assert (query["sn"], query["call_id"]) == ([sn], [call_id])
    else:
        assert [unquote(part) for part in parts.path.split("/")[2:]] == [sn, call_id]
        assert not {"..", "."} & set(parts.path.split("/"))


_VALUES = st.text(max_size=250) | st.integers() | st.booleans() | st.floats() | st.none()


@given(st.text(min_size=1, max_size=80), _VALUES)
def test_extra_url_finds_the_value(name: str, value: Any) -> None:
    """Or there is no link."""
    link = formatting.extra_url(name, value)
    if link:
        (text,) = parse_qs(urlsplit(link).query)["extra"]
        assert ExtraFilter.parse(text).matches({name: value})
        assert len(text) <= TEXT_CHARACTERS_MAX


def test_extra_url_of_an_account_code_is_a_link() -> None:
    assert formatting.extra_url("account_code", 4711, "UTC") == "/calls?extra=account_code%3D4711&zone=UTC"
    assert formatting.extra_url("is_display", True) == "/calls?extra=is_display%3Dtrue"


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 10, 24, 22, 0, tzinfo=UTC), "Today"),
        (datetime(2026, 10, 24, 21, 59, tzinfo=UTC), "Yesterday"),
        (datetime(2026, 10, 23, 21, 59, tzinfo=UTC), "Fri 23 Oct 2026"),
    ],
)
def test_day_is_that_of_the_zone(moment: datetime, day: str) -> None:
    """A day of 25 hours is one day."""
    assert formatting.day(moment, BERLIN, now=datetime(2026, 10, 25, 22, 30, tzinfo=UTC)) == day


@pytest.mark.parametrize(
    ("status", "text", "tone"),
    [("ANSWERD", "Answered", "good"), ("no_answer", "No answer", "bad"), ("TELEPORTED", "TELEPORTED", "plain")],
)
def test_outcome_has_one_spelling(status: str, text: str, tone: str) -> None:
    """Unknown statuses are unchanged."""
    assert (formatting.outcome(status), formatting.tone(status)) == (text, tone)
    assert formatting.outcome("") == UNKNOWN


def test_call_chart_bars_match_legs() -> None:
    """Talk with a person differs from talk with a machine."""
    answered: dict[str, Any] = {"call_id": "1777287876.5", "call_duration": 40, "talk_duration": 30}
    legs = (
        record(call_to=IVR, **(answered | {"call_duration": 10, "talk_duration": 10})),
        record(STARTED_AT + timedelta(seconds=10), call_to=QUEUE, **answered),
        record(STARTED_AT + timedelta(seconds=10), call_to=BOB, **answered),
    )
    axis = draw_call_chart(call(*legs), NumberPlan())
    assert axis.seconds == 50
    assert [(bar.kind, bar.talk_kind) for bar in axis.bars] == [
        ("IVR", "machine"),
        ("Queue", "machine"),
        ("Extension", "person"),
    ]
    assert [(bar.ring_x, bar.ring_width, bar.talk_x, bar.talk_width) for bar in axis.bars[1:]] == [
        ("20.000%", "20.000%", "40.000%", "60.000%")
    ] * 2
    assert axis.ticks[-1].x == "100.000%"


def test_call_chart_unknown_duration_is_point() -> None:
    """Nothing is divided by zero."""
    axis = draw_call_chart(call(record(call_duration=None, talk_duration=None)), NumberPlan())
    assert not axis.bars[0].has_duration
    assert axis.bars[0].ring_x == "0.000%"


def test_totals_unknown_differs_from_zero() -> None:
    """A sum with an unknown value is unknown; the last part of the missed calls is of other statuses."""
    row: dict[str, Any] = dict.fromkeys(("voicemail", "busy", "no_answer", "abandoned", "failed"), 1)
    row |= {"calls": 9, "answered": 3, "missed": 6, "talk_duration": None, "wait_duration": 4}
    totals = add_up([row, row | {"wait_duration": None}])
    assert (totals.calls, totals.talk_duration, totals.wait_duration) == (18, None, 4)
    assert totals.missed_by_outcome[-1] == ("other", "!ANSWERED,NO ANSWER,BUSY,ABANDONED,FAILED,VOICEMAIL", 2)
    assert add_up([]).calls == 0


def test_formatting_of_times_and_shares_is_in_one_module() -> None:
    """Pages and templates call it; names of files have dates as programs write them."""
    console = Path(formatting.__file__).parents[1]
    sources = [*console.rglob("*.py"), *console.joinpath("templates").glob("*.html")]
    own_forms = re.compile(r":%[a-zA-Z]|strftime\(|:\+?\.[0-9]f\}|\| *round|\"%\.")
    for path in sources:
        text = path.read_text().replace("%Y-%m-%d", "").replace("SELECT strftime(", "")  # an example in SQL
        if path.name not in ("formatting.py", "call_chart.py"):  # the second one places bars
            own_lines = [line.strip() for line in text.splitlines() if own_forms.search(line)]
            assert own_lines in ([], ['return f"{share:.4f}"']), path  # of a file for programs
