"""User-visible text: one function that every sentence goes through, so that a catalogue can translate it.

The language belongs to the task that serves a reader: `use_catalogue` sets it for one request. Without it, and in every
background task, texts are in English, as written at their place of use.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LookUp = Callable[[str], str]
"""A catalogue's `gettext`: returns the template in its language, or the template itself where it has none."""

_look_up: ContextVar[LookUp | None] = ContextVar("look_up", default=None)


def _(template: str, /, **values: object) -> str:
    """Return the text in the language of the reader with its placeholders filled.

    A template without values is returned unchanged, braces included.

    >>> _("PBX {name} added.", name="Office")
    'PBX Office added.'
    """
    look_up = _look_up.get()
    text = template if look_up is None else look_up(template)
    return text.format(**values) if values else text


@contextmanager
def use_catalogue(look_up: LookUp) -> Iterator[None]:
    """Translate with this catalogue inside the block, in this task and the tasks that it starts.

    >>> with use_catalogue({"missed": "verpasst"}.get):
    ...     _("missed")
    'verpasst'
    """
    token = _look_up.set(look_up)
    try:
        yield
    finally:
        _look_up.reset(token)
