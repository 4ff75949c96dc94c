"""A recording that is here is heard by those who may see its call; nothing else of the machine is."""

from pathlib import Path

import aiohttp
import pytest

from onhook.cdr.access_scope import AccessScope
from onhook.console.api.recordings import find_recording_file
from tests.console.conftest import ConsoleHarness
from tests.factories import SN, STARTED_AT, details

SOUND = bytes(range(256)) * 1024
CALL_ID = "1777287876.1"
NAME = "20260427190445-1777287876.1-1001-1002-Internal.wav"


@pytest.fixture
async def kept(harness: ConsoleHarness, tmp_path: Path) -> Path:
    """The directory of the PBX, with the recording of a call in it; a secret lies beside."""
    directory = tmp_path / "recordings"
    (directory / "2026").mkdir(parents=True)
    (directory / NAME).write_bytes(SOUND)
    (tmp_path / "secret.wav").write_bytes(b"secret")
    harness.appdb.recordings.put(SN, directory)
    await harness.ingest_details([details(STARTED_AT, call_id=CALL_ID, recording=NAME)])
    return directory


def asked(call_id: str = CALL_ID, number: int = 1) -> dict[str, str | int]:
    return {"sn": SN, "call_id": call_id, "number": number}


@pytest.mark.usefixtures("kept")
async def test_it_is_heard_whole_and_in_part(client: aiohttp.ClientSession) -> None:
    """With its type and length; a range as a player asks for it; 416 past the end; no other number."""
    answer = await client.get("/api/v1/recording", params=asked())
    assert (answer.status, answer.content_type, answer.headers["Accept-Ranges"]) == (200, "audio/wav", "bytes")
    assert await answer.read() == SOUND
    answer = await client.get("/api/v1/recording", params=asked(), headers={"Range": "bytes=100-199999"})
    assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes 100-199999/{len(SOUND)}")
    assert await answer.read() == SOUND[100:200_000]
    answer = await client.get("/api/v1/recording", params=asked(), headers={"Range": f"bytes={len(SOUND)}-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(SOUND)}")
    assert (await client.get("/api/v1/recording", params=asked(number=2))).status == 404


async def test_the_page_has_a_player_where_it_can_play(
    harness: ConsoleHarness, client: aiohttp.ClientSession, kept: Path
) -> None:
    """Else the name, and where it is."""
    page = f"/calls/{SN}/{CALL_ID}"
    assert "<audio" in await (await client.get(page)).text()
    (kept / NAME).unlink()
    text = await (await client.get(page)).text()
    assert "<audio" not in text
    assert "kept in the PBX" in text
    harness.appdb.recordings.put(SN, None)
    assert (await client.get("/api/v1/recording", params=asked())).status == 404


@pytest.mark.usefixtures("kept")
async def test_only_those_who_may_see_the_call(harness: ConsoleHarness) -> None:
    """A stranger, and a reader who is limited to others, hear nothing; one who may see the call hears it."""
    at = harness.clock.microseconds()
    for numbers, status in ((("1001",), 200), (("1009",), 404)):
        token = harness.appdb.add_token(numbers[0], "reader", now_us=at, scope=AccessScope(numbers=numbers))
        async with harness.client(token) as reader, reader.get("/api/v1/recording", params=asked()) as answer:
            assert answer.status == status
    async with harness.client("") as stranger:
        assert (await stranger.get("/api/v1/recording", params=asked())).status == 401


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
def test_nothing_else_is_reached(tmp_path: Path, name: str) -> None:
    """By dots, whole paths, links, pipes or names that no system has; and nothing that is no sound."""
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
