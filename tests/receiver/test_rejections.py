"""Rejected requests: which of them need a person, and what to do about each."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from onhook.receiver.rejections import REJECTED_KINDS, RequestCounter, find_remedy, find_title, list_rejections

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)


def _counter(kind: str, age_minutes: float = 0.0, **members: Any) -> RequestCounter:
    values = {"sn": "A1", "pbx": "Office", "count": 1, **members}
    last_at = NOW - timedelta(minutes=age_minutes)
    return RequestCounter(kind=kind, first_at=last_at, last_at=last_at, **values)


@pytest.mark.parametrize("kind", ["invalid_signature", "missing_signature", "unexpected_source"])
@pytest.mark.parametrize(
    ("accepted", "needs_person"),
    [
        (_counter("stored", 5), False),
        (_counter("duplicate", 5), False),
        (_counter("test_message", 5), False),
        (_counter("stored", 5, sn="B2"), False),
        (_counter("stored", 15), True),
        (_counter("stored", 5, label="via:websocket"), True),
        (_counter("stored", 5, label="via:import"), True),
        (_counter("unregistered", 5), True),
        (_counter("stored", 5, pbx="Shop"), True),
    ],
)
def test_list_rejections_of_a_pbx_that_was_repaired_are_none(
    kind: str, accepted: RequestCounter, needs_person: bool
) -> None:
    """Only a webhook shows that webhooks are accepted again."""
    assert bool(list_rejections([accepted, _counter(kind, 10)], NOW)) is needs_person


def test_list_rejections_of_an_unknown_sender_stay_for_a_day() -> None:
    rejection = _counter("unknown_pbx", 10, sn="C3", pbx="")
    assert list_rejections([_counter("stored", 5), _counter("stored", 5, pbx=""), rejection], NOW) == [rejection]


def test_list_rejections_of_the_serial_numbers_of_one_pbx_are_added_up() -> None:
    """Whichever was used last."""
    counters = [_counter("invalid_signature", 1, sn="A1", count=2), _counter("invalid_signature", 0, sn="B2", count=5)]
    for order in (counters, counters[::-1]):
        assert [(counter.sn, counter.count) for counter in list_rejections(order, NOW)] == [("B2", 7)]


@pytest.mark.parametrize(
    ("identified_by", "options"),
    [
        (("address",), "--from ADDRESS"),
        (("path",), "--path PATH"),
        (("address", "path"), "--from ADDRESS --path PATH"),
        ((), "--from ADDRESS"),
    ],
)
def test_find_remedy_of_another_source_names_what_identifies_the_pbx(
    identified_by: tuple[str, ...], options: str
) -> None:
    counter = _counter("unexpected_source", pbx="Head office", identified_by=identified_by)
    assert find_remedy(counter) == f"to accept them: `onhook pbx change 'Head office' {options}`"


@pytest.mark.parametrize(("label", "needs_person"), [("PUT", True), ("GET", True), ("", False)])
def test_list_rejections_by_another_method_need_a_person(label: str, needs_person: bool) -> None:
    """Not the pages that browsers and scanners ask for, which have no label."""
    rejection = _counter("wrong_method", 10, sn="", pbx="", label=label)
    assert bool(list_rejections([rejection], NOW)) is needs_person
    assert find_title("wrong_method") == "Requests with another method than POST, or GET with a body"
    assert find_remedy(rejection) == "set the method of the webhook in its sender to POST"


def test_find_title_of_settings_that_cannot_be_read_says_no_loss() -> None:
    assert find_title("settings_unreadable") == "Requests while onhook.db could not be read"
    remedy = find_remedy(_counter("settings_unreadable", sn="", pbx=""))
    assert remedy == "`onhook doctor` checks it; a PBX sends its event again"


@pytest.mark.parametrize("kind", sorted(REJECTED_KINDS))
def test_find_title_and_remedy_exist_for_each_rejection(kind: str) -> None:
    assert find_title(kind) != kind.replace("_", " ")
    assert find_remedy(_counter(kind))


@pytest.mark.parametrize("kind", ["unknown_pbx", "invalid_signature", "missing_signature"])
def test_find_remedy_of_further_serial_numbers_adds_none(kind: str) -> None:
    """They were merged: there is no serial number to add."""
    remedy = find_remedy(_counter(kind, sn="", pbx="", label="others"))
    assert "onhook" not in remedy
    assert "too many serial numbers" in remedy
