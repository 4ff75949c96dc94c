"""Alarms of a sync: raised at once when only an operator can help, otherwise when the problem lasts."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import pytest

from onhook.cdr.sync_types import AlarmKind
from onhook.lib.errors import NotAllowed, OnhookError, Unavailable
from onhook.sync.alarms import (
    UNREACHABLE_SECONDS,
    AlarmText,
    ConnectionAlarms,
    NextAttemptLater,
    connection_alarm_kind,
    set_alarm,
)
from tests.sync.harness import MemorySyncState


class ManualAccess:
    """Access to a PBX whose problem and time a test sets."""

    alarm_kinds: Sequence[AlarmKind] = ("unreachable", "credentials", "certificate")

    def __init__(self) -> None:
        self.error_kind: AlarmKind | Literal[""] = "unreachable"
        self.time = 1000.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def access() -> ManualAccess:
    return ManualAccess()


@pytest.fixture
def state() -> MemorySyncState:
    return MemorySyncState()


@pytest.fixture
def connection_alarms(access: ManualAccess, state: MemorySyncState) -> ConnectionAlarms:
    return ConnectionAlarms(access=access, alarms=state)


async def test_set_alarm_with_and_without_text_raises_and_ends_it(state: MemorySyncState) -> None:
    await set_alarm(state, "clock", AlarmText("an hour ahead", "set it"))
    assert state.alarms == {"clock": "an hour ahead"}
    await set_alarm(state, "clock", None)
    assert state.alarms == {}


@pytest.mark.parametrize(
    ("problem", "seconds", "needs_operator", "kind"),
    [
        ("unreachable", UNREACHABLE_SECONDS - 1, False, None),
        ("unreachable", UNREACHABLE_SECONDS, False, "unreachable"),
        ("unreachable", 0.0, True, "credentials"),
        ("source", UNREACHABLE_SECONDS, False, "source"),
        ("certificate", 0.0, False, "certificate"),
        ("certificate", 0.0, True, "certificate"),
    ],
)
def test_connection_alarm_kind_problem_returns_its_alarm(
    problem: AlarmKind, seconds: float, needs_operator: bool, kind: AlarmKind | None
) -> None:
    assert connection_alarm_kind(problem, seconds, needs_operator=needs_operator) == kind


async def test_connection_alarms_lasting_problem_is_raised_late_and_ended(
    connection_alarms: ConnectionAlarms, access: ManualAccess, state: MemorySyncState
) -> None:
    await connection_alarms.on_failed(Unavailable("no connection"))
    assert state.alarms == {}
    access.time += UNREACHABLE_SECONDS
    await connection_alarms.on_failed(Unavailable("no connection"))
    assert "no connection" in state.alarms["unreachable"]
    await connection_alarms.on_succeeded()
    assert state.alarms == {}


async def test_connection_alarms_success_starts_the_wait_again(
    connection_alarms: ConnectionAlarms, access: ManualAccess, state: MemorySyncState
) -> None:
    await connection_alarms.on_failed(Unavailable("no connection"))
    await connection_alarms.on_succeeded()
    access.time += UNREACHABLE_SECONDS
    await connection_alarms.on_failed(Unavailable("no connection"))
    assert state.alarms == {}


async def test_connection_alarms_rejected_login_is_raised_at_once(
    connection_alarms: ConnectionAlarms, state: MemorySyncState
) -> None:
    await connection_alarms.on_failed(NotAllowed("the client id is unknown"))
    assert list(state.alarms) == ["credentials"]


async def test_connection_alarms_without_a_known_problem_use_the_first_kind(
    connection_alarms: ConnectionAlarms, access: ManualAccess, state: MemorySyncState
) -> None:
    access.error_kind = ""
    await connection_alarms.on_failed(OnhookError("the list ended early"))
    access.time += UNREACHABLE_SECONDS
    await connection_alarms.on_failed(OnhookError("the list ended early"))
    assert list(state.alarms) == ["unreachable"]


async def test_connection_alarms_store_no_time_that_passes(
    connection_alarms: ConnectionAlarms, access: ManualAccess, state: MemorySyncState
) -> None:
    """The alarm is read after the next attempt too."""
    error = NextAttemptLater("too many tokens", "2026-04-27 11:04 UTC", location="pbx", hint="wait")
    assert str(error) == "too many tokens; next attempt not before 2026-04-27 11:04 UTC (pbx): wait"
    await connection_alarms.on_failed(error)
    access.time += UNREACHABLE_SECONDS
    await connection_alarms.on_failed(error)
    assert state.alarms == {"unreachable": "too many tokens (pbx): wait"}


@pytest.mark.parametrize(
    ("minutes", "expected_text"),
    [(0, "too many tokens; next attempt not before 2026-04-27 13:04:00+02:00"), (5, "too many tokens")],
)
def test_next_attempt_later_describes_no_time_that_has_passed(minutes: int, expected_text: str) -> None:
    """In the zone of the reader."""
    attempt_at = datetime(2026, 4, 27, 11, 4, tzinfo=UTC)
    error = NextAttemptLater(
        "too many tokens", "2026-04-27 11:04 UTC", location="pbx", hint="wait", attempt_at=attempt_at
    )
    now = attempt_at + timedelta(minutes=minutes - 4)
    assert error.describe(ZoneInfo("Europe/Berlin"), now) == expected_text
