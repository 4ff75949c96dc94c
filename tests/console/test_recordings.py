"""Recordings are played by users who may see the call; no other file of the machine is served."""

from pathlib import Path

import aiohttp
import pytest

from onhook.appdb.recordings import find_recording_file
from onhook.cdr.access_scope import AccessScope
from tests.console.conftest import ConsoleHarness
from tests.factories import SN, STARTED_AT, details

SOUND = bytes(range(256)) * 1024
CALL_ID = "1777287876.1"
NAME = "20260427190445-1777287876.1-1001-1002-Internal.wav"


@pytest.fixture
async def recordings_directory(harness: ConsoleHarness, tmp_path: Path) -> Path:
    """Return the directory of the PBX with the recording of a call; a secret file is beside it."""
    directory = tmp_path / "recordings"
    (directory / "2026").mkdir(parents=True)
    (directory / NAME).write_bytes(SOUND)
    (tmp_path / "secret.wav").write_bytes(b"secret")
    await harness.appdb.recordings.put(SN, directory)
    await harness.ingest_details([details(STARTED_AT, call_id=CALL_ID, recording=NAME)])
    return directory


def requested_range(call_id: str = CALL_ID, number: int = 1) -> dict[str, str | int]:
    return {"sn": SN, "call_id": call_id, "number": number}


@pytest.mark.usefixtures("recordings_directory")
async def test_recording_is_served_in_whole_and_in_ranges(client: aiohttp.ClientSession) -> None:
    """The response has type and length; a range past the end is 416."""
    answer = await client.get("/api/v1/recording", params=requested_range())
    assert (answer.status, answer.content_type, answer.headers["Accept-Ranges"]) == (200, "audio/wav", "bytes")
    assert await answer.read() == SOUND
    answer = await client.get("/api/v1/recording", params=requested_range(), headers={"Range": "bytes=100-199999"})
    assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes 100-199999/{len(SOUND)}")
    assert await answer.read() == SOUND[100:200_000]
    answer = await client.get("/api/v1/recording", params=requested_range(), headers={"Range": f"bytes={len(SOUND)}-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(SOUND)}")
    assert (await client.get("/api/v1/recording", params=requested_range(number=2))).status == 404


async def test_call_page_has_player_for_local_recordings(
    harness: ConsoleHarness, client: aiohttp.ClientSession, recordings_directory: Path
) -> None:
    """Without the file the page shows its name and where it is."""
    page = f"/calls/{SN}/{CALL_ID}"
    assert "<audio" in await (await client.get(page)).text()
    (recordings_directory / NAME).unlink()
    text = await (await client.get(page)).text()
    assert "<audio" not in text
    assert "stored on the PBX" in text
    await harness.appdb.recordings.put(SN, None)
    assert (await client.get("/api/v1/recording", params=requested_range())).status == 404


@pytest.mark.usefixtures("recordings_directory")
async def test_recording_needs_access_to_the_call(harness: ConsoleHarness) -> None:
    """A client without a token and a reader limited to other calls are rejected."""
    now_us = harness.clock.microseconds()
    for numbers, status in ((("1001",), 200), (("1009",), 404)):
        token = await harness.appdb.tokens.add(numbers[0], "reader", now_us=now_us, scope=AccessScope(numbers=numbers))
        async with harness.client(token) as reader, reader.get("/api/v1/recording", params=requested_range()) as answer:
            assert answer.status == status
    async with harness.client("") as anonymous:
        assert (await anonymous.get("/api/v1/recording", params=requested_range())).status == 401


@pytest.mark.parametrize(
    "name",
    [
        "../secret.wav",
        "2026/../../secret.wav",
        "link.wav",
        "directory/secret.wav",
        "/etc/passwd",
        "{here}/secret.wav",
        "..\\secret.wav",
        "notes.txt",
        "onhook.db",
        "2026",
        "",
        "\0.wav",
        "x" * 5_000 + ".wav",
        "pipe.wav",
    ],
)
def test_recording_path_outside_directory_is_rejected(tmp_path: Path, name: str) -> None:
    """This includes dots, absolute paths, links, pipes, invalid names, and files that are not audio."""
    directory = tmp_path / "recordings"
    (directory / "2026").mkdir(parents=True)
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (directory / "notes.txt").write_text("a note")
    (directory / "link.wav").symlink_to(tmp_path / "secret.wav")
    (directory / "directory").symlink_to(tmp_path)
    (directory / "2026" / "right.WAV").write_bytes(b"sound")
    (directory / "pipe.wav").mkdir()
    assert find_recording_file(directory, name.format(here=tmp_path)) is None
    assert find_recording_file(directory, "2026/right.WAV") == directory.resolve() / "2026" / "right.WAV"


@pytest.mark.usefixtures("recordings_directory")
async def test_reads_that_matter_are_in_the_audit_log_once_an_hour(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """A player reads in parts; an export without access, and a recording that is not here, are no reads."""
    for range_header in ("bytes=0-99", "bytes=100-199"):
        await client.get("/api/v1/recording", params=requested_range(), headers={"Range": range_header})
    await client.get("/api/v1/recording", params=requested_range(number=2))
    await client.get("/api/v1/export.csv", params={"status": "answered"})
    async with harness.client("wrong") as outsider:
        await outsider.get("/api/v1/export.csv")
    await client.get("/events/2")
    await client.get("/api/v1/events/2")
    entries = reversed(await harness.appdb.audit.latest(20))
    reads = [(entry.actor, entry.way, entry.action) for entry in entries if entry.before == entry.after == {}]
    assert reads == [
        ("admin", "api", f"recording {NAME} of call {CALL_ID}"),
        ("admin", "api", "export csv: status=answered"),
        ("admin", "page", "raw event 2"),
    ]
