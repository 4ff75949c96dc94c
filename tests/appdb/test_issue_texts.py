"""Titles of issues: each kind has one."""

import re
from pathlib import Path
from typing import get_args

import pytest

from onhook.appdb.issue_texts import describe_kind, name_issue
from onhook.cdr.sync_types import AlarmKind
from onhook.delivery.issues import IssueKind
from onhook.receiver.rejections import PERSON_KINDS

MONITOR = Path(__file__).parents[2] / "src/onhook/ops"

CHECKS = ("clock", "disk", "permissions", "ledger", "appdb", "backlog", "quarantine", "settings", "cursors", "folders",
          "mail")  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    [
        *(f"alarm_{kind}" for kind in get_args(AlarmKind)),
        *(f"destination_{kind}" for kind in get_args(IssueKind)),
        *(f"rejected_{kind}" for kind in sorted(PERSON_KINDS)),
        *(f"check_{name}" for name in CHECKS),
    ],
)
def test_issue_text_is_a_sentence_for_each_kind(kind: str) -> None:
    """Without the name of the kind, a command, or a full stop in the title."""
    text = describe_kind(kind)
    assert text.meaning.endswith(".")
    assert " " in text.title
    assert not text.title.endswith(".")
    assert not re.search(r"[_`]|onhook [a-z]", f"{text.title} {text.meaning}")


def test_issue_text_checks_are_those_of_the_monitor() -> None:
    source = "".join((MONITOR / name).read_text() for name in ("issue_monitor.py", "doctor/host.py"))
    for name in CHECKS:
        assert f'"{name}"' in source


def test_issue_name_has_the_subject_once() -> None:
    assert name_issue("alarm_difference", "Headquarters") == "Headquarters: Calls are missing"
    assert name_issue("check_mail", "mail") == "Mails cannot be sent"
