"""Calls that the PBX begins by itself, by each of its ways: the telephone inside is the caller."""

import time
from collections.abc import Callable

from tests.pbx.asterisk.lab import AsteriskLab, wait_until
from tests.pbx.asterisk.scenario_tables import Scenario, table

CONNECTED_SECONDS = 5.0
"""The first party answers after one second, the second one after another, and they talk for three."""


def _originate(channel: str, **fields: str) -> Callable[[AsteriskLab], None]:
    """Return a run of the AMI action `Originate`."""

    def run(lab: AsteriskLab) -> None:
        lab.originate(channel, **fields)
        _hang_up(lab)

    return run


def _hang_up(lab: AsteriskLab) -> None:
    time.sleep(CONNECTED_SECONDS)
    lab.cli("channel request hangup all")


def _originate_by_command(lab: AsteriskLab) -> None:
    lab.cli("channel originate PJSIP/1002 extension 95550123@internal")
    _hang_up(lab)


def _originate_by_call_file(lab: AsteriskLab) -> None:
    destination = {"Context": "internal", "Extension": "95550123", "Priority": "1"}
    lab.write_call_file({"Channel": "PJSIP/1002", "CallerID": '"Web" <95550123>', **destination})
    wait_until(lambda: "PJSIP/1002-" in lab.cli("core show channels concise"))
    _hang_up(lab)


def _originate_by_rest(lab: AsteriskLab) -> None:
    destination = {"extension": "95550123", "context": "internal", "priority": "1"}
    lab.request_ari("POST", "channels", endpoint="PJSIP/1002", callerId="Web <95550123>", **destination)
    _hang_up(lab)


BY_EXTENSION = {"Context": "internal", "Priority": "1"}
ORIGINATED_SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "originated_agent_first",
        _originate("PJSIP/1002", Exten="95550123", **BY_EXTENSION),
        table("""
        at|from|to|total|talk|status|type|in|out|did|ring|more
        0|Bob<1002>|95550123|5|3|ANSWERED|Outbound||trunk-a||0|outbound_caller_id=Web <95550123> originated=call
        """),
    ),
    Scenario(
        "originated_customer_first",
        _originate("PJSIP/95550123@trunk-a", Exten="1002", **BY_EXTENSION),
        table("""
        at|from|to|total|talk|status|type|in|out|did|ring|more
        0|Bob<1002>|95550123|5|3|ANSWERED|Outbound||trunk-a||0|originated=call
        """),
    ),
    Scenario(
        "originated_by_local",
        _originate("Local/1002@internal", Exten="95550123", **BY_EXTENSION),
        table("""
        at|from|to|total|talk|status|type|in|out|did|ring|more
        0|Bob<1002>|95550123|5|4|ANSWERED|Outbound||trunk-a||0|outbound_caller_id=Web <95550123> originated=call
        """),
    ),
    Scenario(
        "originated_customer_by_local",
        _originate("Local/95550123@internal", Exten="1002", **BY_EXTENSION),
        table("""
        at|from|to|total|talk|status|type|in|out|did|ring|more
        0|Bob<1002>|95550123|5|3|ANSWERED|Outbound||trunk-a||0|originated=call
        """),
    ),
    Scenario(
        "originated_by_application",
        _originate("PJSIP/1002", Application="Dial", Data="PJSIP/95550123@trunk-a,20"),
        table("""
        at|from|to|total|talk|status|type|in|out|did|ring|more
        0|Bob<1002>|95550123|5|4|ANSWERED|Outbound||trunk-a||0|outbound_caller_id=Web <95550123> originated=call
        """),
    ),
    Scenario(
        "originated_not_answered",
        _originate("PJSIP/1004", Exten="95550123", **BY_EXTENSION | {"Timeout": "2000"}),
        table("""
        at|from|to|total|talk|status|type|in|out|did|ring|more
        0|Dave<1004>|95550123|2|0|NO ANSWER|Outbound||||0|outbound_caller_id=Web <95550123> originated=attempt
        """),
    ),
    Scenario(
        "originated_by_command",
        _originate_by_command,
        table("""
        at|from|to|total|talk|status|type|in|out|did|ring|more
        0|Bob<1002>|95550123|5|4|ANSWERED|Outbound||trunk-a||0|originated=call
        """),
    ),
    Scenario(
        "originated_by_call_file",
        _originate_by_call_file,
        table("""
        at|from|to|total|talk|status|type|in|out|did|ring|more
        0|Bob<1002>|95550123|5|4|ANSWERED|Outbound||trunk-a||0|outbound_caller_id=Web <95550123> originated=call
        """),
    ),
    Scenario(
        "originated_by_rest",
        _originate_by_rest,
        table("""
        at|from|to|total|talk|status|type|in|out|did|ring|more
        0|Bob<1002>|95550123|5|3|ANSWERED|Outbound||trunk-a||0|outbound_caller_id=Web <95550123> originated=call
        """),
    ),
)
