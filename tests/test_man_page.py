"""The man page has what `--help` says, of every command."""

import re
import shutil
import subprocess

import pytest

from onhook.config import Config
from tests.test_docs import COMMANDS_BY_PATH, UNDOCUMENTED
from tools import man_page

EPOCH = 1_795_000_000


def _plain_page() -> str:
    """Return the page without the escapes of roff."""
    return re.sub(r"\\f[BIR]", "", man_page.render("9.8.7", EPOCH).decode()).replace("\\-", "-").replace("\\e", "\\")


def test_man_page_has_every_command_with_its_options() -> None:
    page = _plain_page()
    for path, command in COMMANDS_BY_PATH.items():
        match = re.search(rf'^\.SS "{re.escape(path)}( \[?[A-Z][^"]*)?"\n(.*?)(?=^\.S)', page, re.MULTILINE | re.DOTALL)
        assert match is not None, path
        assert " ".join(command.help.split("\n\n")[0].split()) in match[2]
        for parameter in command.params:
            for name in set(parameter.opts) - UNDOCUMENTED if parameter.param_type_name == "option" else ():
                assert re.search(rf"(^|, ){re.escape(name)}\b", match[2], re.MULTILINE), (path, name)
    assert page.startswith('.TH ONHOOK 1 "2026-11-18" "onhook 9.8.7"')
    assert [name for name in Config.__struct_fields__ if f"\nONHOOK_{name.upper()}\n" not in page] == []


@pytest.mark.skipif(shutil.which("groff") is None, reason="takes groff")
def test_man_page_is_formatted_without_a_warning() -> None:
    command = ["groff", "-man", "-Tutf8", "-ww", "-z"]
    result = subprocess.run(command, input=man_page.render("1", EPOCH), capture_output=True, check=True)
    assert result.stderr == b""
