"""Mails as notifications: one for each, or a digest of those of some minutes (`email_message`).

Invariants: the mails of a batch are sent in one session, one after the other, so the mails of a call are in order. What
the server says about one mail counts against that mail alone; without a session nothing counts against any. A mail that
is deferred keeps no other one, and is one of its own where the server takes a later one. A mail that was accepted is
accepted, whatever happens to those after it.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.contract import (
    DETAIL_CHARACTERS_MAX,
    DeliveryResult,
    Notification,
    SendLimits,
    not_attempted,
)
from onhook.delivery.destinations.email_message import MailTemplates, RenderedEvent
from onhook.delivery.destinations.http_request import sample_event
from onhook.delivery.destinations.kinds import EmailFields, decode_fields
from onhook.delivery.guarded_connection import describe_connection_error
from onhook.delivery.mail_message import format_mail
from onhook.delivery.samples import TEST_BODY
from onhook.delivery.smtp_session import MailDeferred, MailRefused, SmtpServer, SmtpSession, open_session
from onhook.delivery.ssrf_guard import SsrfGuard, create_ssrf_guard
from onhook.delivery.template_functions import TemplateFailed
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

SESSION_MAILS = 20
"""Mails of one session: what a slow server takes within the time-out; the others follow in the next one."""

DEFERRALS_MAX = 3
"""In a row: a server without space defers every mail, and need not see the others of the session."""

DIGEST_COUNT_MAX = 500
"""Notifications of one digest: a text that a person still looks through."""

_MICROSECONDS = 1_000_000


class EmailClient:
    """See `contract.DestinationClient`."""

    def __init__(self, spec: DestinationSpec, secrets: Sequence[str], guard: SsrfGuard) -> None:
        fields: EmailFields = decode_fields(spec, EmailFields)
        self._is_digest = fields.digest_seconds > 0
        self.limits = SendLimits(
            attempts_max=1,
            batch_count=DIGEST_COUNT_MAX if self._is_digest else SESSION_MAILS,
            batch_age_seconds=fields.digest_seconds,
        )
        self._spec = spec
        self._guard = guard
        self._templates = MailTemplates(spec)
        self._server = SmtpServer(
            url=spec.url,
            tls=fields.tls,
            ca_certificates=spec.ca_certificates,
            passwords=tuple(reversed(secrets)),
            timeout_seconds=spec.timeout_seconds,
        )

    def __repr__(self) -> str:
        return f"EmailClient({self._spec.url!r})"

    def format_payload(self, record: Record) -> bytes:
        return msgspec.json.encode(record)

    def format_test_payload(self) -> bytes:
        return TEST_BODY

    def format_sample_payload(self, now: datetime) -> bytes:
        return sample_event(self._spec, now)

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        results: dict[int, DeliveryResult] = {}
        failure = ""
        try:
            async with (
                asyncio.timeout(self._spec.timeout_seconds),
                open_session(self._server, self._guard) as session,
            ):
                await self._send_mails(session, notifications, results)
        except TimeoutError:
            failure = _("no response within {seconds:g} seconds", seconds=self._spec.timeout_seconds)
        except Unavailable as error:
            failure = error.message
        except OSError as error:
            failure = describe_connection_error(error)
        failed_result = DeliveryResult(
            outcome="unreachable", detail=failure[:DETAIL_CHARACTERS_MAX], is_shared=len(notifications) > 1
        )
        return [results.get(number, failed_result) for number in range(len(notifications))]

    async def close(self) -> None:
        """Each batch has a session of its own, which has ended."""

    async def _send_mails(
        self, session: SmtpSession, notifications: Sequence[Notification], results: dict[int, DeliveryResult]
    ) -> None:
        """Send the mails of a batch, and note the result of each notification by its place as soon as it is known."""
        events: dict[int, RenderedEvent] = {}
        for number, notification in enumerate(notifications):
            await asyncio.sleep(0)  # a template of an operator takes milliseconds, and a digest has hundreds
            try:
                events[number] = self._render(notification)
            except TemplateFailed as error:
                detail = _("not sent: {reason}", reason=error)[:DETAIL_CHARACTERS_MAX]
                results[number] = DeliveryResult(outcome="rejected", detail=detail)
        groups = [list(events)] if self._is_digest and events else [[number] for number in events]
        await self._send_groups(
            session, [{number: events[number] for number in numbers} for numbers in groups], results
        )

    async def _send_groups(
        self,
        session: SmtpSession,
        groups: Sequence[Mapping[int, RenderedEvent]],
        results: dict[int, DeliveryResult],
    ) -> None:
        """Send a mail for each group of notifications. One that is refused is sent in halves, until the notification
        alone is found that is refused. One that is deferred has a result once the server takes a later one: only then
        it is about this mail. Raises `MailDeferred` where the server takes none after it.
        """
        deferred: dict[int, DeliveryResult] = {}
        errors: list[MailDeferred] = []
        waiting = deque(groups)
        for _mail in range(SESSION_MAILS):
            if not waiting:
                break
            group = waiting.popleft()
            try:
                result = await self._send_mail(session, list(group.values()))
            except MailDeferred as error:
                errors.append(error)
                detail = error.message[:DETAIL_CHARACTERS_MAX]
                deferred |= dict.fromkeys(group, DeliveryResult(outcome="rejected", detail=detail, status=error.status))
                if len(errors) == DEFERRALS_MAX:
                    break
                continue
            if result.outcome == "rejected" and len(group) > 1:
                waiting.extendleft(reversed(_halves(group)))
                continue
            results.update(dict.fromkeys(group, result))
            if result.outcome == "accepted":
                results.update(deferred)
                deferred, errors = {}, []
        if errors:
            raise errors[-1]
        left_out = not_attempted(_("mails of this session were refused; what is left follows in the next one"))
        for group in waiting:
            results.update(dict.fromkeys(group, left_out))

    async def _send_mail(self, session: SmtpSession, events: Sequence[RenderedEvent]) -> DeliveryResult:
        mail = self._templates.make_mail(events)
        sent_at = datetime.fromtimestamp(events[0].notification.attempted_at / _MICROSECONDS, UTC)
        try:
            reply = await session.send(mail.sender.address, mail.recipients, format_mail(mail, sent_at))
        except MailRefused as error:
            return DeliveryResult(outcome="rejected", detail=error.message[:DETAIL_CHARACTERS_MAX], status=error.status)
        return DeliveryResult(outcome="accepted", detail=reply[:DETAIL_CHARACTERS_MAX])

    def _render(self, notification: Notification) -> RenderedEvent:
        """Return the texts of a notification; a test without a sample is sent with one. Raises `TemplateFailed`."""
        body = notification.body
        if body == TEST_BODY:
            body = sample_event(self._spec, datetime.fromtimestamp(notification.attempted_at / _MICROSECONDS, UTC))
        return self._templates.render(notification, body)


def _halves(group: Mapping[int, RenderedEvent]) -> list[Mapping[int, RenderedEvent]]:
    items = list(group.items())
    middle = len(items) // 2
    return [dict(items[:middle]), dict(items[middle:])]


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> EmailClient:
    """Open a mail server, with the private networks of the configuration."""
    return EmailClient(spec, secrets, create_ssrf_guard(config.private_networks, allow_private=spec.allow_private))
