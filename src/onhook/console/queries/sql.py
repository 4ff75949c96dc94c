"""Users' SQL for pages and API: ended when its client goes away, or has no access any longer."""

import asyncio

import msgspec

from onhook.console.auth.access import is_still_authorized
from onhook.console.state import AnyRequest, AppState
from onhook.console.streaming import wait_for_disconnect, wait_for_revocation
from onhook.lib.errors import NotAllowed, Unavailable
from onhook.lib.messages import _
from onhook.store.sql.contract import SqlResult


class DatedResult(msgspec.Struct, frozen=True, kw_only=True):
    """A result, and how old its data was when it was answered, in whole seconds."""

    result: SqlResult
    age_seconds: int


async def run_sql(request: AnyRequest, app_state: AppState, sql: str) -> DatedResult:
    """Run one SELECT; see `SqlRunner.run`. A client that disconnects ends it, and so does the removal of its token,
    session or user: `NotAllowed`.
    """
    query_task = asyncio.create_task(app_state.sql_runner.run(sql))
    disconnect_task = asyncio.create_task(wait_for_disconnect(request.receive))
    revocation_task = asyncio.create_task(wait_for_revocation(request.scope))
    tasks = (query_task, disconnect_task, revocation_task)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        is_revoked = revocation_task.done()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if is_revoked:
        revocation_task.result()
    if is_revoked or not await is_still_authorized(request.scope):
        raise NotAllowed(_("the access was removed, and the query was ended"), location="sql")
    if query_task.cancelled():
        raise Unavailable(_("the client disconnected, and the query was ended"), location="sql")
    result = query_task.result()
    age = app_state.clock.now() - result.data_at
    return DatedResult(result=result, age_seconds=max(0, round(age.total_seconds())))
