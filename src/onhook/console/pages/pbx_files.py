"""`/pbxs/NAME/files`: the folder in which a PBX leaves files, which the hub stores."""

from typing import Annotated

import msgspec
from litestar import post
from litestar.response import Redirect

from onhook.console.file_setup import set_swept_folder
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX
from onhook.console.parameters import PbxNameOrSn
from onhook.console.state import AppStateDep
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _


class FilesForm(msgspec.Struct, frozen=True):
    """Content of the form: a folder, and one for stored files; both may be empty."""

    path: str = ""
    target: str = ""


@post("/pbxs/{name:str}/files", include_in_schema=False, status_code=200)
async def change_files(app_state: AppStateDep, name: PbxNameOrSn, data: Annotated[FilesForm, FORM_BODY]) -> Redirect:
    """Change the folder in which a PBX leaves files."""
    pbx = await app_state.appdb.pbx(name)
    try:
        await set_swept_folder(app_state.appdb, pbx, data.path, data.target)
    except OnhookError as error:
        return Redirect(url(f"/pbxs/{pbx.sn}", error=str(error)[:MESSAGE_CHARACTERS_MAX]), status_code=303)
    return Redirect(url(f"/pbxs/{pbx.sn}", message=_("Settings saved.")), status_code=303)


ROUTES = (change_files,)
