"""What is missing in an Asterisk is said as the lines that are to be added."""

from pathlib import Path

import pytest

from onhook.pbx.asterisk.advice import AsteriskAdvice, AsteriskInspection, ConfigSections, build_advice, parse_sections
from onhook.pbx.asterisk.messages import parse_messages

ETC = Path(__file__).parent / "etc"
MODULES = frozenset({"cdr_manager", "cel_manager", "cdr_csv"})


def as_told(text: str) -> ConfigSections:
    """A file, as `GetConfig` tells it."""
    lines, section, number = [], -1, 0
    for line in text.splitlines():
        if line.startswith("["):
            section, number = section + 1, 0
            lines.append(f"Category-{section:06}: {line.strip('[]')}")
        elif "=" in line and not line.startswith(";"):
            key, _, value = line.partition("=")
            lines.append(f"Line-{section:06}-{number:06}: {key.strip()}={value.lstrip('> ')}")
            number += 1
    (answer,) = parse_messages(("Response: Success\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
    return parse_sections(answer)


def seen(**changes: str | None) -> AsteriskInspection:
    """The laboratory's configuration, with other files."""
    names = ("cdr.conf", "cdr_manager.conf", "cel.conf")
    texts = {name: changes.get(name.replace(".", "_"), (ETC / name).read_text()) for name in names}
    return AsteriskInspection(
        version="11.0.0",
        is_filtered=True,
        files={name: None if text is None else as_told(text) for name, text in texts.items()},
        modules=MODULES,
        clock_skew_seconds=0.1,
        trunks=("trunk-a",),
    )


def wanting(told: AsteriskInspection) -> list[AsteriskAdvice]:
    return [one for one in build_advice(told) if one.status != "OK"]


def test_the_laboratory_lacks_nothing() -> None:
    """The configuration of docs/asterisk.md is the one with which everything is right."""
    assert wanting(seen()) == []


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
def test_each_missing_line_is_said(changes: dict[str, str], file: str, lines: str) -> None:
    """Under its file, and nothing else is."""
    (advice,) = wanting(seen(**changes))
    assert advice.file == file
    assert any(line.startswith(lines) for line in advice.lines)
    assert advice.lines[0].startswith("[")


def test_a_file_that_is_not_shown_is_not_guessed() -> None:
    """It is said, and what would follow from it is said with it."""
    found = wanting(seen(cdr_manager_conf=None))
    assert "does not show cdr_manager.conf" in found[0].detail


def test_what_is_no_file_is_looked_at_too() -> None:
    """Modules, the clock, the trunks, and whether a gap could be filled."""
    bare = AsteriskInspection(
        version="11.0.0",
        is_filtered=False,
        files=seen().files,
        modules=frozenset(),
        clock_skew_seconds=-90.0,
        trunks=(),
    )
    said = " ".join(one.detail for one in wanting(bare))
    for word in ("more than we need", "90 seconds behind", "cdr_manager", "cel_manager", "no CDRs itself", "no trunk"):
        assert word in said
