"""A PBX, and the rules for its name, serial number and secrets."""

import re
import secrets
import string
from collections.abc import Iterable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.source_match import SourceMatch
from onhook.cdr.identity import fold_sn
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.utc_offset import get_zone
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

NAME_CHARACTERS_MAX = 64
"""A name is shown in a table column."""

SN_CHARACTERS_MAX = 64
"""Serial numbers have 12 to 16 characters (yeastar-p-series.md 1); other PBXs may use a host name."""

SECRET_CHARACTERS_MIN = 8
"""A shorter secret is a mistake, or easy to guess; a PBX generates 32 (yeastar-p-series.md 4)."""

SECRET_CHARACTERS_MAX = 256
"""A PBX generates 32 (yeastar-p-series.md 4); more than 64 bytes add nothing to HMAC-SHA256."""

GENERATED_SECRET_CHARACTERS = 32
"""As many as a PBX generates."""

SECRETS_MAX = 20
"""Per PBX: five webhooks, each with a new secret beside the old, and a reserve. Each costs a try per event."""

PBXS_MAX = 1_000
"""Of one installation: a body without a serial number is tried with all of their secrets."""

DIALECT_DEFAULT = "yeastar"

DIALECTS = frozenset({DIALECT_DEFAULT, "newcdr", "asterisk", "freeswitch", "grandstream", "3cx", "avaya", "cucm"})
"""Those of `pbx.registry`, which is not imported here."""

_SN = re.compile(r"[!-~]+")


class Pbx(msgspec.Struct, frozen=True, kw_only=True):
    """A registered PBX. `zone` is an IANA name, or None where it is unknown.

    `secrets` counts its secrets; their texts are only passed to the code that verifies signatures. `further_sns` are
    accepted as its own. `keeps_unregistered`: an event that one of its secrets signs, with a serial number that is not
    registered, goes to the quarantine; otherwise it is rejected.
    """

    name: str
    sn: str
    dialect: str = DIALECT_DEFAULT
    zone: str | None = None
    is_unsigned: bool = False
    number_plan: NumberPlan = NumberPlan()
    created_at: datetime
    secrets: int = 0
    further_sns: tuple[str, ...] = ()
    keeps_unregistered: bool = True

    @property
    def zone_info(self) -> ZoneInfo | None:
        """Return the time zone. The name is validated when it is set."""
        return None if self.zone is None else get_zone(self.zone)


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret in a listing: without its text."""

    secret_id: int
    label: str
    created_at: datetime


def describe_secrets(secrets: Iterable[Secret]) -> str:
    """Return the numbers and labels of secrets: `3 webhook, 7 rotated`."""
    return ", ".join(f"{secret.secret_id} {secret.label}" for secret in secrets)


class WebhookCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """What verifying the events of one PBX needs: secret, and never shown."""

    sn: str
    dialect: str
    is_unsigned: bool
    secrets: tuple[str, ...]
    further_sns: tuple[str, ...] = ()
    keeps_unregistered: bool = True
    source_match: SourceMatch = SourceMatch()

    def __repr__(self) -> str:
        return f"Credentials(sn={self.sn!r}, {len(self.secrets)} secrets)"


def pbxs_by_sn(pbxs: Iterable[Pbx]) -> Mapping[str, Pbx]:
    """Return the PBX that has each accepted serial number, folded."""
    return {fold_sn(sn): pbx for pbx in pbxs for sn in (pbx.sn, *pbx.further_sns)}


def validate_name(name: str) -> str:
    """Return the name, trimmed. Raises `UsageError`."""
    name = name.strip()
    if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
        raise UsageError(
            _("{name} is not a valid name", name=repr(name[:80])),
            hint=_("use 1 to {maximum} printable characters", maximum=NAME_CHARACTERS_MAX),
        )
    return name


def validate_path_name(name: str) -> str:
    """Return the name, trimmed, of something that the API has under its name: `/` separates the parts of a path. Raises
    `UsageError`.
    """
    name = validate_name(name)
    if "/" in name:
        raise UsageError(_("{name} is not a valid name", name=repr(name)), hint=_("use a name without /"))
    return name


def validate_sn(sn: str) -> str:
    """Return the serial number, trimmed. Raises `UsageError`."""
    sn = sn.strip()
    if len(sn) > SN_CHARACTERS_MAX or not _SN.fullmatch(sn):
        raise UsageError(
            _("{sn} is not a valid serial number", sn=repr(sn[:80])),
            hint=_(
                "use 1 to {maximum} ASCII characters without blanks, as the PBX shows it", maximum=SN_CHARACTERS_MAX
            ),
        )
    return sn


def validate_secret(text: str) -> str:
    """Return the secret unchanged: even a blank at its end is part of the key. Raises `UsageError`, never showing the
    text.
    """
    if not SECRET_CHARACTERS_MIN <= len(text) <= SECRET_CHARACTERS_MAX:
        raise UsageError(
            _("a secret cannot have {count} characters", count=len(text)),
            hint=_(
                "use {minimum} to {maximum} characters; a PBX generates 32",
                minimum=SECRET_CHARACTERS_MIN,
                maximum=SECRET_CHARACTERS_MAX,
            ),
        )
    if text.isspace():
        raise UsageError(_("a secret cannot consist of blanks"), hint=_("copy it again from the PBX"))
    if not text.isprintable():
        raise UsageError(_("a secret cannot have control characters"), hint=_("copy it again from the PBX"))
    return text


def validate_dialect(dialect: str) -> str:
    """Return the name of a dialect. Raises `UsageError`."""
    if dialect not in DIALECTS:
        raise UsageError(
            _("unknown dialect {dialect}", dialect=repr(dialect[:40])),
            hint=_("use one of {dialects}", dialects=", ".join(sorted(DIALECTS))),
        )
    return dialect


def validate_zone(zone: str | None) -> str | None:
    """Return an IANA name, or None. Raises `UsageError`."""
    return None if zone is None else str(get_zone(zone).key)


def new_secret() -> str:
    """Return a random secret of letters and digits, as long as a PBX's own."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(GENERATED_SECRET_CHARACTERS))
