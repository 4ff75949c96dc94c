"""Reading the PBX's own list of calls, whichever way its firmware can (PROTOCOL.md 7).

Laws: windows of time are made so small that each fits on one page: there is then no paging that could lose a row while
others arrive or are deleted. An answer of no rows is believed only where the same question finds a call that is surely
there. What the PBX counts and what it lists are compared; a difference that stays is said.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from onhook.lib.errors import OnhookError, Unavailable
from onhook.pbx.client import Answer, Facts, Listed, Listing, Page, Request, Said, Whose, Window
from onhook.pbx.yeastar.answers import API, API_2
from onhook.pbx.yeastar.rows import Wrapping, begun_at, wrapped

ROWS_MAX = 10_000
"""On one page: the PBX gives no more (PROTOCOL.md 7.2)."""

TRIES_MAX = 3
"""How often a window is read whose count and rows differ: calls end meanwhile."""

WALK_PAGES_MAX = 10_000
"""Pages of the whole list: more than any PBX keeps."""

DISPLAY_MARGIN_SECONDS = 3600
"""Around a window that is asked for by the wall clock: it may have been put forward or back since."""

ROW_SECONDS = 1
"""Windows overlap by so much: no document says whether their ends are included."""

Form = Literal["seconds", "display", "walk", "v2"]
"""How this firmware is asked: by Unix seconds, by its display format, page by page without a window, or by v2.0."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks are compared as they are

Asking = Generator[Request | Whose | Page, Said, "_Listed"]
Probing = Generator[Request | Whose | Page, Said, Form]


class _Listed(msgspec.Struct, frozen=True):
    """One answer with rows: how many the PBX counts for the question, and those that it lists, as their bytes."""

    total: int
    rows: Sequence[bytes]


