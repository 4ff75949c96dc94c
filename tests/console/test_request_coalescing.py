"""Coalescing of equal requests: one query for all, and no result older than a second."""

import asyncio

from onhook.console.request_coalescing import RequestCoalescer


class CountedQuery:
    """Counts queries; fails while `fails` is set."""

    def __init__(self, *, fails: bool = False) -> None:
        self.count = 0
        self.fails = fails

    async def run(self) -> int:
        self.count += 1
        await asyncio.sleep(0)
        if self.fails:
            raise ValueError("not now")
        return self.count


async def test_coalescer_equal_requests_share_one_query() -> None:
    """They may come at the same time or a moment later; another request has its own query."""
    answers, query = RequestCoalescer(), CountedQuery()
    assert await asyncio.gather(*(answers.get((7, "calls"), query.run) for _ in range(20))) == [1] * 20
    assert await answers.get((7, "calls"), query.run) == 1
    assert await answers.get((8, "calls"), query.run) == 2


async def test_coalescer_result_expires() -> None:
    answers, query = RequestCoalescer(), CountedQuery()
    assert [await answers.get("counters", query.run, max_age_seconds=0.0) for _ in range(2)] == [1, 2]
