"""What a reader is limited to, as people name it: PBXs by name or serial number, extensions as they are dialled."""

from collections.abc import Iterable

from onhook.appdb.appdb import AppDb
from onhook.cdr.access_scope import AccessScope
from onhook.lib.errors import UsageError

NUMBER_CHARACTERS_MAX = 40
"""Of an extension: no PBX dials more."""


def parse_scope(appdb: AppDb, pbxs: Iterable[str], numbers: Iterable[str]) -> AccessScope | None:
    """The limits that these set; None where they name nothing. Raises `UsageError`, `NotFound` for an unknown PBX."""
    sns = dict.fromkeys(appdb.pbx(name).sn for name in _split_words(pbxs))
    extensions = _split_words(numbers)
    if any(not number.isprintable() or len(number) > NUMBER_CHARACTERS_MAX for number in extensions):
        raise UsageError("these numbers cannot be meant", hint="write extensions, joined by commas")
    return AccessScope(tuple(sns) or None, extensions or None) if sns or extensions else None


def _split_words(texts: Iterable[str]) -> tuple[str, ...]:
    """Each once; one text may hold several, joined by commas."""
    return tuple(dict.fromkeys(word.strip() for text in texts for word in text.split(",") if word.strip()))
