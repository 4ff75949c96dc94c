"""Callers in queues: those who were there before the connection, and those who come, talk and leave."""

from collections.abc import Sequence

import pytest

from onhook.cdr.queue_states import QueueState
from onhook.pbx.asterisk import queue_tracker
from onhook.pbx.asterisk.messages import AmiMessage, parse_messages
from onhook.pbx.asterisk.queue_tracker import LIST_SECONDS, NO_MEMBER, QUEUE_EVENTS, STALE_SECONDS, QueueTracker
from onhook.pbx.asterisk.session import AmiCredentials, AmiEvent, AmiResponse, AmiSession
from tests.pbx.asterisk.ami_streams import stream

TEAM, SALES = "QueueParams\r\nQueue: team\r\nCalls: 1", "QueueParams\r\nQueue: 6401\r\nCalls: 0"
NO_QUEUES: Sequence[str] = ()


def message(text: str) -> AmiMessage:
    (parsed,) = parse_messages(f"Event: {text}\r\n\r\n".encode())
    return parsed


def event(text: str) -> AmiEvent:
    parsed = message(text)
    return AmiEvent(parsed.get("Event"), parsed)


def entry(caller: str, queue: str = "team", wait: str = "7") -> str:
    return f"QueueEntry\r\nQueue: {queue}\r\nPosition: 1\r\nUniqueid: {caller}\r\nWait: {wait}"


def channel(caller: str, extension: str = "6400", *, bridge: str = "", application: str = "Queue") -> str:
    return (
        f"CoreShowChannel\r\nUniqueid: {caller}\r\nExten: {extension}\r\nApplication: {application}\r\n"
        f"ApplicationData: team,tT\r\nBridgeId: {bridge}"
    )


def join(caller: str, queue: str = "team", extension: str = "6400") -> AmiEvent:
    return event(f"QueueCallerJoin\r\nQueue: {queue}\r\nUniqueid: {caller}\r\nExten: {extension}")


def by_name(name: str, caller: str) -> AmiEvent:
    return event(f"{name}\r\nQueue: team\r\nUniqueid: {caller}\r\nExten: 6400")


class TrackerHarness:
    """A tracker, and an Asterisk that answers it with the lists that a test gives."""

    def __init__(self) -> None:
        self.session = AmiSession(AmiCredentials("onhook", "secret"))
        self.tracker = QueueTracker(self.session)

    def request(self, now: float) -> list[AmiMessage]:
        """Request the lists; return the actions."""
        self.tracker.request_lists(now)
        return parse_messages(self.session.data_to_send())

    def answer(
        self, actions: Sequence[AmiMessage], now: float, queues: Sequence[str], channels: Sequence[str], error: str = ""
    ) -> str:
        """Answer both actions, or the second one with an error; return the sentence for the log."""
        texts = []
        for action, list_events in zip(actions, (queues, channels), strict=True):
            is_error = bool(error) and action is actions[-1]
            result = f"Response: Error\r\nMessage: {error}" if is_error else "Response: Success"
            (head,) = parse_messages(f"{result}\r\n\r\n".encode())
            response = AmiResponse(action.get("ActionID"), head, tuple(message(text) for text in list_events))
            assert self.tracker.owns_response(response)
            texts.append(self.tracker.handle_response(response, now))
        assert texts[0] == ""
        return texts[1]

    def read(self, now: float, queues: Sequence[str], channels: Sequence[str] = ()) -> None:
        """Read the lists."""
        assert self.answer(self.request(now), now, queues, channels) == ""

    def counts(self, now: float) -> dict[str, tuple[int, int, int | None]]:
        """Return who waits, who talks and the longest wait, by the number of the queue."""
        states = self.tracker.list_states(now)
        assert states is not None
        return {state.queue: (state.waiting, state.talking, state.longest_wait) for state in states}


@pytest.fixture
def harness() -> TrackerHarness:
    return TrackerHarness()


