"""Offset of the PBX's wall clock from UTC."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.utc_offset import (
    call_epoch,
    determine_call_offset,
    find_doubts,
    format_offset,
    get_zone,
    leg_offsets_in_zone,
    normalize_wall_clock,
    offset_between,
    offset_from_uid,
    parse_offset,
    parse_wall_clock,
    to_utc,
)
from onhook.lib.errors import ParseError, UsageError

YEAR_FIRST = "the year must come first, without a zone, because day and month would be ambiguous"
YEAR_LIMITS = "the year must be from 1990 to 2100"
HOUR_OF_12 = "an hour with AM or PM is 1 to 12"
QUARANTINE_HINT = "check the event; it stays in the quarantine until a version can parse it"

# yeastar-p-series.md 2.3, documented or captured calls: call id, wall clock, hours from UTC.
SAMPLES = [
    ("1651057476.362", "2022-04-27 19:04:36", 8),
    ("1702285525.16", "2023-12-11 11:05:25", 2),
    ("1777304494.97", "2026-04-27 18:41:34", 3),
    ("1782844637.854", "2026-06-30 21:37:17", 3),
    ("1790197458.5215", "2026-09-24 00:04:18", 3),
    ("1505352615.274", "2017-09-14 09:30:15", 8),
    ("1495779310.371", "2017-05-25 22:15:10", -8),
    ("1547391782.318", "2019-01-13 23:03:02", 8),
    ("1571897930.5", "2019-10-23 22:18:50", -8),
]


@pytest.mark.parametrize(("call_id", "time_start", "hours"), SAMPLES)
def test_determine_call_offset_known_sample_is_exact(call_id: str, time_start: str, hours: int) -> None:
    offset, offset_from = determine_call_offset([parse_wall_clock(time_start)], [""], call_epoch(call_id), None)
    assert (offset, offset_from) == (timedelta(hours=hours), "ids")
    assert to_utc(parse_wall_clock(time_start), offset).timestamp() == call_epoch(call_id)


@given(
    epoch=st.integers(1_000_000_000, 4_000_000_000),
    quarter_hours=st.integers(-14 * 4, 14 * 4),
    drift=st.integers(0, 4 * 3600),
)
def test_offset_from_uid_any_leg_is_exact(epoch: int, quarter_hours: int, drift: int) -> None:
    """The `uid` contains the wall clock of the call's first second, however late the leg begins."""
    offset = timedelta(minutes=15 * quarter_hours)
    first = datetime.fromtimestamp(epoch, UTC).replace(tzinfo=None) + offset
    uid = f"{first:%Y%m%d%H%M%S}0A1B2"
    assert offset_from_uid(uid, epoch) == offset
    later = first + timedelta(seconds=drift)
    assert determine_call_offset([later], [uid], epoch, None) == (offset, "ids")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_offset_between_repeated_autumn_hour_is_unambiguous(zone: str) -> None:
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    for epoch in range(start, start + 366 * 86_400, 900):
        moment = datetime.fromtimestamp(epoch, ZoneInfo(zone))
        assert offset_between(moment.replace(tzinfo=None), epoch) == moment.utcoffset()


@pytest.mark.parametrize(
    ("local", "epoch"),
    [
        ("2022-04-27 19:06:30", 1651057476),  # 114 seconds from any quarter of an hour
        ("2022-04-28 02:19:36", 1651057476),  # more than 14 hours
        ("2022-04-27 19:04:36", 0),  # an id without a time
    ],
)
def test_offset_between_implausible_difference_is_none(local: str, epoch: int) -> None:
    assert offset_between(parse_wall_clock(local), epoch) is None


