"""Masking with the key and the number plans of this installation."""

from onhook.appdb.appdb import AppDb
from onhook.cdr.number_masking import Mask
from onhook.cdr.record_masking import Masking


async def load_masking(appdb: AppDb, mask: Mask) -> Masking | None:
    """Return the masking of this installation, by the number plans of now; None where nothing is masked."""
    if mask == "none":
        return None
    pbxs = await appdb.pbxs()
    return Masking(
        mask,
        await appdb.mask_key.get(),
        {pbx.sn: pbx.number_plan for pbx in pbxs},
        {pbx.name: pbx.sn for pbx in pbxs},
    )
