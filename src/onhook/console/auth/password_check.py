"""The password of a user who is signed in, entered again before something of the sign-in changes."""

import asyncio

from onhook.appdb.passwords import verify_password
from onhook.appdb.users import User
from onhook.console.auth.access import client_address
from onhook.console.auth.session_start import record_sign_in
from onhook.console.state import AnyRequest, AppState
from onhook.lib.errors import NotAllowed
from onhook.lib.messages import _


async def check_password(request: AnyRequest, app_state: AppState, user: User, password: str) -> None:
    """Check the password of a user; a wrong one counts as a failed sign-in. Raises `NotAllowed`, `TooManyTries`."""
    async with app_state.password_tries.turn(user.name, client_address(request)) as password_try:
        password_hash = await app_state.appdb.users.get_password_hash(user.name)
        is_correct = await asyncio.to_thread(verify_password, password, password_hash)
        if is_correct:
            await password_try.record_success()
    if not is_correct:
        await record_sign_in(request, app_state, user.name, "password", 401)
        raise NotAllowed(_("the current password is wrong"))
