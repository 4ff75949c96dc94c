"""Ingest that waits while the ledger cannot be written."""

from collections.abc import Sequence

import pytest

from onhook.lib.errors import Unavailable
from onhook.receiver.verdict import Verdict
from onhook.sync import ingest_retry
from onhook.sync.ingest_retry import ingest_with_retry


class FailingIngest:
    """Gives each body its verdicts one after the other; the last one stays."""

    def __init__(self, **verdicts: Sequence[Verdict]) -> None:
        self._verdicts = {body.encode(): list(values) for body, values in verdicts.items()}
        self.bodies: list[bytes] = []

    async def __call__(self, body: bytes) -> Verdict:
        self.bodies.append(body)
        values = self._verdicts[body]
        return values.pop(0) if len(values) > 1 else values[0]


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_retry, "RETRY_SECONDS", 0)


async def test_ingest_with_retry_repeats_only_what_was_not_stored() -> None:
    """So that nothing that is stored is counted as a duplicate."""
    ingest = FailingIngest(a=["stored"], b=["unavailable", "too_many", "stored"], c=["unparsable"], d=["not_an_event"])
    assert await ingest_with_retry(ingest, [b"a", b"b", b"c", b"d"]) == [
        "stored",
        "stored",
        "unparsable",
        "not_an_event",
    ]
    assert ingest.bodies == [b"a", b"b", b"c", b"d", b"b", b"b"]


async def test_ingest_with_retry_gives_up_after_so_many_attempts() -> None:
    ingest = FailingIngest(a=["unavailable"])
    with pytest.raises(Unavailable, match="cannot write to the ledger"):
        await ingest_with_retry(ingest, [b"a"], attempts_max=3)
    assert len(ingest.bodies) == 3


async def test_ingest_with_retry_nothing_to_ingest_returns_at_once() -> None:
    assert await ingest_with_retry(FailingIngest(), [], attempts_max=0) == []


async def test_ingest_with_retry_many_bodies_are_ingested_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second batch begins after the first one is stored."""
    monkeypatch.setattr(ingest_retry, "INGEST_BATCH_SIZE", 2)
    ingest = FailingIngest(a=["too_many", "stored"], b=["stored"], c=["duplicate"])
    assert await ingest_with_retry(ingest, [b"a", b"b", b"c"], attempts_max=2) == ["stored", "stored", "duplicate"]
    assert ingest.bodies == [b"a", b"b", b"a", b"c"]
