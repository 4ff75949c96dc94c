"""Calls that a form names, each by one text: serial number and id."""

from collections.abc import Sequence

from onhook.cdr.access_scope import AccessScope
from onhook.console.queries.calls import FoundCall, find_calls
from onhook.console.state import AppState
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

CALLS_MAX = 200
"""Some pages of them are no longer chosen by hand."""

KEY_SEPARATOR = "\n"
"""Between serial number and id of a call: neither contains it."""


async def find_selected_calls(
    app_state: AppState, texts: str | Sequence[str], scope: AccessScope | None
) -> Sequence[FoundCall]:
    """Return the calls of a form, of which the reader must see each, by one query. Raises `NotFound`, `UsageError`."""
    unique_texts = list(dict.fromkeys([texts] if isinstance(texts, str) else texts))
    if not 1 <= len(unique_texts) <= CALLS_MAX:
        raise UsageError(_("choose 1 to {maximum} calls", maximum=CALLS_MAX), hint=_("select them in the list"))
    return await find_calls(app_state, [_split_key(text) for text in unique_texts], scope)


def _split_key(text: str) -> tuple[str, str]:
    """Return serial number and id. Forms send line ends as two characters."""
    sn, _separator, call_id = text.replace("\r\n", KEY_SEPARATOR).partition(KEY_SEPARATOR)
    return sn, call_id
