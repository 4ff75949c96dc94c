"""Channel names: `PJSIP/1002-0000001a` is a channel of the endpoint `1002`, `Local/1006@internal-00000000;1` one half
of a Local channel pair inside the PBX.
"""

import re

import msgspec

_CHANNEL_NAME = re.compile(
    r"(?P<technology>[A-Za-z0-9_]+)/(?P<endpoint>.*?)(?:-[0-9a-fA-F]{8,16})?(?:;(?P<half>[12]))?"
)
_NUMBER = re.compile(r"\+?[0-9]{1,20}")
LOCAL_TECHNOLOGY = "Local"

SPECIAL_EXTENSIONS = frozenset({"", "s", "h", "i", "t", "T", "o", "a", "e"})
"""Extensions that cannot be dialled (`s` start, `h` hang-up, `i` invalid, `t` time-out, ...)."""


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
        """The number in the endpoint's name, or empty: `1002` of `PJSIP/1002`, `4005` of `Local/4005@agents`."""
        name = self.endpoint.partition("@")[0] if self.technology == LOCAL_TECHNOLOGY else self.endpoint
        return name if _NUMBER.fullmatch(name) else ""


def parse_channel(name: str) -> Channel:
    """Split a channel name into its parts; a name in another format is a channel without an endpoint.

    >>> parse_channel("PJSIP/1002-0000001a").number, parse_channel("Local/1006@internal-00000000;1").local_pair
    ('1002', 'Local/1006@internal-00000000')
    """
    match = _CHANNEL_NAME.fullmatch(name)
    if match is None:
        return Channel(name)
    return Channel(name, match["technology"], match["endpoint"], match["half"] or "")


def is_dialled(extension: str) -> bool:
    """Return whether a caller can have dialled this extension."""
    return extension not in SPECIAL_EXTENSIONS
