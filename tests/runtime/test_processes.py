"""Imports of each process."""

import subprocess
import sys
from pathlib import Path

import pytest

from onhook.config import Config
from onhook.runtime.child import build_command

HEAVY = ("duckdb", "pyarrow", "litestar", "typer", "rich", "aiohttp", "structlog", "jinja2", "yarl", "pydantic")
RARE = ("cryptography", "pg8000", "phonenumbers", "pydantic", "pymysql", "rich", "structlog", "typer")


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
