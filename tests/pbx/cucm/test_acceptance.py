"""Acceptance tests of Cisco CUCM: a public row, and rows that were constructed as in the vendor's guide."""

import csv
import io
import json
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.call_details import CallDetails
from onhook.cdr.leg_joining import join_legs
from onhook.cdr.record import Call
from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.cucm.payload import Cucm
from onhook.pbx.cucm.rows import ROWS_MAX
from tests.counts import examples, rounds

PAYLOADS = Path(__file__).parents[2] / "payloads" / "cucm"
FILE = (PAYLOADS / "cisco_cucm_cdr.csv").read_bytes()
CUCM = Cucm()
NAMES = next(csv.reader([FILE.splitlines()[0].decode()]))
ANSWERED, UNANSWERED = CUCM.split_file(FILE)
START = 1_693_900_000
TELEPHONE, OTHER_TELEPHONE = "SEP001122334455", "SEP00AABBCCDDEE"
CALLER_LEG, CALLEE_LEG, CONSULTING_LEG, CONSULTED_LEG = 101, 102, 103, 104


def row(**values: object) -> bytes:
    """Return a body with the answered row and other values, also of further columns."""
    (line,) = list(csv.reader([ANSWERED.splitlines()[1].decode()]))
    members: dict[str, object] = dict(zip(NAMES, line, strict=True)) | values
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([list(members), list(members.values())])
    return file.getvalue().encode()


def assemble(details: Sequence[CallDetails]) -> list[Call]:
    calls: dict[str, list[ReportedLeg]] = {}
    for leg in details:
        reported_leg = ReportedLeg(details=leg, seq=1, via="sweep", received_at=datetime.now(UTC))
        calls.setdefault(leg.call_id, []).append(reported_leg)
    return [assemble_call("CUCM", legs, PbxFacts(dialect="cucm")) for legs in calls.values()]


def assemble_one(bodies: Sequence[bytes]) -> Call:
    """Return the call of bodies, which belong together."""
    assert len(join_legs([CUCM.read_links(body) for body in bodies])) == 1
    (call,) = assemble(CUCM.parse_legs(bodies))
    return call


def values_of(details: CallDetails, *names: str) -> Mapping[str, object]:
    return {name: getattr(details, name) for name in names}


def test_cucm_answered_row_is_a_call() -> None:
    (details,) = CUCM.parse(ANSWERED)
    expected = {
        "call_id": "StandAloneCluster-1-5001-20230905",
        "time_start": "2023-09-05 07:46:40",
        "call_from": "7001",
        "call_to": "7002",
        "call_duration": 20,
        "talk_duration": 15,
        "status": "ANSWERED",
        "type": "Internal",
        "uid": "00000000-0000-4000-8000-000000000001",
    }
    assert values_of(details, *expected) == expected
    (call,) = assemble([details])
    assert (call.started_at, call.wait_duration, call.answered_by) == (
        *(datetime(2023, 9, 5, 7, 46, 40, tzinfo=UTC), 5, "7002"),
    )


def test_cucm_unanswered_row_goes_to_a_trunk() -> None:
    (details,) = CUCM.parse(UNANSWERED)
    expected = {
        "call_to": "00441632960001",
        "call_duration": 30,
        "talk_duration": 0,
        "status": "NO ANSWER",
        "type": "Outbound",
        "dst_trunk_name": "SIPTrunk-Carrier",
    }
    assert values_of(details, *expected) == expected
    assert details.extra["cause"] == 18


def test_cucm_columns_are_found_by_their_names_in_any_order() -> None:
    lines = [next(csv.reader([line.decode()])) for line in ANSWERED.splitlines()]
    order = random.Random(1).sample(range(len(NAMES)), len(NAMES))
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerows([line[index] for index in order] for line in lines)
    body = b"\xef\xbb\xbf" + file.getvalue().upper().replace("STANDALONECLUSTER", "StandAloneCluster").encode()
    assert CUCM.parse(body) == CUCM.parse(ANSWERED)
    assert CUCM.peek(body) == CUCM.peek(ANSWERED)


