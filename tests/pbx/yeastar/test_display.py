"""The six ways in which a PBX displays a moment."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.pbx.yeastar.display import DisplayFormat

AT = datetime(2026, 6, 30, 21, 37, 17)  # noqa: DTZ001 - a wall clock
FORMATS = {
    ("YYYY/MM/DD", "24"): "2026/06/30 21:37:17",
    ("MM/DD/YYYY", "24"): "06/30/2026 21:37:17",
    ("DD/MM/YYYY", "24"): "30/06/2026 21:37:17",
    ("YYYY/MM/DD", "12"): "2026/06/30 09:37:17 PM",
    ("MM/DD/YYYY", "12"): "06/30/2026 09:37:17 PM",
    ("DD/MM/YYYY", "12"): "30/06/2026 09:37:17 PM",
}


@pytest.mark.parametrize(("chosen", "text"), FORMATS.items())
def test_a_moment_is_shown_as_chosen(chosen: tuple[str, str], text: str) -> None:
    """And read back."""
    assert DisplayFormat(*chosen).format(AT) == text
    assert DisplayFormat(*chosen).parse(text) == AT


@given(st.sampled_from(sorted(FORMATS)), st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_whatever_is_shown_can_be_read(chosen: tuple[str, str], at: datetime) -> None:
    """To the second."""
    display = DisplayFormat(*chosen)
    assert display.parse(display.format(at)) == at.replace(microsecond=0)


@pytest.mark.parametrize(
    "text", ["", "2026-06-30 21:37:17", "30/06/2026 21:37:17", "2026/06/30", "2026/06/30 09:37:17 PM", "x" * 99]
)
def test_another_form_is_not_read(text: str) -> None:
    """Which is day and which is month is never guessed."""
    assert DisplayFormat("YYYY/MM/DD", "24").parse(text) is None
