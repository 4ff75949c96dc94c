"""Users' SQL for pages and API: ended when its client goes away."""

import asyncio

import msgspec

from onhook.console.state import AnyRequest, AppState
from onhook.console.streaming import wait_for_disconnect
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _
from onhook.store.sql.contract import SqlResult


class DatedResult(msgspec.Struct, frozen=True, kw_only=True):
    """A result, and how old its data was when it was answered, in whole seconds."""

    result: SqlResult
    age_seconds: int


async def run_sql(request: AnyRequest, app_state: AppState, sql: str) -> DatedResult:
    """Run one SELECT; see `SqlRunner.run`. A client that disconnects ends it."""
    query_task = asyncio.create_task(app_state.sql_runner.run(sql))
    disconnect_task = asyncio.create_task(wait_for_disconnect(request.receive))
    try:
        await asyncio.wait({query_task, disconnect_task}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        disconnect_task.cancel()
        query_task.cancel()
        await asyncio.gather(query_task, disconnect_task, return_exceptions=True)
    if query_task.cancelled():
        raise Unavailable(_("the client disconnected, and the query was ended"), location="sql")
    result = query_task.result()
    age = app_state.clock.now() - result.data_at
    return DatedResult(result=result, age_seconds=max(0, round(age.total_seconds())))
