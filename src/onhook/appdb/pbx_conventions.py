"""What a PBX does its own way: the encoding of its texts, and the meaning of `agent_ring_time`."""

import codecs
from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from onhook.appdb.contract import Database, Row
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.cdr.agent_ring_time import RingTimeMeaning
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

ENCODING_CHARACTERS_MAX = 40
"""The longest name in Python's table has 20."""

UTF_8 = ""
"""The encoding of the documentation."""

UTF_8_NAME = "utf-8"

RingTimeSetting = RingTimeMeaning | Literal[""]
"""Empty where the meaning is detected from the calls."""

RingTimeWord = RingTimeMeaning | Literal["auto"]

_SELECT = "SELECT sn, encoding, ring_time_meaning FROM pbx_conventions ORDER BY sn"

DETECTED: Literal["auto"] = "auto"
"""The word for a meaning that is detected from the calls."""


class PbxConventions(msgspec.Struct, frozen=True, kw_only=True):
    """The conventions of one PBX; without any its texts are UTF-8, and the meaning is detected."""

    encoding: str = UTF_8
    ring_time_meaning: RingTimeSetting = ""

    @property
    def encoding_name(self) -> str:
        """Return the name of the encoding, also that of UTF-8."""
        return self.encoding or UTF_8_NAME

    @property
    def ring_time_word(self) -> RingTimeWord:
        """Return the meaning as `parse_ring_time_meaning` takes it."""
        return self.ring_time_meaning or DETECTED


class PbxConventionsRepository:
    """Conventions by serial number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Mapping[str, PbxConventions]:
        """Return the conventions of all PBXs that have some."""
        return dict(read_rows(await self._database.rows(_SELECT), _conventions))

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("pbx_conventions", await self._database.rows(_SELECT), _conventions)

    async def get(self, sn: str) -> PbxConventions:
        """Return the conventions of a PBX."""
        return (await self.all()).get(sn, PbxConventions())

    async def put(self, sn: str, conventions: PbxConventions) -> None:
        """Set the conventions of a registered PBX."""
        if conventions == PbxConventions():
            await self._database.write("DELETE FROM pbx_conventions WHERE sn = ?", (sn,))
            return
        await self._database.write(
            "INSERT INTO pbx_conventions VALUES (?, ?, ?) ON CONFLICT (sn) DO UPDATE"
            " SET encoding = excluded.encoding, ring_time_meaning = excluded.ring_time_meaning",
            (sn, conventions.encoding, conventions.ring_time_meaning),
        )


def parse_conventions(encoding: str, ring_time: str) -> PbxConventions:
    """Return the conventions in the texts of a form; an empty one has its default. Raises `UsageError`."""
    return PbxConventions(
        encoding=parse_encoding(encoding.strip() or UTF_8_NAME),
        ring_time_meaning=parse_ring_time_meaning(ring_time.strip() or DETECTED),
    )


def _conventions(row: Row) -> tuple[str, PbxConventions]:
    sn, encoding, meaning = row
    return sn, PbxConventions(
        encoding=parse_encoding(encoding or UTF_8_NAME), ring_time_meaning=parse_ring_time_meaning(meaning or DETECTED)
    )


def parse_encoding(text: str) -> str:
    """Return the name of an encoding that JSON can be in; empty for UTF-8. Raises `UsageError`.

    >>> parse_encoding("GBK"), parse_encoding("utf8")
    ('gbk', '')
    """
    name = _find_encoding(text[:ENCODING_CHARACTERS_MAX])
    if name is None:
        raise UsageError(
            _("{name} is not an encoding of texts", name=repr(text[:ENCODING_CHARACTERS_MAX])),
            location="encoding",
            hint=_("write gbk, big5, cp1251, latin-1 or another that has ASCII, or utf-8"),
        )
    return UTF_8 if name == UTF_8_NAME else name


def parse_ring_time_meaning(text: str) -> RingTimeSetting:
    """Return the meaning in a text: `ring`, `wait`, or `auto`. Raises `UsageError`."""
    if text == DETECTED:
        return ""
    for meaning in get_args(RingTimeMeaning):
        if text == meaning:
            return meaning  # type: ignore[no-any-return] # of get_args
    raise UsageError(
        _("{text} is no meaning of agent_ring_time", text=repr(text[:20])), hint=_("write ring, wait or auto")
    )


def _find_encoding(text: str) -> str | None:
    """Return the name of an encoding of texts that has ASCII; None where there is no such one."""
    try:
        name = codecs.lookup(text).name
        return name if b'{"a":1}'.decode(name) == '{"a":1}' else None
    except (LookupError, ValueError):
        return None
