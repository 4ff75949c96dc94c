"""What is probably a mistake is said, and done."""

import pytest

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cli.addresses import warn_about_private_address
from onhook.cli.filter_hints import warn_about_unknown_status
from onhook.config import Config


@pytest.mark.parametrize("status", ["answered", "!NO_ANSWER,busy", "Voicemail"])
def test_what_pbxs_say_needs_no_hint(status: str, capsys: pytest.CaptureFixture[str]) -> None:
    """However it is spelled."""
    warn_about_unknown_status(status)
    assert capsys.readouterr() == ("", "")


def test_a_status_that_no_pbx_says_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With those that are known, on standard error."""
    warn_about_unknown_status("!answred,busy")
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert "the status 'ANSWRED'; known are ANSWERED, NO ANSWER, BUSY" in error


@pytest.mark.parametrize(
    ("url", "allows", "networks", "says"),
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
def test_an_address_that_is_not_allowed_is_told_at_once(
    url: str, allows: bool, networks: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what allows it; a name is looked up when it is connected to."""
    warn_about_private_address(Config(private_networks=networks), DestinationSpec(url=url, allow_private=allows))
    error = capsys.readouterr().err
    assert says in error
    assert bool(error) is bool(says)
