"""The six display formats of a time."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.pbx.yeastar.display import DisplayFormat

LOCAL_TIME = datetime(2026, 6, 30, 21, 37, 17)  # noqa: DTZ001 - a wall clock
FORMATS = {
    ("YYYY/MM/DD", "24"): "2026/06/30 21:37:17",
    ("MM/DD/YYYY", "24"): "06/30/2026 21:37:17",
    ("DD/MM/YYYY", "24"): "30/06/2026 21:37:17",
    ("YYYY/MM/DD", "12"): "2026/06/30 09:37:17 PM",
    ("MM/DD/YYYY", "12"): "06/30/2026 09:37:17 PM",
    ("DD/MM/YYYY", "12"): "30/06/2026 09:37:17 PM",
}


@pytest.mark.parametrize(("options", "text"), FORMATS.items())
def test_display_format_and_parse_in_each_format(options: tuple[str, str], text: str) -> None:
    assert DisplayFormat(*options).format(LOCAL_TIME) == text
    assert DisplayFormat(*options).parse(text) == LOCAL_TIME


@given(st.sampled_from(sorted(FORMATS)), st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_display_parse_is_inverse_of_format(options: tuple[str, str], local: datetime) -> None:
    display = DisplayFormat(*options)
    assert display.parse(display.format(local)) == local.replace(microsecond=0)


@pytest.mark.parametrize(
    "text", ["", "2026-06-30 21:37:17", "30/06/2026 21:37:17", "2026/06/30", "2026/06/30 09:37:17 PM", "x" * 99]
)
def test_display_parse_of_other_format_returns_none(text: str) -> None:
    """The order of day and month is never guessed."""
    assert DisplayFormat("YYYY/MM/DD", "24").parse(text) is None
