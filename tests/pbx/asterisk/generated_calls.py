"""Calls as an Asterisk would report them, generated: journeys with any channel driver, name, duration and time zone.

Each has its truth, which follows from the journey alone, and is rendered as manager events or as rows of a CDR table.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta

from hypothesis import strategies as st

from tests.pbx.asterisk.generated_local_calls import LOCAL_JOURNEYS
from tests.pbx.asterisk.generated_office import (
    FAILURES,
    NUMBERED_CHANNELS,
    TALK,
    GeneratedCall,
    Office,
    Row,
    Telephone,
    caller_columns,
    draw_caller,
)


def _failure(office: Office, talk: int) -> str:
    return "ANSWERED" if talk >= 0 else office.draw(st.sampled_from(sorted(FAILURES)))


def _simple_call(office: Office, *, is_outside: bool) -> None:
    _, number, channel, columns = draw_caller(office, is_outside=is_outside)
    callee = office.telephone("1002", "2001", "70001")
    start, ring, talk = office.now, office.wait(), office.draw(TALK)
    disposition = _failure(office, talk)
    office.row(
        channel, office.channel(callee), start=start, ring=ring, talk=talk, dst=callee.number,
        **columns | {"disposition": disposition},
    )  # fmt: skip
    office.now += timedelta(seconds=max(talk, 0))
    office.leg(number, callee.number, talk, disposition, kind="Inbound" if is_outside else "Internal")


def _internal(office: Office) -> None:
    _simple_call(office, is_outside=False)


def _inbound(office: Office) -> None:
    _simple_call(office, is_outside=True)


def _outbound(office: Office) -> None:
    """With the telephone's own number, or with another one for display."""
    telephone, number, channel, columns = draw_caller(office, is_outside=False)
    assert isinstance(telephone, Telephone)
    if telephone.shows_number and office.draw(st.booleans()):
        columns = caller_columns("5550000", "ACME")
    start, ring, talk = office.now, office.wait(), office.draw(TALK)
    disposition = _failure(office, talk)
    office.row(
        channel, office.channel(office.trunk), start=start, ring=ring, talk=talk, dst=f"9{office.outside}",
        **columns | {"disposition": disposition},
    )  # fmt: skip
    office.now += timedelta(seconds=max(talk, 0))
    office.leg(number, f"9{office.outside}", talk, disposition, kind="Outbound")


def _shown_member(office: Office, telephone: Telephone, channel: str) -> str:
    """Return how a member of a group is shown whose number is not dialled: by number, else by its telephone's name."""
    if telephone.shows_number:
        return telephone.number
    name = channel.partition("/")[2]
    name = name if telephone.template.startswith("Console") else name.rpartition("-")[0]
    office.own_numbers[name] = telephone.number
    return name


def _group(office: Office, *, is_queue: bool) -> None:
    """Two members ring one after the other (a queue) or together (a ring group); the last may answer."""
    is_outside = office.draw(st.booleans())
    kind = "Inbound" if is_outside else "Internal"
    _, number, channel, columns = draw_caller(office, is_outside=is_outside)
    members = [office.telephone("1002"), office.telephone("2001")]
    channels = [office.channel(member) for member in members]
    talk = office.draw(st.integers(-1, 30))
    names = "&".join(name.rpartition("-")[0] for name in channels)
    columns = columns | {"dcontext": "ext-queues" if is_queue else "ext-group"}
    application = {"lastapp": "Queue", "lastdata": "team,,,,30"} if is_queue else {"lastdata": f"{names},20"}
    start = office.now
    rings = [office.wait(1, 15), office.wait(1, 15)]
    later = start + timedelta(seconds=rings[0]) if is_queue else start
    later_ring = rings[1] if is_queue else sum(rings)
    office.row(channel, channels[0], start=start, ring=rings[0], talk=-1, dst="6400", **columns | application)
    office.row(channel, channels[1], start=later, ring=later_ring, talk=talk, dst="6400", **columns | application)
    office.now += timedelta(seconds=max(talk, 0))
    office.leg(number, _shown_member(office, members[0], channels[0]), -1, kind=kind)
    office.leg(number, _shown_member(office, members[1], channels[1]), talk, kind=kind)
    office.leg(number, "6400", talk, kind=kind)


