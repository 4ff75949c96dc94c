"""Commands have one form of times and one of durations, on a terminal as in a pipe."""

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Command

CALLS = (
    "ID,Time,Call From,Call To,Call Duration(s),Ring Duration(s),Talk Duration(s),Status\n"
    "20261120100037A000C,2026/11/20 10:00:37,1001,1002,3700,7,3661,ANSWERED\n"
    "20261120100537A000D,2026/11/20 10:05:37,1001,1003,74,0,74,ANSWERED\n"
)
COMMANDS = (
    *(("calls",), ("records",), ("pbx", "list"), ("token", "list"), ("user", "list"), ("destination", "list")),
    *(("app", "list"), ("quarantine", "list"), ("coverage", "--since", "30d"), ("doctor",)),
)

TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d")
DURATION = re.compile(r"(?<![\d:])(?:[1-9]\d*:[0-5]\d:[0-5]\d|\d{1,2}:[0-5]\d)(?![\d:])")
ADDRESS = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}:\d+")
OTHER_FORMS = re.compile(
    r"\d{4}-\d\d-\d\d|\d\d?[./]\d\d?[./]\d{2,4}\b|\d:\d\d|\d ?[ap]m\b|\b\d+ ?(?:h|min|sec)\b|\bUTC\b(?!\?)",
    re.IGNORECASE,
)


def find_other_forms(output: str) -> list[str]:
    """Return the lines with a time or a duration in another form."""
    return [
        line
        for line in output.splitlines()
        if OTHER_FORMS.search(ADDRESS.sub(" ", DURATION.sub(" ", TIME.sub(" ", line))))
    ]


@pytest.mark.slow
def test_commands_have_one_form_of_times_and_durations(onhook: Command, tmp_path: Path) -> None:
    (tmp_path / "onhook.toml").write_text('zone = "Europe/Berlin"\n')
    (tmp_path / "cdr.csv").write_text(CALLS + "1,soon,1001,1002,1,1,1,BUSY\n")
    add = ("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", "first-secret", "--zone", "Europe/Berlin")
    assert onhook(*add)[0] == 0
    assert onhook("import", "cdr.csv", "--pbx", "Office")[0] == 0
    assert onhook("token", "add", "wallboard", "--role", "reader")[0] == 0
    assert onhook("user", "add", "Alice", "--role", "reader")[0] == 0
    assert onhook("destination", "add", "CRM", "--url", "http://192.0.2.7/", "--allow-private")[0] == 0
    outputs = {" ".join(command): onhook(*command)[1] for command in COMMANDS}
    assert {name: lines for name, output in outputs.items() if (lines := find_other_forms(output))} == {}
    assert {"1:01:01", "1:14"} <= set(DURATION.findall(TIME.sub(" ", outputs["calls"])))
    assert len(TIME.findall("".join(outputs.values()))) > 5


@pytest.mark.parametrize(
    ("line", "is_other"),
    [
        ("2026-11-20 10:00:37+01:00  1001  1:01:01", False),
        ("listens on 127.0.0.1:30012", False),
        ("2026-11-20T10:00:37Z", True),
        ("2026-11-20 10:00", True),
        ("20/11/2026", True),
        ("took 74 sec", True),
    ],
)
def test_sweep_finds_other_forms(line: str, *, is_other: bool) -> None:
    assert find_other_forms(line) == [line] * is_other
