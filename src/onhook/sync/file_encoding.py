"""Encoding of a text file: by its mark, by its bytes, by the setting of its PBX; a guess only where it is certain.

Invariant: no name is stored in letters that another encoding of the same bytes would make others.
"""

import codecs
import re
from pathlib import Path

from onhook.lib.errors import UsageError
from onhook.lib.messages import _

SNIFFED_BYTES = 64 * 1024

WORD_CHARACTERS_MAX = 40
"""Of the example in a message."""

WESTERN = "cp1252"
_CENTRAL = "cp1250"
_ENCODING_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_WORKBOOK_MAGICS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""Of XLSX and XLS."""

_TURKISH_LETTERS = "ýÝ"
"""Their bytes are two forms of the letter I in Turkey."""

_CERTAIN_CHARACTERS = {
    character
    for number in range(0xC0, 0x100)
    if (character := bytes([number]).decode(WESTERN, "ignore"))
    and character == bytes([number]).decode(_CENTRAL, "ignore")
    and character not in _TURKISH_LETTERS
} | set("àÀåÅ„“”…—€§°«»\u2018\u2019\u2013\u00a0")
"""The same in Western and Central Europe, such as those of German, or there so rare that others stand beside them: no
encoding has to be chosen.
"""

_FOREIGN = "[^\\x00-\\x7f]"
_DOUBTFUL = re.compile(
    f"[^\\x00-\\x7fèñÑ{re.escape(''.join(sorted(_CERTAIN_CHARACTERS)))}]"
    # As in French names: in Central Europe no such letter stands before a consonant with an e.
    r"|(?<![a-zé])è|è(?![bcdfglmnprstv]{1,2}e)"
    # Between vowels it is no Polish letter.
    r"|(?<![aeiouáéíóúAEIOUÁÉÍÓÚ])[ñÑ]|[ñÑ](?![aeiouáéíóúAEIOUÁÉÍÓÚ])"
    # In other scripts nearly all letters of a word are foreign; `ß` alone follows such a letter.
    rf"|(?={_FOREIGN})\w(?={_FOREIGN})[^\W\dß]"
)


def detect_encoding(path: Path, configured: str = "") -> str:
    """Return the encoding of a text file: by its mark or its bytes, UTF-8 where it is valid, else the configured one
    where that is, else that of Western Windows if no letter is another one in Central Europe. Raises `UsageError` for a
    file that is no text, or whose encoding is not certain, and `OSError`.
    """
    with path.open("rb") as file:
        head = file.read(SNIFFED_BYTES)
    if head.startswith(_WORKBOOK_MAGICS):
        raise UsageError(
            _("this is a workbook, not a text file"),
            location=str(path),
            hint=_("save it as CSV with its ids as text, or download it as CSV from the PBX"),
        )
    for mark, encoding in _ENCODING_MARKS.items():
        if head.startswith(mark):
            return encoding
    if head[1::2].count(0) > len(head) // 4 or head[::2].count(0) > len(head) // 4:
        return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
    for encoding in filter(None, ("utf-8", configured)):
        if _is_valid(path, encoding):
            return encoding
    _check_western(path)
    return WESTERN


def _is_valid(path: Path, encoding: str) -> bool:
    try:
        with path.open(encoding=encoding, newline="") as file:
            while file.read(SNIFFED_BYTES):
                pass
    except UnicodeError:
        return False
    return True


def _check_western(path: Path) -> None:
    """Raise `UsageError` with an example if the letters of a file may be others."""
    text = ""
    with path.open(encoding=WESTERN, errors="replace", newline="") as file:
        while chunk := file.read(SNIFFED_BYTES):
            text = text[-WORD_CHARACTERS_MAX:] + chunk
            if match := _DOUBTFUL.search(text):
                before, after = re.search(r"\w*$", text[: match.start()]), re.match(r"\w*", text[match.end() :])
                word = f"{before[0] if before else ''}{match[0]}{after[0] if after else ''}"
                raise UsageError(
                    _(
                        "the encoding of the file is not certain: as Western European text it has {word!r}",
                        word=word[:WORD_CHARACTERS_MAX],
                    ),
                    location=str(path),
                    hint=_(
                        "name it with --encoding, such as cp1252 (Western Europe), cp1250 (Central Europe), cp1251"
                        " (Cyrillic) or gbk, or save the file as UTF-8"
                    ),
                )
