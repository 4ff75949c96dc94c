"""A receiver in a process of its own: `python -m tests.receiver.open_receiver FILE PORT` prints `open`."""

import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from onhook.config import Address
from tests.receiver.harness import ReceiverHarness


async def serve(path: Path, port: int) -> None:
    receiver = ReceiverHarness(path)
    await receiver.server.start(Address("127.0.0.1", port))
    sys.stdout.write("open\n")
    sys.stdout.flush()
    stop_event = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop_event.set)
    await stop_event.wait()
    await receiver.server.stop()
    await receiver.ingestor.close()
    await receiver.ledger.close()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
