"""Ids that the other side of a destination gave to calls, as a worker uses them.

Invariant: an id is known from the end of the attempt that brought it, before it is committed; the next notification of
the call begins after that.
"""

from collections import OrderedDict

from onhook.appdb.external_ids import ExternalIds
from onhook.cdr.identity import CallKey

RECENT_IDS_MAX = 1_000
"""Ids in memory: more than results that are not committed, and most calls end soon."""


class ExternalIdCache:
    """The newest ids of one destination in memory, the others in the application database."""

    def __init__(self, repository: ExternalIds, destination_id: int) -> None:
        self._repository = repository
        self._destination_id = destination_id
        self._recent_ids: OrderedDict[CallKey, str] = OrderedDict()

    async def find(self, call: CallKey) -> str:
        """Return the id of a call, or an empty text. Raises `Unavailable`."""
        return self._recent_ids.get(call) or await self._repository.find(self._destination_id, call)

    def add(self, call: CallKey, external_id: str) -> None:
        """Keep the id of a call, which is about to be committed."""
        self._recent_ids[call] = external_id
        self._recent_ids.move_to_end(call)
        if len(self._recent_ids) > RECENT_IDS_MAX:
            self._recent_ids.popitem(last=False)
