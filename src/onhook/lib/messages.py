"""User-visible text: functions that every sentence goes through, so that a catalogue can translate it.

The language belongs to the task that serves a reader: `use_catalogue` sets it for one request. Without it, and in every
background task, texts are in English, as written at their place of use.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from gettext import NullTranslations

_catalogue: ContextVar[NullTranslations | None] = ContextVar("catalogue", default=None)


def _(template: str, /, **values: object) -> str:
    """Return the text in the language of the reader with its placeholders filled.

    A template without values is returned unchanged, braces included.

    >>> _("PBX {name} added.", name="Office")
    'PBX Office added.'
    """
    catalogue = _catalogue.get()
    text = template if catalogue is None else catalogue.gettext(template)
    return text.format(**values) if values else text


def mark(template: str) -> str:
    """Return the text unchanged: marks a text for the catalogue that `_` translates later, where it is shown."""
    return template


def _n(singular: str, plural: str, number: int, /, **values: object) -> str:
    """Return the text for this number in the language of the reader; `count` is the number unless it is given.

    >>> _n("1 call was sent.", "{count} calls were sent.", 1), _n("1 call was sent.", "{count} calls were sent.", 2)
    ('1 call was sent.', '2 calls were sent.')
    """
    catalogue = _catalogue.get()
    english = singular if number == 1 else plural
    text = english if catalogue is None else catalogue.ngettext(singular, plural, number)
    return text.format(**{"count": number, **values})


@contextmanager
def use_catalogue(catalogue: NullTranslations) -> Iterator[None]:
    """Translate with this catalogue inside the block, in this task and the tasks that it starts."""
    token = _catalogue.set(catalogue)
    try:
        yield
    finally:
        _catalogue.reset(token)
