"""Reports by who and what was in calls: extensions, agents, queues, trunks, DIDs, PBXs, and the numbers seen most."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from onhook.console.pages.reports.recent import recent
from onhook.console.pages.reports.report import (
    ASR_AND_ACD,
    Asked,
    Cell,
    Chart,
    Column,
    Report,
    Rows,
    Series,
    mean,
    share,
)

BARS_MAX = 20
"""In a picture; the table has them all."""

TOP_MAX = 100
"""Numbers seen most."""

RECENT_DAYS = 31
"""Of the numbers seen most, where there are many calls."""

ENDINGS = ("answered", "no_answer", "busy", "voicemail", "abandoned", "failed")
_ENDING_WORDS = {
    "answered": ("Answered", "ANSWERED"),
    "no_answer": ("No answer", "NO ANSWER"),
    "busy": ("Busy", "BUSY"),
    "voicemail": ("Voicemail", "VOICEMAIL"),
    "abandoned": ("Abandoned", "ABANDONED"),
    "failed": ("Failed", "FAILED"),
}

Row = Mapping[str, Any]
Made = Callable[[Asked], Awaitable[Report]]


async def outcomes(asked: Asked) -> Report:
    """How calls ended."""
    found = await asked.store.summary(asked.where, "status", asked.zone.key)
    whole = sum(row["calls"] for row in found)
    counted = [
        (*_ENDING_WORDS[name], sum(row[name] for row in found)) for name in ENDINGS if any(row[name] for row in found)
    ]
    known = sum(number for _, _, number in counted)
    rows = [
        (Cell(title), asked.counted(number, status=word), Cell(share(number, whole)))
        for title, word, number in sorted(counted, key=lambda one: -one[2])
    ]
    if whole > known:
        others = "!" + ",".join(word for _, word in _ENDING_WORDS.values())
        rows.append((Cell("Other"), asked.counted(whole - known, status=others), Cell(share(whole - known, whole))))
    return Report(
        columns=[Column("Outcome", "text"), Column("Calls"), Column("Share", "share")],
        rows=rows,
        chart=_bars(rows, "Calls"),
    )


def counted_by(by: str, title: str, narrows: str, *, is_top: bool = False) -> Made:
    """The kind of report that counts calls by one thing; `narrows` is the filter that finds the calls of a row."""

    async def made(asked: Asked) -> Report:
        asked, said = await recent(asked, RECENT_DAYS) if is_top else (asked, "")
        # Those with the empty name, such as internal calls without a trunk, are asked for too and left out below.
        found = await asked.store.summary(asked.where, by, asked.zone.key, TOP_MAX + 1 if is_top else None)
        named = [row for row in found if row[by]][: TOP_MAX if is_top else None]
        rows = [_counts(asked, row, row[by], {narrows: row[by]}) for row in sorted(named, key=_most_calls)]
        note = (f"The {TOP_MAX} with the most calls." if is_top and len(found) > TOP_MAX else "") + said
        return Report(columns=[Column(title, "party"), *_COUNTED], rows=rows, chart=_bars(rows, "Calls"), note=note)

    return made


async def trunks(asked: Asked) -> Report:
    """Each trunk's calls, ASR and ACD, and the most calls that were on it at once."""
    found = await asked.store.summary(asked.where, "trunk", asked.zone.key)
    peaks = {one.trunk: one for one in await asked.store.peaks(asked.where, "all", asked.zone.key, by_trunk=True)}
    rows = []
    for row in sorted((row for row in found if row["trunk"]), key=_most_calls):
        peak = peaks.get(row["trunk"])
        at_once = Cell(None)
        if peak is not None:
            moment = peak.reached_at.astimezone(asked.zone).isoformat()
            at_once = Cell(peak.calls, asked.to_calls(trunk=row["trunk"], under_way_at=moment, since=""))
        rows.append((*_counts(asked, row, row["trunk"], {"by_trunk": row["trunk"]}), at_once))
    return Report(
        columns=[Column("Trunk", "text"), *_COUNTED, Column("At once, at most")],
        rows=rows,
        chart=_bars(rows, "Calls"),
        note=ASR_AND_ACD,
    )


async def extensions(asked: Asked) -> Report:
    """What went to each extension, what it answered, and what it called."""
    by_number: dict[tuple[str, str], dict[str, Row]] = {}
    for by in ("went_to", "answered_by", "made_by"):
        for row in await asked.store.summary(asked.where, f"pbx,{by}", asked.zone.key):
            if row[by] and asked.kind_of(row["pbx"], row[by]) == "extension":
                by_number.setdefault((row["pbx"], row[by]), {})[by] = row
    busiest = sorted(by_number, key=lambda one: (-_own_calls(by_number[one]), one[1], one[0]))
    rows = Rows(busiest, lambda one: _extension(asked, *one, by_number[one]))
    top = rows[:BARS_MAX]
    chart = Chart(
        shape="stack",
        labels=[str(row[0].value) for row in top],
        series=[
            Series("Answered", [_number(row[3]) for row in top], "good"),
            Series("Made", [_number(row[4]) for row in top], "plain"),
        ],
        links=[row[0].href for row in top],
        is_sideways=True,
    )
    counts = ("Went to it", "Answered by it", "Made by it")
    return Report(
        columns=[
            *(Column("Extension", "text"), Column("PBX", "text"), *map(Column, counts)),
            *(Column("Talk, answered", "seconds"), Column("On average", "seconds")),
        ],
        rows=rows,
        chart=chart,
        note="Extensions that rang in a queue or group and did not answer are in no report of the PBX, so not here.",
    )


