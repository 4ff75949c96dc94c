"""Details of a row that only channel events show: the recording, transfers, pickups, forwards.

Invariant: a transfer belongs to one row, that of the two parties of whom one transferred the other, even if its CDR
ends with the consultation before an attended transfer.
"""

from collections.abc import Sequence

import msgspec

from onhook.cdr.call_details import ANSWERED
from onhook.pbx.asterisk.call import CUT_SPAN, Cel
from onhook.pbx.asterisk.call_events import CallEvents
from onhook.pbx.asterisk.call_row import CallRow
from onhook.pbx.asterisk.channels import NO_CHANNEL, Channel, parse_channel

RECORDING_APPLICATION = "MixMonitor"
_TARGET = "transfer_target_channel_name"
_TRANSFER_KINDS = {"BLINDTRANSFER": "blind", "ATTENDEDTRANSFER": "attended"}


def add_details(rows: Sequence[CallRow], events: CallEvents) -> list[CallRow]:
    """Return the rows with recordings, and details of transfers, pickups and forwards."""
    transfers = _find_transfers(rows, events)
    return [_add_row_details(row, transfers.get(index, {}), events) for index, row in enumerate(rows)]


def _add_row_details(row: CallRow, transfer: dict[str, str], events: CallEvents) -> CallRow:
    extra = {**row.extra, **transfer, **_pickup_details(row, events), **_forward_details(row, events)}
    recording = row.recording or (_find_recording(row, events) if row.talk and row.callee else "")
    return msgspec.structs.replace(row, extra=extra, recording=recording)


def _find_recording(row: CallRow, events: CallEvents) -> str:
    """Return the file name of the last recording that either side began before the row's end."""
    recordings = [
        cel.application_data
        for channel in (row.cdr.channel, row.callee)
        for cel in events.get_events(channel, "APP_START")
        if cel.application == RECORDING_APPLICATION and cel.event_time <= row.end
    ]
    return recordings[-1].partition(",")[0].rpartition("/")[2] if recordings else ""


def _find_transfers(rows: Sequence[CallRow], events: CallEvents) -> dict[int, dict[str, str]]:
    """Return kind and target of each transfer, by the index of its row."""
    transfers: dict[int, dict[str, str]] = {}
    for cel in events.get_events_by_name(*_TRANSFER_KINDS):
        index = _find_transferred_row(cel, rows)
        if index is None or index in transfers:
            continue
        transfers[index] = {"transfer": _TRANSFER_KINDS[cel.name], "transferred_to": _transfer_target(cel, rows, index)}
        if rows[index].cdr.channel == cel.channel:
            transfers[index]["transferred_by"] = rows[index].cdr.channel.number or rows[index].cdr.source
    return transfers


def _find_transferred_row(cel: Cel, rows: Sequence[CallRow]) -> int | None:
    """Return the index of the row of the transferring party and the party that was transferred; of the consultation
    with the target, which the same telephone may have begun, only if there is no other row.
    """
    transferee, target = _extra_channel(cel, "transferee_channel_name"), _extra_channel(cel, _TARGET)
    indexes = [
        index
        for index, row in enumerate(rows)
        if row.callee and cel.channel in (row.callee, row.cdr.channel) and row.start <= cel.event_time
    ]
    return max(
        indexes,
        key=lambda index: (
            _has_channel(rows[index], transferee),
            not _has_channel(rows[index], target),
            rows[index].callee == cel.channel,
            rows[index].start,
        ),
        default=None,
    )


def _has_channel(row: CallRow, channel: Channel) -> bool:
    """Return whether a channel is a party of a row, or a half of the Local channel between them."""
    if not channel:
        return False
    is_between = channel.is_local and channel.local_pair == row.cdr.local_channel.local_pair
    return is_between or channel in (row.cdr.channel, row.callee)


def _transfer_target(cel: Cel, rows: Sequence[CallRow], transferred_index: int) -> str:
    """Return the number, or the name, to which a call was transferred: the extension, the number of the target's
    telephone, the number that was called to consult it, or the application that it had reached.
    """
    target, consulting = _extra_channel(cel, _TARGET), _extra_channel(cel, "channel2_name")
    earlier_rows = [row for index, row in enumerate(rows) if index != transferred_index and row.start <= cel.event_time]
    dialled = (
        row.call_to
        for row in sorted(earlier_rows, key=lambda row: row.start, reverse=True)
        if _has_channel(row, target) or (row.cdr.channel == consulting and not target)
    )
    candidates = (_extra_text(cel, "extension"), target.number, *dialled, _extra_text(cel, "app"), target.endpoint)
    return next((text for text in candidates if text), "")


def _pickup_details(row: CallRow, events: CallEvents) -> dict[str, str]:
    """For the row of the party that picked up, return the extension that was ringing."""
    for cel in events.get_events_by_name("PICKUP"):
        if row.callee and _extra_text(cel, "pickup_channel") == row.callee.name:
            return {"picked_up_for": cel.channel.number or cel.caller_number}
    return {}


def _forward_details(row: CallRow, events: CallEvents) -> dict[str, str]:
    """For the row of a telephone that forwards its calls, return the target."""
    for cel in events.get_events(row.cdr.channel, "FORWARD"):
        if (
            row.callee
            and row.status != ANSWERED
            and row.start <= cel.event_time <= row.end + CUT_SPAN
            and _extra_text(cel, "forward")
        ):
            return {"forwarded_to": _extra_text(cel, "forward")}
    return {}


def _extra_channel(cel: Cel, name: str) -> Channel:
    """Return a channel by its name in `extra`; Asterisk writes `N/A` where there is none any more."""
    channel_name = _extra_text(cel, name)
    return NO_CHANNEL if channel_name == "N/A" else parse_channel(channel_name)


def _extra_text(cel: Cel, name: str) -> str:
    value = cel.extra.get(name)
    return value if isinstance(value, str) else ""
