"""Settings of the simulator."""

from datetime import UTC, datetime
from typing import Any

import pytest

from onhook.lib.errors import UsageError
from onhook.simulator.fault_injection import Faults
from onhook.simulator.office_plan import SimulationPlan, create_office, demo_plan

URL, SN = "http://127.0.0.1:30012/", "3631A2124XXX"


@pytest.mark.parametrize(
    ("wrong", "expected_text"),
    [
        ({"url": "127.0.0.1:30012"}, "is not the URL of a webhook"),
        ({"url": "http://"}, "is not the URL of a webhook"),
        ({"url": "http://[::1"}, "is not the URL of a webhook"),
        ({"url": "http://pbx:70000/"}, "is not the URL of a webhook"),
        ({"sn": ""}, "a PBX needs a serial number"),
        ({"payload_format": "p-1999"}, "use one of p-2023, p-2025, p-2026, doc, object"),
        ({"start": datetime(2026, 1, 1)}, "the start has no zone"),  # noqa: DTZ001 - the error under test
        ({"rate": 0.0}, "rate cannot be 0.0"),
        ({"rate": float("nan")}, "rate cannot be nan"),
        ({"count": 0}, "count cannot be 0"),
        ({"connections": 0}, "connections cannot be 0: write 1 to 1000"),
        ({"max_attempts": 6}, "max_attempts cannot be 6: write 1 to 5"),
        ({"timeout_seconds": 0.0}, "timeout_seconds cannot be"),
    ],
)
def test_plan_invalid_setting_is_rejected(wrong: dict[str, Any], expected_text: str) -> None:
    """With one sentence that names what is wrong and what to write instead."""
    with pytest.raises(UsageError, match=expected_text):
        SimulationPlan(**{"url": URL, "sn": SN, **wrong})


def test_plan_unknown_zone_is_rejected() -> None:
    """The office's zone is an IANA name."""
    with pytest.raises(UsageError, match="Berlin/Europe"):
        create_office(SimulationPlan(url=URL, sn=SN, zone="Berlin/Europe"))


def test_create_office_uses_the_plan() -> None:
    """Start, names and clock error."""
    start = datetime(2026, 6, 1, tzinfo=UTC)
    plan = SimulationPlan(url=URL, sn=SN, start=start, with_names=True, faults=Faults(wrong_clock=7200))
    call = next(create_office(plan).calls_since(start))
    assert call.started_at >= start
    assert float(call.legs[0].call_id.partition(".")[0]) == call.started_at.timestamp() + 7200
    assert "<" in call.legs[0].call_to


def test_demo_plan_has_history_and_continues_live() -> None:
    """At a rate that people can follow, with names, without end."""
    plan = demo_plan(URL, SN, "secret")
    assert (plan.history_calls, plan.count, plan.start, plan.with_names) == (200, None, None, True)
    assert plan.rate
    assert 0.2 < plan.rate < 2
