"""Mails as they are sent: text and HTML, with the headers that keep automatic replies and loops away. Pure.

Invariants: a mail has the same id in each attempt. No value becomes a header of its own: line ends in headers are
blanks. A mail is ASCII, so that every server takes it.
"""

import html
from collections.abc import Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import blake2b

import msgspec

from onhook.appdb.mails import MailAttachment
from onhook.lib.mail_addresses import Mailbox

SUBJECT_CHARACTERS_MAX = 200
"""More than programs display."""

_ENCODING = "quoted-printable"


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """One mail. `mail_key` identifies it: attempts with one key have the same `Message-ID`, by which programs recognise
    repeats; mails with one `thread_key` are shown together. The domain of these ids is `id_domain`, else the sender's.
    Without `html` that part is made from the text.
    `unsubscribe_url` is where one click ends such mails, or empty.
    """

    sender: Mailbox
    recipients: Sequence[str]
    subject: str
    text: str
    mail_key: str
    html: str = ""
    id_domain: str = ""
    thread_key: str = ""
    unsubscribe_url: str = ""
    attachments: Sequence[MailAttachment] = ()


def format_mail(mail: Mail, sent_at: datetime) -> bytes:
    """Return the bytes of a mail (RFC 5322)."""
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(_to_line(mail.sender.name), addr_spec=mail.sender.address)
    message["To"] = ", ".join(mail.recipients)
    message["Subject"] = to_subject(mail.subject)
    message["Date"] = format_datetime(sent_at)
    id_domain = mail.id_domain or mail.sender.domain
    message["Message-ID"] = _message_id(mail.mail_key, id_domain)
    # RFC 3834: no vacation notice or other program answers; the third is what Exchange reads.
    message["Auto-Submitted"] = "auto-generated"
    message["Precedence"] = "bulk"
    message["X-Auto-Response-Suppress"] = "All"
    if (
        mail.unsubscribe_url.startswith("https:") and mail.unsubscribe_url.isascii()
    ):  # RFC 8058, 3.1: programs send that request to no other link
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(mail.text, cte=_ENCODING)
    message.add_alternative(mail.html or text_to_html(mail.text), subtype="html", cte=_ENCODING)
    for attachment in mail.attachments:
        main_type, _slash, subtype = attachment.content_type.partition("/")
        message.add_attachment(attachment.content, maintype=main_type, subtype=subtype, filename=attachment.name)
    return _unfolded_headers(mail, id_domain) + message.as_bytes()


def _unfolded_headers(mail: Mail, id_domain: str) -> bytes:
    """Return the headers with a word that may be longer than a line: the library would make encoded words of it, which
    are not allowed there (RFC 2047, 5), and which programs do not read.
    """
    headers = {
        "References": _message_id(mail.thread_key, id_domain) if mail.thread_key else "",
        # A link that is not ASCII is in the text alone.
        "List-Unsubscribe": f"<{mail.unsubscribe_url}>" if mail.unsubscribe_url.isascii() else "",
    }
    present = {name: _to_line(text) for name, text in headers.items() if text and text != "<>"}
    return "".join(f"{name}: {text}\r\n" for name, text in present.items()).encode("ascii")


def to_subject(text: str) -> str:
    """Return a text as a subject: one line, not too long.

    >>> to_subject("Missed call\\r\\nBcc: all@example.com ")
    'Missed call Bcc: all@example.com'
    """
    line = _to_line(text)
    return line if len(line) <= SUBJECT_CHARACTERS_MAX else f"{line[: SUBJECT_CHARACTERS_MAX - 1]}…"


def text_to_html(text: str) -> str:
    """Return a page that shows a text with its lines.

    >>> text_to_html("a < b\\nc")
    '<!doctype html>\\n<html><body><div dir="auto"><p>a &lt; b<br>\\nc</p></div></body></html>\\n'
    """
    paragraphs = html.escape(text.strip()).replace("\r\n", "\n").split("\n\n")
    content = "\n".join(f"<p>{paragraph.strip().replace(chr(10), f'<br>{chr(10)}')}</p>" for paragraph in paragraphs)
    # The text was made in the language of its recipient, which is not known here: its letters say where it begins.
    return f'<!doctype html>\n<html><body><div dir="auto">{content}</div></body></html>\n'


def _message_id(key: str, domain: str) -> str:
    return f"<{blake2b(key.encode(), digest_size=16).hexdigest()}@{domain}>"


def _to_line(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.encode("utf-8", "replace").decode().split())
