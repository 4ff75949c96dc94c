"""Upgrade of data directories of earlier commits, with the same calls, destinations and users.

Each archive in `tests/data_directories` was made by the commit that it is named after; `COMMIT.expected.tar.xz` has the
API's answers of that version.
"""

import json
import sqlite3
import tarfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.passwords import verify_password
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Config
from onhook.ops.rebuild import rebuild
from onhook.runtime.data_files import open_files
from onhook.runtime.engines import ENGINES
from onhook.store.contract import PAGE_MAX

DIRECTORIES = Path(__file__).parent / "data_directories"
STATES = {"waiting": "retrying", "parked": "failed", "delivered": "delivered"}
COMMITS = ("9ed7d20", "7a0f07c", "fac98bd")


class OldDirectory:
    """An unpacked data directory, and the answers of the version that made it."""

    def __init__(self, commit: str, folder: Path) -> None:
        for name in (f"{commit}.tar.xz", f"{commit}.expected.tar.xz"):
            with tarfile.open(DIRECTORIES / name) as archive:
                archive.extractall(folder, filter="data")
        self.config = Config(data=folder / "onhook-data")
        self._folder = folder

    def expected(self, name: str) -> Any:
        path = self._folder / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else []

    def expected_records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self._folder / "export.jsonl").read_text().splitlines()]


@pytest.fixture(params=COMMITS)
def old_directory(request: pytest.FixtureRequest, tmp_path: Path) -> OldDirectory:
    return OldDirectory(request.param, tmp_path)


def names(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["name"] for row in rows)


async def test_upgrade_old_appdb_keeps_destinations_and_users(old_directory: OldDirectory) -> None:
    settings = AppDb(old_directory.config.appdb_file)
    try:
        destinations = [item["subscription"] for item in old_directory.expected("subscriptions")]
        assert [(destination.name, destination.state) for destination in await settings.destinations.all()] == sorted(
            ((item["name"], item["state"]) for item in destinations), key=lambda pair: pair[0].lower()
        )
        assert names([{"name": user.name} for user in await settings.users.all()]) == names(
            old_directory.expected("settings_people")
        )
        assert sorted(pbx.sn for pbx in await settings.pbxs()) == sorted(
            pbx_row["sn"] for pbx_row in old_directory.expected("pbxs")
        )
    finally:
        await settings.close()


async def test_upgrade_old_appdb_keeps_deliveries_of_each_state(old_directory: OldDirectory) -> None:
    rows = old_directory.expected("onhook_db_rows")
    expected = sorted(STATES[row["state"]] for row in rows.get("deliveries", ()))
    async with AppDb(old_directory.config.appdb_file):
        pass
    database = sqlite3.connect(old_directory.config.appdb_file)
    try:
        states = [state for (state,) in database.execute("SELECT state FROM deliveries ORDER BY state")]
    finally:
        database.close()
    assert states == expected


def is_conference(extra: dict[str, Any]) -> bool:
    """Return whether a record is a participant of a conference, whose id has the participant's channel since."""
    return extra.get("last_application") == "ConfBridge"


def comparable(record: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the values of a record that a version made too; `names` are the members of `extra` that it had."""
    extra = {name: value for name, value in record["extra"].items() if name in names}
    return record | {"extra": extra} | ({"record_id": ""} if is_conference(record["extra"]) else {})


async def test_upgrade_rebuilt_store_has_the_same_records(old_directory: OldDirectory) -> None:
    """Each with the same values: those of the event, and those that Onhook derives."""
    await rebuild(old_directory.config, lambda _position, _last: None, ENGINES)
    expected_records = old_directory.expected_records()
    async with open_files(old_directory.config) as files:
        records = []
        cursor = None
        while True:
            page = await files.store.records(RecordFilter(), PAGE_MAX, cursor)
            records += [msgspec.to_builtins(record) for record in page.data]
            cursor = page.next
            if cursor is None:
                break

    def key(record: dict[str, Any]) -> tuple[Any, ...]:
        return (
            record["sn"],
            record["call_id"],
            record["seq"],
            record["time_start"],
            record["call_to"],
            record["call_from"],
        )

    assert len(records) == len(expected_records)
    for record, expected in zip(sorted(records, key=key), sorted(expected_records, key=key), strict=True):
        names = expected["extra"].keys()
        assert {name: comparable(record, names)[name] for name in expected} == comparable(expected, names)


async def test_upgrade_users_sign_in_with_their_passwords(old_directory: OldDirectory) -> None:
    """And programs with their tokens."""
    secrets = old_directory.expected("secrets")
    async with AppDb(old_directory.config.appdb_file) as appdb:
        for name, password in secrets.get("passwords", {}).items():
            password_hash = await appdb.users.get_password_hash(name)
            assert verify_password(password, password_hash)
            assert not verify_password("another long password", password_hash)
        for label, text in secrets.items():
            if label.startswith("token "):
                token = await appdb.tokens.find(text.strip(), now_us=1)
                assert token is not None
                assert label.startswith(f"token {token.name}")