def _queue(office: Office) -> None:
    _group(office, is_queue=True)


def _ring_group(office: Office) -> None:
    _group(office, is_queue=False)


def _group_outside(office: Office, *, is_queue: bool) -> None:
    """A telephone and a mobile ring together; the mobile, which is called by the trunk, may answer."""
    is_outside = office.draw(st.booleans())
    kind = "Inbound" if is_outside else "Internal"
    _, number, channel, columns = draw_caller(office, is_outside=is_outside)
    member = office.telephone("1002")
    channels = [office.channel(member), office.channel(office.trunk)]
    technology, _, _ = channels[1].partition("/")
    mobile = f"PJSIP/5550177@{office.trunk}" if technology == "PJSIP" else f"{technology}/{office.trunk}/5550177"
    start, ring, talk = office.now, office.wait(1, 15), office.draw(st.integers(-1, 30))
    application = {"lastdata": f"{channels[0].rpartition('-')[0]}&{mobile},20"}
    if is_queue:
        application = {"lastapp": "Queue", "lastdata": "team,,,,30"}
    for called, member_talk in zip(channels, (-1, talk), strict=True):
        office.row(channel, called, start=start, ring=ring, talk=member_talk, dst="6400", **columns | application)
    office.now += timedelta(seconds=max(talk, 0))
    office.leg(number, _shown_member(office, member, channels[0]), -1, kind=kind)
    office.leg(number, office.trunk if is_queue else "5550177", talk, kind="Outbound")
    office.leg(number, "6400", talk, kind=kind)


def _queue_outside(office: Office) -> None:
    _group_outside(office, is_queue=True)


def _ring_group_outside(office: Office) -> None:
    _group_outside(office, is_queue=False)


def _abandoned_queue(office: Office) -> None:
    """No member was available; the caller hung up."""
    _, number, channel, columns = draw_caller(office, is_outside=True)
    application = {"lastapp": "Queue", "lastdata": "team,,,,30", "disposition": "ANSWERED"}
    start = office.now
    office.row(channel, "", start=start, ring=0, talk=office.wait(), dst="6400", **columns | application)
    office.leg(number, "6400", -1)


def _through_local(office: Office) -> None:
    """A telephone that is called through a Local channel, with any context, as follow-me does."""
    is_outside = office.draw(st.booleans())
    _, number, channel, columns = draw_caller(office, is_outside=is_outside)
    callee = office.telephone("1002", "2001")
    context = office.draw(st.sampled_from(("from-internal", "ext-local", "Büro_2", "from-queue.v2", "a-00000001-b")))
    extension = office.draw(st.sampled_from(("", "FMPR-", "FMGL-", "RG-600-"))) + callee.number
    office.sequence += 1
    local = f"Local/{extension}@{context}-{office.sequence:08x}"
    start, ring, talk = office.now, office.wait(), office.draw(TALK)
    office.row(channel, f"{local};1", start=start, ring=ring, talk=talk, dst=callee.number, **columns)
    office.row(
        f"{local};2", office.channel(callee), start=start, ring=ring, talk=talk, dst=extension,
        **columns | {"dcontext": context},
    )  # fmt: skip
    office.now += timedelta(seconds=max(talk, 0))
    office.leg(number, callee.number, talk, kind="Inbound" if is_outside else "Internal")


def _transfer(office: Office) -> None:
    """The first party answers, and the caller then talks with the second one."""
    _, number, channel, columns = draw_caller(office, is_outside=True)
    for callee in (office.telephone("1002"), office.telephone("2001")):
        start, ring, talk = office.now, office.wait(), office.wait(0, office.draw(st.sampled_from((40, 9_000))))
        office.row(channel, office.channel(callee), start=start, ring=ring, talk=talk, dst=callee.number, **columns)
        office.leg(number, callee.number, talk)


