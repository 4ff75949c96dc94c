"""Lines of the log."""

import json
import logging

from onhook.lib.clock import SystemClock
from onhook.runtime.logging import LogFormatter


def _record(text: str, **values: object) -> logging.LogRecord:
    return logging.getLogger("a process").makeRecord(
        "a process", logging.WARNING, "f.py", 1, text, (), None, extra=values
    )


def test_log_line_for_a_program_is_json() -> None:
    """Time, level, process, event and values; on one line whatever the text."""
    lines = LogFormatter(SystemClock(), "intake", is_terminal=False, shows_traces=False)
    line = lines.format(_record("a\nb", sn="3631A2124ABC"))
    fields = json.loads(line)
    assert "\n" not in line
    assert (fields["level"], fields["process"], fields["event"], fields["sn"]) == (
        "warning",
        "intake",
        "a\nb",
        "3631A2124ABC",
    )


def test_log_line_for_a_person_has_no_control_characters() -> None:
    """Text of an unknown sender must not move the cursor."""
    lines = LogFormatter(SystemClock(), "intake", is_terminal=True, shows_traces=False)
    line = lines.format(_record("rejected", sn="\x1b[2Jevil\n"))
    assert "\x1b" not in line
    assert "\n" not in line
    assert "intake: rejected sn= [2Jevil" in line
