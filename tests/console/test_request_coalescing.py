"""What several ask at the same moment is looked up once, and no answer is older than a second."""

import asyncio

import pytest

from onhook.console.request_coalescing import ENTRIES_MAX, RequestCoalescer


class Asked:
    """Counts how often it was looked up; fails as long as it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.times = 0
        self.fails = fails

    async def look_up(self) -> int:
        self.times += 1
        await asyncio.sleep(0)
        if self.fails:
            raise ValueError("not now")
        return self.times


async def test_many_ask_once() -> None:
    """At the same moment, and a moment later; another question is looked up for itself."""
    answers, asked = RequestCoalescer(), Asked()
    assert await asyncio.gather(*(answers.get((7, "calls"), asked.look_up) for _ in range(20))) == [1] * 20
    assert await answers.get((7, "calls"), asked.look_up) == 1
    assert await answers.get((8, "calls"), asked.look_up) == 2


async def test_answers_grow_old() -> None:
    """Past its second an answer is looked up anew."""
    answers, asked = RequestCoalescer(), Asked()
    assert [await answers.get("counters", asked.look_up, max_age_seconds=0.0) for _ in range(2)] == [1, 2]


async def test_trouble_is_not_kept() -> None:
    """Who asks after it went wrong has it looked up again; who goes away takes nothing from the others."""
    answers, asked = RequestCoalescer(), Asked(fails=True)
    with pytest.raises(ValueError, match="not now"):
        await answers.get("calls", asked.look_up)
    asked.fails = False
    leaving = asyncio.create_task(answers.get("calls", asked.look_up))
    staying = asyncio.create_task(answers.get("calls", asked.look_up))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 2


async def test_few_are_kept() -> None:
    """However many questions there are, so many answers are remembered."""
    answers = RequestCoalescer()
    for n in range(3 * ENTRIES_MAX):
        await answers.get(n, Asked().look_up)
    assert len(answers._entries) == ENTRIES_MAX
