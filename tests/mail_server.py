"""A real mail server (aiosmtpd) on the loop of a test."""

import asyncio
import email
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.policy import default
from typing import Any, Literal

import msgspec
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class ReceivedMail(msgspec.Struct, frozen=True):
    """A mail as the server got it."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    user: str
    is_tls: bool
    text: str

    @property
    def html(self) -> str:
        return read_part(self.message, "html")

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])


def read_part(message: EmailMessage, kind: Literal["plain", "html"]) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


class MailServer:
    """Keeps what it accepts. With `users` it requires a login, with a TLS context STARTTLS first, or TLS from the
    beginning. `refused_text` is part of mails that it refuses; `refused_recipients` are those that it does not know;
    `refusal_count` is how many mails it refused. Mails with more than `bytes_max` are refused by their size, without a
    limit where it is 0.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        is_implicit_tls: bool = False,
        users: dict[str, str] | None = None,
    ) -> None:
        self.port = 0
        self.mails: list[ReceivedMail] = []
        self.refused_text = ""
        self.refused_recipients: set[str] = set()
        self.refusal = "554 5.7.1 refused"
        self.refusal_count = 0
        self.recipient_refusal = "550 5.1.1 no such user"
        self.bytes_max = 0
        self.session_count = 0
        self._tls, self._is_implicit_tls = tls, is_implicit_tls
        self._users = users or {}
        self._server: asyncio.Server | None = None
        self._transports: set[asyncio.Transport] = set()

    @property
    def url(self) -> str:
        scheme = "smtps" if self._is_implicit_tls else "smtp"
        user = next(iter(self._users), "")
        return f"{scheme}://{user and f'{user}@'}{'localhost' if self._tls else '127.0.0.1'}:{self.port}"

    async def start(self) -> None:
        tls = self._tls if self._is_implicit_tls else None
        self._server = await asyncio.get_running_loop().create_server(self._create, "127.0.0.1", self.port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for transport in self._transports:
                transport.abort()
            await self._server.wait_closed()
            await asyncio.sleep(0)  # transports are closed by the loop
            self._server = None

    @asynccontextmanager
    async def listen(self) -> AsyncIterator["MailServer"]:
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    def _create(self) -> SMTP:
        self.session_count += 1
        transports = self._transports

        class Protocol(SMTP):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                transports.add(transport)
                super().connection_made(transport)

        has_login = bool(self._users)
        has_starttls = bool(self._tls) and not self._is_implicit_tls
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # aiosmtpd warns of a login without STARTTLS
            return Protocol(
                self,
                hostname="mail.test",
                data_size_limit=self.bytes_max or None,
                tls_context=self._tls if has_starttls else None,
                require_starttls=has_starttls,
                authenticator=self._authenticate if has_login else None,
                auth_required=has_login,
                auth_require_tls=has_starttls,
            )

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: Any
    ) -> AuthResult:
        if not isinstance(auth_data, LoginPassword):
            return AuthResult(success=False, handled=False)
        user, password = auth_data.login.decode(), auth_data.password.decode()
        is_valid = self._users.get(user) == password
        return AuthResult(success=is_valid, auth_data=user, handled=is_valid)  # what is not handled is refused

    # Called by aiosmtpd, by these names.

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused_recipients:
            return self.recipient_refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        assert content.isascii(), "every server takes ASCII"
        assert max(map(len, content.split(b"\r\n"))) <= 998, "RFC 5321, 4.5.3.1.6"
        message = email.message_from_bytes(content, policy=default)
        assert isinstance(message, EmailMessage)
        mail = ReceivedMail(
            sender=envelope.mail_from or "",
            recipients=envelope.rcpt_tos,
            message=message,
            user=str(session.auth_data or ""),
            is_tls=server.transport is not None and server.transport.get_extra_info("ssl_object") is not None,
            text=read_part(message, "plain"),
        )
        if self.refused_text and self.refused_text in mail.text + mail.subject:
            self.refusal_count += 1
            return self.refusal
        self.mails.append(mail)
        return "250 2.0.0 queued"