def test_determine_call_offset_without_ids_uses_zone_or_utc() -> None:
    """The order is that of yeastar-p-series.md 2.3: ids, zone, UTC."""
    summer, winter = parse_wall_clock("2026-07-01 12:00:00"), parse_wall_clock("2026-01-01 12:00:00")
    berlin = ZoneInfo("Europe/Berlin")
    assert determine_call_offset([summer], [""], 0, berlin) == (timedelta(hours=2), "configured")
    assert determine_call_offset([winter], [""], 0, berlin) == (timedelta(hours=1), "configured")
    assert determine_call_offset([winter], [""], 0, None) == (timedelta(), "assumed")


def test_determine_call_offset_contradicting_uid_uses_start() -> None:
    """The vendor's own example has a `uid` of another year than its `call_id`."""
    start = parse_wall_clock("2022-04-27 19:04:36")
    assert determine_call_offset([start], ["2024111913594421D77"], 1651057476, None) == (timedelta(hours=8), "ids")


def test_determine_call_offset_several_legs_uses_earliest() -> None:
    first, later = parse_wall_clock("2026-04-27 18:41:35"), parse_wall_clock("2026-04-27 18:56:35")
    assert determine_call_offset([later, first], ["", ""], 1777304494, None) == (timedelta(hours=3), "ids")


@pytest.mark.parametrize(
    ("first_clock", "hours"),
    [("02:59:49", 2), ("02:59:50", 2), ("02:59:52", 2), ("02:59:53", 1)],
)
def test_determine_call_offset_clock_put_back_uses_leg_within_two_seconds_of_call(first_clock: str, hours: int) -> None:
    """The call begins in Berlin at 02:59:50, its second leg after the clock was put back, at 02:00:10: the leg with the
    earliest wall clock is not the first. Without a leg close to the second in `call_id`, the earliest is assumed.
    """
    epoch = int(datetime(2026, 10, 25, 0, 59, 50, tzinfo=UTC).timestamp())
    starts = [parse_wall_clock(f"2026-10-25 {clock}") for clock in (first_clock, "02:00:10")]
    assert determine_call_offset(starts, ["", ""], epoch, None) == (timedelta(hours=hours), "ids")


@pytest.mark.parametrize(("zone", "hours"), [(ZoneInfo("Europe/Berlin"), 2), (ZoneInfo("UTC"), 1), (None, 1)])
def test_determine_call_offset_clock_put_back_within_two_seconds_uses_zone(zone: ZoneInfo | None, hours: int) -> None:
    """Both legs, of 02:59:59 and of 02:00:00, are close to a whole offset after the call's second: only the zone says
    that the clock was put back between them.
    """
    epoch = int(datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC).timestamp())
    starts = [parse_wall_clock(f"2026-10-25 {clock}") for clock in ("02:59:59", "02:00:00")]
    uids = ["20261025015959ABCDE"] * 2
    assert determine_call_offset(starts, uids, epoch, zone) == (timedelta(hours=hours), "ids")


def test_determine_call_offset_of_second_legs_after_clock_was_put_back_keeps_uid() -> None:
    """No leg shows the offset before the change: the PBX is in another zone than the one configured."""
    epoch = int(datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC).timestamp())
    start = parse_wall_clock("2026-10-25 01:59:59")
    uid = "20261025015959ABCDE"
    assert determine_call_offset([start], [uid], epoch, ZoneInfo("Europe/Berlin")) == (timedelta(hours=1), "ids")


