"""What may be meant so, and is probably a mistake: said on standard error, and done all the same."""

import sys

from onhook.cdr.record_filter import KNOWN_STATUSES, WordFilter


def print_note(sentence: str) -> None:
    """Say it beside what is shown, where no program reads it."""
    print(f"Note: {sentence}.", file=sys.stderr)


def warn_about_unknown_status(status: str) -> None:
    """Name the words that no PBX is known to say."""
    known_words = {word for known_status in KNOWN_STATUSES for word in WordFilter.parse(known_status).words}
    unknown_words = [word for word in WordFilter.parse(status).words if word not in known_words]
    if unknown_words:
        quoted_words = ", ".join(map(repr, unknown_words))
        print_note(f"no PBX is known to say the status {quoted_words}; known are {', '.join(KNOWN_STATUSES)}")