class _Body(msgspec.Struct, frozen=True):
    total_number: int | None = None
    data: list[msgspec.Raw] | None = None


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Whose list is read, and what it takes to understand it."""

    sn: str
    facts: Facts
    rows_max: int = ROWS_MAX


def listing(source: Source, window: Window) -> Listing:
    """Read all calls that began in a window; see `pbx.link.Link.listing`."""
    form = yield from _probe(source, window)
    if form == "walk":
        return (yield from _walk(source, window))
    if form in ("display", "v2"):
        window = Window(since=window.since - DISPLAY_MARGIN_SECONDS, until=window.until + DISPLAY_MARGIN_SECONDS)
    return (yield from _by_windows(source, window, form))


def counting(source: Source, window: Window) -> Generator[Request | Whose | Page, Said, int | None]:
    """How many rows the PBX counts in a window; None where it can only be asked for calls or for everything."""
    form = yield from _probe(source, window)
    if form in ("walk", "v2"):
        return None
    return (yield from _asked(_search(source, window, form, 1))).total


# ---------------------------------------------------------------- which form this firmware takes


def _probe(source: Source, window: Window) -> Probing:
    """Seconds where they are taken and tell the truth, else the display format, else the whole list, else v2.0."""
    answer = yield from _sent(_search(source, window, "seconds", 1))
    if answer.trouble == "missing":
        return "v2"
    if answer.trouble is None and _listed(answer).total:
        return "seconds"
    if answer.trouble not in (None, "parameter"):
        raise _failure(answer)
    newest = yield from _newest(source)
    if newest is None:
        return "walk" if answer.trouble else "seconds"  # there is no call at all to find
    for form in ("seconds", "display"):
        if (yield from _finds(source, newest, form)):
            return form
    return "walk"


def _newest(source: Source) -> Generator[Request | Whose | Page, Said, int | None]:
    """When the newest call of the list began; None where it has none."""
    found = yield from _asked(_list(1, 1))
    return begun_at(_row(found.rows[0]), source.facts) if found.rows else None


def _finds(source: Source, begun: int, form: Form) -> Generator[Request | Whose | Page, Said, bool]:
    """Whether a question in this form finds a call that is surely there."""
    if form == "display" and not source.facts.date_format:
        return False
    window = Window(since=begun - ROW_SECONDS, until=begun + 2 * ROW_SECONDS)
    answer = yield from _sent(_search(source, window, form, 1))
    if answer.trouble == "parameter":
        return False
    if answer.trouble is not None:
        raise _failure(answer)
    return _listed(answer).total > 0


# ---------------------------------------------------------------- by windows


def _by_windows(source: Source, window: Window, form: Form) -> Listing:
    """Window after window, each as long as one page holds."""
    at, rows, counted, troubles = window.since, 0, 0, []
    total = (yield from _asked(_search(source, window, form, 1))).total
    span = _span(window.until - at, total, source.rows_max)
    while at < window.until:
        part = Window(since=at, until=min(at + span, window.until))
        found = yield from _asked(_search(source, part, form, source.rows_max))
        if found.total > source.rows_max and span > ROW_SECONDS:
            span = _span(span, found.total, source.rows_max)
            continue
        found = yield from _whole(source, part, form, found)
        if len(found.rows) < found.total:
            troubles.append(f"the PBX counts {found.total} calls and lists {len(found.rows)} from {_shown(part.since)}")
        rows, counted = rows + len(found.rows), counted + found.total
        yield Page(rows=(yield from _to_keep(source, part, form, found.rows)), done_until=part.until)
        at = part.until if part.until >= window.until else max(at + ROW_SECONDS, part.until - ROW_SECONDS)
        span = _span(span, found.total, source.rows_max)
    return Listed(rows=rows, counted=counted, trouble="; ".join(troubles[:TRIES_MAX]))


def _whole(source: Source, part: Window, form: Form, found: _Listed) -> Asking:
    """All rows of a window: further pages where one second has too many, and again where some are missing."""
    rows = list(found.rows)
    for _ in range(TRIES_MAX):
        while rows and len(rows) < found.total:
            page = len(rows) // max(1, len(found.rows)) + 1
            more = yield from _asked(_search(source, part, form, len(found.rows), page))
            rows += more.rows
            if not more.rows or len(more.rows) < len(found.rows):
                break
        if len(rows) >= found.total:
            return _Listed(found.total, rows)
        found = yield from _asked(_search(source, part, form, source.rows_max))
        rows = list(found.rows)
    return _Listed(found.total, rows)


def _span(span: int, total: int, rows_max: int) -> int:
    """How long the next window is, so that it fills about half a page.

    >>> _span(86_400, 200_000, 10_000), _span(3_600, 0, 10_000), _span(3_600, 5_000, 10_000)
    (2160, 28800, 3600)
    """
    if not total:
        return span * 8
    return max(ROW_SECONDS, min(span * 8, span * rows_max // (2 * total)))


def _to_keep(
    source: Source, part: Window, form: Form, rows: Sequence[bytes]
) -> Generator[Request | Whose | Page, Said, list[bytes]]:
    """Rows as the ledger keeps them; those of v2.0 with their detail and the id of their call."""
    wrapping = Wrapping(sn=source.sn, date_format=source.facts.date_format)
    if form != "v2":
        return [wrapped(row, wrapping) for row in rows]
    uids = [str(_row(row).get("uid", "")) for row in rows]
    ids = yield Whose(uids=[uid for uid in uids if uid], window=part)
    assert isinstance(ids, Mapping)
    kept = []
    for row, uid in zip(rows, uids, strict=True):
        detail = (yield from _detail(uid)) if uid else b""
        kept.append(wrapped(row, msgspec.structs.replace(wrapping, call_id=ids.get(uid, "")), detail))
    return kept


def _detail(uid: str) -> Generator[Request | Whose | Page, Said, bytes]:
    answer = yield from _sent(Request(path=f"{API_2}cdr/detail", query={"uid": uid}))
    if answer.trouble is not None:
        raise _failure(answer)
    detail = answer.members.get("data")
    return msgspec.json.encode(detail) if isinstance(detail, dict) else b""


# ---------------------------------------------------------------- the whole list


def _walk(source: Source, window: Window) -> Listing:
    """From the newest call backwards until they are older than the window; again where rows were deleted meanwhile."""
    rows = 0
    for _ in range(TRIES_MAX):
        rows, first_total, last_total = 0, None, 0
        for page in range(1, WALK_PAGES_MAX + 1):
            found = yield from _asked(_list(page, source.rows_max))
            first_total = found.total if first_total is None else first_total
            last_total = found.total
            begun = [begun_at(_row(row), source.facts) for row in found.rows]
            meant = [
                row
                for row, at in zip(found.rows, begun, strict=True)
                if at is None or window.since <= at < window.until
            ]
            rows += len(meant)
            wrapping = Wrapping(sn=source.sn, date_format=source.facts.date_format)
            yield Page(rows=[wrapped(row, wrapping) for row in meant], done_until=window.since)
            if not found.rows or _is_past(begun, window.since) or len(found.rows) < source.rows_max:
                break
        if last_total >= (first_total or 0):
            return Listed(rows=rows, counted=rows)
    return Listed(rows=rows, counted=rows, trouble="rows were deleted from the PBX's list while it was read")


def _is_past(begun: Iterable[int | None], since: int) -> bool:
    """Whether all that follows is older than the window."""
    known = [at for at in begun if at is not None]
    return bool(known) and min(known) < since


# ---------------------------------------------------------------- questions and answers


def _sent(request: Request) -> Generator[Request | Whose | Page, Said, Answer]:
    answer = yield request
    assert isinstance(answer, Answer), "a request is answered"
    return answer


def _asked(request: Request) -> Asking:
    """The rows that are answered. Raises `OnhookError` where it is none."""
    answer = yield from _sent(request)
    if answer.trouble is not None:
        raise _failure(answer)
    return _listed(answer)


def _listed(answer: Answer) -> _Listed:
    try:
        body = msgspec.json.decode(answer.body, type=_Body)
    except msgspec.DecodeError as error:
        raise Unavailable(f"the PBX's list makes no sense: {error}", todo="it is asked again later") from error
    rows = [bytes(row) for row in body.data or ()]
    return _Listed(len(rows) if body.total_number is None else body.total_number, rows)


def _failure(answer: Answer) -> OnhookError:
    if answer.trouble in ("later", "token", "garbage", "full"):
        return Unavailable(f"the PBX does not list its calls now: {answer.text}", todo="it is asked again later")
    return OnhookError(
        f"the PBX does not list its calls: {answer.text}", todo="`onhook doctor` with the PBX's name says what to do"
    )


def _search(source: Source, window: Window, form: Form, page_size: int, page: int = 1) -> Request:
    query = {"page": str(page), "page_size": str(page_size)}
    if form == "seconds":
        query |= {"start_time": str(window.since), "end_time": str(window.until)}
        return Request(path=f"{API}cdr/search", query=query)
    since, until = (displayed(at, source.facts) for at in (window.since, window.until))
    if form == "display":
        return Request(path=f"{API}cdr/search", query=query | {"start_time": since, "end_time": until})
    return Request(path=f"{API_2}cdr/search", query=query | {"time_begin": since, "time_end": until})


def _list(page: int, page_size: int) -> Request:
    query = {"page": str(page), "page_size": str(page_size), "sort_by": "time", "order_by": "desc"}
    return Request(path=f"{API}cdr/list", query=query)


def displayed(seconds: int, facts: Facts) -> str:
    """A moment as this PBX displays it.

    >>> displayed(1782844637, Facts(date_format="DD/MM/YYYY", time_format="12", offset_seconds=10800))
    '30/06/2026 09:37:17 PM'
    """
    local = _EPOCH + timedelta(seconds=seconds + (facts.offset_seconds or 0))
    day = facts.date_format.upper() or "YYYY/MM/DD"
    day = day.replace("YYYY", f"{local.year:04}").replace("MM", f"{local.month:02}").replace("DD", f"{local.day:02}")
    is_halved = "12" in facts.time_format or "A" in facts.time_format.upper()
    return f"{day} {local:%I:%M:%S %p}" if is_halved else f"{day} {local:%H:%M:%S}"


def _row(row: bytes) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(row, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _shown(seconds: int) -> str:
    return f"{_EPOCH + timedelta(seconds=seconds)} UTC"
