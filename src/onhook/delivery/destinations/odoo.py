"""Odoo: each call is a note on the contact or lead that has its number, and an activity where that is asked for.

Invariants: one call is sent at a time. A note has an id of its call: a repeat, and a later event, changes it instead of
adding another one; it comes last, so that what was interrupted before is done again, and is found by the number or the
title then. Notes and planned activities of a call follow what is deleted or erased; contacts and leads are Odoo's own.
The newest secret is the key.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import msgspec

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.contract import (
    DETAIL_CHARACTERS_MAX,
    CallReplacement,
    DeliveryResult,
    Notification,
    SendLimits,
)
from onhook.delivery.destinations.http_transport import HttpTransport, guard_and_proxy
from onhook.delivery.destinations.kinds import decode_fields
from onhook.delivery.destinations.odoo_api import OdooApi, OdooRecord, OdooRejected
from onhook.delivery.destinations.odoo_note import (
    external_number,
    format_note,
    format_title,
    is_missed,
    message_id,
    message_id_prefix,
    normalize_number,
    read_title,
    search_pattern,
)
from onhook.delivery.destinations.row_columns import NO_ROW
from onhook.delivery.destinations.service_fields import OdooFields
from onhook.delivery.samples import sample_for
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

CONTACT, LEAD = "res.partner", "crm.lead"
PHONE_FIELDS = ["phone", "mobile"]
"""Odoo 19 has the first one alone."""

NOTES_MAX = 500
"""Of one call: as many as it has legs at most."""

CANDIDATES_MAX = 100
"""Contacts of one request, whose number ends with the same seven digits."""

CANDIDATE_PAGES_MAX = 20
"""Requests for them: more are a catalogue of numbers, in which a search would take longer than the time-out."""


class OdooClient:
    """See `contract.DestinationClient`."""

    limits = SendLimits(attempts_max=1)

    def __init__(self, spec: DestinationSpec, api: OdooApi) -> None:
        self._spec = spec
        self._fields: OdooFields = decode_fields(spec, OdooFields)
        self._api = api
        self._phone_fields: dict[str, list[str]] = {}

    def __repr__(self) -> str:
        return f"OdooClient({self._spec!r})"

    def format_payload(self, record: Record) -> bytes:
        return msgspec.json.encode(record)

    def format_test_payload(self) -> bytes:
        return NO_ROW

    def format_sample_payload(self, now: datetime) -> bytes:
        return self.format_payload(sample_for(self._spec, now))

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        return [await self._send_event(notification) for notification in notifications]

    async def close(self) -> None:
        await self._api.close()

    async def rewrite_calls(self, replacements: Sequence[CallReplacement]) -> None:
        """See `contract.CallRewriter`; each request has the time-out of the destination, which the transport keeps: a
        call may have many notes.
        """
        try:
            for call in replacements:
                await self._rewrite_call(call)
        except (OSError, OdooRejected) as error:
            raise Unavailable(" ".join(str(error).split())[:DETAIL_CHARACTERS_MAX]) from error

    async def _rewrite_call(self, call: CallReplacement) -> None:
        """Change the notes of a call to what is left of it, and remove the others, each with its activity before, which
        is found by the note. A record has another identity without a number that was erased: its note is one of those
        that are left. Raises `OdooRejected`, `OSError`.
        """
        records = [msgspec.json.decode(body, type=Record) for body in call.bodies]
        by_message_id = {message_id(record, self._spec.notifies_of): record for record in records}
        domain = [["message_id", "=like", f"{message_id_prefix(call.sn, call.call_id)}%"]]
        fields = ("message_id", "body", "model", "res_id")
        notes = await self._api.search("mail.message", domain, *fields, limit=NOTES_MAX, order="id")
        left_ids = [left_id for left_id in by_message_id if left_id not in [note.message_id for note in notes]]
        for note in notes:
            note_id = str(note.message_id)
            if note_id not in by_message_id:
                note_id = left_ids.pop(0) if left_ids else ""
            record = by_message_id.get(note_id)
            await self._rewrite_activities(note, record)
            if record is None:
                await self._api.call("mail.message", "unlink", [note.id])
            else:
                values = {"body": format_note(record, self._fields.console_url), "message_id": note_id}
                await self._api.call("mail.message", "write", [note.id], vals=values)

    async def _rewrite_activities(self, note: OdooRecord, record: Record | None) -> None:
        """Change the activities with the title of a note, or remove them where nothing is left of its call; also where
        none is planned now: there may be those of an earlier setting.
        """
        title = read_title(str(note.body or ""))
        if not title:
            return
        domain = [["res_model", "=", note.model], ["res_id", "=", note.res_id], ["summary", "=", title]]
        activity_ids = [activity.id for activity in await self._api.search("mail.activity", domain, limit=NOTES_MAX)]
        if activity_ids and record is None:
            await self._api.call("mail.activity", "unlink", activity_ids)
        elif activity_ids and record is not None:
            await self._api.call("mail.activity", "write", activity_ids, vals={"summary": format_title(record)})

    async def _send_event(self, notification: Notification) -> DeliveryResult:
        try:
            async with asyncio.timeout(self._spec.timeout_seconds):
                return _accepted(await self._add_call(notification))
        except TimeoutError:
            detail = _("no response within {seconds:g} seconds", seconds=self._spec.timeout_seconds)
        except OdooRejected as error:
            return DeliveryResult(outcome="rejected", detail=str(error))
        except OSError as error:
            detail = " ".join(str(error).split())
        return DeliveryResult(outcome="unreachable", detail=detail[:DETAIL_CHARACTERS_MAX])

    async def _add_call(self, notification: Notification) -> str:
        """Add a call; return what was done. Raises `OdooRejected`, `OSError`."""
        await self._find_phone_fields(CONTACT)
        if notification.is_test or notification.body == NO_ROW:
            return _("connected, contacts can be read; nothing was added")
        record = msgspec.json.decode(notification.body, type=Record)
        note, note_id = format_note(record, self._fields.console_url), message_id(record, self._spec.notifies_of)
        domain = [["message_id", "=", note_id]]
        notes = await self._api.search("mail.message", domain)
        if notes:
            await self._api.call("mail.message", "write", [notes[0].id], vals={"body": note})
            return _("note {note} changed", note=notes[0].id)
        target = await self._find_target(record)
        if target is None:
            return _("nothing added: no contact has this number")
        model, target_id = target
        if self._fields.activity == "all" or (self._fields.activity == "missed" and is_missed(record)):
            await self._plan_activity(record, model, target_id)
        values = {"model": model, "res_id": target_id, "body": note, "message_id": note_id, "message_type": "comment"}
        await self._api.create("mail.message", values)
        return _("note added to {model} {id}", model=model, id=target_id)

    async def _find_target(self, record: Record) -> tuple[str, int] | None:
        """Return model and id of the contact or lead with the number of a call; a new lead, where that is asked for."""
        number = external_number(record)
        if not number:
            return None
        for model in (CONTACT, LEAD) if self._fields.new_leads else (CONTACT,):
            found_id = await self._find_by_number(model, number)
            if found_id is not None:
                return model, found_id
        if not self._fields.new_leads:
            return None
        phone = normalize_number(number, self._fields.country)
        return LEAD, await self._api.create(LEAD, {"name": format_title(record), "phone": phone})

    async def _find_by_number(self, model: str, number: str) -> int | None:
        """Return the first record of a model that has a number, in whichever notation. Raises `OdooRejected` where so
        many may have it that not all are read.
        """
        fields, pattern = await self._find_phone_fields(model), search_pattern(number)
        domain = [*["|"] * (len(fields) - 1), *([field, "ilike", pattern] for field in fields)]
        expected, last_id = normalize_number(number, self._fields.country), 0
        for _page in range(CANDIDATE_PAGES_MAX):
            page_domain = ["&", ["id", ">", last_id], *domain]
            candidates = await self._api.search(model, page_domain, *fields, limit=CANDIDATES_MAX, order="id")
            found_id = next((candidate.id for candidate in candidates if self._has_number(candidate, expected)), None)
            if found_id is not None or len(candidates) < CANDIDATES_MAX:
                return found_id
            last_id = candidates[-1].id
        maximum = CANDIDATES_MAX * CANDIDATE_PAGES_MAX
        raise OdooRejected(
            _("more than {maximum} records of {model} end with the digits of this number", maximum=maximum, model=model)
        )

    def _has_number(self, candidate: OdooRecord, expected: str) -> bool:
        texts = [text for text in (candidate.phone, candidate.mobile) if isinstance(text, str)]
        return expected in [normalize_number(text, self._fields.country) for text in texts]

    async def _find_phone_fields(self, model: str) -> list[str]:
        """Return the fields of a model that have telephone numbers, in this version of Odoo."""
        if model not in self._phone_fields:
            fields = await self._api.fields(model, PHONE_FIELDS)
            if not fields:
                raise OSError(_("{model} has no telephone numbers that this user may read", model=model))
            self._phone_fields[model] = fields
        return self._phone_fields[model]

    async def _plan_activity(self, record: Record, model: str, target_id: int) -> None:
        """Plan an activity for today, unless there is one with this title."""
        title = format_title(record)
        domain = [["res_model", "=", model], ["res_id", "=", target_id], ["summary", "=", title]]
        if await self._api.search("mail.activity", domain):
            return
        models = await self._api.search("ir.model", [["model", "=", model]])
        types = await self._api.search("mail.activity.type", [["category", "=", "phonecall"]])
        if not models:
            raise OSError(_("this user may not read ir.model, which an activity needs"))
        values = {"res_model_id": models[0].id, "res_id": target_id, "summary": title}
        values |= {"activity_type_id": types[0].id} if types else {}
        await self._api.create("mail.activity", values)


def _accepted(detail: str) -> DeliveryResult:
    return DeliveryResult(outcome="accepted", detail=detail[:DETAIL_CHARACTERS_MAX])


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> OdooClient:
    """Open an Odoo, with the private networks and the proxy of the configuration."""
    guard, proxy = guard_and_proxy(config, spec)
    headers = {"Content-Type": "application/json", **spec.headers}
    transport = HttpTransport(spec, guard, proxy, headers, secrets)
    api = OdooApi(spec.url, decode_fields(spec, OdooFields), secrets[-1] if secrets else "", transport)
    return OdooClient(spec, api)