def test_cucm_file_has_a_body_for_each_row_and_none_for_the_types() -> None:
    assert len(list(CUCM.split_file(FILE + b"\n"))) == 2
    assert [CUCM.is_file(body) for body in (FILE, ANSWERED, b"", b"a,b\n1,2\n")] == [True, True, False, False]
    quality = (
        b'"globalCallID_callManagerId","globalCallID_callId","directoryNum","callIdentifier","numberPacketsSent"\n'
    )
    assert CUCM.is_file(quality)
    assert list(CUCM.split_file(quality + b'1,5001,"7001",111,42\n')) == []
    assert [details.call_to for details in CUCM.parse(FILE)] == ["7002", "00441632960001"]


def test_cucm_transferred_call_is_one_call() -> None:
    """As in the vendor's guide: 2001 talks outside, consults 2002, and hands the call over; three rows, two ids."""
    outside = {"origDeviceName": TELEPHONE, "destDeviceName": "SIPTrunk-Carrier", "pkid": "1", "joinOnBehalfOf": 0}
    original = row(
        **outside | {"callingPartyNumber": "2001", "originalCalledPartyNumber": "3071111222"},
        finalCalledPartyNumber="3071111222",
        origLegCallIdentifier=CALLER_LEG,
        destLegIdentifier=CALLEE_LEG,
        dateTimeDisconnect=START + 125,
        duration=120,
        destCause_value=393216,
    )
    consultation = row(
        globalCallID_callId=5007,
        callingPartyNumber="2001",
        finalCalledPartyNumber="2002",
        pkid="2",
        origLegCallIdentifier=CONSULTING_LEG,
        destLegIdentifier=CONSULTED_LEG,
        destCause_value=393216,
        dateTimeOrigination=START + 90,
        dateTimeConnect=START + 95,
        dateTimeDisconnect=START + 125,
        duration=30,
        originalCalledPartyNumber="2002",
    )
    transferred = row(
        callingPartyNumber="3071111222",
        finalCalledPartyNumber="2002",
        pkid="3",
        joinOnBehalfOf=10,
        origLegCallIdentifier=CALLEE_LEG,
        destLegIdentifier=CONSULTED_LEG,
        duration=350,
        dateTimeOrigination=START + 125,
        dateTimeConnect=START + 125,
        dateTimeDisconnect=START + 475,
        origDeviceName="SIPTrunk-Carrier",
        originalCalledPartyNumber="2002",
    )
    for bodies in ([original, consultation, transferred], [transferred, original, consultation, original]):
        call = assemble_one(bodies)
        assert (call.call_id, call.type, len(call.legs), call.talk_duration, call.call_duration) == (
            *("StandAloneCluster-1-5001-20230905", "Outbound", 3, 470, 475),
        )
    details = CUCM.parse_legs([original, consultation, transferred])
    assert [(leg.type, leg.extra.get("is_split"), leg.extra.get("joined_on_behalf_of")) for leg in details] == [
        *(("Outbound", True, None), ("Internal", True, None), ("Outbound", None, 10)),
    ]
    assert [leg.did_number for leg in details] == ["", "", ""]


def test_cucm_conference_has_its_participants_in_one_call() -> None:
    """Each participant has a row to the bridge, whose legs are those of the calls before."""
    bridge = {"finalCalledPartyNumber": "b0029901001", "destDeviceName": "CFB_2", "joinOnBehalfOf": 4, "duration": 60}
    times = {"dateTimeOrigination": START + 20, "dateTimeConnect": START + 20, "dateTimeDisconnect": START + 80}
    numbers = {"7001": (111, 115), "7002": (222, 116), "7003": (333, 117)}
    second = row(globalCallID_callId=5009, pkid="2", origLegCallIdentifier=112, destLegIdentifier=333)
    rows = [
        row(
            **bridge | times,
            callingPartyNumber=number,
            origLegCallIdentifier=legs[0],
            destLegIdentifier=legs[1],
            pkid=number,
        )
        for number, legs in numbers.items()
    ]
    call = assemble_one([ANSWERED, second, *rows])
    conference_legs = [leg for leg in call.legs if leg.extra.get("callee_kind") == "conference"]
    assert sorted(leg.call_from for leg in conference_legs) == ["7001", "7002", "7003"]
    assert call.talk_duration == 75


