"""Coalescing of equal requests: one query for all, and no result older than a second."""

import asyncio

import pytest

from onhook.console.request_coalescing import ENTRIES_MAX, RequestCoalescer


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


async def test_coalescer_error_is_not_cached() -> None:
    """The next request queries again; a cancelled request does not cancel the others."""
    answers, query = RequestCoalescer(), CountedQuery(fails=True)
    with pytest.raises(ValueError, match="not now"):
        await answers.get("calls", query.run)
    query.fails = False
    leaving = asyncio.create_task(answers.get("calls", query.run))
    staying = asyncio.create_task(answers.get("calls", query.run))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 2


async def test_coalescer_results_are_bounded() -> None:
    answers = RequestCoalescer()
    for n in range(3 * ENTRIES_MAX):
        await answers.get(n, CountedQuery().run)
    assert len(answers._entries) == ENTRIES_MAX
