"""Ingest that waits while the ledger cannot be written: for events that the PBX does not send again by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from onhook.lib.errors import Unavailable
from onhook.lib.messages import _
from onhook.receiver.verdict import Verdict

BACKFILL_ATTEMPTS_MAX: Final = 20
"""A back-fill tries to store a row for some ten seconds; then it ends and resumes later."""

INGEST_BATCH_SIZE: Final = 500
"""Bodies ingested together: as many as one commit takes, and few enough to leave space in its queue for others."""

RETRY_SECONDS = 0.5
"""Wait between two attempts: no event signals a writable disk."""

_RETRYABLE_VERDICTS: Final = frozenset({"unavailable", "too_many"})

Ingest = Callable[[bytes], Awaitable[Verdict]]
"""Stores one body; returns the verdict."""


async def ingest_with_retry(
    ingest: Ingest, bodies: Sequence[bytes], *, attempts_max: int | None = None
) -> list[Verdict]:
    """Ingest bodies in batches and return their verdicts, in order; bodies that cannot be stored now are repeated.

    Without `attempts_max` it waits as long as the ledger takes. Raises `Unavailable` after so many attempts of a batch.
    """
    verdicts: list[Verdict] = []
    for start in range(0, len(bodies), INGEST_BATCH_SIZE):
        verdicts += await _ingest_batch(ingest, bodies[start : start + INGEST_BATCH_SIZE], attempts_max)
    return verdicts


async def _ingest_batch(ingest: Ingest, bodies: Sequence[bytes], attempts_max: int | None) -> list[Verdict]:
    verdicts: dict[int, Verdict] = {}
    pending = list(range(len(bodies)))
    attempts = 0
    while pending:
        if attempts_max is not None and attempts == attempts_max:
            raise Unavailable(
                _("cannot write to the ledger"), hint=_("the back-fill resumes when the ledger is writable")
            )
        if attempts:
            await asyncio.sleep(RETRY_SECONDS)
        results = await asyncio.gather(*(ingest(bodies[index]) for index in pending))
        verdicts |= zip(pending, results, strict=True)
        pending = [index for index in pending if verdicts[index] in _RETRYABLE_VERDICTS]
        attempts += 1
    return [verdicts[index] for index in range(len(bodies))]
