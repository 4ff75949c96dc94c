"""Texts for display that pages, commands and logs have in common."""

import re

from onhook.lib.languages import get_formats, get_language

UNKNOWN = "–"  # noqa: RUF001 - a dash for a missing value

LEFT_TO_RIGHT_MARK = "\N{LEFT-TO-RIGHT MARK}"

_LIST_SEPARATOR = re.compile("[,\N{ARABIC COMMA}]")


def split_list(text: str) -> list[str]:
    """Return the parts of a list as people type it, with the comma of Latin or of Arabic script; empty ones are left
    out.

    >>> split_list("1001, 1002,")
    ['1001', '1002']
    """
    return [part.strip() for part in _LIST_SEPARATOR.split(text) if part.strip()]


def keep_left_to_right(text: str) -> str:
    """Return a figure, a range or a time so that a text from right to left does not turn its signs: `+12 %`,
    `08:00-09:00`. As the CLDR does it, with marks: titles, options and mails take them too.

    >>> keep_left_to_right("+12 %")
    '+12 %'
    """
    if get_language().direction == "ltr":
        return text
    return f"{LEFT_TO_RIGHT_MARK}{text}{LEFT_TO_RIGHT_MARK}"


def replace_control_characters(text: str) -> str:
    """Return a text with blanks for control characters: an unknown sender's must not move the cursor of a terminal.

    >>> replace_control_characters("a\\x1b[2Jb")
    'a [2Jb'
    """
    return "".join(character if character.isprintable() else " " for character in text)


def format_duration(seconds: int) -> str:
    """Return a duration as `m:ss`, from an hour on as `h:mm:ss`.

    >>> format_duration(74), format_duration(3661), format_duration(0)
    ('1:14', '1:01:01', '0:00')
    """
    total_minutes, second = divmod(seconds, 60)
    hour, minute = divmod(total_minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def format_share(share: float) -> str:
    """Return a share between 0 and 1 as per cent.

    >>> format_share(0.8735), format_share(1.0), format_share(0)
    ('87.4 %', '100 %', '0 %')
    """
    figure = f"{100 * share:.1f}".removesuffix(".0").replace(".", get_formats().decimal)
    return keep_left_to_right(f"{figure} %")
