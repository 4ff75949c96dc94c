"""What `make dist` builds: complete, the same each time, and enough to run."""

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from onhook.config import parse_address
from tests.runtime.harness import create_server, wait_until
from tests.wheelhouse import write_wheels
from tools.distribution import DistributionError, build_distribution, read_epoch, read_version, run_git

ROOT = Path(__file__).parents[1]
EPOCH = 1_795_000_000
INSTALL_SECONDS_MAX = 280


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a wheel, an sdist and a bill of materials."""
    directory = tmp_path_factory.mktemp("built")
    build_distribution(ROOT, directory, EPOCH)
    return directory


@pytest.fixture
def wheel(built: Path) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        yield archive


@pytest.mark.slow
def test_distribution_built_twice_is_equal_byte_for_byte(built: Path, tmp_path: Path) -> None:
    """Also from files with other times and modes, under another umask."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=lambda path, names: [".venv", ".mypy_cache"] if Path(path) == ROOT else [])
    for path in (copy / "README.md", copy / "src" / "onhook" / "config.py"):
        path.chmod(0o600)
        os.utime(path, (1, 1))
    umask = os.umask(0o077)
    try:
        paths = build_distribution(copy, tmp_path / "again", EPOCH)
    finally:
        os.umask(umask)
    assert len(paths) == 3
    assert {path.name: path.read_bytes() for path in paths} == {p.name: p.read_bytes() for p in built.iterdir()}


@pytest.mark.slow
def test_distribution_wheel_has_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    tracked = {name.removeprefix("src/") for name in run_git(ROOT, "ls-files", "src/onhook").split()}
    names = set(wheel.namelist())
    assert {name for name in names if name.startswith("onhook/")} == tracked
    assert {name.partition("/")[2] for name in names - tracked} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "data/share/man/man1/onhook.1",
        "entry_points.txt",
        "licenses/LICENSE",
        "top_level.txt",
    }
    metadata = wheel.read(f"onhook-{read_version(ROOT)}.dist-info/METADATA").decode()
    assert "\nDescription-Content-Type: text/markdown\n" in metadata
    assert (ROOT / "README.md").read_text() in metadata
    assert [line for line in metadata.splitlines() if "Programming Language" in line] == [
        "Classifier: Programming Language :: Python :: 3 :: Only",
        "Classifier: Programming Language :: Python :: 3.11",
    ]


@pytest.mark.slow
def test_distribution_wheel_of_the_sdist_is_the_same(built: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
        members = archive.getmembers()
    (source,) = tmp_path.iterdir()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(EPOCH, 0, 0, "")}
    assert {member.name.split("/")[1] for member in members}.isdisjoint({"tests", "bench", "tools"})
    assert (source / "docs" / "commands.md").read_bytes() == (ROOT / "docs" / "commands.md").read_bytes()
    # Modules of the sdist are found before those of this checkout.
    script = f"import setuptools.build_meta as backend; backend.build_wheel({str(tmp_path)!r})"
    environment = {"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": str(EPOCH)}
    subprocess.run([sys.executable, "-c", script], cwd=source, env=environment, check=True, capture_output=True)
    (rebuilt_wheel,) = tmp_path.glob("*.whl")
    (wheel,) = built.glob("*.whl")
    assert rebuilt_wheel.read_bytes() == wheel.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_distribution_wheel_alone_runs_the_demo(built: Path, tmp_path: Path) -> None:
    """In a new environment, with dependencies and nothing else: calls, pages, man page, version."""
    write_wheels(tmp_path / "wheelhouse")
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    install = [str(environment / "bin" / "python"), "-m", "pip", "install", "--no-index", "--find-links"]
    subprocess.run(
        [*install, str(tmp_path / "wheelhouse"), str(next(built.glob("*.whl")))],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull},
        check=True,
        capture_output=True,
        timeout=INSTALL_SECONDS_MAX,
    )
    with create_server(tmp_path / "data", environment / "bin" / "onhook") as server:
        assert server.run_command("--version").startswith(f"onhook {read_version(ROOT)} (Python ")
        assert (environment / "share" / "man" / "man1" / "onhook.1").read_text().startswith(".TH ONHOOK 1 ")
        server.start("--demo")
        wait_until(lambda: len(server.calls()) > 100, read_progress=server.read_progress)
        (script,) = (path.name for path in (ROOT / "src/onhook/console/static").glob("live.js"))
        assert "Sign in" in _read_page(server.address("hub"), "/sign-in")
        assert _read_page(server.address("hub"), f"/static/{script}")
        assert server.stop() == 0


def _read_page(address_text: str | None, path: str) -> str:
    address = parse_address(address_text, "running.json")
    with contextlib.closing(http.client.HTTPConnection(address.host, address.port, timeout=30)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200, path
        return response.read().decode()


def test_distribution_time_is_of_the_environment_or_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))
    assert read_epoch(ROOT) == EPOCH
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(DistributionError, match="cannot be 'yesterday'"):
        read_epoch(ROOT)


def test_distribution_without_a_repository_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(DistributionError, match="build in a clone of the repository"):
        read_epoch(tmp_path)
