"""The office of generated calls: trunks and telephones with any channel driver, a clock, rows and truth of a call."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import strategies as st

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns")
CLOCK_CHANGES = (
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Berlin, to summer time
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # and back
    datetime(2026, 3, 8, 7, tzinfo=UTC),  # New York
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe, half an hour
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2026, 7, 1, 12, tzinfo=UTC),
)
TRUNK_CHANNELS: Mapping[str, str] = {
    "trunk-a": "PJSIP/trunk-a-{:08x}",
    "my_provider.example": "PJSIP/my_provider.example-{:08x}",
    "trunk-b": "SIP/trunk-b-{:08x}",
    "sip.provider-2.net": "SIP/sip.provider-2.net-{:08x}",
    "voipms": "IAX2/voipms-{}",
    "33": "DAHDI/33-{:x}",
    "i1": "DAHDI/i1/5550199-{:x}",
    "dongle0": "Dongle/dongle0-01000{:05}",
    "quectel1": "Quectel/quectel1-02000{:05}",
    "h323gw": "OOH323/h323gw-{}",
    "ISDN1": "CAPI/ISDN1/5550199-{:x}",
    "+15551234567@voice.google.com": "Motif/+15551234567@voice.google.com-{:04x}",
}
"""Endpoints that are trunks, and the names of their channels."""

NUMBERED_CHANNELS = (
    *("PJSIP/{number}-{sequence:08x}", "SIP/{number}-{sequence:08x}", "IAX2/{number}-{sequence}"),
    *("SCCP/{number}-{sequence:08X}", "SCCP/{number}-{sequence:x}", "USTM/{number}@desk-0x7f3a{sequence:04x}"),
    *("Skinny/{number}@SEP001122334455-{sequence}", "Agent/{number}"),
)
NAMED_CHANNELS = (
    *("PJSIP/desk-of-{name}-{sequence:08x}", "DAHDI/{line}-1", "MGCP/aaln/{line}@gw-{sequence}", "Console/{name}"),
    *(
        "SIP/{name}.laptop-{sequence:08x}",
        "PJSIP/{name}_web-{sequence:08x}",
    ),
)
"""Channels of telephones whose names show no number: who was called is what was dialled."""

CALLER_NAMES = (
    "",
    "Alice",
    'Bob "the" Builder',
    "Müller, Jürgen; Söhne",
    "Zoë 🎧",
    "=1+1",
    "O'Hara\\",
    "  Two  Blanks ",
    "李雷",
    "<Eve>",
)

FAILURES: Mapping[str, str] = {"BUSY": "BUSY", "NO ANSWER": "NO ANSWER", "FAILED": "FAILED", "CONGESTION": "FAILED"}

Truth = tuple[str, str, str, str, int]
"""Type, number of the caller, number of the called party, status, seconds of talk."""

Row = dict[str, str]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """When the two channels of a row rang and talked; `answered_at` is None if they did not talk."""

    row: Row
    start: datetime
    answered_at: datetime | None
    end: datetime


class GeneratedCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call: its rows in columns of `cdr_csv`, and the truth of its legs, in any order.

    `own_numbers` are the numbers of telephones by the names that rows show; `identities` are name and number of each
    channel's owner; `did_number` is the DID of all legs, where it is not the extension.
    """

    rows: tuple[Row, ...]
    truth: tuple[Truth, ...]
    began_at: datetime
    ended_at: datetime
    zone: ZoneInfo
    spans: tuple[Span, ...]
    own_numbers: Mapping[str, str]
    identities: Mapping[str, tuple[str, str]]
    did_number: str


class Telephone(msgspec.Struct, frozen=True, kw_only=True):
    """A telephone of the office; `shows_number` says whether its channel's name does."""

    number: str
    template: str
    name: str

    @property
    def shows_number(self) -> bool:
        return self.template in NUMBERED_CHANNELS

    def channel(self, sequence: int) -> str:
        words = {"number": self.number, "name": f"user{self.number}", "line": str(20 + int(self.number) % 70)}
        return self.template.format(sequence=sequence, **words)


