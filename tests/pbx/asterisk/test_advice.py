"""Missing settings of an Asterisk are reported as the lines to add."""

from pathlib import Path

import msgspec
import pytest

from onhook.pbx.asterisk.advice import (
    CLOCK_SKEW_SECONDS_MAX,
    AsteriskAdvice,
    AsteriskInspection,
    ConfigSections,
    build_advice,
    parse_sections,
)
from onhook.pbx.asterisk.messages import parse_messages

ETC = Path(__file__).parent / "etc"
MODULES = frozenset({"cdr_manager", "cel_manager", "cdr_csv"})


def get_sections(text: str) -> ConfigSections:
    """Return the sections of a file, sent through `GetConfig`."""
    lines, section, number = [], -1, 0
    for line in text.splitlines():
        if line.startswith("["):
            section, number = section + 1, 0
            lines.append(f"Category-{section:06}: {line.strip('[]')}")
        elif "=" in line and not line.startswith(";"):
            key, _, value = line.partition("=")
            lines.append(f"Line-{section:06}-{number:06}: {key.strip()}={value.lstrip('> ')}")
            number += 1
    (response,) = parse_messages(("Response: Success\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
    return parse_sections(response)


def inspect(**changes: str | None) -> AsteriskInspection:
    """Return the inspection of the laboratory's configuration, with some files replaced."""
    names = ("cdr.conf", "cdr_manager.conf", "cel.conf")
    texts = {name: changes.get(name.replace(".", "_"), (ETC / name).read_text()) for name in names}
    return AsteriskInspection(
        version="11.0.0",
        is_filtered=True,
        files={name: None if text is None else get_sections(text) for name, text in texts.items()},
        modules=MODULES,
        clock_skew_seconds=0.1,
        trunks=("trunk-a",),
    )


def find_missing(inspection: AsteriskInspection) -> list[AsteriskAdvice]:
    return [advice for advice in build_advice(inspection) if advice.status != "OK"]


def test_advice_for_laboratory_configuration_has_no_findings() -> None:
    """The configuration in docs/asterisk.md passes all checks."""
    assert find_missing(inspect()) == []


@pytest.mark.parametrize(
    ("changes", "file", "lines"),
    [
        (
            {"cdr_conf": "[general]\nenable = no\nunanswered = yes\n[csv]\nnewcdrcolumns = yes"},
            "cdr.conf",
            "enable = yes",
        ),
        ({"cdr_conf": "[general]\n[csv]\nnewcdrcolumns = yes"}, "cdr.conf", "unanswered = yes"),
        ({"cdr_conf": "[general]\nunanswered = yes"}, "cdr.conf", "newcdrcolumns = yes"),
        ({"cdr_manager_conf": "[mappings]\nlinkedid => LinkedID"}, "cdr_manager.conf", "enabled = yes"),
        ({"cdr_manager_conf": "[general]\nenabled = yes"}, "cdr_manager.conf", "linkedid => LinkedID"),
        ({"cel_conf": "[general]\nenable = no"}, "cel.conf", "enable = yes"),
        (
            {"cel_conf": "[general]\nenable = yes\napps = all\nevents = HANGUP\n[manager]\nenabled = yes"},
            "cel.conf",
            "events",
        ),
        (
            {"cel_conf": "[general]\nenable = yes\napps = dial\nevents = ALL\n[manager]\nenabled = yes"},
            "cel.conf",
            "apps",
        ),
    ],
)
def test_advice_for_missing_line_names_file_and_line(changes: dict[str, str], file: str, lines: str) -> None:
    """There is no other finding."""
    (advice,) = find_missing(inspect(**changes))
    assert advice.file == file
    assert any(line.startswith(lines) for line in advice.lines)
    assert advice.lines[0].startswith("[")


def test_advice_for_unreadable_file_says_so() -> None:
    findings = find_missing(inspect(cdr_manager_conf=None))
    assert "cannot read cdr_manager.conf" in findings[0].detail


def test_advice_covers_modules_clock_trunks_and_backends() -> None:
    inspection = AsteriskInspection(
        version="11.0.0",
        is_filtered=False,
        files=inspect().files,
        modules=frozenset(),
        clock_skew_seconds=-90.0,
        trunks=(),
    )
    text = " ".join(advice.detail for advice in find_missing(inspection))
    for word in (
        "more than Onhook needs",
        "90 seconds behind",
        "cdr_manager",
        "cel_manager",
        "no CDRs itself",
        "no trunk",
    ):
        assert word in text


@pytest.mark.parametrize(
    ("skew_seconds", "status", "word"),
    [
        (None, "WARNING", "does not report its time"),
        (CLOCK_SKEW_SECONDS_MAX, "OK", "agrees"),
        (-CLOCK_SKEW_SECONDS_MAX, "OK", "agrees"),
        (90.0, "ERROR", "90 seconds ahead"),
        (-90.0, "ERROR", "90 seconds behind"),
    ],
)
def test_advice_for_clock_follows_skew(skew_seconds: float | None, status: str, word: str) -> None:
    inspection = msgspec.structs.replace(inspect(), clock_skew_seconds=skew_seconds)
    (advice,) = (advice for advice in build_advice(inspection) if word in advice.detail)
    assert advice.status == status


def test_advice_for_custom_date_format_of_cel_warns() -> None:
    (advice,) = find_missing(inspect(cel_conf=(ETC / "cel.conf").read_text() + "\n[general]\ndateformat = %d.%m.%Y\n"))
    assert (advice.status, "dateformat" in advice.detail) == ("WARNING", True)


def test_advice_for_unreadable_trunks_is_error_of_search() -> None:
    """Not the advice for a PBX without trunks."""
    (advice,) = find_missing(msgspec.structs.replace(inspect(), trunks=(), trunks_error="cannot read the trunks"))
    assert (advice.status, advice.detail) == ("WARNING", "cannot read the trunks")
