"""The store, opened for its owner alone."""

import asyncio
from pathlib import Path

from onhook.config import SECRET_FILE_MODE
from onhook.store.duckdb import open_store
from onhook.store.store import Store


async def store_at(path: Path) -> Store:
    """Open the store, making it if it is not there; callers' numbers are inside. Raises `OnhookError`."""
    store = await open_store(path)
    await asyncio.to_thread(path.chmod, SECRET_FILE_MODE)
    return store
