"""Notes and tags on calls, with all earlier versions. Nothing is overwritten."""

import string
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.stored_json import CHECKED_ROWS_MAX, UnreadableRow, list_unreadable, read_rows
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.text import split_list
from onhook.lib.timestamps import to_datetime

NOTE_CHARACTERS_MAX = 4_000
"""A page; a longer text belongs into a document."""

TAGS_MAX = 20
TAG_CHARACTERS_MAX = 40
"""A tag is a word or two."""

VERSIONS_MAX = 1_000
"""Versions of one note: more come from a program in a loop."""


MATCHES_MAX = 50_000
"""Calls that one tag or text may match: more are not written by hand."""

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

_LATEST = (
    "SELECT * FROM notes AS n WHERE note_id = (SELECT max(note_id) FROM notes WHERE sn = n.sn AND call_id = n.call_id)"
)
"""The latest version of each note."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a call's note. The latest counts; an empty one removes the note."""

    text: str
    tags: tuple[str, ...]
    author: str
    created_at: datetime


class Notes:
    """Repository of notes, by call."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @transactional
    async def write(self, sn: str, call_id: str, text: str, tags: str, *, author: str, now_us: int) -> None:
        """Add a version; `tags` are separated by commas. An unchanged note is not stored again. Raises `UsageError`."""
        text, parsed_tags = _validate_text(text), parse_tags(tags)
        versions = await self.history(sn, call_id)
        if versions and (versions[0].text, versions[0].tags) == (text, parsed_tags):
            return
        if len(versions) >= VERSIONS_MAX:
            raise UsageError(
                _("this note was already changed {maximum} times", maximum=VERSIONS_MAX), hint=_("leave it as it is")
            )
        if not versions and not text and not parsed_tags:
            return
        await self._database.write(
            "INSERT INTO notes (sn, call_id, text, tags, author, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            (sn, call_id, text, ",".join(parsed_tags), author, now_us),
        )

    async def history(self, sn: str, call_id: str) -> list[Note]:
        """Return all versions of a call's note, the latest first."""
        rows = await self._database.rows(
            "SELECT text, tags, author, created_at FROM notes WHERE sn = ? AND call_id = ? ORDER BY note_id DESC",
            (sn, call_id),
        )
        return read_rows(rows, _note)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return those of the latest versions of notes that cannot be read, by number and call."""
        rows = await self._database.rows(
            "SELECT text, tags, author, created_at, note_id, sn, call_id FROM notes ORDER BY note_id DESC LIMIT ?",
            (CHECKED_ROWS_MAX,),
        )
        return list_unreadable("notes", rows, lambda row: _note(row[:4]), name_columns=[4, 5, 6])

    async def find_calls(self, tag: str, text: str) -> list[tuple[str, str]]:
        """Return (`sn`, `call_id`) of calls with this tag and this text in their note; an empty argument matches all.
        The case of the letters a to z is ignored in texts. Raises `UsageError` when there are too many.
        """
        rows = await self._database.rows(
            f"SELECT sn, call_id FROM ({_LATEST}) AS latest"
            " WHERE (?1 = '' OR ',' || lower(tags) || ',' LIKE '%,' || ?1 || ',%' ESCAPE '\\')"
            " AND lower(text) LIKE '%' || ?2 || '%' ESCAPE '\\' AND (text <> '' OR tags <> '') LIMIT ?3",
            (_escape_like(tag), _escape_like(text), MATCHES_MAX + 1),
        )
        if len(rows) > MATCHES_MAX:
            raise UsageError(
                _("more than {maximum} calls match", maximum=MATCHES_MAX), hint=_("search for a rarer tag or text")
            )
        return read_rows(rows, _call_key)

    async def delete_for_calls(self, calls: Sequence[tuple[str, str]]) -> None:
        """Delete all versions of the notes of deleted calls."""
        if not calls:
            return
        async with self._database.transaction():
            for sn, call_id in calls:
                await self._database.write("DELETE FROM notes WHERE sn = ? AND call_id = ?", (sn, call_id))

    async def tags_by_call(self, calls: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, ...]]:
        """Return the current tags of these calls; calls without tags are left out."""
        latest_notes = {call: (await self.history(*call))[:1] for call in calls}
        return {call: notes[0].tags for call, notes in latest_notes.items() if notes and notes[0].tags}

    async def tags(self) -> list[str]:
        """Return all current tags, sorted."""
        rows = await self._database.rows(f"SELECT DISTINCT tags FROM ({_LATEST}) AS latest WHERE tags <> ''")
        return sorted({tag for (tags,) in read_rows(rows, tuple) for tag in tags.split(",")})


def parse_tags(text: str) -> tuple[str, ...]:
    """Return the tags of a text, separated by commas; each once. Raises `UsageError`."""
    tags = tuple(dict.fromkeys(split_list(text)))
    if len(tags) > TAGS_MAX or any(len(tag) > TAG_CHARACTERS_MAX or not tag.isprintable() for tag in tags):
        raise UsageError(
            _("invalid tags"),
            hint=_(
                "use up to {maximum} tags of {maximum_2} characters", maximum=TAGS_MAX, maximum_2=TAG_CHARACTERS_MAX
            ),
        )
    return tags


def _note(row: Row) -> Note:
    text, tags, author, created_at = row
    return Note(
        text=text,
        tags=tuple(tags.split(",")) if tags else (),
        author=author,
        created_at=to_datetime(created_at),
    )


def _call_key(row: Row) -> tuple[str, str]:
    sn, call_id = row
    return sn, call_id


def _escape_like(text: str) -> str:
    """Escape a text for LIKE, and replace capitals as `lower` of the database does: those from A to Z alone."""
    return text.translate(_LOWER).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _validate_text(text: str) -> str:
    text = text.replace("\r\n", "\n").strip()
    if len(text) > NOTE_CHARACTERS_MAX:
        raise UsageError(
            _("this note is too long"), hint=_("use at most {maximum} characters", maximum=NOTE_CHARACTERS_MAX)
        )
    return text
