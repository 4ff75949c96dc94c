"""A program that is connected to Asterisk's REST interface and takes over channels (a Stasis application)."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import aiohttp

from tests.pbx.asterisk.lab import OPERATOR, OPERATOR_SECRET, WAIT_SECONDS_MAX, AsteriskLab


@contextlib.contextmanager
def open_stasis_application(lab: AsteriskLab, name: str) -> Iterator[None]:
    """Register an application, and keep it connected until the end of the block."""
    connected, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_receive(lab, name, connected, stop)), daemon=True)
    thread.start()
    assert connected.wait(WAIT_SECONDS_MAX)
    try:
        yield
    finally:
        stop.set()
        thread.join(WAIT_SECONDS_MAX)


async def _receive(lab: AsteriskLab, name: str, connected: threading.Event, stop: threading.Event) -> None:
    url = f"http://127.0.0.1:{lab.ports['HTTP_PORT']}/ari/events"
    query = {"app": name, "api_key": f"{OPERATOR}:{OPERATOR_SECRET}"}
    async with aiohttp.ClientSession() as session, session.ws_connect(url, params=query) as socket:
        connected.set()
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await socket.receive(timeout=0.2)
