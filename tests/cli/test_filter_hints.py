"""Notes about probable mistakes."""

import pytest

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cli.addresses import warn_about_private_address
from onhook.cli.filter_hints import warn_about_unknown_status
from onhook.config import Config


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


@pytest.mark.parametrize(
    ("url", "allows", "networks", "expected_text"),
    [
        ("https://crm.example.com/", False, "", ""),
        ("http://10.0.0.7/", False, "", "--allow-private allows it"),
        ("http://localhost:8000/", False, "", "--allow-private allows it"),
        ("http://[::1]/", False, "", "--allow-private allows it"),
        ("http://10.0.0.7/", True, "", ""),
        ("http://10.0.0.7/", False, "10.0.0.0/8", ""),
        ("http://169.254.169.254/", True, "", "only the setting private_networks allows it"),
    ],
)
def test_warn_about_private_address_at_once(
    url: str, allows: bool, networks: str, expected_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the option that allows it; a host name is only known when it is connected to."""
    warn_about_private_address(Config(private_networks=networks), DestinationSpec(url=url, allow_private=allows))
    error = capsys.readouterr().err
    assert expected_text in error
    assert bool(error) is bool(expected_text)
