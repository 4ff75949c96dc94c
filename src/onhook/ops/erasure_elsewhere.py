"""What has a number and is not reached by its erasure, as far as Onhook knows: a person erases it there."""

from collections.abc import Iterable, Mapping

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import OPERATIONAL
from onhook.appdb.destinations import Destination
from onhook.config import Config
from onhook.delivery.destinations.kinds import KINDS, decode_fields
from onhook.lib.messages import _, _n
from onhook.ops.moved_files import find_moved_files
from onhook.projector.erasure_plan import ErasurePlan

NAMES_MAX = 20
"""Names of files in one line; of more a person deletes by running the erasure on the other machine."""


async def list_elsewhere(config: Config, appdb: AppDb, plan: ErasurePlan) -> tuple[str, ...]:
    """Return a sentence for each place: destinations, folders in which PBXs leave files, recordings on other machines,
    and files that a move has left.
    """
    destinations = await appdb.destinations.all() if plan.calls else []
    names = {pbx.sn: pbx.name for pbx in await appdb.pbxs()}
    return (
        *(text for destination in destinations if (text := _describe_destination(destination))),
        *await _list_folders(appdb, {call.sn for call in plan.calls}, names),
        *await _list_recordings(appdb, plan, names),
        *(_("{name} has all of before the move: delete it", name=path.name) for path in find_moved_files(config)),
    )


def _describe_destination(destination: Destination) -> str:
    """Return what a destination keeps; empty where it follows deletions, or was never sent a call."""
    if destination.notifies_of in OPERATIONAL or not destination.attempts_succeeded:
        return ""
    if not KINDS[destination.kind].follows_deletions:
        return _("destination {name} keeps what was sent", name=destination.name)
    if destination.kind == "odoo" and decode_fields(destination, KINDS["odoo"].fields).new_leads:
        return _("destination {name} keeps the leads that were added", name=destination.name)
    return ""


async def _list_folders(appdb: AppDb, sns: Iterable[str], names: Mapping[str, str]) -> list[str]:
    folders = await appdb.swept_folders.all()
    texts = []
    for sn in sorted(set(sns) & folders.keys()):
        paths = " ".join(filter(None, (folders[sn].path, folders[sn].target)))
        texts.append(_("files of PBX {name} keep what they have: {paths}", name=names.get(sn, sn), paths=paths))
    return texts


async def _list_recordings(appdb: AppDb, plan: ErasurePlan, names: Mapping[str, str]) -> list[str]:
    texts = []
    for sn, machine in sorted((await appdb.recordings.other_machines()).items()):
        files = sorted(name for plan_sn, name in plan.recordings if plan_sn == sn)
        if not files:
            continue
        listed_files = ", ".join(files[:NAMES_MAX])
        if len(files) > NAMES_MAX:
            listed_files += _n(" and 1 more", " and {count} more", len(files) - NAMES_MAX)
        texts.append(
            _(
                "recordings of PBX {name} are on the machine {machine}: erase there instead, or delete {files}",
                name=names.get(sn, sn),
                machine=machine,
                files=listed_files,
            )
        )
    return texts
