"""Options of a PBX's web API, and `onhook pbx trust`."""

from typing import Annotated

import msgspec
import typer

from onhook.appdb.pbx_credentials import CREDENTIAL_CHARACTERS_MAX, PbxCredentials, parse_pbx_credentials
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, load_config, print_note
from onhook.cli.pbx_secrets import PbxName, read_secret_file
from onhook.console.pbx_setup import check_pbx_url
from onhook.lib.certificates import format_fingerprint
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.sync.certificate_pinning import fetch_certificate

ApiOption = Annotated[
    str | None,
    typer.Option("--api", metavar="URL", help=_("Its web API, as https://HOST:8088"), show_default=False),
]
ClientIdOption = Annotated[
    str | None,
    typer.Option("--client-id", metavar="ID", help=_("Client id of its API"), show_default=False),
]
ClientSecretOption = Annotated[
    str | None,
    typer.Option("--client-secret", metavar="SECRET", help=_("Client secret of its API"), show_default=False),
]
ClientSecretFileOption = Annotated[
    str | None,
    typer.Option(
        "--client-secret-file",
        metavar="FILE",
        help=_("File with the client secret; - is standard input"),
        show_default=False,
    ),
]
FingerprintOption = Annotated[
    str | None,
    typer.Option(
        "--fingerprint", metavar="SHA256", help=_("Fingerprint of its certificate, which is pinned"), show_default=False
    ),
]


class CredentialOptions(msgspec.Struct, frozen=True):
    """The options as given."""

    url: str | None
    client_id: str | None
    client_secret: str | None
    client_secret_file: str | None
    fingerprint: str | None

    def __repr__(self) -> str:
        return "CredentialOptions()"

    async def merge_into(self, previous: PbxCredentials | None, data: str | None) -> PbxCredentials | None:
        """Return the credentials as `merge_with`. Raises `UsageError` also for an address that may not be connected to;
        prints a note where it has none now.
        """
        credentials = self.merge_with(previous)
        if credentials is not None and self.url:
            warning = await check_pbx_url(load_config(data=data), credentials.url, location="--api")
            if warning:
                print_note(warning)
        return credentials

    def merge_with(self, previous: PbxCredentials | None) -> PbxCredentials | None:
        """Return the credentials: given values replace stored ones; None without any. Raises `UsageError`."""
        secret = self._read_secret()
        if not any((self.url, self.client_id, secret, self.fingerprint)):
            return None
        url, client_id, client_secret, fingerprint = (
            value or (getattr(previous, name) if previous else "")
            for name, value in (
                ("url", self.url),
                ("client_id", self.client_id),
                ("client_secret", secret),
                ("fingerprint", self.fingerprint),
            )
        )
        return parse_pbx_credentials(url, client_id, client_secret, fingerprint)

    def _read_secret(self) -> str | None:
        if self.client_secret_file is None:
            return self.client_secret
        if self.client_secret is not None:
            raise UsageError(_("the client secret is given twice"), hint=_("leave one of the two out"))
        return read_secret_file(self.client_secret_file, CREDENTIAL_CHARACTERS_MAX)


async def trust(name: PbxName, data: DataOption = None) -> None:
    """Show the fingerprint of a PBX's certificate, and pin it."""
    async with open_appdb(data) as appdb:
        pbx = await appdb.pbx(name)
        credentials = await appdb.pbx_credentials.require(pbx.sn, pbx.name)
        certificate = fetch_certificate(credentials.url)
        await appdb.pbx_credentials.pin(pbx.sn, certificate.fingerprint)
    print(format_fingerprint(certificate.fingerprint))
    trust_text = (
        f"not trusted by a certificate authority: {certificate.verification_error}"
        if certificate.verification_error
        else "verified by a certificate authority"
    )
    previous_text = "it replaces another one; " if credentials.fingerprint not in ("", certificate.fingerprint) else ""
    print(
        _(
            "{pbx_name} ({url}) has this certificate ({trust_text}). {previous_text}It is pinned now.",
            pbx_name=pbx.name,
            url=credentials.url,
            trust_text=trust_text,
            previous_text=previous_text.capitalize(),
        )
    )
    print(_("Compare it with that of the PBX under Security > Certificate."))
