"""Notes about filters that are valid and probably a mistake, on standard error."""

import sys

from onhook.cdr.record_filter import KNOWN_STATUSES, WordFilter
from onhook.lib.messages import _


def print_note(sentence: str) -> None:
    """Print a note on standard error."""
    print(_("Note: {sentence}.", sentence=sentence), file=sys.stderr)


def warn_about_unknown_status(status: str) -> None:
    """Print a note about statuses that no PBX is known to have."""
    known_words = {word for known_status in KNOWN_STATUSES for word in WordFilter.parse(known_status).words}
    unknown_words = [word for word in WordFilter.parse(status).words if word not in known_words]
    if unknown_words:
        quoted_words = ", ".join(map(repr, unknown_words))
        print_note(
            _(
                "unknown status {words}; known statuses are {known}",
                words=quoted_words,
                known=", ".join(KNOWN_STATUSES),
            )
        )
