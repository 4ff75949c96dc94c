"""What identifies the sender of a PBX's calls, for listings and checks. Pure."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from onhook.appdb.pbxs import Pbx
from onhook.appdb.source_match import FILE_DIALECTS, LINE_DIALECTS, PASSWORD_DIALECTS, SourceMatch
from onhook.lib.messages import _, mark
from onhook.lib.text import UNKNOWN

IdentificationKind = Literal["signature", "source", "connection", "files", "api", "nothing", "unknown"]

_KIND_TEXTS: dict[IdentificationKind, str] = {
    "signature": mark("by signature"),
    "source": mark("by address or path"),
    "connection": mark("by the connection to it"),
    "files": mark("by a folder of files"),
    "api": mark("by its web API"),
    "nothing": mark("by nothing"),
    "unknown": mark("not yet identified"),
}


class Identification(msgspec.Struct, frozen=True):
    """The kind, and what a listing shows; a secret path is not shown."""

    kind: IdentificationKind
    text: str


def identify_sender(pbx: Pbx, source_match: SourceMatch, *, has_api: bool) -> Identification:
    """Return what identifies the sender of this PBX's calls."""
    if pbx.dialect == "asterisk" or pbx.dialect in LINE_DIALECTS:
        return Identification("connection", _("connection"))
    if pbx.dialect in FILE_DIALECTS:
        return Identification("files", _("folder of files"))
    has_password = pbx.dialect in PASSWORD_DIALECTS and pbx.secrets > 0
    if source_match or has_password:
        secret_parts = [(_("a secret path"), source_match.path), (_("a password"), has_password)]
        parts = [*source_match.addresses, *(text for text, is_set in secret_parts if is_set)]
        return Identification("source", ", ".join(parts))
    if pbx.is_unsigned:
        return Identification("nothing", _("nothing"))
    if pbx.secrets:
        return Identification("signature", _("signature"))
    return Identification("api", _("web API")) if has_api else Identification("unknown", UNKNOWN)


def summarize(identifications: Iterable[Identification]) -> str:
    """Return how many PBXs are identified in each way.

    >>> summarize([Identification("signature", ""), Identification("source", ""), Identification("signature", "")])
    '2 by signature, 1 by address or path'
    """
    kinds = [identification.kind for identification in identifications]
    return ", ".join(f"{kinds.count(kind)} {_(text)}" for kind, text in _KIND_TEXTS.items() if kind in kinds)
