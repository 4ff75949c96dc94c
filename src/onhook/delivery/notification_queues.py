"""Both queues of a destination: the per-call queue and the retry queue. The rules and the attempts share them."""

import msgspec

from onhook.delivery.per_call_queue import PendingNotification, PerCallQueue
from onhook.delivery.retry_queue import RetryQueue


class NotificationQueues(msgspec.Struct, frozen=True):
    """Notifications that can be sent: those read from streams, and stored deliveries whose retry time has passed."""

    calls: PerCallQueue
    retries: RetryQueue

    @property
    def ready_count(self) -> int:
        """Return how many could be sent now."""
        return self.calls.ready_count + len(self.retries)

    @property
    def undelivered_count(self) -> int:
        """Return how many deliveries are stored as retrying or failed."""
        return self.retries.backlog.retrying + self.retries.backlog.failed

    def pop(self, *, is_down: bool) -> PendingNotification | None:
        """Return the next notification, which is in progress from now on; None when there is none."""
        # An endpoint that is down is tried with a notification that it has not rejected before: the first response
        # makes the deliveries due.
        retries_first = self.retries and not (is_down and self.calls.ready_count)
        return self.retries.pop() if retries_first else self.calls.pop()
