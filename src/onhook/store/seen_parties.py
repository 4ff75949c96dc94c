"""Numbers and trunks in calls, as a store lists them: what is known of a PBX without asking it."""

import msgspec

NUMBERS_MAX = 1_000_000
"""Numbers that are compared with a masked one: some seconds of hashing."""

PARTIES_MAX = 10_000
"""Numbers in one list: as many as a page of the web API of a PBX has."""


class SeenParty(msgspec.Struct, frozen=True, kw_only=True):
    """A number in calls of a PBX, with its latest name or an empty text. `kind` is what the PBX reported it to be, or
    an empty text.
    """

    sn: str
    number: str
    name: str
    kind: str = ""


class SeenNumber(msgspec.Struct, frozen=True):
    """A number in calls of a PBX; `is_outside` where its side of the leg has a trunk. It may be seen in both ways."""

    sn: str
    number: str
    is_outside: bool


class SeenTrunk(msgspec.Struct, frozen=True, kw_only=True):
    """A trunk in calls of a PBX."""

    sn: str
    name: str
