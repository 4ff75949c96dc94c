"""Imports of each process, and what it prints when an extension module crashes."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from onhook.config import Address, Config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError
from onhook.runtime.child import build_command
from onhook.store.duckdb import open_store
from onhook.store.sql.runner import QUERY_MODULE, SqlProcessRunner
from onhook.store.sql.store_copy import COPY_MODULE, StoreCopy
from tests.store.sql.attacks import TOO_SLOW
from tests.waiting import PAUSE_SECONDS, SECONDS_MAX

HEAVY = ("duckdb", "pyarrow", "litestar", "typer", "rich", "aiohttp", "structlog", "jinja2", "yarl", "pydantic")
BROKERS = ("aiokafka", "aiormq", "nats", "paho", "redis")
RARE = (
    "asyncpg",
    "cryptography",
    "pg8000",
    "phonenumbers",
    "pydantic",
    "pymysql",
    "rich",
    "structlog",
    "typer",
    *BROKERS,
)


each_crash = pytest.mark.parametrize(
    ("crash", "title"),
    [("SIGSEGV", "Segmentation fault"), pytest.param("SIGABRT", "Aborted", marks=pytest.mark.slow)],
)


@pytest.mark.parametrize("module", ["onhook.runtime.intake_process", "onhook.runtime.supervisor"])
def test_receiver_and_supervisor_import_nothing_heavy(module: str) -> None:
    """No library that only reading needs."""
    script = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout.split() == []


def test_hub_imports_nothing_that_few_sites_need() -> None:
    """Neither its modules nor the framework, which has plugins for libraries of the command line."""
    script = (
        "import sys, onhook.runtime.hub_process; from onhook.console.app import create_routes; create_routes();"
        f"print(*sorted(set(sys.modules) & set({RARE!r})))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.split() == []


def test_processes_import_nothing_from_the_current_directory(tmp_path: Path) -> None:
    """The server may be started in any directory."""
    (tmp_path / "msgspec.py").write_text("raise ImportError('not ours')")
    subprocess.run(build_command("onhook.runtime.child", Config()), cwd=tmp_path, check=True, timeout=30)


def wait_for_rest(pid: int) -> None:
    """Wait until all threads sleep: the stack of one that runs changes while another thread prints it."""
    ends_at = time.monotonic() + SECONDS_MAX
    while thread_states(pid) != {"S"}:
        assert time.monotonic() < ends_at
        time.sleep(PAUSE_SECONDS)


def thread_states(pid: int) -> set[str]:
    """Return the states of the threads of a process, as `ps` abbreviates them."""
    states = set()
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # one that has ended
            states.add(path.read_text().rpartition(")")[2].split()[0])
    return states


@each_crash
@pytest.mark.parametrize("process", ["intake", "hub"])
def test_process_that_crashes_prints_the_stacks_of_its_threads(
    process: str, crash: str, title: str, tmp_path: Path
) -> None:
    """On standard error, which is the log of the server."""
    listener = Address("127.0.0.1", 0)
    config = Config(data=tmp_path, intake=listener, console=listener)
    command = build_command(f"onhook.runtime.{process}_process", config)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert b"address" in child.stdout.readline()
        wait_for_rest(child.pid)
        child.send_signal(signal.Signals[crash])
        text = child.stderr.read().decode()
    assert child.returncode == -signal.Signals[crash]
    assert f"Fatal Python error: {title}" in text
    assert "run_child" in text


@each_crash
@pytest.mark.parametrize("module", [QUERY_MODULE, COPY_MODULE])
async def test_process_for_sql_that_crashes_leaves_its_stacks_in_the_log(
    module: str, crash: str, title: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """So an error of the engine can be found; the reader's message has the reason alone."""
    answer = asyncio.create_task(_run_slow_process(module, tmp_path))
    async with asyncio.timeout(60):
        while not (pids := _child_pids(module)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # the system has no event for it
    # Its interpreter has started, and with it the handler of the signal, once a module of Onhook is there.
    async with asyncio.timeout(60):
        while b"duckdb" not in await asyncio.to_thread(Path(f"/proc/{pids[0]}/maps").read_bytes):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    with caplog.at_level(logging.WARNING, "sql"):
        os.kill(pids[0], signal.Signals[crash])
        with pytest.raises(OnhookError) as caught:
            await answer
    (record,) = [record for record in caplog.records if hasattr(record, "output")]
    assert vars(record)["reason"] == crash
    assert f"Fatal Python error: {title}" in vars(record)["output"]
    assert "File " not in str(caught.value)


async def _run_slow_process(module: str, directory: Path) -> None:
    """Start a process that does not end by itself soon: an endless query, or a copy of a file that sends nothing."""
    store_file = directory / "calls.duckdb"
    if module == COPY_MODULE:
        os.mkfifo(store_file)
        async with StoreCopy(store_file, directory / "sql", SystemClock()).use():
            return
    store = await open_store(store_file)
    runner = SqlProcessRunner(store_file, directory / "sql", SystemClock())
    try:
        await runner.run(TOO_SLOW[0])
    finally:
        await runner.close()
        await store.close()


def _child_pids(module: str) -> list[int]:
    """Return the processes of a module that this one has started."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                is_child = f"PPid:\t{os.getpid()}" in (entry / "status").read_text()
                if is_child and module in (entry / "cmdline").read_text():
                    pids.append(int(entry.name))
            except OSError:
                continue
    return pids
