"""User-visible text: functions that every sentence goes through, so that a catalogue can translate it.

The language belongs to the task that serves a reader: `use_catalogue` sets it for a block, `set_catalogue` for all that
a request does. Without it, and in every background task, texts are in English, as written at their place of use.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from gettext import NullTranslations


class Catalogue(NullTranslations):
    """The texts of one language; `fill` writes values as readers of it are used to. This one is English."""

    def fill(self, text: str, values: Mapping[str, object]) -> str:
        """Return a text with its placeholders filled."""
        return text.format_map(values)


_catalogue: ContextVar[Catalogue | None] = ContextVar("catalogue", default=None)


def _(template: str, /, **values: object) -> str:
    """Return the text in the language of the reader with its placeholders filled.

    A template without values is returned unchanged, braces included.

    >>> _("PBX {name} added.", name="Office")
    'PBX Office added.'
    """
    catalogue = _catalogue.get()
    if catalogue is None:
        return template.format(**values) if values else template
    # The text of the empty message is the header of a catalogue.
    text = catalogue.gettext(template) if template else ""
    return catalogue.fill(text, values) if values else text


def mark(template: str) -> str:
    """Return the text unchanged: marks a text for the catalogue that `_` translates later, where it is shown."""
    return template


def _n(singular: str, plural: str, number: int, /, **values: object) -> str:
    """Return the text for this number in the language of the reader; `count` is the number unless it is given.

    >>> _n("1 call was sent.", "{count} calls were sent.", 1), _n("1 call was sent.", "{count} calls were sent.", 2)
    ('1 call was sent.', '2 calls were sent.')
    """
    catalogue = _catalogue.get()
    all_values = {"count": number, **values}
    if catalogue is None:
        return (singular if number == 1 else plural).format(**all_values)
    return catalogue.fill(catalogue.ngettext(singular, plural, number), all_values)


def get_catalogue() -> Catalogue | None:
    """Return the catalogue of this task; None means English."""
    return _catalogue.get()


def set_catalogue(catalogue: Catalogue | None) -> None:
    """Translate with this catalogue from now on, in this task and the tasks that it starts."""
    _catalogue.set(catalogue)


@contextmanager
def use_catalogue(catalogue: Catalogue | None) -> Iterator[None]:
    """Translate with this catalogue inside the block, in this task and the tasks that it starts."""
    token = _catalogue.set(catalogue)
    try:
        yield
    finally:
        _catalogue.reset(token)
