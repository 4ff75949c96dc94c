"""The callers in the queues of an Asterisk: read from two lists, and followed by the events since.

The list of `QueueStatus` has the queues and who waits in them, that of `CoreShowChannels` who talks, and which number
each caller dialled. So the callers are known also where they entered before the connection was opened.

Invariants: memory is bounded; a caller is in one queue. What an event reports while the lists are on their way is newer
than the lists. `now` is a monotonic clock, in seconds.
"""

from collections.abc import Mapping, Sequence
from itertools import islice

import msgspec

from onhook.cdr.queue_states import QueueState
from onhook.lib.messages import _
from onhook.pbx.asterisk.applications import QUEUE_APPLICATION
from onhook.pbx.asterisk.channels import is_dialled
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.session import AmiEvent, AmiResponse, AmiSession

LIST_SECONDS = 60.0
"""Interval at which the lists are read again: queues are added, and a call may leave a queue without an event."""

STALE_SECONDS = 3 * LIST_SECONDS
"""Age of the lists from which the queues count as unknown: the PBX no longer sends them."""

QUEUES_MAX = 1_000
"""More than any Asterisk has."""

CALLERS_MAX = 10_000
"""Callers of all queues together: as many events as a list has (`session.LIST_EVENTS_MAX`)."""

NO_MEMBER = "onhook-lists-no-member"
"""The list of `QueueStatus` has the members with this name: none. A call centre has thousands."""

QUEUE_EVENTS = frozenset(
    {"QueueCallerJoin", "QueueCallerLeave", "QueueCallerAbandon", "AgentConnect", "AgentComplete", "Hangup"}
)
"""Events that change who is in a queue."""


