"""Channel names: `PJSIP/1002-0000001a` is a channel of the endpoint `1002`, `Local/1006@internal-00000000;1` one half
of a Local channel pair inside the PBX.
"""

import re

import msgspec

_CHANNEL_NAME = re.compile(r"(?P<technology>[A-Za-z0-9_]+)/(?P<name>.*?)(?:;(?P<half>[12]))?")
_MARKS = re.compile(r"^(?:AsyncGoto|Bridge|Transfered)/(?=[A-Za-z0-9_]+/)|<(?:ZOMBIE|MASQ)>$")
"""What older versions of Asterisk add to the name of a channel while it is moved."""

_NUMBER = re.compile(r"\+?[0-9]{1,20}")
LOCAL_TECHNOLOGY = "Local"
LINE_TECHNOLOGIES = frozenset(
    {"dahdi", "zap", "capi", "misdn", "khomp", "vpb", "phone"}
    | {"dongle", "quectel", "datacard", "simcom", "mobile", "motif", "gtalk", "jingle"}
)
"""Their channels are named by a line, a SIM card or an account (`DAHDI/33-1`, `DAHDI/i1/5550199-3c`), which is no
extension.
"""

_SEQUENCE = re.compile(r"-[0-9a-fA-F]{8,16}$")
_LINE_SEQUENCE = re.compile(r"(?:/.*|-[0-9a-zA-Z.]{1,12})$")
_SEQUENCES = {
    **dict.fromkeys(("dahdi", "zap", "capi", "misdn", "khomp", "vpb"), _LINE_SEQUENCE),
    **dict.fromkeys(("motif", "gtalk", "jingle", "mobile", "h323"), re.compile(r"-[0-9a-f]{4,8}$")),
    **dict.fromkeys(("iax2", "ooh323", "skinny", "mgcp"), re.compile(r"-[0-9]{1,10}$")),
    "sccp": re.compile(r"-[0-9a-fA-F]{1,8}$"),
    "ustm": re.compile(r"-0x[0-9a-fA-F]{1,16}$"),
}
"""What a channel driver appends to the name of an endpoint, by driver; most append eight hexadecimal digits."""

_FAILED_ORIGINATION = "OutgoingSpoolFailed"
"""Name of the channel on which Asterisk runs the extension `failed` for a call file that reached no party."""

HELPER_TECHNOLOGIES = frozenset(
    {"Snoop", "UnicastRTP", "MulticastRTP", "AudioSocket", "WebSocket", "Recorder", "Announcer", "CBAnn", "CBRec"}
    | {"Message", "Surrogate"}
)
"""Channels that belong to no telephone and no trunk: recorders, announcers, taps of another channel."""

SPECIAL_EXTENSIONS = frozenset(
    {"", "s", "h", "i", "t", "T", "o", "a", "e", "fax", "talk", "STARTMEETME", "hang", "failed", "vmret"}
    | {"hangup", "congestion", "busy", "zapateller", "ring", "musiconhold", "no-service"}
)
"""Extensions that cannot be dialled (`s` start, `h` hang-up, `i` invalid, `t` time-out, ...), also those with which a
FreePBX ends a call (`app-blackhole`).
"""

_OUTCOME_EXTENSION = re.compile(r"(?:s|exit)-[A-Z][A-Z_]*")
"""Where the dialplan goes on by the outcome of `Dial` or `VoiceMail`: `s-NOANSWER`, `exit-SUCCESS`."""

_MAILBOX_EXTENSION = re.compile(r"vm[a-z]?([0-9]{1,20})")
_MEMBER_EXTENSION = re.compile(r"(?:FMPR-|FMGL-|RG-[0-9]+-)(\+?[0-9*]{1,30})#?")


