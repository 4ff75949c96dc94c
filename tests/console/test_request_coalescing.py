"""Coalescing of equal requests: one query for all, and no result older than a second."""

import asyncio

import pytest

from onhook.console.request_coalescing import ENTRIES_MAX, RequestCoalescer


class Asked:
    """Counts the queries; fails while `fails` is set."""

    def __init__(self, *, fails: bool = False) -> None:
        self.times = 0
        self.fails = fails

    async def look_up(self) -> int:
        self.times += 1
        await asyncio.sleep(0)
        if self.fails:
            raise ValueError("not now")
        return self.times


async def test_coalescer_equal_requests_share_one_query() -> None:
    """At the same moment, and a moment later; another request has its own."""
    answers, query = RequestCoalescer(), Asked()
    assert await asyncio.gather(*(answers.get((7, "calls"), query.look_up) for _ in range(20))) == [1] * 20
    assert await answers.get((7, "calls"), query.look_up) == 1
    assert await answers.get((8, "calls"), query.look_up) == 2


async def test_coalescer_result_expires() -> None:
    """After a second."""
    answers, query = RequestCoalescer(), Asked()
    assert [await answers.get("counters", query.look_up, max_age_seconds=0.0) for _ in range(2)] == [1, 2]


async def test_coalescer_error_is_not_cached() -> None:
    """The next request queries again; a cancelled request does not cancel the others."""
    answers, query = RequestCoalescer(), Asked(fails=True)
    with pytest.raises(ValueError, match="not now"):
        await answers.get("calls", query.look_up)
    query.fails = False
    leaving = asyncio.create_task(answers.get("calls", query.look_up))
    staying = asyncio.create_task(answers.get("calls", query.look_up))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 2


async def test_coalescer_results_are_limited_in_number() -> None:
    answers = RequestCoalescer()
    for n in range(3 * ENTRIES_MAX):
        await answers.get(n, Asked().look_up)
    assert len(answers._entries) == ENTRIES_MAX
