"""A stream along which one subscription is served: what to read of it next, and what is wanted of that."""

from collections.abc import Sequence
from datetime import datetime

from onhook.appdb.destinations import Stream, Subscription
from onhook.cdr.record_filter import Filter
from onhook.delivery.ack_window import Window
from onhook.delivery.payloads import CALL_QUIET, matching, quiet_part, whole_calls
from onhook.delivery.record_reader import Reading, Stretch


class Track:
    """One stream, being read."""

    def __init__(self, stream: Stream, cursor: int, subscription: Subscription) -> None:
        self.stream_id = stream.stream_id
        self.window = Window(cursor)
        self.is_read_up = False
        """Whether there was nothing more when it was last read."""
        self._until = stream.until
        self._is_per_call = subscription.per == "call"
        self._filters: Sequence[Filter] = (subscription.where, stream.where)

    @property
    def is_live(self) -> bool:
        """Whether it never ends."""
        return self._until is None

    @property
    def has_ended(self) -> bool:
        """Whether it is a replay of which everything is settled."""
        return self._until is not None and self.window.settled_to >= self._until

    async def read(self, reading: Reading, now: datetime) -> Stretch:
        """What is wanted of the next records, in order of number. Raises `Unavailable`."""
        after = self.window.read_to
        stretch = self._within(await (reading.after(after) if self.is_live else reading.look_up(after)))
        if not self._is_per_call:
            wanted = matching(stretch.records, self._filters)
        else:
            # A replay tells of calls that were over before it was asked for.
            stretch = quiet_part(stretch, now - CALL_QUIET) if self.is_live else stretch
            keys = sorted({(record.sn, record.call_id) for record in stretch.records})
            wanted = whole_calls(stretch, await reading.store.calls_of(keys), self._filters, self._until)
        self.is_read_up = stretch.is_all
        return Stretch(wanted, stretch.last, stretch.is_all)

    def _within(self, stretch: Stretch) -> Stretch:
        """Nothing behind the end of a replay."""
        if self._until is None or stretch.last < self._until:
            return stretch
        return Stretch([record for record in stretch.records if record.seq <= self._until], self._until, True)
