"""Sessions with a mail server: connected through the SSRF guard, over TLS, logged in where the address has a user.

Invariants: a password is sent over TLS only, unless an operator switched TLS off for the server. TLS is verified
against the name. What the server says about one mail is `MailRefused`, `MailDeferred` or `RecipientsRefused`;
everything else is another `Unavailable`, and has no password.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import unquote, urlsplit

import aiosmtplib
import msgspec

from onhook.delivery.guarded_connection import connect_guarded, create_tls_context, describe_connection_error
from onhook.delivery.ssrf_guard import SsrfGuard
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.lib.hosts import parse_url_host
from onhook.lib.messages import _

MailTls = Literal["verify", "off"]

SUBMISSION_PORT, TLS_PORT = 587, 465
"""Ports for programs that send mails: with STARTTLS, and with TLS from the beginning (RFC 8314)."""

SCHEMES = ("smtp", "smtps")

LOCAL_NAME = "[127.0.0.1]"
"""How Onhook introduces itself (RFC 5321, 4.1.4): a name of this machine could be wrong, and a look-up would block."""

REPLY_CHARACTERS_MAX = 200
"""Of what a server says, for display."""

HIDDEN = "…"

_REFUSED_CODES = range(500, 600)

_DEFERRED_CODES = range(400, 500)

_CLOSING_CODE = 421
"""Ends the session, whatever it answers (RFC 5321, 3.8)."""

_UNKNOWN_RECIPIENT_CODES = range(550, 560)
"""Of the mail system about a recipient (RFC 5321, 4.2.1). Others, such as 530, say that the session lacks something."""

_TOO_LARGE_CODE = 552
"""Refuses the size of a mail, before its content (RFC 1870, 6.1)."""


class MailRefused(OnhookError):
    """The server does not accept this mail, and may accept others. `status` is its reply code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class MailDeferred(Unavailable):
    """The server does not accept this mail now; the session goes on, and the server may accept others. `status` is its
    reply code.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class RecipientsRefused(Unavailable):
    """The server accepts no mail for these recipients, for good."""


class SmtpServer(msgspec.Struct, frozen=True, kw_only=True):
    """A mail server. `url` is `smtps://USER@HOST:PORT`, or `smtp://` for STARTTLS, which is required unless `tls` is
    `off`. `passwords` are tried in their order.
    """

    url: str
    tls: MailTls = "verify"
    ca_certificates: str = ""
    passwords: Sequence[str] = ()
    timeout_seconds: float = 30.0

    def __repr__(self) -> str:
        return f"SmtpServer({self.url!r})"

    @property
    def user(self) -> str:
        return unquote(urlsplit(self.url).username or "")

    @property
    def default_port(self) -> int:
        return TLS_PORT if urlsplit(self.url).scheme == "smtps" else SUBMISSION_PORT


class SmtpSession:
    """An open session; `send` is called for one mail after the other."""

    def __init__(self, client: aiosmtplib.SMTP, server: SmtpServer) -> None:
        self._client = client
        self._server = server

    async def send(self, sender: str, recipients: Sequence[str], data: bytes) -> str:
        """Send a mail, and return the reply of the server; recipients that it refuses beside accepted ones are named in
        it. Raises `MailRefused`, `MailDeferred`, `RecipientsRefused`, another `Unavailable`, `OSError`.
        """
        try:
            refused_recipients, reply = await self._client.sendmail(sender, recipients, data)
        except (aiosmtplib.SMTPDataError, aiosmtplib.SMTPSenderRefused) as error:
            refused_codes = _REFUSED_CODES if isinstance(error, aiosmtplib.SMTPDataError) else (_TOO_LARGE_CODE,)
            if error.code in refused_codes:
                raise MailRefused(self._describe(error), error.code) from error
            raise self._build_error(error) from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise self._build_recipients_error(error.recipients) from error
        except aiosmtplib.SMTPException as error:
            raise Unavailable(self._describe(error)) from error
        detail = clean_reply(reply, self._server.passwords) or _("accepted")
        if not refused_recipients:
            return detail
        names = ", ".join(refused_recipients)[:REPLY_CHARACTERS_MAX]
        return _("{detail}; refused recipients: {names}", detail=detail, names=names)

    def _build_error(self, error: aiosmtplib.SMTPResponseException) -> Unavailable:
        """Return the error of a reply that does not refuse the mail for good."""
        if error.code in _DEFERRED_CODES and error.code != _CLOSING_CODE:
            return MailDeferred(self._describe(error), error.code)
        return Unavailable(self._describe(error))

    def _build_recipients_error(self, refusals: Sequence[aiosmtplib.SMTPRecipientRefused]) -> Unavailable:
        """Return the error where no recipient is accepted: final only where all are refused for good."""
        first_temporary = next((refusal for refusal in refusals if refusal.code not in _UNKNOWN_RECIPIENT_CODES), None)
        if first_temporary is not None:
            return self._build_error(first_temporary)
        return RecipientsRefused(self._describe(refusals[0]))

    def _describe(self, error: aiosmtplib.SMTPException) -> str:
        return describe_smtp_error(error, self._server.passwords)


@asynccontextmanager
async def open_session(server: SmtpServer, guard: SsrfGuard) -> AsyncIterator[SmtpSession]:
    """Open a session, and close it. Raises `Unavailable` and `OSError`; the caller limits the time."""
    is_tls = urlsplit(server.url).scheme == "smtps"
    # Authorities are read from files.
    context = await asyncio.to_thread(create_tls_context, server.ca_certificates)
    connected_socket = await connect_guarded(server.url, server.default_port, guard)
    client = aiosmtplib.SMTP(
        hostname=parse_url_host(server.url).text,
        sock=connected_socket,
        local_hostname=LOCAL_NAME,
        use_tls=is_tls,
        start_tls=False,
        tls_context=context,
        timeout=server.timeout_seconds,
    )
    try:
        try:
            await client.connect()
            if not is_tls and server.tls == "verify":
                await _start_tls(client)
            await _log_in(client, server)
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unavailable(_describe_opening(error, server)) from error
        yield SmtpSession(client, server)
        await _quit(client)
    finally:
        _disconnect(client)
        connected_socket.close()


async def _start_tls(client: aiosmtplib.SMTP) -> None:
    """Change to TLS, which the server must offer. Raises `Unavailable`, `aiosmtplib.SMTPException`, `OSError`."""
    await client.ehlo()
    if not client.supports_extension("starttls"):
        raise Unavailable(_("the server does not offer STARTTLS"))
    await client.starttls()


async def _log_in(client: aiosmtplib.SMTP, server: SmtpServer) -> None:
    """Log in with the first password that the server accepts. Raises `aiosmtplib.SMTPException`."""
    if not server.user:
        return
    if not server.passwords:
        raise Unavailable(_("there is no password for the user {user}", user=server.user))
    for number, password in enumerate(server.passwords, start=1):
        try:
            await client.login(server.user, password)
        except aiosmtplib.SMTPAuthenticationError:
            if number == len(server.passwords):
                raise
        else:
            return


async def _quit(client: aiosmtplib.SMTP) -> None:
    """End the session; mails are accepted already, whatever the server says now."""
    try:
        await client.execute_command(b"QUIT")
    except (aiosmtplib.SMTPException, OSError):
        return


def _disconnect(client: aiosmtplib.SMTP) -> None:
    """Close the connection at once: the end of TLS is not awaited, as a server may never send it."""
    transport = client.transport
    client.close()
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


def _describe_opening(error: Exception, server: SmtpServer) -> str:
    """Return why there is no session."""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        reason = describe_smtp_error(error, server.passwords)
        return _("the server refuses the login of {user}: {reason}", user=server.user, reason=reason)
    cause = error.__cause__ if isinstance(error, aiosmtplib.SMTPConnectError) else error
    if isinstance(cause, ssl.SSLError) or (isinstance(cause, OSError) and not isinstance(cause, TimeoutError)):
        return describe_connection_error(cause)
    return describe_smtp_error(error, server.passwords)


def describe_smtp_error(error: Exception, passwords: Sequence[str]) -> str:
    """Return what a server said, with its code, or why it said nothing."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {clean_reply(error.message, passwords)}"
    return clean_reply(str(error), passwords) or type(error).__name__


def clean_reply(text: str, passwords: Sequence[str]) -> str:
    """Return a reply in one line without passwords."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    for password in filter(None, passwords):
        line = line.replace(password, HIDDEN)
    return line[:REPLY_CHARACTERS_MAX]


def check_smtp_url(url: str) -> None:
    """Check the address of a mail server. Raises `UsageError` at `url`."""
    try:
        parts = urlsplit(url)
        has_host = parse_url_host(url).is_canonical and parts.port != 0
    except ValueError:  # an open bracket, a port that is not a number, no host
        parts, has_host = urlsplit(""), False
    if parts.scheme not in SCHEMES or not has_host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError(
            _("this is not the address of a mail server"),
            location="url",
            hint=_("write one such as {example}", example="smtps://onhook@mail.example.com"),
        )
