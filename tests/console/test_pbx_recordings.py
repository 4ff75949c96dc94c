"""The directory with recordings on the page of a PBX: below the root of the configuration, and nowhere else."""

import html
from pathlib import Path

import pytest

from onhook.console.recordings_setup import LISTED_MAX, find_directory, list_directories
from onhook.lib.errors import UsageError
from tests.console.conftest import ConsoleHarness, open_console_harness
from tests.factories import SN

PATH = f"/pbxs/{SN}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with two directories, a hidden one, a file, and links that lead out of it."""
    root = tmp_path / "recordings"
    for name in ("office", "branch/2026", ".trash"):
        (root / name).mkdir(parents=True)
    (root / "readme.txt").write_text("no directory", encoding="utf-8")
    (tmp_path / "outside").mkdir()
    (root / "way-out").symlink_to(tmp_path / "outside")
    (root / "way-in").symlink_to(root / "office")
    return root


@pytest.mark.parametrize(
    ("text", "name"), [("office", "office"), ("branch/2026", "branch/2026"), ("way-in", "office"), (".", ".")]
)
def test_recordings_directory_below_the_root_is_found(root: Path, text: str, name: str) -> None:
    assert find_directory(str(root), text) == (root / name).resolve()
    assert find_directory(str(root), str(root / text)) == (root / name).resolve()


@pytest.mark.parametrize(
    "text",
    [
        *("..", "../outside", "office/../../outside", "way-out", "/etc", "/", "nothing", "readme.txt"),
        *("x" * 5_000, "a\0b"),
    ],
)
def test_recordings_directory_elsewhere_is_like_none(root: Path, text: str) -> None:
    """Whether there is something outside of the root cannot be learnt."""
    with pytest.raises(UsageError, match="there is no readable directory"):
        find_directory(str(root), text)


def test_recordings_directory_without_a_root_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match="no page may name a directory"):
        find_directory("", str(root))
    assert find_directory("", "") is None


def test_recordings_directories_are_listed_and_bounded(root: Path) -> None:
    assert list_directories(str(root)) == ["branch", "office", "way-in", "way-out"]
    assert list_directories("") == list_directories(str(root / "nothing")) == []
    for number in range(LISTED_MAX):
        (root / f"pbx-{number}").mkdir()
    assert len(list_directories(str(root))) == LISTED_MAX


async def test_pbx_page_chooses_the_directory_of_its_recordings(tmp_path: Path, root: Path) -> None:
    async with (
        open_console_harness(tmp_path / "data", recordings_root=str(root)) as harness,
        harness.client() as client,
    ):
        assert '<option value="office">' in await (await client.get(PATH)).text()
        page = await (await client.post(f"{PATH}/recordings", data={"directory": "office"})).text()
        assert "Settings saved." in page
        assert f"They are played from {root / 'office'}." in page
        assert await harness.appdb.recordings.get(SN) == root / "office"
        page = html.unescape(await (await client.post(f"{PATH}/recordings", data={"directory": "../outside"})).text())
        assert "There is no readable directory '../outside' below" in page
        assert await harness.appdb.recordings.get(SN) == root / "office"
        await client.post(f"{PATH}/recordings", data={"directory": ""})
        assert await harness.appdb.recordings.get(SN) is None


async def test_pbx_page_without_a_root_names_the_command(harness: ConsoleHarness) -> None:
    """And takes no directory; a reader sees none."""
    async with harness.client() as client:
        page = await (await client.get(PATH)).text()
        assert "onhook pbx change office --recordings DIR" in page
        assert f'action="{PATH}/recordings"' not in page
        page = await (await client.post(f"{PATH}/recordings", data={"directory": "/etc"})).text()
        assert "No page may name a directory with recordings" in page
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as client:
        assert 'id="recordings"' not in await (await client.get(PATH)).text()
        assert (await client.post(f"{PATH}/recordings", data={"directory": ""})).status == 403
    assert await harness.appdb.recordings.get(SN) is None
