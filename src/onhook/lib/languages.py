"""Languages of readers: their catalogues, and how they write dates and numbers.

A catalogue is the file `catalogues/de.po`, read when it is first needed; `tools/catalogues.py` keeps it to the sources.
How dates and numbers are written is from the CLDR, in `catalogues/formats.json`, which that tool writes too: the
library that reads the CLDR takes 9 MB of memory, and 36 MB on the disk.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import lru_cache
from gettext import c2py
from pathlib import Path
from string import Formatter
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from onhook.lib.errors import UsageError
from onhook.lib.messages import Catalogue, _, get_catalogue, set_catalogue, use_catalogue

ENGLISH = "en"


class Language(NamedTuple):
    """A language that readers can choose: its code, its own name, and the direction of its script."""

    code: str
    name: str
    direction: Literal["ltr", "rtl"] = "ltr"


LANGUAGES: Mapping[str, Language] = MappingProxyType(
    {
        language.code: language
        for language in (
            Language(ENGLISH, "English"),
            Language("de", "Deutsch"),
            Language("es", "Español"),
            Language("fr", "Français"),
            Language("it", "Italiano"),
            Language("pt", "Português"),
            Language("zh", "简体中文"),
            Language("ar", "العربية", "rtl"),
        )
    }
)
"""Those whose catalogues are complete; `tools/catalogues.py --complete` checks it. More catalogues may be under way."""

ACCEPT_CHARACTERS_MAX = 500
"""Of the header `Accept-Language`: browsers send some dozens."""

GROUP_SEPARATOR = "\u202f"
"""Between thousands, in all languages: a comma or a full stop is that of decimals in some."""

_PO_LINE = re.compile(r'(?:(?P<keyword>msgid|msgid_plural|msgstr)(?:\[(?P<index>\d)\])? )?(?P<text>".*")')
_PLURAL_FORMS = re.compile(r"nplurals=(\d+); plural=([^;\n]+)")
_DATE_FIELD = re.compile(r"E+|d+|[ML]+|y+|'[^']*'")


class Formats(NamedTuple):
    """How a language writes dates and numbers, from the CLDR. Patterns have its letters: `E` a weekday, `d`, `MMM`."""

    decimal: str = "."
    full_date: str = "E d MMM y"
    short_date: str = "E d MMM"
    month: str = "LLLL y"
    morning: str = "AM"
    afternoon: str = "PM"
    weekdays: tuple[str, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    short_months: tuple[str, ...] = (
        *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
        *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    )
    months: tuple[str, ...] = (
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    )
    lone_months: tuple[str, ...] = ()
    """As they are written without a day, where that differs."""

    def write_date(self, pattern: str, day: date) -> str:
        """Return a date by a pattern.

        >>> Formats().write_date("EEEE d. MMM 'de' y", date(2026, 4, 7))
        'Tue 7. Apr de 2026'
        """
        return _DATE_FIELD.sub(lambda match: self._write_field(match.group(), day), pattern)

    def _write_field(self, field: str, day: date) -> str:
        if field[0] == "E":
            return self.weekdays[day.weekday()]
        if field[0] in "ML":
            if len(field) <= 2:
                return f"{day.month:0{len(field)}}"
            lone_or_all = self.lone_months if field[0] == "L" and self.lone_months else self.months
            return (self.short_months if len(field) == 3 else lone_or_all)[day.month - 1]
        if field[0] == "y":
            return str(day.year)
        return field.strip("'") if field[0] == "'" else f"{day.day:0{len(field)}}"


class _Filler(Formatter):
    """Fills placeholders; a number with a format of its own gets the signs of the language."""

    def __init__(self, formats: Formats) -> None:
        self._signs = str.maketrans({",": GROUP_SEPARATOR, ".": formats.decimal})

    def format_field(self, value: Any, format_spec: str) -> str:
        text: str = super().format_field(value, format_spec)
        return text.translate(self._signs) if format_spec and isinstance(value, int | float) else text


class FileCatalogue(Catalogue):
    """The catalogue of a file; a text without a translation stays English."""

    def __init__(self, language: Language, messages: Mapping[str, Sequence[str]], formats: Formats) -> None:
        super().__init__()
        self.language = language
        self.formats = formats
        self._filler = _Filler(formats)
        self._messages = messages
        rule = _PLURAL_FORMS.search(messages.get("", ("",))[0])
        self._plural_count = int(rule[1]) if rule else 2
        self._plural_index = c2py(rule[2] if rule else "n != 1")

    def gettext(self, message: str) -> str:
        """Return the translation of a text."""
        return self._messages.get(message, (message,))[0]

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        """Return the translation for a number."""
        forms = self._messages.get(msgid1, ())
        if len(forms) == self._plural_count:
            return forms[self._plural_index(n)]
        return msgid1 if n == 1 else msgid2

    def fill(self, text: str, values: Mapping[str, object]) -> str:
        """Return a text with its placeholders filled."""
        return self._filler.vformat(text, (), values)


def parse_catalogue(text: str) -> dict[str, tuple[str, ...]]:
    r"""Return the translations of a PO file, as `tools/catalogues.py` writes it; those with an empty form are left out.

    >>> parse_catalogue('msgid "One"\nmsgstr "Eins"\n\nmsgid "1 {x}"\nmsgid_plural "2"\nmsgstr[0] "a"\nmsgstr[1] "b"\n')
    {'One': ('Eins',), '1 {x}': ('a', 'b')}
    """
    messages: dict[str, tuple[str, ...]] = {}
    message_id, forms, parts = "", list[str](), list[str]()
    keyword = ""
    for line in (*text.splitlines(), 'msgid ""'):
        match = _PO_LINE.fullmatch(line)
        if match is None:
            continue
        if match["keyword"]:
            if keyword == "msgid":
                message_id, forms = "".join(parts), []
            elif keyword == "msgstr":
                forms.append("".join(parts))
                if match["keyword"] == "msgid" and all(forms):
                    messages[message_id] = tuple(forms)
            keyword, parts = match["keyword"], []
        parts.append(json.loads(match["text"]))
    return messages


@lru_cache(maxsize=16)
def load_catalogue(code: str) -> FileCatalogue:
    """Return the catalogue of a language other than English, read at the first use: 20 milliseconds."""
    directory = Path(__file__).parent / "catalogues"
    text = (directory / f"{code}.po").read_text("utf-8")
    formats = json.loads((directory / "formats.json").read_bytes()).get(code, {})
    return FileCatalogue(LANGUAGES[code], parse_catalogue(text), Formats(**formats))


def validate_language(code: str) -> None:
    """Check that there is a language of this code; an empty one is none. Raises `UsageError`."""
    if code and code not in LANGUAGES:
        raise UsageError(
            _("there is no language {language}", language=repr(code[:20])),
            location="language",
            hint=_("use one of {choices}", choices=", ".join(LANGUAGES)),
        )


def get_language() -> Language:
    """Return the language of the texts of this task."""
    catalogue = get_catalogue()
    return catalogue.language if isinstance(catalogue, FileCatalogue) else LANGUAGES[ENGLISH]


def get_formats() -> Formats:
    """Return how this task writes dates and numbers."""
    catalogue = get_catalogue()
    return catalogue.formats if isinstance(catalogue, FileCatalogue) else _ENGLISH_FORMATS


def set_language(code: str) -> None:
    """Have all texts of this task from now on, and of the tasks that it starts, in a language."""
    set_catalogue(None if code == ENGLISH else load_catalogue(code))


@contextmanager
def use_language(code: str) -> Iterator[None]:
    """Have all texts of a block in a language; with an empty code they stay in that of the task."""
    if not code:
        yield
        return
    with use_catalogue(None if code == ENGLISH else load_catalogue(code)):
        yield


def negotiate_language(accept_language: str, default: str = ENGLISH) -> str:
    """Return the code of the language that a browser likes best (RFC 9110, section 12.5.4) among those there are.

    >>> negotiate_language("ja;q=0.9, en-GB;q=0.8, *;q=0.1"), negotiate_language("en;q=0", "de")
    ('en', 'de')
    """
    best_code, best_quality = default, 0.0
    for part in accept_language[:ACCEPT_CHARACTERS_MAX].split(","):
        name, _separator, parameter = part.strip().partition(";")
        code, quality = name.strip().partition("-")[0].lower(), _parse_quality(parameter)
        if code in LANGUAGES and quality > best_quality:
            best_code, best_quality = code, quality
    return best_code


def _parse_quality(parameter: str) -> float:
    """Return the quality of a part of the header; 0 for one that is none."""
    match = re.fullmatch(r"\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*", parameter, re.IGNORECASE)
    return float(match[1]) if match else float(not parameter)


_ENGLISH_FORMATS = Formats()
