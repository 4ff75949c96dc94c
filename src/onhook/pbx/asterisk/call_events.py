"""The channel and queue events of one call, found by channel and by name."""

from datetime import datetime

from onhook.pbx.asterisk.applications import IVR_APPLICATIONS, QUEUE_APPLICATION
from onhook.pbx.asterisk.call import AsteriskCall, Cel, QueueEvent
from onhook.pbx.asterisk.call_row import CallRow, is_trunk
from onhook.pbx.asterisk.channels import Channel, is_dialled
from onhook.pbx.asterisk.dial_strings import parse_device


class CallEvents:
    """Index of the channel and queue events of a call."""

    def __init__(self, call: AsteriskCall) -> None:
        self.call = call
        self.by_channel: dict[str, list[Cel]] = {}
        for cel in self.call.cels:
            self.by_channel.setdefault(cel.channel.name, []).append(cel)

    def get_events(self, channel: Channel, *names: str) -> list[Cel]:
        """Return the events of one channel with these names, in order."""
        return [cel for cel in self.by_channel.get(channel.name, ()) if cel.name in names]

    def get_first_event(self, channel: Channel, *names: str) -> Cel | None:
        return next(iter(self.get_events(channel, *names)), None)

    def get_events_by_name(self, *names: str) -> list[Cel]:
        return [cel for cel in self.call.cels if cel.name in names]

    def has_prompt(self, channel: Channel, until: datetime) -> bool:
        """Return whether a machine spoke to the caller until this time: however short, that is no rounding of times."""
        return any(
            cel.application in IVR_APPLICATIONS and cel.event_time <= until
            for cel in self.get_events(channel, "APP_START")
        )

    def get_queue_event(self, name: str, row: CallRow) -> QueueEvent | None:
        """Return the event of the agent of a row, who may have been called through a Local channel."""
        agents = (row.answering_channel, row.cdr.local_channel)
        return next(
            (
                queue_event
                for queue_event in self.call.queue_events
                if queue_event.name == name and queue_event.agent and queue_event.agent in agents
            ),
            None,
        )

    def get_member_number(self, row: CallRow) -> str:
        """Return the number at which a queue called the member of a row by a trunk; empty where no event shows it."""
        if not row.callee or row.cdr.application != QUEUE_APPLICATION:
            return ""
        devices = (parse_device(event.member) for event in self.call.queue_events if event.agent == row.callee)
        return next((device.number for device in devices if device.is_device_of(row.callee)), "")

    @property
    def did(self) -> str:
        """The number dialled by the external caller: the first extension of the call, if its first channel is
        a trunk's.
        """
        first_event = next((cel for cel in self.call.cels if cel.name == "CHAN_START"), None)
        is_from_outside = first_event is not None and is_trunk(first_event.channel, self.call.header)
        return (
            first_event.extension
            if first_event is not None and is_from_outside and is_dialled(first_event.extension)
            else ""
        )
