"""Access scope of a limited user: PBXs by name or serial number, extensions by number, and the mask of external
numbers.
"""

from collections.abc import Iterable

from onhook.appdb.appdb import AppDb
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.number_masking import parse_mask
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

NUMBER_CHARACTERS_MAX = 40
"""Of an extension: no PBX has longer ones."""


async def parse_scope(
    appdb: AppDb, pbxs: Iterable[str], numbers: Iterable[str], mask: str = "none"
) -> AccessScope | None:
    """Return the scope of these names; None where they are empty and nothing is masked. Raises `UsageError`,
    `NotFound`.
    """
    sns = dict.fromkeys([(await appdb.pbx(name)).sn for name in _split_words(pbxs)])
    extensions = _split_words(numbers)
    if any(not number.isprintable() or len(number) > NUMBER_CHARACTERS_MAX for number in extensions):
        raise UsageError(_("invalid extension numbers"), hint=_("write extensions, separated by commas"))
    scope = AccessScope(tuple(sns) or None, extensions or None, parse_mask(mask))
    return None if scope == AccessScope() else scope


def _split_words(texts: Iterable[str]) -> tuple[str, ...]:
    """Return each word once; a text may hold several, separated by commas."""
    return tuple(dict.fromkeys(word.strip() for text in texts for word in text.split(",") if word.strip()))
