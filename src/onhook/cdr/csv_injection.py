"""Escaping of cells that a spreadsheet would read as a formula, or a terminal as commands; reversible.

A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an apostrophe in front; so does one that
begins with apostrophes before such a character, so that removing one always restores the text. Telephone numbers and
offsets from UTC are no formulas: `+15550100` and `-03:30` stay unchanged.

A control character (C0 but tab and line breaks, DEL, C1) is written as `\\x1b`, and a backslash that begins such a text
as `\\x5c`. In JSON it is `\\u001b`, which every reader of JSON undoes.
"""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NOT_A_FORMULA = re.compile(r"\+[0-9]+|[+-][0-9]{2}:[0-9]{2}")

_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_TO_ESCAPE = re.compile(rf"[{_CONTROLS}]|\\(?=x[0-9a-f]{{2}})")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
_JSON_CONTROLS = re.compile(b"\x7f|\xc2[\x80-\x9f]")
"""In UTF-8. JSON itself escapes the others."""


def escape_cell(text: str) -> str:
    """Return the text as a cell.

    >>> escape_cell("=1+1"), escape_cell("\\x1b[2J"), escape_cell("Bob<1002>")
    ("'=1+1", '\\\\x1b[2J', 'Bob<1002>')
    """
    return escape_controls(escape_formula(text))


def unescape_cell(cell: str) -> str:
    """Return the text of a cell: `unescape_cell(escape_cell(text)) == text` for every text."""
    return unescape_formula(_ESCAPED.sub(lambda match: chr(int(match[1], 16)), cell))


def escape_formula(text: str) -> str:
    """Return the text without a formula.

    >>> escape_formula("=1+1"), escape_formula("+15550100"), escape_formula("+08:00"), escape_formula("'tis")
    ("'=1+1", '+15550100', '+08:00', "'tis")
    """
    return "'" + text if _FORMULA.match(text) and not _NOT_A_FORMULA.fullmatch(text) else text


def unescape_formula(cell: str) -> str:
    """Return the text: `unescape_formula(escape_formula(text)) == text` for every text."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def escape_controls(text: str) -> str:
    """Return the text without control characters but tab and line breaks."""
    return _TO_ESCAPE.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def escape_json_controls(encoded: bytes) -> bytes:
    """Return JSON in UTF-8 without DEL and C1 control characters, which JSON allows in texts."""
    if b"\x7f" not in encoded and b"\xc2" not in encoded:
        return encoded
    # The last byte of each is its number.
    return _JSON_CONTROLS.sub(lambda match: b"\\u00%02x" % match[0][-1], encoded)
