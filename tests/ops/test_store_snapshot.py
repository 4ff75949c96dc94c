"""Copies of a store, without the servers of several machines."""

from pathlib import Path

import msgspec
import pytest

from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import Unavailable
from onhook.ops import store_snapshot
from onhook.ops.rebuild import replace_store_file
from onhook.ops.store_snapshot import ATTEMPTS_MAX
from onhook.runtime.engines import ENGINES
from onhook.store.connections import damage_mark
from onhook.store.contract import Store, StoreUnusable


@pytest.mark.parametrize(("damaged_count", "is_copied"), [(1, True), (ATTEMPTS_MAX, False)])
async def test_store_whose_first_copy_is_damaged_is_copied_again(
    tmp_path: Path, damaged_count: int, is_copied: bool
) -> None:
    """The mark of one copy says nothing of the next."""
    source, target = tmp_path / "calls.duckdb", tmp_path / "copy.duckdb"
    await (await ENGINES.open_store(source)).close()
    openings: list[Path] = []

    async def open_store(path: Path) -> Store:
        store = await ENGINES.open_store(path)
        openings.append(path)
        if len(openings) <= damaged_count:
            await store.close()
            damage_mark(path).touch()
            raise StoreUnusable("torn page", hint="copy it again")
        return store

    engines = msgspec.structs.replace(ENGINES, open_store=open_store)
    ledger = SqliteLedger(tmp_path / "ledger.db")
    try:
        if is_copied:
            assert await store_snapshot._copy_store(source, target, ledger, engines) == 0
            assert not damage_mark(target).exists()
        else:
            with pytest.raises(Unavailable, match="written too fast"):
                await store_snapshot._copy_store(source, target, ledger, engines)
        assert openings == [target] * min(damaged_count + 1, ATTEMPTS_MAX)
    finally:
        await ledger.close()


def test_copy_that_is_gone_before_its_checksum_is_an_error_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot copy the store: No such file") as raised:
        store_snapshot._hash_file(tmp_path / "calls.duckdb")
    assert raised.value.location == str(tmp_path / "calls.duckdb")


def test_copy_that_cannot_become_the_store_is_an_error_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"")
    (tmp_path / "calls.duckdb" / "x").mkdir(parents=True)
    with pytest.raises(Unavailable, match="cannot replace the store") as raised:
        replace_store_file(tmp_path / "copy", tmp_path / "calls.duckdb")
    assert raised.value.location == str(tmp_path / "calls.duckdb")
