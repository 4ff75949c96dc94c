"""The fields of a line of 3CX, and their declared order."""

import pytest

from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.threecx.fields import DEFAULT_FIELDS, parse_order, read_values

FIVE = "time-start, time-end, from-no, to-no, callid"


def test_parse_order_default_is_none() -> None:
    assert parse_order("") == parse_order(",".join(DEFAULT_FIELDS)) == ()


def test_parse_order_names_are_normalised() -> None:
    assert parse_order("Time_Start, time-end") == ("time-start", "time-end")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time-start,time-end,caller", "a 3CX has no field 'caller'"),
        ("time-start,time-end,time-end", "the field time-end is named twice"),
        ("time-start,from-no", "the field time-end is missing"),
    ],
)
def test_parse_order_refuses_other_names(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_order(text)


def test_read_values_in_a_declared_order_may_end_with_a_comma() -> None:
    order = parse_order(FIVE)
    line = b"Call 2024/06/17 05:59:49,2024/06/17 06:00:23,Ext.101,102,7_1"
    expected = {
        "time-start": "2024/06/17 05:59:49",
        "time-end": "2024/06/17 06:00:23",
        "from-no": "Ext.101",
        "to-no": "102",
        "callid": "7_1",
    }
    assert read_values(line, order) == read_values(line + b",", order) == expected
    for body in (line + b",8", line + b",,", b"Call a,b"):
        with pytest.raises(ParseError):
            read_values(body, order)


def test_read_values_names_are_kept_together_where_they_stand_alone() -> None:
    """With one name only, no comparison says where it ends."""
    order = parse_order("time-start, time-end, from-dispname, from-no")
    values = read_values(b"Call 2024/06/17 05:59:49,2024/06/17 06:00:23,Example, Ann,Ext.101", order)
    assert values["from-no"] == "Ext.101"
    assert values["names"] == "Example, Ann"


def test_read_values_many_commas_in_names_are_not_searched() -> None:
    line = b"Call " + b",".join([b"1", *[b"x"] * 22, *[b""] * 100, b"9"])
    values = read_values(line)
    assert values["names"] == "," * 99
    assert values["missed-queue-calls"] == "9"