@pytest.mark.parametrize(
    ("clock", "offset"),
    [
        ("19:05:36", timedelta(hours=8)),
        ("19:03:36", timedelta(hours=8)),
        ("19:05:37", None),
        ("19:03:35", None),
    ],
)
def test_offset_between_clocks_a_minute_apart_are_accepted(clock: str, offset: timedelta | None) -> None:
    assert offset_between(parse_wall_clock(f"2022-04-27 {clock}"), 1651057476) == offset


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2026-09-24 00:04:18", "2026-09-24 00:04:18"),
        ("2026-09-24T00:04:18", "2026-09-24 00:04:18"),
        ("2026-09-24 00:04:18.250", "2026-09-24 00:04:18"),
        ("2025/12/19 10:40:07", "2025-12-19 10:40:07"),
        ("2026/10/16 03:04:09 PM", "2026-10-16 15:04:09"),
        ("2026/10/16 03:04:09 pm", "2026-10-16 15:04:09"),
        ("2026/10/16 01:04:09 PM", "2026-10-16 13:04:09"),
        ("2026/10/16 12:04:09 am", "2026-10-16 00:04:09"),
        ("2026/10/16 12:04:09 PM", "2026-10-16 12:04:09"),
        ("1990-01-01 00:00:00", "1990-01-01 00:00:00"),
        ("2100-12-31 23:59:59", "2100-12-31 23:59:59"),
        (" 2026-09-24 00:04:18 ", "2026-09-24 00:04:18"),
    ],
)
def test_normalize_wall_clock_year_first_format_is_parsed(text: str, canonical: str) -> None:
    assert normalize_wall_clock(text) == canonical


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-02-30 10:00:00", "there is no such day or time"),
        ("2026/02/30 10:00:00", "there is no such day or time"),
        ("04/05/2026 10:00:00", YEAR_FIRST),
        ("2026-09-24T00:04:18Z", YEAR_FIRST),
        ("2026-09-24 00:04:18Z", YEAR_FIRST),
        ("2026-09-24_00:04:18", YEAR_FIRST),
        ("2026-09-24", YEAR_FIRST),
        ("2026/10/16 13:04:09 PM", HOUR_OF_12),
        ("2026/10/16 00:04:09 AM", HOUR_OF_12),
        ("0001-01-01 00:00:00", YEAR_LIMITS),
        ("1989-12-31 23:59:59", YEAR_LIMITS),
        ("2101-01-01 00:00:00", YEAR_LIMITS),
        ("9999-12-31 23:59:59", YEAR_LIMITS),
        ("yesterday", YEAR_FIRST),
    ],
)
def test_parse_wall_clock_invalid_or_ambiguous_date_is_rejected(text: str, reason: str) -> None:
    with pytest.raises(ParseError) as error_info:
        parse_wall_clock(text)
    assert str(error_info.value) == f"time_start is not a valid date and time: {text!r} ({reason}): {QUARANTINE_HINT}"


def test_parse_wall_clock_long_text_is_shortened_in_the_message() -> None:
    """To 40 characters: an event may contain anything."""
    with pytest.raises(ParseError) as error_info:
        parse_wall_clock("x" * 41)
    assert f"{'x' * 40!r}" in str(error_info.value)


@pytest.mark.parametrize(
    ("call_id", "epoch"),
    [
        ("1790197458.5215", 1790197458),
        ("1702287660.000012", 1702287660),
        ("office-1651057476.362", 1651057476),
        ("head-office-1651057476.362", 1651057476),
        ("head.office-1651057476.362", 1651057476),
        ("165105747.362", 0),
        ("16510574767.362", 0),
        ("1651057476", 0),
        ("1651057476.x", 0),
        ("٣٦٥١٠٥٧٤٧٦.1", 0),
        ("", 0),
    ],
)
def test_call_epoch_returns_second_in_call_id(call_id: str, epoch: int) -> None:
    """The format is `<unix seconds>.<sequence>`, with or without a system name before it; other ids give 0."""
    assert call_epoch(call_id) == epoch


@given(st.integers(-14 * 60, 14 * 60))
def test_format_offset_round_trips_through_iso_8601(minutes: int) -> None:
    offset = timedelta(minutes=minutes)
    assert datetime.fromisoformat("2026-01-01T00:00:00" + format_offset(offset)).utcoffset() == offset


@pytest.mark.parametrize(
    ("text", "minutes"), [("-03:30", -210), ("-00:30", -30), ("+00:00", 0), ("+05:45", 345), ("+14:00", 840)]
)
def test_parse_offset_reads_what_format_offset_writes(text: str, minutes: int) -> None:
    assert parse_offset(text) == timedelta(minutes=minutes)
    assert format_offset(timedelta(minutes=minutes)) == text


