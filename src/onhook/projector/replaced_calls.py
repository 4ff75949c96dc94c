"""Stored calls that joined events replace: a call that was made of fewer legs, or was several calls then."""

import asyncio
from collections.abc import Sequence

from onhook.cdr.identity import CallKey, record_key
from onhook.cdr.record import Record
from onhook.ledger.contract import Ledger
from onhook.pbx.dialect import Dialects
from onhook.projector.event_parsing import Facts, ParsedEvents, find_call_keys
from onhook.store.contract import Store


class ReplacedCalls:
    """Finds what is stored of parsed calls, without what they replace."""

    def __init__(self, *, ledger: Ledger, store: Store, dialects: Dialects) -> None:
        self._ledger = ledger
        self._store = store
        self._dialects = dialects

    async def load_stored(
        self, parsed_events: ParsedEvents, facts: Facts
    ) -> tuple[Sequence[Record], Sequence[CallKey]]:
        """Return the stored legs of the parsed calls, and the calls that are gone: those of which joined events have
        replaced all legs. A call that keeps others is added to the parsed ones.
        """
        keys = list(parsed_events.reported_legs)
        if not parsed_events.replaced_seqs:
            return await self._store.legs(keys), ()
        replaced_events = await self._ledger.get(sorted(parsed_events.replaced_seqs))
        replaced_keys = await asyncio.to_thread(find_call_keys, replaced_events, self._dialects, facts)
        record_keys = parsed_events.record_keys
        legs = [
            leg
            for leg in await self._store.legs([*keys, *(replaced_keys - set(keys))])
            if leg.seq not in parsed_events.replaced_seqs or record_key(leg.sn, leg) in record_keys
        ]
        for leg in legs:
            parsed_events.reported_legs.setdefault((leg.sn, leg.call_id), [])
        return legs, sorted(replaced_keys - parsed_events.reported_legs.keys())
