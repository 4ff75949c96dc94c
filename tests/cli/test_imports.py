"""No command imports a package that it does not need."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.counts import sampled

WEB = frozenset({"aiohttp", "granian", "httptools", "jinja2", "litestar", "prometheus_client", "uvloop"})
CDR_DATABASES = frozenset({"pg8000", "pymysql"})
RARE = frozenset({"cryptography", "phonenumbers", "pydantic", "xlsxwriter", "yarl"})
"""Conversion of values that are not plainly valid, certificates, foreign notations of numbers, spreadsheets, URLs."""

HEAVY = WEB | CDR_DATABASES | RARE

FORBIDDEN: Mapping[str, frozenset[str]] = {
    "--help": HEAVY | {"asyncio", "duckdb", "msgspec", "onhook.config", "sqlite3"},
    "version": HEAVY | {"asyncio", "duckdb", "msgspec", "onhook.config", "rich", "sqlite3", "typer"},
    "calls": HEAVY,
    "calls --limit 5 --format json --since today --status answered": HEAVY,
    "records": HEAVY,
    "export calls.csv": HEAVY - {"pydantic"},  # checks the path
    "quarantine list": HEAVY,
    "pbx list": (HEAVY | {"duckdb"}) - {"aiohttp", "yarl"},
    "user list": HEAVY | {"duckdb"},
    "token list": HEAVY | {"duckdb"},
    "app list": HEAVY | {"duckdb"},
}
"""The line of a command and the modules that it does not import, with a data directory and without a server."""

SCRIPT = """
import sys
sys.argv[1:] = {arguments!r}
from onhook.cli.entry import main
code = main()
import json
print(json.dumps([code, sorted(sys.modules)]))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory with a PBX and an empty ledger."""
    directory = tmp_path_factory.mktemp("data")
    _run("pbx add Office --sn 369151A1B2C3 --secret 0123456789abcdef", directory)
    (directory / "none.jsonl").touch()
    _run(f"import-events {directory / 'none.jsonl'}", directory)
    return directory


def _run(line: str, data: Path) -> list[str]:
    """Return the modules that a command has imported."""
    script = SCRIPT.format(arguments=line.split())
    # Without the measurement of coverage, which imports modules of its own.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    environment = {**inherited, "ONHOOK_DATA": str(data)}
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, env=environment, cwd=data, capture_output=True, text=True, check=True, timeout=60)
    code, modules = json.loads(result.stdout.splitlines()[-1])
    assert code == 0, result.stderr
    return list(modules)


@pytest.mark.parametrize("line", sampled(tuple(FORBIDDEN)))
def test_command_imports_no_package_that_it_does_not_need(line: str, data: Path) -> None:
    assert FORBIDDEN[line].intersection(_run(line, data)) == set()