def _voicemail(office: Office) -> None:
    """The telephone does not answer, or there is none; the caller leaves a message."""
    _, number, channel, columns = draw_caller(office, is_outside=True)
    callee = office.telephone("1002")
    if office.draw(st.booleans()):
        start, ring = office.now, office.wait()
        office.row(channel, office.channel(callee), start=start, ring=ring, talk=-1, dst=callee.number, **columns)
    start, talk = office.now, office.wait()
    mailbox = {"lastapp": "VoiceMail", "lastdata": f"{callee.number}@default,u"}
    extension = office.draw(st.sampled_from((callee.number, f"vmu{callee.number}", "s-NOANSWER")))
    office.row(channel, "", start=start, ring=0, talk=talk, dst=extension, **columns | mailbox)
    office.truth.append(("Inbound", number, callee.number, "VOICEMAIL", talk))


def _originated(office: Office) -> None:
    """A click-to-call through a Local channel: whichever side is called first, the telephone is the caller."""
    telephone = Telephone(number="1002", template=office.draw(st.sampled_from(NUMBERED_CHANNELS)), name="")
    office.sequence += 1
    extension = office.draw(st.sampled_from(("1002", "s", "95550123", "dial")))
    local = f"Local/{extension}@click-to-call-{office.sequence:08x}"
    start, ring, talk = office.now, office.wait(), office.wait()
    halves = [(office.channel(telephone), "1002"), (office.channel(office.trunk), "95550123")]
    if office.draw(st.booleans()):
        halves.reverse()
    # The second half of the Local channel reached the first party.
    for half, (channel, dst) in zip("21", halves, strict=True):
        columns = caller_columns("95550123", "Web")
        office.row(f"{local};{half}", channel, start=start, ring=ring, talk=talk, dst=dst, **columns)
    office.truth.append(("Outbound", "1002", "95550123", "ANSWERED", talk))


def _dialer(office: Office) -> None:
    """A customer is called through a Local channel, and put through to a queue or a group, or hears a reminder."""
    office.sequence += 1
    local = f"Local/95550123@dialer-{office.sequence:08x}"
    columns = caller_columns("95550123", "Web")
    start, ring, talk = office.now, office.wait(1, 20), office.draw(TALK)
    application = office.draw(st.sampled_from(("Queue", "Dial", "Playback")))
    if application == "Playback":
        talk = max(talk, 0)
        machine = {"lastapp": application, "lastdata": "reminder", "dcontext": "reminders", "dst": "s"}
        office.row(f"{local};1", "", start=start, ring=ring, talk=talk, **columns | machine)
        office.row(f"{local};2", office.channel(office.trunk), start=start, ring=ring, talk=talk, dst="95550123")
        office.leg("reminders", "95550123", talk, kind="Outbound")
        return
    agents = [
        Telephone(number=number, template="PJSIP/{number}-{sequence:08x}", name="") for number in ("1002", "1003")
    ]
    data = {"lastdata": "PJSIP/1002&PJSIP/1003,20" if application == "Dial" else "team,,,,30", "lastapp": application}
    wait = office.wait(0, 20)
    for agent, agent_talk in zip(agents, (-1, talk), strict=True):
        channel = office.channel(agent)
        office.row(f"{local};1", channel, start=start, ring=ring + wait, talk=agent_talk, dst="6400", **columns | data)
    office.row(
        f"{local};2", office.channel(office.trunk), start=start, ring=ring, talk=wait + max(talk, 0), dst="95550123"
    )
    office.now += timedelta(seconds=max(talk, 0))
    office.leg("6400" if talk < 0 else "1003", "95550123", talk, kind="Outbound")


