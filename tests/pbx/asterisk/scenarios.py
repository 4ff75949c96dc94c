"""The calls made in the laboratory, and what they are in truth."""

import time

from tests.pbx.asterisk.ari import open_stasis_application
from tests.pbx.asterisk.freepbx_scenarios import FREEPBX_SCENARIOS
from tests.pbx.asterisk.lab import AsteriskLab, wait_until
from tests.pbx.asterisk.originated_scenarios import ORIGINATED_SCENARIOS
from tests.pbx.asterisk.scenario_tables import EXTERNAL_CALLER, Scenario, make_call, table


def _attended_transfer(lab: AsteriskLab) -> None:
    """Bob answers, consults Frank, and hangs up: the caller then talks with Frank."""
    caller = lab.call("5550002", talk_seconds=12, caller="5550199", name="Outside")
    time.sleep(2.5)
    bob = lab.channel("PJSIP/1002-")
    lab.run_ami_action("Atxfer", Channel=bob, Exten="1006", Context="internal")
    time.sleep(5)
    lab.cli(f"channel request hangup {bob}")
    caller.wait(60)


def _call_pickup(lab: AsteriskLab) -> None:
    """Alice calls Dave, and Frank picks the call up at his own telephone."""
    alice = lab.call("1004", talk_seconds=2)
    wait_until(lambda: "!Ringing!" in lab.cli("core show channels concise"))
    frank = lab.call("*81004", caller="1006", name="Frank", talk_seconds=9)
    alice.wait(60)
    frank.wait(60)


def _call_parking(lab: AsteriskLab) -> None:
    """Bob parks the caller, and Frank retrieves the call at his own telephone."""
    caller = lab.call("5550002", talk_seconds=9, caller="5550199", name="Outside")
    time.sleep(2.5)
    lab.run_ami_action("Park", Channel=lab.channel("PJSIP/trunk-a-"), TimeoutChannel=lab.channel("PJSIP/1002-"))
    time.sleep(2)
    frank = lab.call("701", caller="1006", name="Frank", talk_seconds=15)
    caller.wait(60)
    lab.cli("channel request hangup all")
    frank.wait(60)


def _conference_call(lab: AsteriskLab) -> None:
    """Alice waits alone for two seconds, then Frank joins, and leaves first."""
    alice = lab.call("6500", talk_seconds=6)
    time.sleep(2)
    frank = lab.call("6500", caller="1006", name="Frank", talk_seconds=2)
    alice.wait(60)
    frank.wait(60)


def _transfer_by_caller(lab: AsteriskLab) -> None:
    """Alice calls Bob, consults Frank, and hangs up: Bob then talks with Frank."""
    alice = lab.call("1022", talk_seconds=7)
    time.sleep(2.5)
    lab.run_ami_action("Atxfer", Channel=lab.channel("PJSIP/1001-"), Exten="1006", Context="internal")
    alice.wait(60)
    time.sleep(3)
    lab.cli("channel request hangup all")


def _blind_transfer(lab: AsteriskLab) -> None:
    """Bob transfers the caller to Frank by a button of his program."""
    caller = lab.call("5550002", talk_seconds=7, caller="5550199", name="Outside")
    time.sleep(3)
    lab.run_ami_action("BlindTransfer", Channel=lab.channel("PJSIP/1002-"), Exten="1006", Context="internal")
    caller.wait(60)


def _redirect_into_conference(lab: AsteriskLab) -> None:
    """Alice and Bob talk, and are moved into a conference."""
    alice = lab.call("1002", talk_seconds=6)
    time.sleep(3)
    channels = {"Channel": lab.channel("PJSIP/1001-"), "ExtraChannel": lab.channel("PJSIP/1002-")}
    target = {"Exten": "6500", "Context": "internal", "Priority": "1"}
    extra_target = {f"Extra{name}": value for name, value in target.items()}
    lab.run_ami_action("Redirect", **channels, **target, **extra_target)
    alice.wait(60)
    lab.cli("channel request hangup all")


