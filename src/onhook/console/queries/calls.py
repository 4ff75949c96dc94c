"""One call, for users who may see it."""

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