class Office:
    """Draws one call: its channels, times and rows."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.zone = ZoneInfo(draw(st.sampled_from(ZONES)))
        seconds = st.integers(-300, 300)
        self.began_at = draw(st.sampled_from(CLOCK_CHANGES)) + timedelta(seconds=draw(seconds))
        prefix, number = draw(st.sampled_from(("", "office-"))), draw(st.integers(0, 9))
        self.linked_id = f"{prefix}{int(self.began_at.timestamp())}.{number}"
        self.now = self.began_at
        self.rows: list[Row] = []
        self.truth: list[Truth] = []
        self.spans: list[Span] = []
        self.own_numbers: dict[str, str] = {}
        self.identities: dict[str, tuple[str, str]] = {}
        self.did_number = ""
        self.sequence = draw(st.integers(1, 60_000))
        self.trunk = draw(st.sampled_from(sorted(TRUNK_CHANNELS)))
        self.outside = draw(st.sampled_from(("5550199", "+4930901820", "0049891234567", "112")))
        self.names = st.sampled_from(CALLER_NAMES)

    def telephone(self, *numbers: str) -> Telephone:
        number = self.draw(st.sampled_from(numbers))
        template = self.draw(st.sampled_from(NUMBERED_CHANNELS + NAMED_CHANNELS))
        return Telephone(number=number, template=template, name=self.draw(self.names))

    def channel(self, of: Telephone | str) -> str:
        """Return the name of a new channel of a telephone, of a trunk, or of a Local channel (its first half)."""
        self.sequence += 1
        if not isinstance(of, Telephone):
            return TRUNK_CHANNELS[of].format(self.sequence)
        channel = of.channel(self.sequence)
        self.identities[channel] = " ".join(of.name.split()), of.number
        return channel

    def local(self, extension: str, context: str) -> str:
        """Return the name of a new Local channel, without its half."""
        self.sequence += 1
        return f"Local/{extension}@{context}-{self.sequence:08x}"

    def wait(self, least: int = 0, most: int = 40) -> int:
        """Let time pass; return the seconds."""
        elapsed = self.draw(st.integers(least, most))
        self.now += timedelta(seconds=elapsed)
        return elapsed

    def wall_clock(self, moment: datetime) -> str:
        return f"{moment.astimezone(self.zone):%Y-%m-%d %H:%M:%S}"

    def row(self, channel: str, dst_channel: str, *, start: datetime, ring: int, talk: int, **columns: str) -> Row:
        """Add a row that began at `start`, rang and talked for these seconds; talk of -1 is no answer."""
        answer = start + timedelta(seconds=ring)
        end = answer + timedelta(seconds=max(talk, 0))
        row = {
            "accountcode": self.draw(st.sampled_from(("", "", "4711", "Café"))),
            "src": "",
            "dst": "",
            "dcontext": "internal",
            "clid": "",
            "channel": channel,
            "dstchannel": dst_channel,
            "lastapp": "Dial",
            "lastdata": f"{dst_channel.rpartition('-')[0]},20" if dst_channel else "",
            "start": self.wall_clock(start),
            "answer": self.wall_clock(answer) if talk >= 0 else "",
            "end": self.wall_clock(end),
            "duration": str(ring + max(talk, 0)),
            "billsec": str(max(talk, 0)),
            "disposition": "ANSWERED" if talk >= 0 else "NO ANSWER",
            "amaflags": "DOCUMENTATION",
            "uniqueid": self.linked_id,
            "userfield": self.draw(st.sampled_from(("", "", "Kunde 7; A", "x,y"))),
            "peeraccount": "",
            "linkedid": self.linked_id,
            "sequence": str(len(self.rows) + 1),
        }
        self.rows.append(row | columns)
        answered_at = answer if talk >= 0 else None
        self.spans.append(Span(row=row | columns, start=start, answered_at=answered_at, end=end))
        return row

    def leg(self, caller: str, callee: str, talk: int, disposition: str = "NO ANSWER", kind: str = "Inbound") -> None:
        """Add the truth of a leg; talk of -1 is no answer."""
        status = "ANSWERED" if talk >= 0 else FAILURES[disposition]
        self.truth.append((kind, caller, callee, status, max(talk, 0)))

    def finish(self) -> GeneratedCall:
        order = self.draw(st.permutations(range(len(self.rows))))
        rows = tuple(self.rows[index] for index in order)
        return GeneratedCall(
            rows=rows,
            truth=tuple(self.truth),
            began_at=self.began_at,
            ended_at=max(span.end for span in self.spans),
            zone=self.zone,
            spans=tuple(self.spans),
            own_numbers=self.own_numbers,
            identities=self.identities,
            did_number=self.did_number,
        )


TALK = st.one_of(st.just(-1), st.integers(0, 30), st.integers(0, 30), st.integers(3_000, 9_000))
Party = Telephone | str
"""A telephone, or the name of a trunk."""


def draw_caller(office: Office, *, is_outside: bool) -> tuple[Party, str, str, Row]:
    """Return the calling party, its number, its channel, and its columns."""
    name = office.draw(office.names)
    if is_outside:
        columns = caller_columns(office.outside, name) | {"dcontext": "from-trunk"}
        return office.trunk, office.outside, office.channel(office.trunk), columns
    telephone = office.telephone("1001")
    return telephone, telephone.number, office.channel(telephone), caller_columns(telephone.number, name)


def caller_columns(number: str, name: str) -> Row:
    """Return the columns of a caller, as Asterisk writes them."""
    return {"src": number, "clid": f'"{name}" <{number}>' if name else f"<{number}>"}
