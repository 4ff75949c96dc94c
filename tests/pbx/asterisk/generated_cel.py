"""Channel events (CEL) of generated calls, as an Asterisk would send them."""

import json
from collections.abc import Iterator
from datetime import datetime

from tests.pbx.asterisk.generated_office import GeneratedCall, Span

_CAUSES = {"BUSY": 17, "NO ANSWER": 19, "FAILED": 1, "CONGESTION": 34, "ANSWERED": 16}
_CALLEE_APPLICATIONS = {"Dial": "AppDial", "Queue": "AppQueue"}

_Event = tuple[datetime, dict[str, str]]


def as_cel(call: GeneratedCall) -> Iterator[bytes]:
    """Yield the channel events of a call, in order of time."""
    events = sorted(_Timeline(call).events, key=lambda event: event[0])
    for moment, lines in events:
        event_time = f"{moment.astimezone(call.zone):%Y-%m-%d %H:%M:%S}"
        texts = [f"{name}: {value}" for name, value in (lines | {"EventTime": event_time}).items()]
        yield "\r\n".join(["Event: CEL", *texts, "", ""]).encode()


class _Timeline:
    """The events of one call, those of one moment in the order in which they happen."""

    def __init__(self, call: GeneratedCall) -> None:
        self.call = call
        self.events: list[_Event] = []
        self.linked_id = call.rows[0]["linkedid"]
        self.ids: dict[str, str] = {}
        spans = sorted(call.spans, key=lambda span: span.start)
        for span in spans:
            self._add_span(span)
        calling_channels = [span.row["channel"] for span in spans]
        for channel in dict.fromkeys(calling_channels):
            self._end(channel, call.ended_at, spans[-1], "ANSWERED")
        self._add("LINKEDID_END", spans[0].row["channel"], call.ended_at, spans[0])

    def _add_span(self, span: Span) -> None:
        row = span.row
        caller, callee = row["channel"], row["dstchannel"]
        self._start(caller, span)
        self._add("APP_START", caller, span.start, span, Application=row["lastapp"], AppData=row["lastdata"])
        if callee:
            self._start(callee, span)
        is_caller_answered = any(
            lines["EventName"] == "ANSWER" and lines["Channel"] == caller for _moment, lines in self.events
        )
        if span.answered_at is not None:
            called = {"Application": _CALLEE_APPLICATIONS.get(row["lastapp"], "")}
            if callee:
                self._add("ANSWER", callee, span.answered_at, span, **called)
            if not is_caller_answered:
                self._add("ANSWER", caller, span.answered_at, span, Application=row["lastapp"])
            for channel in (caller, callee) if callee else ():
                self._add("BRIDGE_ENTER", channel, span.answered_at, span)
                self._add("BRIDGE_EXIT", channel, span.end, span)
        self._add("APP_END", caller, span.end, span, Application=row["lastapp"], AppData=row["lastdata"])
        if callee:
            self._end(callee, span.end, span, row["disposition"])

    def _start(self, channel: str, span: Span) -> None:
        if channel not in self.ids:
            self.ids[channel] = self.linked_id if not self.ids else f"{self.linked_id}{len(self.ids)}"
            self._add("CHAN_START", channel, span.start if len(self.ids) > 1 else self.call.began_at, span)

    def _end(self, channel: str, moment: datetime, span: Span, disposition: str) -> None:
        cause = json.dumps({"hangupcause": _CAUSES[disposition], "hangupsource": ""})
        self._add("HANGUP", channel, moment, span, Extra=cause)
        self._add("CHAN_END", channel, moment, span)

    def _add(self, name: str, channel: str, moment: datetime, span: Span, **lines: str) -> None:
        owner_name, owner_number = self.call.identities.get(channel, ("", ""))
        ids = {"UniqueID": self.ids[channel], "LinkedID": self.linked_id}
        caller = {"CallerIDnum": owner_number, "CallerIDname": owner_name}
        place = {"Exten": span.row["dst"], "Context": span.row["dcontext"]}
        self.events.append((moment, {"EventName": name, "Channel": channel, **caller, **place, **ids, **lines}))
