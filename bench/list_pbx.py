"""A PBX with a list of so many calls, one each second, that answers as fast as it can: `python -m bench.list_pbx ROWS`.

It prints its port. No row is stored: each is generated when it is requested.
"""

import asyncio
import sys
import time
from collections.abc import Mapping

import msgspec
from aiohttp import web

BEGUN = 1_700_000_000
"""Begin of the first call in Unix seconds."""


class RowPbx:
    """Tokens, system information, and the two requests of a back-fill."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    async def answer(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        if name == "get_token":
            token = {"access_token": "token", "access_token_expire_time": 1800, "refresh_token": "refresh"}
            return answered(token)
        if name == "information":
            return answered({"data": {"timestamp": round(time.time())}})
        if name in ("search", "list"):
            return self._page(request.query, is_search=name == "search")
        return answered({})

    def _page(self, query: Mapping[str, str], *, is_search: bool) -> web.Response:
        first, last = 0, self._rows
        if is_search:
            first = min(self._rows, max(0, int(query["start_time"]) - BEGUN))
            last = min(self._rows, max(0, int(query["end_time"]) - BEGUN + 1))
        size = int(query["page_size"])
        begin = first + (int(query["page"]) - 1) * size
        rows = [row(number) for number in range(begin, min(begin + size, last))]
        return answered({"total_number": max(0, last - first), "data": rows})


def row(number: int) -> dict[str, object]:
    """Return a call from Alice to Bob, different for each number."""
    begun = BEGUN + number
    return {
        "call_id": f"{begun}.{number}",
        "time": "",
        "timestamp": begun,
        "uid": "",
        "call_from": "Alice<1001>",
        "call_from_number": "1001",
        "call_from_name": "Alice",
        "call_to": "Bob<1002>",
        "call_to_number": "1002",
        "call_to_name": "Bob",
        "duration": 30 + number % 60,
        "talk_duration": 20,
        "disposition": "ANSWERED",
        "call_type": "Internal",
        "new_id": f"{number:08X}-D30000CD",
        "pin_code": "",
    } | {"uid": _stamp(begun)}


def _stamp(begun: int) -> str:
    """Return a time as in ids, in UTC."""
    days, seconds = divmod(begun, 86_400)
    year, month, day = _date(days)
    return f"{year:04}{month:02}{day:02}{seconds // 3600:02}{seconds // 60 % 60:02}{seconds % 60:02}AB3D1"


def _date(days: int) -> tuple[int, int, int]:
    """Return the civil date of days since 1970, without an object for each."""
    shifted = days + 719_468
    era, of_era = divmod(shifted, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return year + era * 400 + (month <= 2), month, day


def answered(members: dict[str, object]) -> web.Response:
    return web.Response(body=msgspec.json.encode({"errcode": 0, "errmsg": "SUCCESS"} | members))


async def serve(rows: int) -> None:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", RowPbx(rows).answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
