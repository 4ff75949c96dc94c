"""Check of a PBX's own list of calls: its first page of the last hour is read, and nothing is stored."""

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.appdb.pbxs import Pbx
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _
from onhook.ops.doctor.check import Check
from onhook.pbx.client import TimeWindow
from onhook.sync.pbx_sync_manager import create_call_list_reader, load_list_sync_spec

CHECKED_SECONDS = 3600


async def check_call_list(appdb: AppDb, clock: Clock, pbx: Pbx, credentials: PbxCredentials) -> Check:
    """Return whether the list of calls of a PBX can be read."""
    now = round(clock.now().timestamp())
    reader = create_call_list_reader(await load_list_sync_spec(appdb, pbx, credentials), clock=clock)
    try:
        count = await reader.count_first_page(TimeWindow(since=now - CHECKED_SECONDS, until=now))
    except OnhookError as error:
        return Check("ERROR", error.message, error.hint)
    return Check("OK", _("its list of calls can be read: {count} in the last hour", count=count))
