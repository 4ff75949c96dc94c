"""What each process loads."""

import subprocess
import sys

import pytest

HEAVY = ("duckdb", "pyarrow", "litestar", "typer", "rich", "aiohttp", "structlog", "jinja2")


@pytest.mark.parametrize("module", ["onhook.hub.intake_process", "onhook.hub.supervisor"])
def test_what_must_be_small_and_fast_loads_nothing_heavy(module: str) -> None:
    """The intake and the supervisor import no library that only reading needs."""
    script = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == []
