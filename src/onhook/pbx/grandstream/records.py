"""The rows in a body of a Grandstream UCM, as JSON or as XML, flat or in groups (grandstream.md 2). Pure.

Invariant: whatever the bytes, the result is rows or a `ParseError` with a reason. A group has a summary, `main_cdr`,
and a row for each stage, `sub_cdr_1` and so on.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from heapq import nlargest, nsmallest
from typing import Any
from xml.etree import ElementTree as ET

import msgspec

from onhook.cdr.call_details import DURATION_SECONDS_MAX
from onhook.cdr.utc_offset import EPOCH_DIGITS, parse_wall_clock
from onhook.lib.errors import ParseError
from onhook.lib.messages import _
from onhook.pbx.json_fields import CALL_ID_CHARACTERS_MAX, TEXT_CHARACTERS_MAX, decode_json, parse_error

ROW_ID = "acctid"
"""The name of the member that each row has, folded."""

ROWS_MAX = 1_000
"""As many as the PBX returns at once."""

LEVELS_MAX = 6
"""A row of a group of a list is on the fourth."""

STAGES_MIN = 2
"""Stages of a call that has a summary; a call of one stage has none."""

BLANKS = b"\xef\xbb\xbf \t\r\n"

_SUMMARY, _STAGE = "main_cdr", "sub_cdr"
_NEVER = ("", "0", "0000-00-00 00:00:00", "null", "none")
_COUNT = re.compile(r"[0-9]{1,9}")
_ACTION = re.compile(r"([A-Za-z_ -]+?)\s*(?:\[([^\]]{0,100})\].*)?")
_SESSION_EPOCH = re.compile(rf"([0-9]{{{EPOCH_DIGITS}}})(?:[0-9]{{6}})?[.-].*")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

Members = Mapping[str, str]
"""The members of one row: texts by folded name."""


class UcmRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a stage of a call, or a whole call of one stage. `session` names the call; `is_summary` is set for the
    row that sums up the stages of a group, whether these come with it, by themselves, or are none. `answer` is None of
    one that was not answered. `members` are all of its texts.
    """

    row_id: str
    session: str
    start: datetime
    is_answered: bool
    answer: datetime | None
    end: datetime | None
    duration: int | None
    talk: int
    action: str
    action_number: str
    is_summary: bool
    members: Members

    def get(self, name: str) -> str:
        """Return a text, empty where there is none."""
        return self.members.get(name, "")

    @property
    def epoch(self) -> int:
        """Return the second, since 1970 and in UTC, that its ids contain; 0 where they contain none."""
        for text in (self.get("uniqueid"), self.session):
            if match := _SESSION_EPOCH.fullmatch(text):
                return int(match[1])
        return 0


def looks_like_rows(body: bytes) -> bool:
    """Return whether a body seems to contain rows, readable or not."""
    return body.lstrip(BLANKS)[:1] in (b"{", b"[", b"<") and ROW_ID.encode() in body.lower()


def read_rows(body: bytes) -> list[UcmRow]:
    """Return the rows in a body. Raises `ParseError`."""
    text = body.strip(BLANKS)
    content = _decode_xml(text) if text.startswith(b"<") else decode_json(text)
    rows: list[UcmRow] = []
    for members, is_summary in _find_rows(content, {}, LEVELS_MAX):
        rows.append(_read_row(members, is_summary=is_summary))
        if len(rows) > ROWS_MAX:
            raise parse_error(_("the body has more than {limit} rows", limit=ROWS_MAX))
    if not rows:
        raise parse_error(_("the body has no row of a call"))
    return rows


def _decode_xml(text: bytes) -> Any:
    """Return an XML document as JSON would have it. Raises `ParseError`."""
    decoded = text.decode("utf-8", "replace")
    if "<!" in decoded:
        raise parse_error(_("the XML document has a declaration, which a UCM does not write"))
    try:
        return _members_of(ET.fromstring(decoded), LEVELS_MAX)  # noqa: S314 - without declarations, no entities
    except (ET.ParseError, ValueError, RecursionError) as error:
        raise parse_error(_("the XML document is damaged: {reason}", reason=error)) from None


def _members_of(element: ET.Element, levels: int) -> Any:
    if not len(element) or not levels:
        return element.text or ""
    members: dict[str, list[Any]] = {}
    for child in element:
        members.setdefault(child.tag, []).append(_members_of(child, levels - 1))
    return {name: values[0] if len(values) == 1 else values for name, values in members.items()}


def _find_rows(content: Any, shared: Members, levels: int) -> Iterator[tuple[Members, bool]]:
    """Yield the members of each row in a value, and whether it is a summary; `shared` are those of its group."""
    if not levels or not isinstance(content, dict | list):
        return
    if isinstance(content, list):
        for item in content:
            yield from _find_rows(item, shared, levels - 1)
        return
    members = _fold(content)
    if ROW_ID in members:
        yield {**shared, **{name: text for name, text in members.items() if text}}, False
        return
    summary = content.get(_SUMMARY)
    stages = [value for name, value in content.items() if isinstance(name, str) and name.startswith(_STAGE)]
    if not isinstance(summary, dict):
        for value in content.values():
            yield from _find_rows(value, shared, levels - 1)
        return
    summary_members = _fold(summary)
    names = ("session", "userfield", "src_trunk_name", "caller_name")
    group = {name: text for name in names if (text := summary_members.get(name, ""))}
    if ROW_ID in summary_members:
        yield summary_members, True
    for stage in stages:
        yield from _find_rows(stage, group, levels - 1)


