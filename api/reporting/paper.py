"""Reports as PDF, by WeasyPrint: the same page on paper. The same page gives the same bytes."""

import hashlib
import logging
import threading
from types import ModuleType
from typing import Final

from api.reporting.values import PdfBusy, PdfMissing

# It takes seconds, and the processor for itself: whoever asks for many at once takes it from all others.
_AT_ONCE: Final = threading.BoundedSemaphore(2)
_RETRY_SECONDS: Final = 30


def pdf(page: bytes) -> bytes:
    """Set a page on A4. Nothing is fetched, whatever it holds. Raises PdfMissing, and PdfBusy while others are set."""
    weasyprint = _weasyprint()
    if not _AT_ONCE.acquire(blocking=False):
        raise _busy()
    try:
        document = weasyprint.HTML(
            string=page.decode(), base_url=None, url_fetcher=_fetch_nothing, media_type="print"
        )
        # What is else random: the file's identifier.
        identifier = hashlib.sha256(page).digest()[:16]
        # Tags say to a screen reader what is a heading, and what a table.
        made: bytes = document.write_pdf(pdf_identifier=identifier, pdf_tags=True)
    finally:
        _AT_ONCE.release()
    return made


def check() -> None:
    """Raises PdfMissing where PDF cannot be made, PdfBusy where not at this moment: before anything is counted."""
    _weasyprint()
    if _AT_ONCE.acquire(blocking=False):
        _AT_ONCE.release()
        return
    raise _busy()


def _busy() -> PdfBusy:
    return PdfBusy("Other reports are being made as PDF.", details={"retry_after": _RETRY_SECONDS})


def _weasyprint() -> ModuleType:
    # It has a word on each rule of the style sheet that is for screens, and on its own while it is imported.
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    try:
        import weasyprint
    except (ImportError, OSError) as error:  # OSError: a library of the system is missing
        raise PdfMissing(
            f"PDF cannot be made here: {type(error).__name__} at the import of WeasyPrint."
        ) from None
    found: ModuleType = weasyprint
    return found


def _fetch_nothing(url: str, *_arguments: object, **_named: object) -> object:
    raise ValueError(f"a report fetches nothing, and {url[:50]} was asked for")
