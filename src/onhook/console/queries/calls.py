"""One call, for users who may see it, and its recordings on this machine.

Invariants: no text of a request becomes a path: the call has the file name of its recording. The file is in the
directory of the call's PBX, whatever the name is, and is audio.
"""

from pathlib import Path

from onhook.appdb.recordings import find_recording_file
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.record import Call
from onhook.console.state import AppState
from onhook.lib.errors import NotFound
from onhook.lib.messages import _


async def find_call(app_state: AppState, sn: str, call_id: str, scope: AccessScope | None) -> Call:
    """Return the call. Raises the same `NotFound` for an unknown one and one outside of the scope."""
    call = await app_state.store.call(sn, call_id)
    if call is None or (scope is not None and not scope.allows_call(call)):
        raise NotFound(
            _("there is no call {call_id} of {sn}", call_id=repr(call_id[:80]), sn=repr(sn[:80])),
            hint=_("it may not have ended yet"),
        )
    return call


async def local_recording_flags(app_state: AppState, call: Call) -> list[bool]:
    """Return for each recording of a call whether it is here."""
    directory = await app_state.appdb.recordings.get(call.sn)
    return [directory is not None and find_recording_file(directory, name) is not None for name in call.recordings]


async def recording_path(app_state: AppState, call: Call, number: int) -> Path | None:
    """Return the file of a call's recording, counted from 1; None where it is not here."""
    directory = await app_state.appdb.recordings.get(call.sn)
    if directory is None or number > len(call.recordings):
        return None
    return find_recording_file(directory, call.recordings[number - 1])