class Channel(msgspec.Struct, frozen=True):
    """A channel by its name; the empty name means no channel."""

    name: str
    technology: str = ""
    endpoint: str = ""
    half: str = ""

    def __bool__(self) -> bool:
        return bool(self.name)

    @property
    def is_local(self) -> bool:
        """Whether the channel is one half of a Local pair."""
        return self.technology == LOCAL_TECHNOLOGY and bool(self.half)

    @property
    def local_pair(self) -> str:
        """The name part shared by both halves of a Local pair."""
        return self.name[:-2] if self.is_local else ""

    @property
    def number(self) -> str:
        """The number in the endpoint's name, or empty: `1002` of `PJSIP/1002` and of `Skinny/1002@SEP001122334455`,
        `4005` of `Local/4005@agents`.
        """
        if self.technology.lower() in LINE_TECHNOLOGIES:
            return ""
        name = self.endpoint.partition("@")[0]
        name = dialled_number(name) if self.technology == LOCAL_TECHNOLOGY else name
        return name if _NUMBER.fullmatch(name) else ""

    @property
    def is_helper(self) -> bool:
        """Whether the channel belongs to no telephone and no trunk."""
        return self.technology in HELPER_TECHNOLOGIES or self.name == _FAILED_ORIGINATION


NO_CHANNEL = Channel("")


def parse_channel(name: str) -> Channel:
    """Split a channel name into its parts; a name in another format is a channel without an endpoint.

    >>> parse_channel("PJSIP/1002-0000001a").number, parse_channel("Local/1006@internal-00000000;1").local_pair
    ('1002', 'Local/1006@internal-00000000')
    >>> [parse_channel(name).endpoint for name in ("DAHDI/i1/5550199-3c", "DAHDI/33-1", "IAX2/voipms-4321")]
    ['i1', '33', 'voipms']
    >>> parse_channel("Dongle/dongle0-0100000003").endpoint, parse_channel("SCCP/1001-0000001A").number
    ('dongle0', '1001')
    """
    match = _CHANNEL_NAME.fullmatch(_MARKS.sub("", name))
    if match is None:
        return Channel(name)
    technology = match["technology"]
    sequence = _SEQUENCES.get(technology.lower(), _SEQUENCE)
    return Channel(name, technology, sequence.sub("", match["name"]), match["half"] or "")


def is_dialled(extension: str) -> bool:
    """Return whether a caller can have dialled this extension: that of a mailbox (`vmu1001`) or of an outcome
    (`s-NOANSWER`) is reached only by the dialplan.
    """
    is_named = _MAILBOX_EXTENSION.fullmatch(extension) or _OUTCOME_EXTENSION.fullmatch(extension)
    return extension not in SPECIAL_EXTENSIONS and not is_named


def dialled_number(extension: str) -> str:
    """Return the number in an extension that a FreePBX makes for a member of a ring group or of a follow-me list.

    >>> dialled_number("RG-600-1002"), dialled_number("FMGL-5550123#"), dialled_number("1002")
    ('1002', '5550123', '1002')
    """
    match = _MEMBER_EXTENSION.fullmatch(extension)
    return match[1] if match else extension


def mailbox_number(extension: str) -> str:
    """Return `1001` of a FreePBX's voicemail extension `vmu1001`; empty for any other."""
    match = _MAILBOX_EXTENSION.fullmatch(extension)
    return match[1] if match else ""


def is_device_of(channel: Channel, number: str) -> bool:
    """Return whether a telephone's name has the number: as it is, as a FreePBX marks a second device (`91201`,
    `201-web`), or with the name of a tenant or a kind (`office-201`, `webrtc_201`).

    >>> [is_device_of(parse_channel(f"PJSIP/{name}-0000001a"), "201") for name in ("91201", "office-201", "1201")]
    [True, True, False]
    """
    name = channel.endpoint.partition("@")[0]
    if number not in name or not _NUMBER.fullmatch(number):
        return False
    pattern = rf"(?:.*[^0-9+])?(?:9[0-9]?)?{re.escape(number)}(?:[^0-9].*)?"
    return re.fullmatch(pattern, name) is not None
