"""Raw events in a file, for another ledger."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from onhook.ledger.contract import RawEvent
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import UsageError
from onhook.ops.event_transfer import EVENTS_AT_ONCE, LINE_BYTES_MAX, export_events, import_events, read_lines
from onhook.pbx.registry import dialects
from tests.test_projector import RECEIVED_AT, entry, event


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    """Yield a ledger with events of several kinds and in more than one part."""
    ledger = SqliteLedger(tmp_path / "source.db")
    entries = [entry(event(0, "1001", call_id=f"{1782844637 + n}.1")) for n in range(EVENTS_AT_ONCE)]
    entries += [entry(b"\xff\x00 no JSON"), entry(event(1, "1001", "OTHER"), via="unregistered")]
    entries += [msgspec.structs.replace(entry(event(2, "1001")), signature="s" * 44, peer="192.0.2.1", dialect="later")]
    await ledger.append(entries)
    yield ledger
    await ledger.close()


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    """Yield an empty ledger."""
    ledger = SqliteLedger(tmp_path / "target.db")
    yield ledger
    await ledger.close()


async def read_all(ledger: SqliteLedger) -> Sequence[RawEvent]:
    events: list[RawEvent] = []
    while part := await ledger.read(events[-1].seq if events else 0, 10_000):
        events += part
    return events


async def export(ledger: SqliteLedger, since_us: int = 0) -> list[bytes]:
    return [line async for part in export_events(ledger, since_us) for line in part]


async def test_events_are_the_same_in_another_ledger(source: SqliteLedger, target: SqliteLedger) -> None:
    """Bytes, channel, time, signature and address; also those that this version cannot parse."""
    outcomes = await import_events(target, dialects(), await export(source))
    assert outcomes == {"new": EVENTS_AT_ONCE + 3}
    assert await read_all(target) == await read_all(source)


async def test_events_imported_again_change_nothing(source: SqliteLedger, target: SqliteLedger) -> None:
    """Nor do those that were deleted meanwhile."""
    lines = await export(source)
    await import_events(target, dialects(), lines)
    await target.delete([1])
    assert await import_events(target, dialects(), lines) == {"duplicate": EVENTS_AT_ONCE + 2, "deleted": 1}


async def test_events_that_were_received_before_are_left_out(source: SqliteLedger) -> None:
    later = msgspec.structs.replace(entry(event(3, "1001")), received_at=RECEIVED_AT + 1)
    await source.append([later])
    (line,) = await export(source, RECEIVED_AT + 1)
    assert msgspec.json.decode(line)["received_at"] == RECEIVED_AT + 1


async def test_events_get_the_key_of_this_version(source: SqliteLedger, target: SqliteLedger) -> None:
    """So that a repeat by the PBX is recognised, whatever key another version gave it."""
    lines = [msgspec.json.encode(msgspec.json.decode(line) | {"key": "A" * 22 + "=="}) for line in await export(source)]
    await import_events(target, dialects(), lines[:1])
    first = entry(event(0, "1001", call_id="1782844637.1"))
    assert [result.outcome for result in await target.append([first])] == ["duplicate"]


FORMAT = {
    "seq": int,
    "sn": str,
    "dialect": str,
    "via": str,
    "received_at": int,
    "key": str,
    "body": str,
    "signature": str,
    "peer": str,
}
"""Members of a line since there are such files: each version since then reads them, and refuses a line without one."""

OLD_FILE = Path(__file__).parents[1] / "payloads" / "exported_events.jsonl"
"""As the first version with `onhook export-events` wrote it."""


async def test_events_are_written_as_earlier_versions_read_them(source: SqliteLedger) -> None:
    """To go back to one of them: the members, their types, and Base64 as it was."""
    for line in await export(source):
        members = json.loads(line)
        assert {name: type(value) for name, value in members.items()} == FORMAT
        assert len(base64.b64decode(members["key"], validate=True)) == 16
        base64.b64decode(members["body"], validate=True)


async def test_events_of_the_first_version_with_such_files_are_read(target: SqliteLedger) -> None:
    """And written again as they were."""
    lines = OLD_FILE.read_bytes().splitlines(keepends=True)
    assert await import_events(target, dialects(), lines) == {"new": len(lines)}
    written_lines = [json.loads(line) for line in await export(target)]
    assert written_lines == [json.loads(line) for line in lines]


GOOD = msgspec.json.encode(
    {"seq": 1, "sn": "S", "dialect": "yeastar", "via": "webhook", "received_at": 1, "key": bytes(16), "body": b"{}"}
)


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b"[]",
        b"{}",
        GOOD.replace(b'"e30="', b'"?"'),
        GOOD.replace(b"AAAAAAAAAAAAAAAAAAAAAA==", b"AAAA"),
        GOOD.replace(b'"received_at":1', b'"received_at":-1'),
        GOOD.replace(b'"received_at":1', b'"received_at":9223372036854775808'),
        GOOD.replace(b'"dialect":"yeastar"', b'"dialect":"control"'),
        GOOD.replace(b'"S"', b'"%s"' % (b"S" * 1_001)),
        GOOD.replace(b'"S"', b'"\xff"'),
        GOOD.replace(b'"e30="', b'"%s"' % (b"A" * LINE_BYTES_MAX)),
    ],
)
async def test_events_line_that_is_none_is_named(target: SqliteLedger, tmp_path: Path, line: bytes) -> None:
    """The lines before it are imported, or none are."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n" + GOOD + b"\n" + line + b"\n")
    with file.open("rb") as opened, pytest.raises(UsageError, match="line 3 is not an event"):
        await import_events(target, dialects(), read_lines(opened))
