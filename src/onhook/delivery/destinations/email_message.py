"""Mails that templates make of calls, alarms and issues: one for each, or a digest of several. Pure.

Invariants: recipients are those of the destination, whatever its templates say. The notifications of a call have one
thread; the same notifications have the same id in each attempt.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from onhook.appdb.destination_spec import DestinationSpec
from onhook.delivery.destinations.contract import Notification
from onhook.delivery.destinations.http_request import SAMPLE_TIME, sample_event, subject_of
from onhook.delivery.destinations.kinds import EmailFields, decode_fields
from onhook.delivery.mail_message import Mail, to_subject
from onhook.delivery.smtp_session import check_smtp_url
from onhook.delivery.template_functions import TemplateFailed
from onhook.delivery.template_sandbox import SandboxedTemplate
from onhook.lib.errors import UsageError
from onhook.lib.mail_addresses import parse_addresses, parse_mailbox
from onhook.lib.messages import _, _n

SEPARATOR = "\n\n" + "-" * 40 + "\n\n"
"""Between the parts of a digest."""

DIGEST_CHARACTERS_MAX = 500_000
"""Of the text of a digest: servers take mails of some megabytes. What is beyond is counted in its last line."""

DEFAULT_SUBJECTS: Mapping[str, str] = MappingProxyType(
    {
        "call": "{{ call.type }} call {{ call.status|lower }}: {{ call.call_from }} to {{ call.call_to }}",
        "alarm": (
            "{{ 'Alarm ended' if alarm.ended_at else 'Alarm' }}: {{ alarm.title|default(alarm.kind) }},"
            " PBX {{ alarm.sn }}"
        ),
        "issue": (
            "{{ 'Issue ended' if issue.ended_at else 'Issue' }}: {{ issue.subject }},"
            " {{ issue.title|default(issue.kind) }}"
        ),
    }
)
"""What an empty template stands for, by subject."""

_OPERATIONAL_BODY = """\
{% if SUBJECT.title is defined %}{{ SUBJECT.title }}. {{ SUBJECT.meaning }}

{% endif %}{{ SUBJECT.detail }}
{{ SUBJECT.hint }}

Began: {{ SUBJECT.began_at|time("%Y-%m-%d %H:%M") }} UTC
{% if SUBJECT.ended_at %}Ended: {{ SUBJECT.ended_at|time("%Y-%m-%d %H:%M") }} UTC
{% endif %}"""

DEFAULT_BODIES: Mapping[str, str] = MappingProxyType(
    {
        "call": """\
From:   {{ call.call_from }}
To:     {{ call.call_to }}
Start:  {{ call.time_start }}
Status: {{ call.status }}
Talk:   {{ call.talk_duration|duration }} of {{ call.call_duration|duration }}
PBX:    {{ call.pbx }}
""",
        "alarm": _OPERATIONAL_BODY.replace("SUBJECT", "alarm"),
        "issue": _OPERATIONAL_BODY.replace("SUBJECT", "issue"),
    }
)


class RenderedEvent(msgspec.Struct, frozen=True):
    """The texts of one notification."""

    notification: Notification
    subject: str
    text: str
    thread_key: str


class MailTemplates:
    """The templates of a destination. Raises `UsageError` for one that cannot be compiled."""

    def __init__(self, spec: DestinationSpec) -> None:
        fields: EmailFields = decode_fields(spec, EmailFields)
        self._spec = spec
        self._event_name = subject_of(spec.notifies_of)
        self.sender = parse_mailbox(fields.mail_from, "mail_from")
        self.recipients = parse_addresses(fields.mail_to, "mail_to")
        variables = frozenset({"event", "is_test", "notification_id", self._event_name})

        def compile_template(source: str, location: str) -> SandboxedTemplate:
            return SandboxedTemplate(source, "plain", variables=variables, location=location)

        self._subject = compile_template(fields.mail_subject or DEFAULT_SUBJECTS[self._event_name], "mail_subject")
        self._body = compile_template(fields.mail_body or DEFAULT_BODIES[self._event_name], "mail_body")

    def render(self, notification: Notification, body: bytes) -> RenderedEvent:
        """Return the texts of a notification with this body. Raises `TemplateFailed`."""
        event = msgspec.json.decode(body)
        event = event[self._event_name] if self._event_name != "call" else event
        values: dict[str, Any] = {
            self._event_name: event,
            "event": event,
            "notification_id": notification.notification_id,
            "is_test": notification.is_test,
        }
        subject = to_subject(self._subject.render(values)) or _("(no subject)")
        text = self._body.render(values).strip() + "\n"
        return RenderedEvent(notification, subject, text, self._thread_key(event))

    def make_mail(self, events: Sequence[RenderedEvent]) -> Mail:
        """Return the mail of one notification, or the digest of several."""
        first = events[0]
        ids = " ".join(event.notification.notification_id for event in events)
        prefix = _("[Test] ") if first.notification.is_test else ""
        if len(events) == 1:
            subject, text, thread_key = first.subject, first.text, first.thread_key
        else:
            count_text = _n("1 notification", "{count} notifications", len(events))
            subject, text, thread_key = f"{count_text}: {first.subject}", _make_digest(events), ""
        return Mail(
            sender=self.sender,
            recipients=self.recipients,
            subject=prefix + subject,
            text=text,
            mail_key=ids,
            thread_key=thread_key,
        )

    def _thread_key(self, event: Mapping[str, Any]) -> str:
        """Return what the notifications of one call, alarm or issue have in common."""
        name = self._event_name
        number = event.get("call_id") if name == "call" else event.get(f"{name}_id")
        return f"{name} {event.get('sn')} {number}"


def _make_digest(events: Sequence[RenderedEvent]) -> str:
    """Return the texts one below the other, as many as a mail can have."""
    parts: list[str] = []
    characters = 0
    for event in events:
        part = f"{event.subject}\n\n{event.text.strip()}"
        characters += len(part) + len(SEPARATOR)
        if characters > DIGEST_CHARACTERS_MAX:
            omitted_count = len(events) - len(parts)
            parts.append(_n("1 further notification", "{count} further notifications", omitted_count))
            break
        parts.append(part)
    return SEPARATOR.join(parts) + "\n"


def check_spec(spec: DestinationSpec) -> None:
    """Check address, mailboxes and templates of a destination, the latter with a sample event. Raises `UsageError`."""
    check_smtp_url(spec.url)
    templates = MailTemplates(spec)
    if not templates.recipients:
        raise UsageError(
            _("a destination of the kind {kind} needs recipients", kind=spec.kind),
            location="mail_to",
            hint=_("write addresses, separated by commas"),
        )
    try:
        templates.render(Notification("sample-1", b"", 0), sample_event(spec, SAMPLE_TIME))
    except TemplateFailed as error:
        raise UsageError(error.message, location=error.location, hint=error.hint) from error


def describe_request(spec: DestinationSpec, body: bytes, notification_id: str) -> str:
    """Return the mail of a notification, for the preview. Raises `UsageError`."""
    templates = MailTemplates(spec)
    try:
        mail = templates.make_mail([templates.render(Notification(notification_id, body, 0), body)])
    except TemplateFailed as error:
        raise UsageError(error.message, location=error.location, hint=error.hint) from error
    lines = [f"From: {mail.sender.address}", f"To: {', '.join(mail.recipients)}", f"Subject: {mail.subject}"]
    return "\n".join([*lines, "", mail.text])
