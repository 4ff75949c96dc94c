"""QR codes, as images in the page itself: the policy for contents allows images of this form, and no other."""

from typing import TYPE_CHECKING

from onhook.lib.deferred_module import DeferredModule

if TYPE_CHECKING:
    import segno
else:
    segno = DeferredModule("segno")

MODULE_PIXELS = 5
"""Of one dot: a telephone reads it from an arm's length."""


def qr_code_url(text: str) -> str:
    """Return a `data:` URL of an SVG image: black on white in every colour scheme, as readers expect it."""
    return str(segno.make(text, error="m", micro=False).svg_data_uri(scale=MODULE_PIXELS, dark="#000", light="#fff"))
