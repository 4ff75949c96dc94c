"""`/pbxs/NAME/recordings`: the directory with the recordings of a PBX, below the root of the configuration."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import post
from litestar.response import Redirect

from onhook.appdb.pbxs import Pbx
from onhook.appdb.stored_json import RowUnreadable
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX
from onhook.console.parameters import PbxNameOrSn
from onhook.console.recordings_setup import find_directory, list_directories
from onhook.console.state import AppState, AppStateDep
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _


class RecordingsForm(msgspec.Struct, frozen=True):
    """Content of the form: a path below the root; empty for none."""

    directory: str = ""


class RecordingsOverview(msgspec.Struct, frozen=True, kw_only=True):
    """The directory of a PBX, empty where it has none, and the names that the form suggests. Without a `root` the
    directory is set on the command line alone.
    """

    directory: str
    root: str
    names: Sequence[str]


@post("/pbxs/{name:str}/recordings", include_in_schema=False, status_code=200)
async def change_recordings(
    app_state: AppStateDep, name: PbxNameOrSn, data: Annotated[RecordingsForm, FORM_BODY]
) -> Redirect:
    """Change the directory with the recordings of a PBX."""
    pbx = await app_state.appdb.pbx(name)
    try:
        root = app_state.config.recordings_root
        directory = await asyncio.to_thread(find_directory, root, data.directory.strip())
        await app_state.appdb.recordings.put(pbx.sn, directory)
    except OnhookError as error:
        return Redirect(url(f"/pbxs/{pbx.sn}", error=str(error)[:MESSAGE_CHARACTERS_MAX]), status_code=303)
    return Redirect(url(f"/pbxs/{pbx.sn}", message=_("Settings saved.")), status_code=303)


ROUTES = (change_recordings,)


async def load_recordings_overview(app_state: AppState, pbx: Pbx) -> RecordingsOverview:
    """Return what the page of a PBX shows of its recordings."""
    try:
        directory = await app_state.appdb.recordings.get(pbx.sn)
    except RowUnreadable:
        directory = None  # listed among the settings that cannot be read
    root = app_state.config.recordings_root
    names = await asyncio.to_thread(list_directories, root)
    return RecordingsOverview(directory="" if directory is None else str(directory), root=root, names=names)
