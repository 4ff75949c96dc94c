"""Lines of the log."""

import json
import logging

from onhook.lib.clock import SystemClock
from onhook.runtime.logging import LogFormatter


def _record(text: str, **values: object) -> logging.LogRecord:
    return logging.getLogger("a room").makeRecord("a room", logging.WARNING, "f.py", 1, text, (), None, extra=values)


def test_a_line_for_a_program_is_json() -> None:
    """Time, level, part, event and the values given; on one line whatever the text."""
    lines = LogFormatter(SystemClock(), "intake", is_terminal=False, shows_traces=False)
    line = lines.format(_record("a\nb", sn="3631A2124ABC"))
    said = json.loads(line)
    assert "\n" not in line
    assert (said["level"], said["process"], said["event"], said["sn"]) == ("warning", "intake", "a\nb", "3631A2124ABC")


def test_a_line_for_a_person_moves_no_cursor() -> None:
    """What a stranger wrote reaches a terminal without its control characters."""
    lines = LogFormatter(SystemClock(), "intake", is_terminal=True, shows_traces=False)
    line = lines.format(_record("knocked", sn="\x1b[2Jevil\n"))
    assert "\x1b" not in line
    assert "\n" not in line
    assert "intake: knocked sn= [2Jevil" in line
