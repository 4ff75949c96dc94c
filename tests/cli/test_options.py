"""Options that several commands share."""

import pytest

from onhook.cli.options import warn_about_unknown_status


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
    assert "unknown status 'ANSWRED'; known statuses are ANSWERED, NO ANSWER, BUSY" in error
