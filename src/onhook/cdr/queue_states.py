"""The callers in a queue at this moment, as far as a PBX reports them. Pure."""

import msgspec

from onhook.cdr.access_scope import AccessScope


class QueueState(msgspec.Struct, frozen=True, kw_only=True):
    """A queue now: `queue` is its number as records have it, `name` what the PBX itself calls it. `longest_wait` is the
    wait so far of the first caller, in whole seconds; None without one.
    """

    queue: str
    name: str
    waiting: int
    talking: int
    longest_wait: int | None


def is_queue_visible(sn: str, state: QueueState, scope: AccessScope | None) -> bool:
    """Return whether a reader may see a queue: its PBX is in scope, and so is its number. Who is in a call that goes on
    is not known, so a reader of some extensions does not see queues whose calls they answer.
    """
    return scope is None or scope.allows_number(sn, state.queue)