def test_queue_tracker_knows_callers_from_before_the_connection(harness: TrackerHarness) -> None:
    """One waits, one talks; an agent's channel and a call elsewhere do not count. A queue without callers is listed."""
    assert harness.tracker.list_states(0) is None
    channels = [
        channel("1.1"),
        channel("1.2", bridge="b-1"),
        channel("1.3", "1001", bridge="b-1", application="AppQueue"),
        channel("1.4", "1002", bridge="b-2", application="Dial"),
        channel("1.5"),
    ]
    harness.read(10, [TEAM, SALES, "QueueMember\r\nQueue: team", entry("1.1"), entry("1.5", wait="x")], channels)
    assert harness.tracker.list_states(13) == [
        QueueState(queue="6400", name="team", waiting=2, talking=1, longest_wait=10),
        QueueState(queue="6401", name="6401", waiting=0, talking=0, longest_wait=None),
    ]


def test_queue_tracker_requests_no_members(harness: TrackerHarness) -> None:
    queue_action, channel_action = harness.request(0)
    assert (queue_action.get("Action"), queue_action.get("Member")) == ("QueueStatus", NO_MEMBER)
    assert channel_action.get("Action") == "CoreShowChannels"


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((), (1, 0, 5)),
        (("QueueCallerLeave",), (0, 0, None)),
        (("QueueCallerAbandon", "QueueCallerLeave"), (0, 0, None)),
        (("QueueCallerLeave", "AgentConnect"), (0, 1, None)),
        (("AgentConnect", "QueueCallerLeave"), (0, 1, None)),
        (("QueueCallerLeave", "AgentConnect", "AgentComplete"), (0, 0, None)),
        (("QueueCallerLeave", "AgentConnect", "Hangup"), (0, 0, None)),
        (("Hangup",), (0, 0, None)),
        (("AgentComplete",), (1, 0, 5)),
    ],
)
def test_queue_tracker_caller_joins_talks_and_leaves(
    harness: TrackerHarness, ends: Sequence[str], expected: tuple[int, int, int | None]
) -> None:
    """The queue has the number that was dialled from then on."""
    harness.read(0, [TEAM])
    assert harness.counts(0) == {"team": (0, 0, None)}
    harness.tracker.handle_event(join("1.1"), 1)
    for name in ends:
        harness.tracker.handle_event(by_name(name, "1.1"), 2)
    assert harness.counts(6) == {"6400": expected}


def test_queue_tracker_queue_that_no_caller_can_dial_has_its_name(harness: TrackerHarness) -> None:
    harness.read(0, [TEAM, entry("1.1")], [channel("1.1", "s")])
    harness.tracker.handle_event(join("1.2", extension="s"), 1)
    assert harness.counts(1) == {"team": (2, 0, 8)}


def test_queue_tracker_queue_with_two_numbers_is_two_queues(harness: TrackerHarness) -> None:
    """As in the records of its calls."""
    harness.read(0, [TEAM, entry("1.1"), entry("1.2")], [channel("1.1"), channel("1.2", "6500")])
    assert harness.counts(0) == {"6400": (1, 0, 7), "6500": (1, 0, 7)}


def test_queue_tracker_entry_without_a_channel_waits_in_the_queue_of_that_name(harness: TrackerHarness) -> None:
    harness.read(0, [TEAM, entry("1.1")], [])
    assert harness.counts(0) == {"team": (1, 0, 7)}


def test_queue_tracker_list_replaces_what_no_event_ended(harness: TrackerHarness) -> None:
    """Also the queues: a removed one is no longer shown, a number that was dialled stays known."""
    harness.read(0, [TEAM, SALES])
    harness.tracker.handle_event(join("1.1"), 1)
    harness.read(60, [TEAM])
    assert harness.counts(60) == {"6400": (0, 0, None)}


