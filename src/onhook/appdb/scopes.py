"""Access scope of a limited user: PBXs by name or serial number, extensions by number, departments and sites by name,
and the mask of external numbers.
"""

from collections.abc import Iterable

from onhook.appdb.appdb import AppDb
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import TEXT_CHARACTERS_MAX
from onhook.cdr.number_masking import parse_mask
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.text import split_list

NUMBER_CHARACTERS_MAX = 40
"""Of an extension: no PBX has longer ones."""


GROUPS_MAX = 100
"""Departments, or sites, in one scope."""


async def parse_scope(  # noqa: PLR0917 - the parts of a scope
    appdb: AppDb,
    pbxs: Iterable[str],
    numbers: Iterable[str],
    mask: str = "none",
    departments: Iterable[str] = (),
    sites: Iterable[str] = (),
) -> AccessScope | None:
    """Return the scope of these names; None where they are empty and nothing is masked. A department or site may have
    no number yet. Raises `UsageError`, `NotFound`.
    """
    sns = dict.fromkeys([(await appdb.pbx(name)).sn for name in _split_words(pbxs)])
    extensions = _split_words(numbers)
    if any(not number.isprintable() or len(number) > NUMBER_CHARACTERS_MAX for number in extensions):
        raise UsageError(_("invalid extension numbers"), hint=_("write extensions, separated by commas"))
    scope = AccessScope(
        tuple(sns) or None,
        extensions or None,
        parse_mask(mask),
        _check_groups("departments", departments),
        _check_groups("sites", sites),
    )
    return None if scope == AccessScope() else scope


def split_names(text: str) -> tuple[str, ...]:
    """Return the names in the field of a form, separated by commas."""
    return _split_words([text])


def _check_groups(field: str, texts: Iterable[str]) -> tuple[str, ...] | None:
    """Return each name once; None without any. Raises `UsageError`."""
    names = tuple({name.casefold(): name for text in texts if (name := text.strip())}.values())
    if len(names) > GROUPS_MAX or any(not name.isprintable() or len(name) > TEXT_CHARACTERS_MAX for name in names):
        raise UsageError(
            _("invalid {field}", field=field),
            parameter=field,
            hint=_(
                "write at most {count} names of {characters} characters",
                count=GROUPS_MAX,
                characters=TEXT_CHARACTERS_MAX,
            ),
        )
    return names or None


def _split_words(texts: Iterable[str]) -> tuple[str, ...]:
    """Return each word once; a text may hold several, separated by commas."""
    return tuple(dict.fromkeys(word for text in texts for word in split_list(text)))
