"""Filters as options."""

import pytest

from onhook.cli.filter_options import warn_about_unknown_status, warn_about_unknown_type
from tests.cli.conftest import Command


@pytest.mark.parametrize("status", ["answered", "!NO_ANSWER,busy", "Voicemail"])
def test_warn_about_unknown_status_known_ones_have_no_note(status: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In any spelling."""
    warn_about_unknown_status(status)
    assert capsys.readouterr() == ("", "")


def test_warn_about_unknown_status_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    """With the known ones, on standard error."""
    warn_about_unknown_status("!answred,busy")
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert "unknown status 'ANSWRED'; known are ANSWERED, NO ANSWER, BUSY" in error


def test_warn_about_unknown_type_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    warn_about_unknown_type("!inbound")
    warn_about_unknown_type("incoming")
    out, error = capsys.readouterr()
    assert (out, error) == ("", "Note: unknown type 'INCOMING'; known are Internal, Inbound, Outbound.\n")


@pytest.mark.parametrize("command", ["calls", "records", "export"])
def test_filter_of_an_unknown_pbx_has_a_note(onhook: Command, command: str) -> None:
    """Also where only the case differs; the result of each command is empty."""
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", "0123456789abcdef")[0] == 0
    words = ("export", "calls.csv") if command == "export" else (command,)
    assert "no PBX has the pbx 'office'; known are Office" in onhook(*words, "--pbx", "office")[2]
    assert "no PBX has the sn '3631'; known are 3631A2124ABC" in onhook(*words, "--sn", "3631")[2]
    assert "no PBX" not in onhook(*words, "--pbx", "Office")[2]
