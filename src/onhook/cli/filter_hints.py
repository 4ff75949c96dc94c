"""What may be meant so, and is probably a mistake: said on standard error, and done all the same."""

import sys

from onhook.cdr.record_filter import KNOWN_STATUSES, Words


def hint(sentence: str) -> None:
    """Say it beside what is shown, where no program reads it."""
    print(f"Note: {sentence}.", file=sys.stderr)


def hint_at_status(status: str) -> None:
    """Name the words that no PBX is known to say."""
    known = {word for one in KNOWN_STATUSES for word in Words.read(one).words}
    unknown = [word for word in Words.read(status).words if word not in known]
    if unknown:
        said = ", ".join(map(repr, unknown))
        hint(f"no PBX is known to say the status {said}; known are {', '.join(KNOWN_STATUSES)}")
