"""One call, for users who may see it, and its recordings on this machine.

Invariants: no text of a request becomes a path: the call has the file name of its recording. The file is in the
directory of the call's PBX, whatever the name is, and is audio.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from onhook.appdb.notes import Note, parse_tags
from onhook.appdb.recordings import find_recording_file
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.identity import CallKey
from onhook.cdr.number_masking import LOCAL_DIGITS, has_number
from onhook.cdr.record import Call
from onhook.console.state import AppState
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _


class FoundCall(msgspec.Struct, frozen=True):
    """A call as the reader sees it, and as it is stored."""

    call: Call
    original: Call


async def find_call(app_state: AppState, sn: str, call_id: str, scope: AccessScope | None) -> Call:
    """Return the call, as the reader sees it. Raises the same `NotFound` for an unknown one and one outside of the
    scope, which may name a number that is masked.
    """
    return _check_visible(app_state, await app_state.unmasked_store.call(sn, call_id), (sn, call_id), scope).call


async def find_calls(app_state: AppState, keys: Sequence[CallKey], scope: AccessScope | None) -> list[FoundCall]:
    """Return these calls in their order, read by one query. Raises `NotFound` as `find_call` does."""
    calls = {(call.sn, call.call_id): call for call in await app_state.unmasked_store.calls_by_keys(keys)}
    return [_check_visible(app_state, calls.get(key), key, scope) for key in keys]


def _check_visible(app_state: AppState, call: Call | None, key: CallKey, scope: AccessScope | None) -> FoundCall:
    if call is None or (scope is not None and not scope.allows_call(call)):
        sn, call_id = key
        raise NotFound(
            _("there is no call {call_id} of {sn}", call_id=repr(call_id[:80]), sn=repr(sn[:80])),
            hint=_("it may not have ended yet"),
        )
    return FoundCall(call if app_state.masking is None else app_state.masking.mask_call(call), call)


async def local_recording_flags(app_state: AppState, call: Call) -> list[bool]:
    """Return for each recording of a call whether it is here."""
    directory = await app_state.appdb.recordings.get(call.sn)
    names = await _recording_names(app_state, call)
    return [directory is not None and find_recording_file(directory, name) is not None for name in names]


async def recording_path(app_state: AppState, call: Call, number: int) -> Path | None:
    """Return the file of a call's recording, counted from 1; None where it is not here."""
    directory = await app_state.appdb.recordings.get(call.sn)
    names = await _recording_names(app_state, call)
    return None if directory is None or number > len(names) else find_recording_file(directory, names[number - 1])


async def list_notes(app_state: AppState, call: Call, original: Call | None = None) -> list[Note]:
    """Return all versions of a call's note, the latest first; masked numbers are masked in them too. `original` is the
    call as it is stored, where that was read already.
    """
    notes = await app_state.appdb.notes.history(call.sn, call.call_id)
    if app_state.masking is not None and original is None:
        original = await app_state.unmasked_store.call(call.sn, call.call_id)
    return notes if original is None else [_mask_note(app_state, note, original) for note in notes]


async def write_note(  # noqa: PLR0917 - the parts of a note
    app_state: AppState, call: Call, text: str, tags: str, author: str, original: Call | None = None
) -> None:
    """Add a version of a call's note; `original` as for `list_notes`. Raises `UsageError` where numbers are masked for
    the author, for a note with a number: a masked one would be lost, and another one could be used to try numbers.
    """
    if app_state.masking is not None:
        versions = await app_state.appdb.notes.history(call.sn, call.call_id)
        visible_versions = await list_notes(app_state, call, original)
        if versions and (text.strip(), parse_tags(tags)) == (visible_versions[0].text, visible_versions[0].tags):
            return
        _check_masked_note(text, tags, has_hidden=versions[:1] != visible_versions[:1])
    now_us = app_state.clock.microseconds()
    await app_state.appdb.notes.write(call.sn, call.call_id, text, tags, author=author, now_us=now_us)


def _check_masked_note(text: str, tags: str, *, has_hidden: bool) -> None:
    """Raise `UsageError` for a note that an author with masked numbers cannot write."""
    if has_hidden:
        raise UsageError(
            _("this note contains a number that is masked for you"),
            hint=_("ask a user who sees the number to change it"),
        )
    if has_number(text) or has_number(tags):
        # Masked or not, it would show whether the number is that of the call.
        raise UsageError(
            _("numbers are masked for you: a note cannot contain one"),
            hint=_("leave out figures of {count} digits and more", count=LOCAL_DIGITS),
        )


def _mask_note(app_state: AppState, note: Note, call: Call) -> Note:
    masking = app_state.masking
    if masking is None:
        return note
    return msgspec.structs.replace(
        note,
        text=masking.mask_note(note.text, call),
        tags=tuple(masking.mask_note(tag, call) for tag in note.tags),
    )


async def _recording_names(app_state: AppState, call: Call) -> Sequence[str]:
    """Return the names of the files, which a reader with masked numbers does not see."""
    if app_state.masking is None:
        return call.recordings
    original = await app_state.unmasked_store.call(call.sn, call.call_id)
    return () if original is None else original.recordings
