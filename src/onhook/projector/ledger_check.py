"""Check that a store was made from a ledger."""

from onhook.ledger.contract import Ledger
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _
from onhook.store.contract import Store


class LedgerMismatch(Unavailable):
    """The store was not made from this ledger as it is now. Nothing is lost until it is rebuilt."""


async def check_ledger(ledger: Ledger, store: Store) -> None:
    """Check that the store was made from this ledger: it would skip the next raw events of another one. Raises
    `LedgerMismatch` if its position is past the ledger's end, or the raw event there is another one.
    """
    # In this order: the ledger only grows, so that the store is never found ahead of it by chance.
    position, position_key = await store.position(), await store.position_key()
    last_seq = await ledger.last_seq()
    hint = _("keep a copy of calls.duckdb if it has calls that the ledger lacks, then run `onhook rebuild`")
    if last_seq < position:
        raise LedgerMismatch(
            _(
                "the store ({position}) is ahead of the ledger ({last_seq}), as after an older ledger was restored",
                position=position,
                last_seq=last_seq,
            ),
            hint=hint,
        )
    # While calls are stored, the key may be that of the next position.
    is_settled = bool(position_key) and await store.position() == position
    if is_settled and any(raw_event.key != position_key for raw_event in await ledger.get([position])):
        raise LedgerMismatch(
            _(
                "the store was made from another ledger, or this one has lost events: event {position} differs, and the"
                " ledger ends at event {last_seq}",
                position=position,
                last_seq=last_seq,
            ),
            hint=hint,
        )
