"""What a PBX is to us, and what its name, serial number and secrets may look like."""

import re
import secrets
import string
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.source_match import SourceMatch
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.utc_offset import get_zone
from onhook.lib.errors import UsageError

NAME_CHARACTERS_MAX = 64
"""A name is for a column on a page."""

SN_CHARACTERS_MAX = 64
"""Serial numbers are 12 to 16 characters (yeastar-p-series.md 1); other PBXs may say a host name."""

SECRET_CHARACTERS_MIN = 8
"""What is shorter is a slip, or soon guessed; a PBX makes 32 (yeastar-p-series.md 4)."""

SECRET_CHARACTERS_MAX = 256
"""A PBX makes 32 (yeastar-p-series.md 4); more than 64 bytes add nothing to HMAC-SHA256."""

GENERATED_SECRET_CHARACTERS = 32
"""As many as a PBX makes itself."""

SECRETS_MAX = 20
"""Per PBX: five webhooks, each with a new secret beside the old, and some air. Every one costs a try per report."""

PBXS_MAX = 1_000
"""In one house: a body without a serial number is tried with all of their secrets."""

DIALECT_DEFAULT = "yeastar"

_SN = re.compile(r"[!-~]+")


class Pbx(msgspec.Struct, frozen=True, kw_only=True):
    """A PBX that may report to us. `zone` is an IANA name, or None where it was not said.

    `secrets` counts its secrets; their texts are told to whoever verifies signatures and to nobody else.
    """

    name: str
    sn: str
    dialect: str = DIALECT_DEFAULT
    zone: str | None = None
    is_unsigned: bool = False
    number_plan: NumberPlan = NumberPlan()
    created_at: datetime
    secrets: int = 0

    @property
    def zone_info(self) -> ZoneInfo | None:
        """The zone itself. It was checked when it was set."""
        return None if self.zone is None else get_zone(self.zone)


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret as it is listed: without its text."""

    secret_id: int
    label: str
    created_at: datetime


class WebhookCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """What verifying a report of one PBX takes: secret, and never shown."""

    sn: str
    dialect: str
    is_unsigned: bool
    secrets: tuple[str, ...]
    source_match: SourceMatch = SourceMatch()

    def __repr__(self) -> str:
        return f"Credentials(sn={self.sn!r}, {len(self.secrets)} secrets)"


def validate_name(name: str) -> str:
    """The name, trimmed. Raises `UsageError`."""
    name = name.strip()
    if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
        raise UsageError(f"{name[:80]!r} cannot be a name", hint=f"use 1 to {NAME_CHARACTERS_MAX} printable characters")
    return name


def validate_sn(sn: str) -> str:
    """The serial number, trimmed. Raises `UsageError`."""
    sn = sn.strip()
    if len(sn) > SN_CHARACTERS_MAX or not _SN.fullmatch(sn):
        raise UsageError(
            f"{sn[:80]!r} cannot be a serial number",
            hint=f"use 1 to {SN_CHARACTERS_MAX} ASCII characters without blanks, as the PBX shows it",
        )
    return sn


def validate_secret(text: str) -> str:
    """The secret as it is: even a blank at its end is part of the key. Raises `UsageError`, never showing the text."""
    if not SECRET_CHARACTERS_MIN <= len(text) <= SECRET_CHARACTERS_MAX:
        raise UsageError(
            f"a secret cannot have {len(text)} characters",
            hint=f"use {SECRET_CHARACTERS_MIN} to {SECRET_CHARACTERS_MAX} characters; a PBX makes 32",
        )
    if not text.isprintable():
        raise UsageError("a secret cannot have control characters", hint="copy it again from the PBX")
    return text


def validate_zone(zone: str | None) -> str | None:
    """An IANA name, or None. Raises `UsageError`."""
    return None if zone is None else str(get_zone(zone).key)


def new_secret() -> str:
    """A random secret, of letters and digits, as long as a PBX's own."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(GENERATED_SECRET_CHARACTERS))