class _Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A caller in a queue: its name and the number that was dialled; waiting or talking since a time."""

    name: str
    number: str
    is_talking: bool
    since: float


class QueueTracker:
    """The callers in all queues of one connection."""

    def __init__(self, session: AmiSession) -> None:
        self._session = session
        self._callers: dict[str, _Caller] = {}
        self._numbers: dict[str, str] = {}
        """The number last dialled for each queue, by its name; the name where none was."""
        self._changed_callers: set[str] = set()
        self._requested_at: float | None = None
        self._listed_at: float | None = None
        self._pending_action_ids: list[str] = []
        self._responses: list[AmiResponse] = []
        self._has_logged = False

    def is_due(self, now: float) -> bool:
        """Return whether the lists are to be requested: never while they are on their way."""
        is_old = self._requested_at is None or now - self._requested_at >= LIST_SECONDS
        return is_old and not self._pending_action_ids

    def request_lists(self, now: float) -> None:
        """Request both lists. Raises `OverflowError`."""
        self._requested_at = now
        self._changed_callers.clear()
        self._responses.clear()
        self._pending_action_ids = [
            self._session.send_action("QueueStatus", Member=NO_MEMBER),
            self._session.send_action("CoreShowChannels"),
        ]

    def owns_response(self, response: AmiResponse) -> bool:
        """Return whether a response is one of the lists."""
        return response.action_id in self._pending_action_ids

    def handle_response(self, response: AmiResponse, now: float) -> str:
        """Handle a list, which arrives in the order of the requests; return a sentence for the log, or an empty one.
        Without both lists the queues are unknown.
        """
        self._pending_action_ids.remove(response.action_id)
        self._responses.append(response)
        if self._pending_action_ids:
            return ""
        queue_response, channel_response = self._responses
        if queue_response.is_success and channel_response.is_success:
            self._apply_lists(queue_response.list_events, channel_response.list_events, now)
            return ""
        self._listed_at = None
        return self._describe_refusal()

    def handle_event(self, event: AmiEvent, now: float) -> None:
        """Follow an event of `QUEUE_EVENTS`."""
        caller_id = event.message.get("Uniqueid")
        if self._pending_action_ids and len(self._changed_callers) < CALLERS_MAX:
            self._changed_callers.add(caller_id)
        if event.name in ("QueueCallerJoin", "AgentConnect"):
            self._put(caller_id, _parse_caller(event.message, is_talking=event.name == "AgentConnect", since=now))
            return
        caller = self._callers.get(caller_id)
        # The caller whom an agent answers leaves the queue first, and talks from then on.
        if caller is not None and (event.name == "Hangup" or caller.is_talking == (event.name == "AgentComplete")):
            del self._callers[caller_id]

    def list_states(self, now: float) -> list[QueueState] | None:
        """Return all queues, those without callers too, by number; None while they are unknown."""
        if self._listed_at is None or now - self._listed_at > STALE_SECONDS:
            return None
        callers: dict[tuple[str, str], list[_Caller]] = {}
        for caller in self._callers.values():
            callers.setdefault((caller.number, caller.name), []).append(caller)
        for name, number in self._numbers.items():
            callers.setdefault((number, name), [])
        return [_describe_queue(*key, queue_callers, now) for key, queue_callers in sorted(callers.items())]

    def _apply_lists(self, queue_events: Sequence[AmiMessage], channels: Sequence[AmiMessage], now: float) -> None:
        in_queues = {
            channel.get("Uniqueid"): channel for channel in channels if channel.get("Application") == QUEUE_APPLICATION
        }
        names = [event.get("Queue") for event in queue_events if event.get("Event") == "QueueParams"]
        self._numbers = {name: self._numbers.get(name, name) for name in names[:QUEUES_MAX]}
        listed_callers = {
            **_list_talking(in_queues, now),
            **{
                event.get("Uniqueid"): _list_waiting(event, in_queues.get(event.get("Uniqueid")), now)
                for event in queue_events
                if event.get("Event") == "QueueEntry"
            },
        }
        current_callers = {caller_id: self._callers.get(caller_id) for caller_id in self._changed_callers}
        self._callers = {}
        for caller_id, caller in islice({**listed_callers, **current_callers}.items(), CALLERS_MAX):
            if caller is not None:
                self._put(caller_id, caller)
        self._listed_at = now

    def _put(self, caller_id: str, caller: _Caller) -> None:
        self._callers.pop(caller_id, None)
        self._callers[caller_id] = caller
        if len(self._callers) > CALLERS_MAX:
            del self._callers[next(iter(self._callers))]
        if caller.name in self._numbers or len(self._numbers) < QUEUES_MAX:
            self._numbers[caller.name] = caller.number

    def _describe_refusal(self) -> str:
        """Return a sentence for the log, once, where a right is missing; an Asterisk without queues has no action
        `QueueStatus`.
        """
        is_denied = any(
            response.message.get("Message").lower().startswith("permission denied") for response in self._responses
        )
        if self._has_logged or not is_denied:
            return ""
        self._has_logged = True
        return _("cannot read the callers in queues: give the manager user `write = system,reporting`")


def _list_talking(channels_in_queues: Mapping[str, AmiMessage], now: float) -> dict[str, _Caller]:
    """Return the callers who talk to an agent: their channel is in a bridge, that of one who waits is in none."""
    return {
        caller_id: _Caller(
            name=(name := channel.get("ApplicationData").partition(",")[0]),
            number=_find_number(channel, name),
            is_talking=True,
            since=now,
        )
        for caller_id, channel in channels_in_queues.items()
        if channel.get("BridgeId")
    }


def _list_waiting(entry: AmiMessage, channel: AmiMessage | None, now: float) -> _Caller:
    name, wait = entry.get("Queue"), entry.get("Wait")
    return _Caller(
        name=name,
        number=name if channel is None else _find_number(channel, name),
        is_talking=False,
        since=now - (int(wait) if wait.isascii() and wait.isdigit() else 0),
    )


def _parse_caller(event: AmiMessage, *, is_talking: bool, since: float) -> _Caller:
    name = event.get("Queue")
    return _Caller(name=name, number=_find_number(event, name), is_talking=is_talking, since=since)


def _find_number(channel: AmiMessage, name: str) -> str:
    """Return the number of a queue as its records have it: what the caller dialled, else its name."""
    extension = channel.get("Exten")
    return extension if is_dialled(extension) else name


def _describe_queue(number: str, name: str, callers: Sequence[_Caller], now: float) -> QueueState:
    waiting_since = [caller.since for caller in callers if not caller.is_talking]
    return QueueState(
        queue=number,
        name=name,
        waiting=len(waiting_since),
        talking=len(callers) - len(waiting_since),
        longest_wait=max(0, int(now - min(waiting_since))) if waiting_since else None,
    )
