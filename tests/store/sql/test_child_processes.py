"""Query processes as the hub sees them: their replies."""

import asyncio

import msgspec
import pytest

from onhook.store.sql.child_processes import DECODED_BYTES_MAX, decode_reply
from onhook.store.sql.contract import SqlCell
from onhook.store.sql.wire import QueryFailure, SqlReply


async def test_decode_reply_returns_what_was_encoded() -> None:
    failure = QueryFailure(message="m", hint="h", values={"count": 3})
    rows: list[list[SqlCell]] = [["a", None, 1.5, True, 2**64 - 1], ["ü", "", -1, False, 0]]
    for reply in (SqlReply(failure=failure), SqlReply(columns=["a"] * 5, rows=rows, is_truncated=True), SqlReply()):
        assert msgspec.json.encode(await decode_reply(msgspec.json.encode(reply))) == msgspec.json.encode(reply)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"rows":[[[]]]}', b'{"rows":[1]}', b'{"rows":[[1],'])
async def test_decode_reply_of_another_form_is_an_error(content: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        await decode_reply(content)


async def test_decode_reply_large_one_lets_other_tasks_run() -> None:
    """Between parts of a limited size: requests are answered meanwhile."""
    content = msgspec.json.encode(SqlReply(columns=["a"] * 40, rows=[[1] * 40] * 50_000))
    decoding = asyncio.create_task(decode_reply(content))
    turns = 0
    while not decoding.done():
        await asyncio.sleep(0)
        turns += 1
    assert len((await decoding).rows) == 50_000
    assert turns >= len(content) // DECODED_BYTES_MAX >= 10
