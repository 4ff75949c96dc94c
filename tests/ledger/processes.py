"""Programs that the ledger tests run in other processes: `python -m tests.ledger.processes append FILE 1 500`."""

import asyncio
import resource
import sys
from pathlib import Path

from onhook.ledger.jetstream_copy import copy_to_jetstream
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import Unavailable
from tests.ledger.entries import entries, entry


async def append(path: Path, first: int, last: int) -> None:
    """Append one by one, again and again as a PBX does; print the number of each acknowledged entry."""
    ledger = SqliteLedger(path)
    for number in range(first, last + 1):
        while not await _is_appended(ledger, number):
            pass
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
    await ledger.close()


async def _is_appended(ledger: SqliteLedger, number: int) -> bool:
    try:
        await ledger.append([entry(number)])
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        return False
    return True


async def fill(path: Path, file_bytes_max: int) -> None:
    """Append until the file size limit, then lift the limit and append again; print the acknowledged numbers."""
    ledger = SqliteLedger(path)
    _, hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, hard_limit))
    number, refused_count = 0, 0
    while refused_count < 20:
        try:
            await ledger.append(entries(number, number + 9))
            sys.stdout.write("".join(f"{n}\n" for n in range(number, number + 10)))
        except Unavailable:
            refused_count += 1
        number += 10
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard_limit, hard_limit))
    await ledger.append([entry(number)])
    sys.stdout.write(f"{number}\n")
    await ledger.close()


if __name__ == "__main__":
    action, path, *numbers = sys.argv[1:]
    match action:
        case "append":
            asyncio.run(append(Path(path), int(numbers[0]), int(numbers[1])))
        case "copy":
            asyncio.run(copy_to_jetstream(Path(path), numbers[0]))
        case _:
            asyncio.run(fill(Path(path), int(numbers[0])))
