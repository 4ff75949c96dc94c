"""Who may send a request: the registered PBXs by each of their serial numbers."""

from collections.abc import Mapping

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbxs import pbxs_by_sn
from onhook.appdb.source_match import SourceMatch

Sender = tuple[str, tuple[str, ...]]
"""The name of a PBX, and the parts of its source, `address` and `path`, where that identifies it."""


async def list_senders(appdb: AppDb) -> Mapping[str, Sender]:
    """Return the registered PBXs by serial number, folded."""
    source_matches = await appdb.source_matches.all()
    return {
        sn: (pbx.name, source_matches.get(pbx.sn, SourceMatch()).parts)
        for sn, pbx in pbxs_by_sn(await appdb.pbxs()).items()
    }