def _fold(members: Mapping[Any, Any]) -> dict[str, str]:
    """Return the members that are texts or numbers, by folded name."""
    return {
        _clean(name).lower(): _clean(value)
        for name, value in members.items()
        if isinstance(value, str | int) and not isinstance(value, bool)
    }


def _clean(value: str | int) -> str:
    return _UNSTORABLE.sub("\ufffd", str(value).strip()[:TEXT_CHARACTERS_MAX])


def _read_row(members: Members, *, is_summary: bool) -> UcmRow:
    """Return the row of these members. Raises `ParseError`."""
    start = _read_time(members, "start")
    if start is None:
        raise parse_error(_("a row has no start"))
    end = _read_time(members, "end")
    duration = _read_count(members, "duration")
    if duration is None and end is not None and end >= start:
        duration = min(int((end - start).total_seconds()), DURATION_SECONDS_MAX)
    answer = _read_time(members, "answer")
    is_answered = answer is not None and members.get("disposition", "").upper() in ("", "ANSWERED")
    talk = _read_count(members, "billsec") if is_answered else 0
    match = _ACTION.fullmatch(members.get("action_type", ""))
    row_id = members.get(ROW_ID, "")
    if not row_id:
        raise parse_error(_("a row has no number: its {name} is empty", name="AcctId"))
    session = members.get("session") or members.get("uniqueid") or f"{start:%Y%m%d%H%M%S}-{row_id}"
    return UcmRow(
        row_id=row_id,
        session=session[:CALL_ID_CHARACTERS_MAX],
        start=start,
        is_answered=is_answered,
        answer=answer if is_answered else None,
        end=end,
        duration=duration,
        talk=min(talk or 0, duration) if duration is not None else talk or 0,
        action=match[1].upper() if match else "",
        action_number=(match[2] or "").strip() if match else "",
        is_summary=is_summary,
        members=members,
    )


def _read_time(members: Members, name: str) -> datetime | None:
    """Return a wall clock; None for one that never was. Raises `ParseError`."""
    text = members.get(name, "")
    if text.lower() in _NEVER:
        return None
    try:
        return parse_wall_clock(text)
    except ParseError as error:
        raise parse_error(_("{name} is no time: {value}", name=name, value=repr(text[:40]))) from error


def _read_count(members: Members, name: str) -> int | None:
    """Return a number of seconds; None for what is none, or longer than any call."""
    text = members.get(name, "")
    seconds = int(text) if _COUNT.fullmatch(text) else None
    return seconds if seconds is not None and seconds <= DURATION_SECONDS_MAX else None


def choose_rows(rows: Sequence[UcmRow]) -> list[UcmRow]:
    """Return the rows that are calls or their stages, in order: each once, and no summary beside its stages. Of two
    reports of a row, that with more members counts; one report of it as a summary is enough. A summary that no body
    calls so is known by its times.
    """
    by_id: dict[tuple[str, str], UcmRow] = {}
    for row in sorted(rows, key=lambda row: (len(row.members), sorted(row.members.items()))):
        by_id[row.session, row.row_id] = row
    summaries = {(row.session, row.row_id) for row in rows if row.is_summary}
    rows_by_session: dict[str, list[UcmRow]] = {}
    for row in by_id.values():
        rows_by_session.setdefault(row.session, []).append(row)
    unnamed = map(_find_unnamed_summary, rows_by_session.values())
    summaries |= {(row.session, row.row_id) for row in unnamed if row is not None}
    staged_sessions = {session for session, row_id in by_id.keys() - summaries}
    chosen = [row for key, row in by_id.items() if key not in summaries or row.session not in staged_sessions]
    # Ids are numbers: of stages that begin in one second, 1000 comes after 999.
    return sorted(chosen, key=lambda row: (row.session, row.start, len(row.row_id), row.row_id))


def _find_unnamed_summary(rows: Sequence[UcmRow]) -> UcmRow | None:
    """Return the row of a session that begins with the first, is answered with the first that is answered, and ends
    with the last of two or more others, of which none does so alone. The row of a queue or another machine is a stage.
    """
    starts = nsmallest(2, (row.start for row in rows))
    answers = nsmallest(2, (row.answer for row in rows if row.answer is not None))
    ends = nlargest(2, (row.end for row in rows if row.end is not None))
    spanning = [row for row in rows if [row.start] * 2 == starts and [row.end] * 2 == ends]
    if len(rows) <= STAGES_MIN or len(spanning) != 1 or spanning[0].action_number:
        return None
    return spanning[0] if answers in ([], [spanning[0].answer] * 2) else None