def test_get_zone_unknown_name_is_rejected() -> None:
    assert get_zone("Europe/Berlin").key == "Europe/Berlin"
    for name in ("Berlin/Europe", "../etc/passwd", "", "a\0b"):
        with pytest.raises(UsageError) as error_info:
            get_zone(name)
        assert str(error_info.value) == f"there is no time zone {name!r} (zone): write one such as Europe/Berlin"
    with pytest.raises(UsageError, match=r"\(--zone\)"):
        get_zone("Berlin/Europe", "--zone")


@pytest.mark.parametrize(
    "uid",
    [
        "20269999999999AB3D1",
        "2026042719043XAB3D1",
        "short",
        "20260427190436",
        "20260427190436AB3D1A",
    ],
)
def test_offset_from_uid_invalid_id_has_none(uid: str) -> None:
    """A text of another length is no `uid`, even if it begins with the wall clock of the call."""
    epoch = 1_777_287_876
    assert offset_from_uid("20260427190436AB3D1", epoch) == timedelta(hours=8)
    assert offset_from_uid(uid, epoch) is None


@pytest.mark.parametrize(
    "text",
    ["2026-09-24 00:04+01", "2026-09-24 00+01:00", "2026-W17-1 10:00:00", "2026-09-24 000418.5"],
)
def test_parse_wall_clock_other_iso_format_of_19_characters_is_rejected(text: str) -> None:
    """`datetime.fromisoformat` also reads zones, weeks and compact times; a wall clock has none of them."""
    with pytest.raises(ParseError, match="the year must come first, without a zone"):
        parse_wall_clock(text)


@pytest.mark.parametrize(
    ("day", "clocks", "hours"),
    [
        ("2026-03-29", ("01:59:50", "03:00:05"), (1, 2)),
        ("2026-03-29", ("03:00:05", "01:59:50"), (2, 1)),
        ("2026-10-25", ("02:59:50", "02:00:05"), (2, 1)),
        ("2026-10-25", ("02:00:05", "02:59:50", "02:00:20"), (1, 2, 1)),
        ("2026-10-25", ("01:59:50", "02:00:05"), (2, 2)),
        ("2026-10-25", ("02:30:00", "03:00:05"), (1, 1)),
        ("2026-10-25", ("02:10:00", "02:30:00"), (2, 2)),
        ("2026-10-25", ("02:30:00",), (2,)),
        ("2026-11-28", ("02:30:00", "02:31:00"), (1, 1)),
    ],
)
def test_leg_offsets_in_zone_are_those_of_one_call(day: str, clocks: Sequence[str], hours: Sequence[int]) -> None:
    """In Berlin; where the clock is put back the legs are as close together as they can be."""
    starts = [parse_wall_clock(f"{day} {clock}") for clock in clocks]
    assert leg_offsets_in_zone(starts, ZoneInfo("Europe/Berlin")) == [timedelta(hours=hour) for hour in hours]


@pytest.mark.parametrize(
    ("time_start", "zone", "is_ambiguous", "is_shifted"),
    [
        ("2026-10-25 02:30:00", "Europe/Berlin", True, False),
        ("2026-10-25 01:59:59", "Europe/Berlin", False, False),
        ("2026-10-25 03:00:00", "Europe/Berlin", False, False),
        ("2026-03-29 02:30:00", "Europe/Berlin", False, True),
        ("2026-03-29 03:00:00", "Europe/Berlin", False, False),
        ("2026-04-05 01:45:00", "Australia/Lord_Howe", True, False),
        ("2026-10-25 02:30:00", "Asia/Kathmandu", False, False),
    ],
)
def test_find_doubts_only_hours_of_a_clock_change_have_some(
    time_start: str, zone: str, is_ambiguous: bool, is_shifted: bool
) -> None:
    assert find_doubts(parse_wall_clock(time_start), ZoneInfo(zone)) == (is_ambiguous, is_shifted)
