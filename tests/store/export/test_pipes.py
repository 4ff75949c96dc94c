"""What DuckDB writes into a pipe."""

from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.store.export.pipes import PIPE_BYTES, read_lines

TEXTS = st.lists(st.text(st.sampled_from("\"',;|\t\r\n\\\x00\x01\x1f\x7f\x9bNUL é🎧"), max_size=20), max_size=30)


@given(texts=TEXTS)
def test_read_lines_returns_any_text_unchanged(texts: list[str]) -> None:
    """Also where a text contains what CSV would quote, and the order is that of the query."""
    with duckdb.connect() as connection:
        query = "SELECT line || chr(13) FROM (SELECT unnest($texts::VARCHAR[]) AS line)"
        assert read_lines(connection, query, {"texts": texts}) == "".join(f"{text}\r\n" for text in texts).encode()


def test_read_lines_returns_more_than_a_pipe_holds() -> None:
    with duckdb.connect() as connection:
        content = read_lines(connection, "SELECT repeat('x', 99) FROM range($count)", {"count": PIPE_BYTES // 25})
    assert content == (b"x" * 99 + b"\n") * (PIPE_BYTES // 25)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="lists descriptors as Linux does")
def test_read_lines_of_a_query_that_fails_raises_and_closes_its_pipe() -> None:
    with duckdb.connect() as connection:
        read_lines(connection, "SELECT 'x'", {})
        descriptor_count = len(list(Path("/proc/self/fd").iterdir()))
        for query in ("SELECT ghost", "SELECT error('end') FROM range(10) WHERE range > 4"):
            with pytest.raises(duckdb.Error):
                read_lines(connection, query, {})
        assert len(list(Path("/proc/self/fd").iterdir())) == descriptor_count