@pytest.mark.parametrize(
    ("values", "status", "kind", "extra"),
    [
        ({"dateTimeConnect": 0, "duration": 0, "destDeviceName": ""}, "NO ANSWER", "ring_group", {}),
        ({"dateTimeConnect": 0, "duration": 0, "wasCallQueued": 1}, "NO ANSWER", "queue", {"queue_wait_seconds": 9}),
        ({}, "ANSWERED", "extension", {"ring_group": "7500"}),
        ({"wasCallQueued": 1}, "ANSWERED", "extension", {"queue": "7500", "queue_wait_seconds": 9}),
        ({"finalCalledPartyNumber": "7002"}, "ANSWERED", None, {"ring_group": "7500", "dialled": "7500"}),
    ],
)
def test_cucm_hunt_pilot_is_a_group_until_a_telephone_answers(
    values: Mapping[str, object], status: str, kind: str | None, extra: Mapping[str, object]
) -> None:
    pilot = {"huntPilotDN": "7500", "originalCalledPartyNumber": "7500", "finalCalledPartyNumber": "7500"}
    (details,) = CUCM.parse(row(**pilot | {"lastRedirectDn": "7500", "totalWaitTimeInQueue": 9} | dict(values)))
    assert (details.status, details.extra.get("callee_kind")) == (status, kind)
    names = ("ring_group", "queue", "queue_wait_seconds", "dialled", "redirected_by")
    assert {name: details.extra[name] for name in names if name in details.extra} == extra


@pytest.mark.parametrize(
    ("causes", "status"),
    [((0, 17), "BUSY"), ((16, 0), "NO ANSWER"), ((0, 1), "FAILED"), ((0, 0), "NO ANSWER"), ((0, 19), "NO ANSWER")],
)
def test_cucm_unanswered_call_has_the_status_of_its_cause(causes: tuple[int, int], status: str) -> None:
    values = {"origCause_value": causes[0], "destCause_value": causes[1], "dateTimeConnect": 0, "duration": 0}
    (details,) = CUCM.parse(row(**values))
    assert (details.status, details.extra.get("cause")) == (status, max(causes) or None)


def test_cucm_inbound_call_to_voicemail_is_forwarded_there() -> None:
    (details,) = CUCM.parse(
        row(
            callingPartyNumber="+441632960001",
            origDeviceName="192.0.2.7",
            destDeviceName="CiscoUM1-VI3",
            originalCalledPartyNumber="7002",
            finalCalledPartyNumber="7900",
            lastRedirectDn="7005",
            authCodeDescription="Sales",
            clientMatterCode="4711",
            origIpAddr=-1139627840,
        )
    )
    expected = {
        "type": "Inbound",
        "status": "VOICEMAIL",
        "src_trunk_name": "192.0.2.7",
        "did_number": "7002",
        "pin_code": "Sales",
    }
    assert values_of(details, *expected) == expected
    names = ("callee_kind", "redirected_by", "accountcode", "caller_address", "dialled")
    assert [details.extra.get(name) for name in names] == ["voicemail", "7005", "4711", "192.168.18.188", "7002"]


@pytest.mark.parametrize(
    ("device", "number", "outpulsed", "trunk"),
    [
        ("Lobby", "7002", "", ""),
        ("Lobby", "00441632960001", "", "Lobby"),
        ("Lobby", "112", "112", "Lobby"),
        ("", "112", "112", ""),
        ("S0/SU0/DS1-0@router", "7002", "", "S0/SU0/DS1-0@router"),
        ("CFB_2", "00441632960001", "", ""),
    ],
)
def test_cucm_device_is_a_trunk_by_its_name_or_number(device: str, number: str, outpulsed: str, trunk: str) -> None:
    values = {"destDeviceName": device, "finalCalledPartyNumber": number, "outpulsedCalledPartyNumber": outpulsed}
    (details,) = CUCM.parse(row(**values))
    assert details.dst_trunk_name == trunk