def _two_callers(office: Office) -> None:
    """Two callers reach one extension, or a queue without agents, in one second of one call."""
    callee = office.telephone("1002")
    is_queue = office.draw(st.booleans())
    application = {"lastapp": "Queue", "lastdata": "team,,,,30", "disposition": "ANSWERED"} if is_queue else {}
    start, ring, talk = office.now, office.wait(), office.draw(TALK)
    for number in ("5550188", "5550199"):
        channel = office.channel(office.trunk)
        callee_channel = "" if is_queue else office.channel(callee)
        columns = caller_columns(number, "") | {"dcontext": "internal", "dst": "6400" if is_queue else "1002"}
        if is_queue:
            columns["duration"] = columns["billsec"] = str(ring)
        row_talk = -1 if is_queue else talk
        office.row(channel, callee_channel, start=start, ring=ring, talk=row_talk, **columns | application)
        office.leg(number, columns["dst"], row_talk)


def _originated_directly(office: Office) -> None:
    """A click-to-call without a Local channel, whose telephone answers, or does not."""
    telephone = Telephone(number="1002", template=office.draw(st.sampled_from(NUMBERED_CHANNELS)), name="")
    channel, start, ring, talk = office.channel(telephone), office.now, office.wait(), office.draw(TALK)
    columns = caller_columns("95550123", "Web")
    if talk < 0:
        columns |= {"lastapp": "AppDial2", "lastdata": "(Outgoing Line)", "dst": "s"}
        office.row(channel, "", start=start, ring=ring, talk=-1, **columns)
    else:
        destination = office.draw(st.sampled_from(("95550123", "s")))
        dial = {"dst": destination, "lastdata": f"PJSIP/95550123@{office.trunk},20"}
        office.row(channel, office.channel(office.trunk), start=start, ring=ring, talk=talk, **columns | dial)
    office.leg("1002", "95550123", talk, kind="Outbound")


def _ivr(office: Office) -> None:
    """The caller hears a menu of a FreePBX, and hangs up."""
    _, number, channel, columns = draw_caller(office, is_outside=True)
    place = {"dst": "s", "dcontext": "ivr-1", "lastapp": "WaitExten", "lastdata": "10"}
    start = office.now
    office.row(channel, "", start=start, ring=0, talk=office.wait(), **columns | place)
    talk = int(office.rows[0]["billsec"])
    office.leg(number, "ivr-1", talk)


JOURNEYS: Mapping[str, Callable[[Office], None]] = {
    "internal": _internal,
    "inbound": _inbound,
    "outbound": _outbound,
    "queue": _queue,
    "abandoned queue": _abandoned_queue,
    "ring group": _ring_group,
    "queue with a member outside": _queue_outside,
    "ring group with a member outside": _ring_group_outside,
    "through a Local channel": _through_local,
    "transfer": _transfer,
    "voicemail": _voicemail,
    "originated": _originated,
    "originated directly": _originated_directly,
    "IVR": _ivr,
    "dialer": _dialer,
    "two callers": _two_callers,
    **LOCAL_JOURNEYS,
}


@st.composite
def generated_calls(draw: st.DrawFn, journey: str = "") -> GeneratedCall:
    """Draw one call, of this journey or of any."""
    office = Office(draw)
    JOURNEYS[journey or draw(st.sampled_from(sorted(JOURNEYS)))](office)
    return office.finish()


EVENT_NAMES: Mapping[str, str] = {
    "accountcode": "AccountCode",
    "src": "Source",
    "dst": "Destination",
    "dcontext": "DestinationContext",
    "clid": "CallerID",
    "channel": "Channel",
    "dstchannel": "DestinationChannel",
    "lastapp": "LastApplication",
    "lastdata": "LastData",
    "start": "StartTime",
    "answer": "AnswerTime",
    "end": "EndTime",
    "duration": "Duration",
    "billsec": "BillableSeconds",
    "disposition": "Disposition",
    "amaflags": "AMAFlags",
    "uniqueid": "UniqueID",
    "userfield": "UserField",
    "linkedid": "LinkedID",
}
"""Names in the event `Cdr` of the columns that it has."""


def as_events(rows: Sequence[Row]) -> Iterator[bytes]:
    """Yield the rows as manager events, as Asterisk sends them."""
    for row in rows:
        lines = [f"{name}: {row[column]}" for column, name in EVENT_NAMES.items()]
        yield "\r\n".join(["Event: Cdr", "Privilege: cdr,all", *lines, "", ""]).encode()
