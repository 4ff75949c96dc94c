"""Lists and health checks show times in the reader's zone."""

import re

import pytest

from tests.cli.conftest import Command

LISTS = (("pbx", "list"), ("token", "list"), ("app", "list"), ("doctor",))
CONFIGURED_ZONES = (("America/St_Johns", r"-0[23]:30"), ("Asia/Kathmandu", r"\+05:45"))


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_times_are_in_the_zone_of_the_option(onhook: Command, words: tuple[str, ...]) -> None:
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--unsigned")[0] == 0
    assert onhook("token", "add", "wallboard")[0] == 0
    assert onhook("app", "add", "crm")[0] == 0
    for zone, offset in CONFIGURED_ZONES:
        _, out, _ = onhook(*words, "--zone", zone)
        assert re.search(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d{offset}", out), out


def test_unknown_zone_is_one_sentence(onhook: Command) -> None:
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--unsigned")[0] == 0
    code, _, error = onhook("pbx", "list", "--zone", "Berlin")
    assert (code, "there is no time zone 'Berlin'" in error) == (2, True)