def test_cucm_clock_that_went_back_has_no_duration() -> None:
    (details,) = CUCM.parse(row(dateTimeDisconnect=START - 5))
    assert (details.call_duration, details.talk_duration) == (None, 15)
    (details,) = CUCM.parse(row(duration=99, pkid="", destLegIdentifier="", destLegCallIdentifier=222))
    assert (details.talk_duration, details.uid) == (20, "StandAloneCluster-1-5001/111/222/1693900000")


def test_cucm_row_that_comes_again_with_more_values_counts_once() -> None:
    (details,) = CUCM.parse_legs([row(clientMatterCode="4711"), ANSWERED, ANSWERED])
    assert details.extra["accountcode"] == "4711"
    assert CUCM.parse_legs([]) == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no line with the names"),
        (FILE.splitlines(keepends=True)[0], "no row of a call"),
        (b"".join(FILE.splitlines(keepends=True)[:2]), "no row of a call"),
        (row(globalCallID_callId="x"), "no global call id"),
        (row(dateTimeOrigination=0), "no dateTimeOrigination"),
        (row(dateTimeOrigination=15), "dateTimeOrigination is no time: '15'"),
        (row(dateTimeConnect="soon"), "dateTimeConnect is no time"),
        (ANSWERED + ANSWERED.splitlines(keepends=True)[1] * ROWS_MAX, "more than 1000 rows"),
        (ANSWERED.splitlines(keepends=True)[0] + b"1" * 200_000, "no row of a call"),
    ],
)
def test_cucm_body_without_a_call_is_refused(body: bytes, reason: str) -> None:
    assert CUCM.peek(body).kind in ("unparsable", "not_json")
    assert not CUCM.recognizes(body)
    with pytest.raises(ParseError, match=reason):
        CUCM.parse(body)


EXTENSIONS = st.integers(7001, 7099).map(str)
OUTSIDE = st.from_regex(r"\+44[1-9][0-9]{7,9}", fullmatch=True)


@st.composite
def generated_details(draw: st.DrawFn) -> CallDetails:
    direction = draw(st.sampled_from(["Internal", "Inbound", "Outbound"]))
    status = draw(st.sampled_from(["ANSWERED", "NO ANSWER", "BUSY", "FAILED"]))
    if direction != "Outbound" and status == "ANSWERED" and draw(st.booleans()):
        status = "VOICEMAIL"
    talk = draw(st.integers(1, 90_000)) if status in ("ANSWERED", "VOICEMAIL") else 0
    start = draw(st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1))).replace(microsecond=0)  # noqa: DTZ001
    return CallDetails(
        call_id=f"StandAloneCluster-{draw(st.integers(1, 9))}-{draw(st.integers(1, 10**8))}-{start:%Y%m%d}",
        time_start=str(start),
        call_from=draw(OUTSIDE if direction == "Inbound" else EXTENSIONS),
        call_to=draw(OUTSIDE if direction == "Outbound" else EXTENSIONS),
        call_duration=talk + draw(st.integers(0, 600)),
        talk_duration=talk,
        status=status,
        type=direction,
        src_trunk_name="SIPTrunk-Carrier" if direction == "Inbound" else "",
        dst_trunk_name="Carrier line" if direction == "Outbound" else "",
        did_number=draw(OUTSIDE) if direction == "Inbound" else "",
        pin_code=draw(st.sampled_from(["", "Sales"])),
        uid=str(draw(st.uuids())),
    )


@given(details=generated_details())
@settings(max_examples=examples(50), deadline=None)
def test_cucm_file_that_is_written_is_read_back(details: CallDetails) -> None:
    (body,) = CUCM.split_file(CUCM.format(details, "CUCM", "cucm-csv"))
    (read_details,) = CUCM.parse(body)
    names = [name for name in CallDetails.__struct_fields__ if name not in ("extra", "agent_ring_time")]
    assert values_of(read_details, *names) == values_of(details, *names)