def test_queue_tracker_events_during_the_lists_are_newer(harness: TrackerHarness) -> None:
    """The lists still have a caller who has left, and not yet one who came; and the wait of a listed one is kept."""
    harness.read(0, [TEAM, entry("1.1"), entry("1.2")])
    actions = harness.request(60)
    harness.tracker.handle_event(by_name("QueueCallerAbandon", "1.1"), 61)
    harness.tracker.handle_event(by_name("Hangup", "9.9"), 61)
    harness.tracker.handle_event(join("1.3", "team", "team"), 61)
    harness.answer(actions, 62, [TEAM, entry("1.1", wait="69"), entry("1.2", wait="69")], [])
    assert harness.counts(62) == {"team": (2, 0, 69)}


def test_queue_tracker_lists_are_due_at_intervals_and_never_twice_at_once(harness: TrackerHarness) -> None:
    assert harness.tracker.is_due(0)
    actions = harness.request(0)
    assert not harness.tracker.is_due(10 * LIST_SECONDS)
    harness.answer(actions, 1, NO_QUEUES, [])
    assert not harness.tracker.is_due(LIST_SECONDS - 1)
    assert harness.tracker.is_due(LIST_SECONDS)


def test_queue_tracker_queues_are_unknown_where_the_pbx_no_longer_lists_them(harness: TrackerHarness) -> None:
    harness.read(0, [TEAM])
    harness.request(60)
    assert harness.tracker.list_states(STALE_SECONDS) is not None
    assert harness.tracker.list_states(STALE_SECONDS + 1) is None


def test_queue_tracker_missing_right_is_logged_once_and_queues_are_unknown(harness: TrackerHarness) -> None:
    harness.read(0, [TEAM])
    text = harness.answer(harness.request(60), 60, [TEAM], [], "Permission denied")
    assert "write = system,reporting" in text
    assert harness.tracker.list_states(60) is None
    assert harness.answer(harness.request(120), 120, [TEAM], [], "Permission denied") == ""


def test_queue_tracker_pbx_without_queues_is_not_logged(harness: TrackerHarness) -> None:
    assert harness.answer(harness.request(0), 0, [], [], "Invalid/unknown command") == ""
    assert harness.tracker.list_states(0) is None


def test_queue_tracker_memory_is_bounded(harness: TrackerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest callers are left out first; queues beyond the limit are shown while they have callers."""
    monkeypatch.setattr(queue_tracker, "CALLERS_MAX", 3)
    monkeypatch.setattr(queue_tracker, "QUEUES_MAX", 1)
    harness.read(0, [TEAM, SALES], [])
    for number in range(5):
        harness.tracker.handle_event(join(f"1.{number}", "other", "6500"), number)
    assert harness.counts(5) == {"team": (0, 0, None), "6500": (3, 0, 3)}
    actions = harness.request(60)
    for number in range(5):
        harness.tracker.handle_event(by_name("Hangup", f"2.{number}"), 60)
    assert len(harness.tracker._changed_callers) == 3
    harness.answer(actions, 61, [TEAM, *(entry(f"3.{number}") for number in range(5))], [])
    assert harness.counts(61) == {"team": (3, 0, 7)}


def test_queue_tracker_follows_a_recorded_call(harness: TrackerHarness) -> None:
    """Of a real Asterisk: the caller waits, talks to the second agent, and hangs up."""
    harness.read(0, [TEAM])
    counts: list[tuple[int, int, int | None] | None] = []
    for parsed in parse_messages(stream("inbound_ivr_queue_two_agents")):
        if (name := parsed.get("Event")) in QUEUE_EVENTS:
            harness.tracker.handle_event(AmiEvent(name, parsed), 0)
            counts.append(harness.counts(0).get("6400"))
    assert [count for count in dict.fromkeys(counts) if count] == [(1, 0, 0), (0, 0, None), (0, 1, None)]
    assert counts[-1] == (0, 0, None)
