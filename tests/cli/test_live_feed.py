"""The live feed as the command line reads it."""

import http.client
from contextlib import AbstractContextManager

import pytest

from onhook.cli.live_feed import follow_calls


async def test_follow_calls_raises_whatever_ends_the_feed() -> None:
    """Also an error that no one has thought of: a command that waits for ever says nothing."""

    def fail(_last_seq: str) -> AbstractContextManager[http.client.HTTPResponse]:
        raise http.client.IncompleteRead(b"")

    with pytest.raises(http.client.IncompleteRead):
        await anext(follow_calls(fail))