@pytest.mark.parametrize("call_to", ["6400", "6300", "6200", "6500"])
def test_cucm_format_has_the_devices_of_machines(call_to: str) -> None:
    details = CallDetails(
        call_id="1651057476.362",
        time_start="2026-01-01 00:00:00",
        call_from="7001",
        call_to=call_to,
        status="NO ANSWER",
    )
    (read_details,) = CUCM.parse(CUCM.format(details, "", "cucm-csv"))
    assert read_details.call_id.startswith("StandAloneCluster-1-")
    assert read_details.extra.get("callee_kind") == {"6400": "queue", "6300": "ring_group", "6500": "conference"}.get(
        call_to
    )
    with pytest.raises(UsageError, match="unknown payload format"):
        CUCM.format(details, "", "p-2026")


@given(order=st.permutations(range(6)), repeats=st.lists(st.integers(0, 5), max_size=6))
@settings(max_examples=examples(30), deadline=None)
def test_cucm_rows_in_any_order_with_any_repeats_are_the_same_call(order: list[int], repeats: list[int]) -> None:
    bodies = [
        row(pkid=str(number), origLegCallIdentifier=number + 1, dateTimeOrigination=START - number)
        for number in range(6)
    ]
    expected = CUCM.parse_legs(bodies)
    assert CUCM.parse_legs([bodies[index] for index in (*order, *repeats)]) == expected
    links = [CUCM.read_links(bodies[index]) for index in (*order, *repeats)]
    assert len(join_legs(links)) == 1


TOKENS = (b"", b",", b'"', b"\r\n", b"9" * 30, b"-1", b"\x00", b"\xff", b"globalCallID_callId", b"INTEGER")


def check_mutated(seed: int) -> None:
    source = random.Random(seed)
    body = source.choice((FILE, ANSWERED, UNANSWERED))
    for _change in range(source.randint(1, 4)):
        begin = source.randrange(len(body) + 1)
        end = min(len(body), begin + source.choice((0, 1, 1, 4, 40)))
        body = body[:begin] + source.choice((*TOKENS, body[begin:end] * 2, source.randbytes(end - begin))) + body[end:]
    assert len(CUCM.peek(body).key) == 16
    if CUCM.is_file(body):
        list(CUCM.split_file(body))
    try:
        legs = CUCM.parse_legs([body, source.choice((ANSWERED, UNANSWERED))])
        CUCM.read_links(body)
    except ParseError:
        return
    for leg in legs:
        assert "1990" <= leg.time_start[:4] <= "2100"
        assert 0 <= (leg.talk_duration or 0) <= (leg.call_duration if leg.call_duration is not None else 10**9)


@pytest.mark.parametrize("count", [200, rounds(1_000_000, seconds_each=0.001)])
def test_cucm_mutated_file_is_a_possible_call_or_a_parse_error(count: int) -> None:
    for seed in range(count):
        try:
            check_mutated(seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


def test_cucm_values_are_those_of_the_acceptance_tests() -> None:
    accepted = json.loads((PAYLOADS / "accept_cucm.json").read_bytes())
    for expected, details in zip(accepted, CUCM.parse(FILE), strict=True):
        start = datetime.fromisoformat(details.time_start).replace(tzinfo=UTC)
        answer = start + timedelta(seconds=(details.call_duration or 0) - (details.talk_duration or 0))
        assert expected == {
            "start": int(start.timestamp()),
            "from": details.call_from,
            "to": details.call_to,
            "status": details.status,
            "ring": int((answer - start).total_seconds()) if details.talk_duration else None,
            "talk": details.talk_duration,
            "cause": details.extra["cause"],
            "trunk": details.dst_trunk_name,
        }


def test_format_voicemail_is_read_as_voicemail() -> None:
    """Also where the number is that of no voicemail."""
    details = CallDetails(
        call_id="1700000000.1",
        time_start="2026-11-28 10:00:00",
        call_from="0301234567",
        call_to="1001",
        call_duration=30,
        talk_duration=20,
        status="VOICEMAIL",
        type="Inbound",
    )
    (leg,) = CUCM.parse(CUCM.format(details, "", "cucm-csv"))
    assert leg.status == "VOICEMAIL"
