"""The calls made in the laboratory, and the expected records of each, row by row, as a table.

`at` counts seconds from the first second of the call. `more` contains `extra`, except channels and applications.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from onhook.cdr.call_details import CallDetails
from tests.pbx.asterisk.lab import AsteriskLab, wait_until

COLUMNS = ("at", "from", "to", "total", "talk", "status", "type", "in", "out", "did", "ring", "more")
SECONDS = ("at", "total", "talk", "ring")
IGNORED_EXTRA = (
    "channel",
    "dst_channel",
    "context",
    "last_application",
    "last_data",
    "ama_flags",
    "callee_kind",
    "is_display",
    "realclidnum",
)
EXTERNAL_CALLER = {"caller": "5550199", "name": "Outside"}


class Scenario(msgspec.Struct, frozen=True):
    """A scenario: its calls, the rows of the expected table with a text for every column, and the number of calls."""

    name: str
    run: Callable[[AsteriskLab], None]
    expected: tuple[Mapping[str, str], ...]
    call_count: int = 1


def table(text: str) -> tuple[Mapping[str, str], ...]:
    """Parse the rows of a table with `|` between its cells; the header line is ignored."""
    lines = [line for line in text.strip().splitlines() if line.strip()][1:]
    return tuple(dict(zip(COLUMNS, (cell.strip() for cell in line.split("|")), strict=True)) for line in lines)


def to_table_rows(details: Sequence[CallDetails]) -> list[dict[str, str]]:
    """Format call details as rows of such a table."""
    first_second = min(int(call_details.call_id.partition(".")[0]) for call_details in details)
    return [_row(call_details, first_second) for call_details in details]


def _row(call_details: CallDetails, first_second: int) -> dict[str, str]:
    offset = _seconds(call_details.uid[:14]) - int(call_details.call_id.partition(".")[0])
    extra = {
        name.replace("_duration", ""): value for name, value in call_details.extra.items() if name not in IGNORED_EXTRA
    }
    cells = (
        _seconds(call_details.time_start.translate({ord(separator): None for separator in "-: "}))
        - offset
        - first_second,
        call_details.call_from,
        call_details.call_to,
        call_details.call_duration,
        call_details.talk_duration,
        call_details.status,
        call_details.type,
        call_details.src_trunk_name,
        call_details.dst_trunk_name,
        call_details.did_number,
        call_details.agent_ring_time,
        " ".join(f"{name}={value}" for name, value in extra.items()),
    )
    return dict(zip(COLUMNS, (str(cell) if cell is not None else "" for cell in cells), strict=True))


def _seconds(text: str) -> int:
    return round(time.mktime(time.strptime(text, "%Y%m%d%H%M%S")))


def _make_call(number: str, **options: object) -> Callable[[AsteriskLab], None]:
    def run(lab: AsteriskLab) -> None:
        lab.call(number, **options).wait(60)  # type: ignore[arg-type] # as `call` names them

    return run


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


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "internal_answered",
        _make_call("1002"),
        table("""
        at | from        | to        | total | talk | status   | type     | in | out | did | ring | more
        0  | Alice<1001> | Bob<1002> | 3     | 2    | ANSWERED | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "internal_busy",
        _make_call("1003", behaviour="refused"),
        table("""
        at | from        | to          | total | talk | status | type     | in | out | did | ring | more
        0  | Alice<1001> | Carol<1003> | 0     | 0    | BUSY   | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "internal_not_answered",
        _make_call("1004", behaviour="refused"),
        table("""
        at | from        | to         | total | talk | status    | type     | in | out | did | ring | more
        0  | Alice<1001> | Dave<1004> | 2     | 0    | NO ANSWER | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "internal_cancelled",
        _make_call("1004", behaviour="cancelling", talk_seconds=1),
        table("""
        at | from        | to         | total | talk | status    | type     | in | out | did | ring | more
        0  | Alice<1001> | Dave<1004> | 1     | 0    | NO ANSWER | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "congestion",
        _make_call("*9100", behaviour="refused"),
        table("""
        at | from        | to    | total | talk | status | type     | in | out | did | ring | more
        0  | Alice<1001> | *9100 | 0     | 0    | FAILED | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "inbound_direct",
        _make_call("5550006", **EXTERNAL_CALLER),
        table("""
        at | from             | to          | total | talk | status   | type    | in      | out | did     | ring | more
        0  | Outside<5550199> | Frank<1006> | 3     | 2    | ANSWERED | Inbound | trunk-a |     | 5550006 | 0    |
        """),
    ),
    Scenario(
        "inbound_ivr_queue_two_agents",
        _make_call("5550000", behaviour="pressing", talk_seconds=6, **EXTERNAL_CALLER),
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
        _make_call("5550000", talk_seconds=2, **EXTERNAL_CALLER),
        table("""
        at | from             | to   | total | talk | status   | type    | in      | out | did     | ring | more
        0  | Outside<5550199> | 6200 | 2     | 2    | ANSWERED | Inbound | trunk-a |     | 5550000 | 0    |
        """),
    ),
    Scenario(
        "queue_abandoned",
        _make_call("6401", behaviour="cancelling", talk_seconds=3),
        table("""
        at | from        | to               | total | talk | status    | type     | in | out | did | ring | more
        0  | Alice<1001> | empty-desk<6401> | 3     | 0    | NO ANSWER | Internal |    |     |     | 0    | abandoned=1
        0  | Alice<1001> | Agent Five<4005> | 3     | 0    | NO ANSWER | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "outbound",
        _make_call("95550123"),
        table("""
        at | from        | to       | total | talk | status   | type     | in | out     | did | ring | more
        0  | Alice<1001> | 95550123 | 3     | 2    | ANSWERED | Outbound |    | trunk-a |     | 0    |
        """),
    ),
    Scenario(
        "transfer_blind",
        _make_call("5550007", talk_seconds=6, **EXTERNAL_CALLER),
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
        _make_call("5550004", talk_seconds=2, **EXTERNAL_CALLER),
        table("""
        at | from             | to         | total | talk | status    | type    | in      | out | did     | ring | more
        0  | Outside<5550199> | Dave<1004> | 4     | 2    | VOICEMAIL | Inbound | trunk-a |     | 5550004 | 0    |
        """),
    ),
    Scenario(
        "forward_out",
        _make_call("5550005", talk_seconds=3, **EXTERNAL_CALLER),
        table("""
        at|from            |to        |total|talk|status   |type    |in     |out    |did    |ring|more
        0 |Outside<5550199>|Erin<1005>|0    |0   |NO ANSWER|Inbound |trunk-a|       |5550005|0   |forwarded_to=95550199
        0 |Outside<5550199>|95550199  |4    |3   |ANSWERED |Outbound|trunk-a|trunk-a|5550005|0   |
        """),
    ),
    Scenario(
        "ring_group",
        _make_call("6300"),
        table("""
        at | from        | to         | total | talk | status    | type     | in | out | did | ring | more
        0  | Alice<1001> | 6300       | 3     | 2    | ANSWERED  | Internal |    |     |     | 0    |
        0  | Alice<1001> | Bob<1002>  | 3     | 2    | ANSWERED  | Internal |    |     |     | 0    |
        0  | Alice<1001> | Dave<1004> | 1     | 0    | NO ANSWER | Internal |    |     |     | 0    |
        """),
    ),
    Scenario(
        "recorded",
        _make_call("1012"),
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
        _make_call("5550008", talk_seconds=10, **EXTERNAL_CALLER),
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
        _make_call("6402", talk_seconds=4),
        table("""
        at|from            |to         |total|talk|status  |type    |in     |out|did    |ring|more
        0 |Alice<1001>|everybody<6402> |5    |4   |ANSWERED |Internal|    |   |   |1   |hold_time=1
        0 |Alice<1001>|Agent Five<4005>|1    |0   |NO ANSWER|Internal|    |   |   |0   |
        0 |Alice<1001>|Agent Six<4006> |5    |4   |ANSWERED |Internal|    |   |   |1   |hold_time=1
        """),
    ),
)
