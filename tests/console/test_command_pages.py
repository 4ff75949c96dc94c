"""Commands in hints have a page on which an administrator does the same."""

import re
from pathlib import Path

import pytest

from onhook.console.pages.command_pages import find_command_pages
from tests.factories import SN

SOURCE = Path(__file__).parents[2] / "src/onhook"

HINT_FILES = (
    *("ops/doctor/pbx.py", "ops/doctor/asterisk.py", "ops/doctor/lines.py", "ops/doctor/files.py"),
    *("ops/doctor/number_plan.py", "ops/doctor/mails.py", "ops/doctor/requests.py", "ops/silence_monitor.py"),
    *("ops/call_time_monitor.py", "sync/alarms.py", "sync/asterisk_sync.py", "sync/backfill_run.py"),
    *("sync/clock_check.py", "sync/day_comparison.py", "sync/pbx_session.py", "delivery/issues.py"),
    *("receiver/rejections.py", "projector/event_parsing.py", "pbx/asterisk/trunks.py"),
)
"""What ends on the page of a PBX, in issues and in the quarantine."""

AT_THE_MACHINE = frozenset({"restore"})
"""Commands that need a stopped server, or its machine."""


def _list_commands() -> list[str]:
    commands = {
        command for name in HINT_FILES for command in re.findall(r"`onhook ([^`]*)`", (SOURCE / name).read_text())
    }
    return sorted(command for command in commands if command.split()[0] not in AT_THE_MACHINE)


@pytest.mark.parametrize("command", _list_commands())
def test_command_page_exists_for_each_command_of_a_hint(command: str) -> None:
    (link,) = find_command_pages(f"run `onhook {re.sub('{[^}]*}', 'office', command)}`", SN)
    assert link.href.startswith(("/pbxs", "/add-pbx", "/destinations", "/quarantine", "/mail"))
    assert link.text


@pytest.mark.parametrize(
    ("hint", "hrefs"),
    [
        ("no command", []),
        ("`next` of `onhook serve`", []),
        ("`onhook pbx change office --zone ZONE`", ["/pbxs/office#number-plan"]),
        ("`onhook pbx change office --name NAME`", ["/pbxs/office"]),
        ("`onhook pbx change --signed` requires it", [f"/pbxs/{SN}#silence"]),
        ("`onhook pbx secret add 'Main office'`", ["/pbxs/Main%20office#secrets"]),
        ("`onhook pbx secret add 'Main off`", ["/pbxs/%27Main#secrets"]),
        ("`onhook doctor a/b`, `onhook doctor a/b`", ["/pbxs/a%2Fb#actions"]),
        ("`onhook token list` or `onhook app list`", ["/users", "/apps"]),
    ],
)
def test_command_pages_of_a_hint(hint: str, hrefs: list[str]) -> None:
    assert [link.href for link in find_command_pages(hint, SN)] == hrefs


def test_command_pages_without_a_pbx_lead_to_the_list() -> None:
    hint = "`onhook pbx change NAME --zone ZONE`, `onhook doctor`"
    assert [(link.href, link.text) for link in find_command_pages(hint)] == [("/pbxs", "PBXs")]
