"""PDF of a report, made by WeasyPrint, an extra, in a process of its own.

Invariants: the process loads nothing: no picture, style sheet or font of an address. Its memory, processor time and
time are limited, so that no report stops the hub.
"""

import asyncio
import importlib.util
import logging
import sys

from onhook.config import library_environment
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _

PDF_ROWS_MAX = 1_000
"""Some thirty pages; a library that lays out pages takes some seconds for them."""

PDF_SECONDS_MAX = 60.0

PDF_BYTES_MAX = 4_000_000
"""More than a mail may have."""

LIBRARY = "weasyprint"
PROCESS_MODULE = "onhook.console.report_mails.pdf_process"


def is_pdf_available() -> bool:
    """Return whether the library is installed; what else it needs is known when it is used."""
    return importlib.util.find_spec(LIBRARY) is not None


def missing_library_error() -> UsageError:
    """Return the error that says what to install."""
    return UsageError(
        _("PDF files need the library WeasyPrint"),
        location="files",
        hint=_("run `make install PDF=1`, or install the package with the extra pdf; then start again"),
    )


async def make_pdf(html: str) -> bytes:
    """Return a page as PDF. Raises `UsageError` without the library, `Unavailable` where it fails."""
    if not is_pdf_available():
        raise missing_library_error()
    # Where an extension module crashes, the stacks of all threads are printed.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-X", "faulthandler", "-m", PROCESS_MODULE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=library_environment(),
    )
    try:
        async with asyncio.timeout(PDF_SECONDS_MAX):
            pdf, error = await process.communicate(html.encode("utf-8", "replace"))
    except TimeoutError:
        raise Unavailable(_("the PDF took more than {seconds:g} seconds", seconds=PDF_SECONDS_MAX)) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode and process.returncode < 0:
        extra = {"signal": -process.returncode, "output": error.decode(errors="replace")}
        logging.getLogger("mail").warning("the process that makes a PDF crashed", extra=extra)
    if process.returncode or not pdf.startswith(b"%PDF-") or len(pdf) > PDF_BYTES_MAX:
        lines = error.decode(errors="replace").strip().splitlines() or [_("no reason was given")]
        raise Unavailable(_("the PDF cannot be made: {reason}", reason=lines[-1][:200]))
    return pdf