def _tapped_call(lab: AsteriskLab) -> None:
    """A program listens to the call of Alice and Bob, and receives its sound."""
    with open_stasis_application(lab, "tap"):
        alice = lab.call("1002", talk_seconds=5)
        time.sleep(2.5)
        channels = lab.request_ari("GET", "channels")
        bob = next(channel["id"] for channel in channels if channel["name"].startswith("PJSIP/1002-"))
        lab.request_ari("POST", f"channels/{bob}/snoop", spy="both", app="tap")
        lab.request_ari("POST", "channels/externalMedia", app="tap", external_host="127.0.0.1:9", format="ulaw")
        alice.wait(60)
        lab.cli("channel request hangup all")


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "internal_answered",
        make_call("1002"),
        table("""
        at | from        | to        | total | talk | status   | type     | in | out | did | ring | more
        0  | Alice<1001> | Bob<1002> | 3     | 2    | ANSWERED | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "internal_busy",
        make_call("1003", behaviour="refused"),
        table("""
        at | from        | to          | total | talk | status | type     | in | out | did | ring | more
        0  | Alice<1001> | Carol<1003> | 0     | 0    | BUSY   | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "internal_not_answered",
        make_call("1004", behaviour="refused"),
        table("""
        at | from        | to         | total | talk | status    | type     | in | out | did | ring | more
        0  | Alice<1001> | Dave<1004> | 2     | 0    | NO ANSWER | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "internal_cancelled",
        make_call("1004", behaviour="cancelling", talk_seconds=1),
        table("""
        at | from        | to         | total | talk | status    | type     | in | out | did | ring | more
        0  | Alice<1001> | Dave<1004> | 1     | 0    | NO ANSWER | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "congestion",
        make_call("*9100", behaviour="refused"),
        table("""
        at | from        | to    | total | talk | status | type     | in | out | did | ring | more
        0  | Alice<1001> | *9100 | 0     | 0    | FAILED | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "inbound_direct",
        make_call("5550006", **EXTERNAL_CALLER),
        table("""
        at | from             | to          | total | talk | status   | type    | in      | out | did     | ring | more
        0  | Outside<5550199> | Frank<1006> | 3     | 2    | ANSWERED | Inbound | trunk-a |     | 5550006 | 0    |
        """),
    ),
    Scenario(
        "inbound_ivr_queue_two_agents",
        make_call("5550000", behaviour="pressing", talk_seconds=6, **EXTERNAL_CALLER),
        table("""
        at|from            |to              |total|talk|status   |type   |in     |out|did    |ring|more
        0 |Outside<5550199>|6200            |1    |1   |ANSWERED |Inbound|trunk-a|   |5550000|0   |
        1 |Outside<5550199>|team<6400>      |6    |2   |ANSWERED |Inbound|trunk-a|   |5550000|1   |hold_time=4 cdr_talk=3
        1 |Outside<5550199>|Agent Five<4005>|2    |0   |NO ANSWER|Inbound|trunk-a|   |5550000|0   |
        4 |Outside<5550199>|Agent Six<4006> |3    |2   |ANSWERED |Inbound|trunk-a|   |5550000|1   |hold_time=4 cdr_talk=3
        """),
    ),
    Scenario(
        "inbound_ivr_only",
        make_call("5550000", talk_seconds=2, **EXTERNAL_CALLER),
        table("""
        at | from             | to   | total | talk | status   | type    | in      | out | did     | ring | more
        0  | Outside<5550199> | 6200 | 2     | 2    | ANSWERED | Inbound | trunk-a |     | 5550000 | 0    |
        """),
    ),
    Scenario(
        "queue_abandoned",
        make_call("6401", behaviour="cancelling", talk_seconds=3),
        table("""
        at | from        | to               | total | talk | status    | type     | in | out | did | ring | more
        0  | Alice<1001> | empty-desk<6401> | 3     | 0    | NO ANSWER | Internal |    |     |     | 0    | abandoned=1
        0  | Alice<1001> | Agent Five<4005> | 3     | 0    | NO ANSWER | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "outbound",
        make_call("95550123"),
        table("""
        at | from        | to       | total | talk | status   | type     | in | out     | did | ring | more
        0  | Alice<1001> | 95550123 | 3     | 2    | ANSWERED | Outbound |    | trunk-a |     | 0    |
        """),
    ),
    Scenario(
        "transfer_blind",
        make_call("5550007", talk_seconds=6, **EXTERNAL_CALLER),
        table("""
        at|from            |to         |total|talk|status  |type   |in     |out|did    |ring|more
        0 |Outside<5550199>|Grace<1007>|2    |2   |ANSWERED|Inbound|trunk-a|   |5550007|0   |transfer=blind transferred_to=1006
        2 |Outside<5550199>|Frank<1006>|3    |3   |ANSWERED|Inbound|trunk-a|   |5550007|0   |
        """),
    ),
    Scenario(
        "transfer_attended",
        _attended_transfer,
        table("""
        at|from            |to         |total|talk|status  |type    |in     |out|did    |ring|more
        0 |Outside<5550199>|Bob<1002>  |2    |1   |ANSWERED|Inbound |trunk-a|   |5550002|0   |transfer=attended transferred_to=1006
        3 |Bob<1002>       |Frank<1006>|4    |4   |ANSWERED|Internal|       |   |       |0   |
        7 |Outside<5550199>|Frank<1006>|6    |6   |ANSWERED|Inbound |trunk-a|   |5550002|0   |
        """),
    ),
    Scenario(
        "voicemail",
        make_call("5550004", talk_seconds=2, **EXTERNAL_CALLER),
        table("""
        at | from             | to         | total | talk | status    | type    | in      | out | did     | ring | more
        0  | Outside<5550199> | Dave<1004> | 4     | 2    | VOICEMAIL | Inbound | trunk-a |     | 5550004 | 0    |
        """),
    ),
    Scenario(
        "forward_out",
        make_call("5550005", talk_seconds=3, **EXTERNAL_CALLER),
        table("""
        at|from            |to        |total|talk|status   |type    |in     |out    |did    |ring|more
        0 |Outside<5550199>|Erin<1005>|0    |0   |NO ANSWER|Inbound |trunk-a|       |5550005|0   |forwarded_to=95550199
        0 |Outside<5550199>|95550199  |4    |3   |ANSWERED |Outbound|trunk-a|trunk-a|5550005|0   |
        """),
    ),
    Scenario(
        "ring_group",
        make_call("6300"),
        table("""
        at | from        | to         | total | talk | status    | type     | in | out | did | ring | more
        0  | Alice<1001> | 6300       | 3     | 2    | ANSWERED  | Internal |    |     |     | 0    |
        0  | Alice<1001> | Bob<1002>  | 3     | 2    | ANSWERED  | Internal |    |     |     | 0    |
        0  | Alice<1001> | Dave<1004> | 1     | 0    | NO ANSWER | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "recorded",
        make_call("1012"),
        table("""
        at | from        | to        | total | talk | status   | type     | in | out | did | ring | more
        0  | Alice<1001> | Bob<1002> | 3     | 2    | ANSWERED | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "picked_up",
        _call_pickup,
        table("""
        at | from        | to         | total | talk | status    | type     | in | out | did | ring | more
        0  | Alice<1001> | Dave<1004> | 1     | 0    | NO ANSWER | Internal |    |     |     | 0    | cdr_status=ANSWERED
        1  | Alice<1001> | 1006       | 2     | 2    | ANSWERED  | Internal |    |     |     | 0    | picked_up_for=1004
        """),
    ),
    Scenario(
        "transfer_referred",
        make_call("5550008", talk_seconds=10, **EXTERNAL_CALLER),
        table("""
        at|from            |to         |total|talk|status  |type    |in     |out|did    |ring|more
        0 |Outside<5550199>|Heidi<1008>|6    |5   |ANSWERED|Inbound |trunk-a|   |5550008|0   |transfer=attended transferred_to=1006
        6 |Outside<5550199>|1006       |4    |4   |ANSWERED|Inbound |trunk-a|   |5550008|0   |
        3 |Heidi<1008>     |Frank<1006>|3    |2   |ANSWERED|Internal|       |   |       |0   |
        """),
        call_count=2,
    ),
    Scenario(
        "parked",
        _call_parking,
        table("""
        at|from            |to         |total|talk|status  |type    |in     |out|did    |ring|more
        0 |Outside<5550199>|Bob<1002>  |2    |1   |ANSWERED|Inbound |trunk-a|   |5550002|0   |
        5 |Frank<1006>     |701        |0    |0   |ANSWERED|Internal|       |   |       |0   |
        5 |Outside<5550199>|1006       |4    |4   |ANSWERED|Inbound |trunk-a|   |5550002|0   |
        """),
    ),
    Scenario(
        "conference",
        _conference_call,
        table("""
        at|from            |to         |total|talk|status  |type    |in     |out|did    |ring|more
        0 |Alice<1001>     |6500       |6    |5   |ANSWERED|Internal|       |   |       |0   |
        2 |Frank<1006>     |6500       |2    |1   |ANSWERED|Internal|       |   |       |0   |
        """),
        call_count=2,
    ),
    Scenario(
        "queue_ring_all",
        make_call("6402", talk_seconds=4),
        table("""
        at|from            |to         |total|talk|status  |type    |in     |out|did    |ring|more
        0 |Alice<1001>|everybody<6402> |5    |4   |ANSWERED |Internal|    |   |   |1   |hold_time=1
        0 |Alice<1001>|Agent Five<4005>|1    |0   |NO ANSWER|Internal|    |   |   |0   |
        0 |Alice<1001>|Agent Six<4006> |5    |4   |ANSWERED |Internal|    |   |   |1   |hold_time=1
        """),
    ),
    Scenario(
        "outbound_other_number",
        make_call("85550123"),
        table("""
        at|from       |to      |total|talk|status  |type    |in|out    |did|ring|more
        0 |Alice<1001>|85550123|3    |2   |ANSWERED|Outbound|  |trunk-a|   |0   |outbound_caller_id=ACME <5550000>
        """),
    ),
    Scenario(
        "second_device",
        make_call("1201", talk_seconds=3),
        table("""
        at|from       |to        |total|talk|status  |type    |in|out|did|ring|more
        0 |Alice<1001>|Judy<1201>|4    |3   |ANSWERED|Internal|  |   |   |0   |
        """),
    ),
    Scenario(
        "queues_in_a_row",
        make_call("5550012", talk_seconds=5, **EXTERNAL_CALLER),
        table("""
        at|from            |to              |total|talk|status   |type   |in     |out|did    |ring|more
        0 |Outside<5550199>|empty-desk<6412>|3    |0   |NO ANSWER|Inbound|trunk-a|   |5550012|0   |
        0 |Outside<5550199>|Agent Five<4005>|3    |0   |NO ANSWER|Inbound|trunk-a|   |5550012|0   |
        3 |Outside<5550199>|everybody<6412> |6    |5   |ANSWERED |Inbound|trunk-a|   |5550012|1   |hold_time=1
        3 |Outside<5550199>|Agent Five<4005>|1    |0   |NO ANSWER|Inbound|trunk-a|   |5550012|0   |
        3 |Outside<5550199>|Agent Six<4006> |6    |5   |ANSWERED |Inbound|trunk-a|   |5550012|1   |hold_time=1
        """),
    ),
    Scenario(
        "queue_of_local_members",
        make_call("5550010", talk_seconds=4, **EXTERNAL_CALLER),
        table("""
        at|from            |to              |total|talk|status   |type   |in     |out|did    |ring|more
        0 |Outside<5550199>|fpq<6410>       |5    |4   |ANSWERED |Inbound|trunk-a|   |5550010|1   |hold_time=1
        0 |Outside<5550199>|Agent Five<4005>|1    |0   |NO ANSWER|Inbound|trunk-a|   |5550010|0   |
        0 |Outside<5550199>|Agent Six<4006> |5    |4   |ANSWERED |Inbound|trunk-a|   |5550010|1   |hold_time=1
        """),
    ),
    Scenario(
        "transfer_by_code",
        make_call("5550009", talk_seconds=12, **EXTERNAL_CALLER),
        table("""
        at|from            |to         |total|talk|status  |type    |in     |out|did    |ring|more
        0 |Outside<5550199>|Ivan<1009> |2    |2   |ANSWERED|Inbound |trunk-a|   |5550009|0   |transfer=attended transferred_to=1006
        3 |Ivan<1009>      |Frank<1006>|3    |3   |ANSWERED|Internal|       |   |       |0   |
        7 |Outside<5550199>|Frank<1006>|6    |6   |ANSWERED|Inbound |trunk-a|   |5550009|0   |
        """),
    ),
    Scenario(
        "transfer_by_caller",
        _transfer_by_caller,
        table("""
        at|from       |to         |total|talk|status  |type    |in|out|did|ring|more
        0 |Alice<1001>|Bob<1002>  |2    |1   |ANSWERED|Internal|  |   |   |0   |transfer=attended transferred_to=1006 transferred_by=1001
        3 |Alice<1001>|Frank<1006>|5    |5   |ANSWERED|Internal|  |   |   |0   |
        8 |Bob<1002>  |Frank<1006>|3    |3   |ANSWERED|Internal|  |   |   |0   |
        """),
    ),
    Scenario(
        "transfer_blind_by_action",
        _blind_transfer,
        table("""
        at|from            |to         |total|talk|status  |type   |in     |out|did    |ring|more
        0 |Outside<5550199>|Bob<1002>  |2    |1   |ANSWERED|Inbound|trunk-a|   |5550002|0   |transfer=blind transferred_to=1006
        3 |Outside<5550199>|Frank<1006>|5    |4   |ANSWERED|Inbound|trunk-a|   |5550002|0   |cdr_talk=5
        """),
    ),
    Scenario(
        "redirected_into_conference",
        _redirect_into_conference,
        table("""
        at|from       |to       |total|talk|status  |type    |in|out|did|ring|more
        0 |Alice<1001>|Bob<1002>|2    |1   |ANSWERED|Internal|  |   |   |0   |
        3 |Alice<1001>|6500     |4    |4   |ANSWERED|Internal|  |   |   |0   |
        3 |Bob<1002>  |6500     |4    |4   |ANSWERED|Internal|  |   |   |0   |
        """),
    ),
    Scenario(
        "tapped",
        _tapped_call,
        table("""
        at|from       |to       |total|talk|status  |type    |in|out|did|ring|more
        0 |Alice<1001>|Bob<1002>|6    |5   |ANSWERED|Internal|  |   |   |0   |
        """),
    ),
    *ORIGINATED_SCENARIOS,
    *FREEPBX_SCENARIOS,
)
