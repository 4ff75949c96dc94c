"""What people write about calls: notes and tags, with all that was written before. Nothing is ever overwritten."""

from datetime import datetime

import msgspec

from onhook.errors import UsageError
from onhook.settings.database import Database
from onhook.settings.moments import moment

NOTE_CHARACTERS_MAX = 4_000
"""A page; what is longer is a document of its own."""

TAGS_MAX = 20
TAG_CHARACTERS_MAX = 40
"""A tag is a word or two."""

VERSIONS_MAX = 1_000
"""Of one call's note: more is a program that runs wild."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wrote about a call, at some time. The latest counts; an empty one took the note away."""

    text: str
    tags: tuple[str, ...]
    who: str
    at: datetime


class Notes:
    """Notes by call, in the settings."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, sn: str, call_id: str, text: str, tags: str, *, who: str, at: int) -> None:
        """Write about a call; `tags` are joined by commas. The same again is not kept twice. Raises `UsageError`."""
        text, found = _checked_text(text), checked_tags(tags)
        before = self.history(sn, call_id)
        if before and (before[0].text, before[0].tags) == (text, found):
            return
        if len(before) >= VERSIONS_MAX:
            raise UsageError(f"this note was changed {VERSIONS_MAX} times already", todo="leave it as it is")
        if not before and not text and not found:
            return
        self._database.write(
            "INSERT INTO notes (sn, call_id, text, tags, who, at) VALUES (?, ?, ?, ?, ?, ?)",
            (sn, call_id, text, ",".join(found), who, at),
        )

    def history(self, sn: str, call_id: str) -> list[Note]:
        """All that was written about a call, the latest first."""
        rows = self._database.rows(
            "SELECT text, tags, who, at FROM notes WHERE sn = ? AND call_id = ? ORDER BY note_id DESC", (sn, call_id)
        )
        return [
            Note(text=text, tags=tuple(tags.split(",")) if tags else (), who=who, at=moment(at))
            for text, tags, who, at in rows
        ]

    def tagged(self, tag: str, limit: int) -> list[tuple[str, str]]:
        """(`sn`, `call_id`) of calls that have this tag now, those last written about first."""
        rows = self._database.rows(
            "SELECT sn, call_id FROM notes AS n WHERE ',' || tags || ',' LIKE '%,' || ?1 || ',%' ESCAPE '\\'"
            " AND note_id = (SELECT max(note_id) FROM notes WHERE sn = n.sn AND call_id = n.call_id)"
            " ORDER BY note_id DESC LIMIT ?2",
            (tag.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_"), limit),
        )
        return [(sn, call_id) for sn, call_id in rows]

    def tags(self) -> list[str]:
        """All tags that calls have now, in order."""
        rows = self._database.rows(
            "SELECT DISTINCT tags FROM notes AS n WHERE tags <> ''"
            " AND note_id = (SELECT max(note_id) FROM notes WHERE sn = n.sn AND call_id = n.call_id)"
        )
        return sorted({tag for (tags,) in rows for tag in tags.split(",")})


def checked_tags(text: str) -> tuple[str, ...]:
    """Tags as people write them, joined by commas; each once. Raises `UsageError`."""
    tags = tuple(dict.fromkeys(tag.strip() for tag in text.split(",") if tag.strip()))
    if len(tags) > TAGS_MAX or any(len(tag) > TAG_CHARACTERS_MAX or not tag.isprintable() for tag in tags):
        raise UsageError("these tags cannot be meant", todo=f"use up to {TAGS_MAX} of {TAG_CHARACTERS_MAX} characters")
    return tags


def _checked_text(text: str) -> str:
    text = text.replace("\r\n", "\n").strip()
    if len(text) > NOTE_CHARACTERS_MAX:
        raise UsageError("this note is too long", todo=f"use at most {NOTE_CHARACTERS_MAX} characters")
    return text
