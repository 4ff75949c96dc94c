"""Texts for display."""

from onhook.lib.text import format_duration, replace_control_characters


def test_format_duration_has_minutes_and_seconds() -> None:
    """From an hour on with hours."""
    assert [format_duration(seconds) for seconds in (0, 59, 74, 3600, 36_610)] == [
        "0:00",
        "0:59",
        "1:14",
        "1:00:00",
        "10:10:10",
    ]


def test_replace_control_characters_keeps_printable_ones() -> None:
    assert replace_control_characters("Büro\x1b[2J\n\u202e7") == "Büro [2J  7"
