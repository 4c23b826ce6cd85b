"""Reports as PDF, by WeasyPrint: the same page on paper. The same page gives the same bytes."""

import hashlib
import logging
from types import ModuleType

from api.reporting.values import PdfMissing


def pdf(page: bytes) -> bytes:
    """Set a page on A4. Nothing is fetched, whatever it holds. Raises PdfMissing."""
    weasyprint = _weasyprint()
    document = weasyprint.HTML(
        string=page.decode(), base_url=None, url_fetcher=_fetch_nothing, media_type="print"
    )
    # What is else random: the file's identifier.
    identifier = hashlib.sha256(page).digest()[:16]
    # Tags say to a screen reader what is a heading, and what a table.
    made: bytes = document.write_pdf(pdf_identifier=identifier, pdf_tags=True)
    return made


def check() -> None:
    """Raises PdfMissing where PDF cannot be made."""
    _weasyprint()


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