async def queues(asked: Asked) -> Report:
    """What went to each queue and ring group."""
    rows = []
    for row in sorted(await asked.store.summary(asked.where, "pbx,went_to", asked.zone.key), key=_most_calls):
        if asked.kind_of(row["pbx"], row["went_to"]) in {"queue", "ring_group"}:
            here = {"pbx": row["pbx"], "call_to": row["went_to"]}
            cells = _counts(asked, row, row["went_to"], here)
            waits = (Cell(mean(row["wait_duration"], row["calls"])), Cell(row["wait_duration_max"]))
            rows.append((cells[0], Cell(row["pbx"]), *cells[1:], *waits))
    return Report(
        columns=[
            *(Column("Queue", "text"), Column("PBX", "text"), *_COUNTED),
            *(Column("Wait, on average", "seconds"), Column("Longest wait", "seconds")),
        ],
        rows=rows,
        chart=_bars([(row[0], *row[2:]) for row in rows], "Calls"),
        note="Queues and ring groups by the number plan of their PBX. The wait is from the call's start to a person.",
    )


async def agents(asked: Asked) -> Report:
    """Who answered what went to a queue."""
    found = [
        row
        for row in await asked.store.summary(asked.where, "pbx,went_to,answered_by", asked.zone.key)
        if row["answered_by"] and asked.kind_of(row["pbx"], row["went_to"]) in {"queue", "ring_group"}
    ]
    rows = Rows(sorted(found, key=_most_calls), lambda row: _agent(asked, row))
    return Report(
        columns=[
            *(Column("Agent", "text"), Column("Answered"), Column("Queue", "text"), Column("PBX", "text")),
            *(Column("Talk", "seconds"), Column("On average", "seconds"), Column("Wait before", "seconds")),
        ],
        rows=rows,
        chart=_bars(rows, "Answered"),
    )


_COUNTED = (
    *(Column("Calls"), Column("Answered"), Column("Missed"), Column("ASR", "share")),
    *(Column("Talk", "seconds"), Column("ACD", "seconds")),
)


def _counts(asked: Asked, row: Row, name: str, here: Mapping[str, str]) -> tuple[Cell, ...]:
    """Name, calls, answered, missed, ASR, talk, ACD."""
    return (
        Cell(name, asked.to_calls(**here)),
        asked.counted(row["calls"], **here),
        asked.counted(row["answered"], **here, status="ANSWERED"),
        asked.counted(row["missed"], **here, status="!ANSWERED"),
        Cell(share(row["answered"], row["calls"])),
        Cell(row["talk_duration"], asked.to_calls(**here, status="ANSWERED") if row["answered"] else ""),
        Cell(mean(row["talk_duration"], row["answered"])),
    )


def _own_calls(seen: Mapping[str, Row]) -> int:
    """What an extension answered and made."""
    return sum(seen[by]["calls"] for by in ("answered_by", "made_by") if by in seen)


def _agent(asked: Asked, row: Row) -> tuple[Cell, ...]:
    here = {"pbx": row["pbx"], "call_to": row["went_to"], "answered_by": row["answered_by"]}
    return (
        Cell(row["answered_by"], asked.to_calls(**here)),
        asked.counted(row["calls"], **here),
        *(Cell(row["went_to"]), Cell(row["pbx"])),
        Cell(row["talk_duration"], asked.to_calls(**here)),
        *(Cell(mean(row["talk_duration"], row["calls"])), Cell(mean(row["wait_duration"], row["calls"]))),
    )


def _extension(asked: Asked, pbx: str, number: str, seen: Mapping[str, Row]) -> tuple[Cell, ...]:
    of = {"pbx": pbx}
    answered = seen.get("answered_by", {})
    talk = answered.get("talk_duration")
    return (
        Cell(number, asked.to_calls(**of, number=number)),
        Cell(pbx),
        asked.counted(seen.get("went_to", {}).get("calls", 0), **of, call_to=number),
        asked.counted(answered.get("calls", 0), **of, answered_by=number),
        asked.counted(seen.get("made_by", {}).get("calls", 0), **of, caller=number),
        Cell(talk, asked.to_calls(**of, answered_by=number) if answered else ""),
        Cell(mean(talk, answered.get("calls", 0))),
    )


def _bars(rows: Sequence[Sequence[Cell]], name: str) -> Chart:
    """The first rows as bars: the first cell is the name, the second the number."""
    top = rows[:BARS_MAX]
    return Chart(
        shape="bar",
        labels=[str(row[0].value) for row in top],
        series=[Series(name, [_number(row[1]) for row in top])],
        links=[row[1].href for row in top],
        is_sideways=True,
    )


def _most_calls(row: Row) -> int:
    return -int(row["calls"])


def _number(cell: Cell) -> int:
    return cell.value if isinstance(cell.value, int) else 0
