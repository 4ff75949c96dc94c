"""Texts for display that pages, commands and logs have in common."""

from onhook.lib.languages import get_formats

UNKNOWN = "–"  # noqa: RUF001 - a dash for a missing value


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
    return f"{100 * share:.1f}".removesuffix(".0").replace(".", get_formats().decimal) + " %"
