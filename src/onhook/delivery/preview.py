"""Preview of a destination: the notification of a real call, as it would be sent now. Nothing is sent."""

from collections.abc import Sequence
from importlib import import_module

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import OPERATIONAL, PayloadFormat
from onhook.appdb.destinations import Destination
from onhook.appdb.masking import load_masking
from onhook.appdb.subject_texts import describe_subject
from onhook.cdr.call_as_record import call_as_record
from onhook.cdr.record import Record
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.destinations.contract import OpenDestination
from onhook.delivery.destinations.kinds import KINDS
from onhook.delivery.payloads import make_notification_id
from onhook.delivery.record_preparation import RecordPreparation
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _
from onhook.store.contract import Store


class NotificationPreview(msgspec.Struct, frozen=True, kw_only=True):
    """The notification of a call: its `text`, of a kind with requests the request, without secrets. `is_matching` says
    whether the filter of the destination selects the call. `payload_format` is empty of a kind that has none.
    """

    notification_id: str
    sn: str
    call_id: str
    is_matching: bool
    payload_format: str
    text: str


async def preview_notification(  # noqa: PLR0917 - as the console calls it
    appdb: AppDb,
    store: Store,
    open_destination: OpenDestination,
    name: str,
    call_id: str = "",
    payload_format: PayloadFormat | None = None,
) -> NotificationPreview:
    """Return the notification of a call, of the newest matching one without `call_id`, in a payload format; None is
    that of the destination. Raises `NotFound`, `UsageError`.
    """
    destination = _with_format(await appdb.destinations.get(name), payload_format)
    if destination.notifies_of in OPERATIONAL:
        raise UsageError(
            describe_subject(name, destination.notifies_of),
            hint=_("send a test with a sample event"),
        )
    record_filter = RecordFilter(call_id=call_id) if call_id else destination.filter
    record = await _find_record(appdb, store, destination, record_filter)
    matching = await store.extent(destination.filter, second_filter=RecordFilter(sn=record.sn, call_id=record.call_id))
    notification_id = make_notification_id(record)
    return NotificationPreview(
        notification_id=notification_id,
        sn=record.sn,
        call_id=record.call_id,
        is_matching=matching.count > 0,
        payload_format=destination.payload_format if destination.kind == "webhook" else "",
        text=await _format(appdb, open_destination, destination, record, notification_id),
    )


def _with_format(destination: Destination, payload_format: PayloadFormat | None) -> Destination:
    """Return the destination as it would be with a payload format. Raises `UsageError` for a kind that has none."""
    if payload_format is None:
        return destination
    if destination.kind != "webhook":
        raise UsageError(
            _("a destination of the kind {kind} has no payload format", kind=destination.kind),
            parameter="payload_format",
            hint=_("leave it out"),
        )
    return msgspec.structs.replace(destination, payload_format=payload_format)


async def _find_record(appdb: AppDb, store: Store, destination: Destination, record_filter: RecordFilter) -> Record:
    """Return the newest record that matches, or call as a record, masked and transformed. Raises `NotFound`."""
    masking = await load_masking(appdb, destination.mask)
    records: Sequence[Record]
    if destination.notifies_of == "calls":
        calls = (await store.calls(record_filter, 1)).data
        records = [call_as_record(call if masking is None else masking.mask_call(call)) for call in calls]
    else:
        records = (await store.records(record_filter, 1)).data
    if not records:
        raise NotFound(_("there is no such call"), hint=_("see `onhook calls`, or add a call"))
    record = records[0] if masking is None else masking.mask_record(records[0])
    (prepared,) = await RecordPreparation(destination, appdb).prepare([record], masking)
    return prepared


async def _format(
    appdb: AppDb, open_destination: OpenDestination, destination: Destination, record: Record, notification_id: str
) -> str:
    secrets = await appdb.destinations.secret_texts(destination.destination_id)
    client = open_destination(destination, secrets)
    try:
        body = client.format_payload(record)
    finally:
        await client.close()
    check_module = KINDS[destination.kind].check_module
    if not check_module:
        return body.decode(errors="replace")
    text: str = import_module(check_module).describe_request(destination, body, notification_id)
    return text
