"""Why a document of the Windows collector is not taken."""

from core.errors import InvalidInput, NotFound, TooLarge

_AGAIN = "Collect again with the script of this version: it writes the document as it must be."


class CollectedNotFound(NotFound):
    """There is no such file, or it cannot be read."""

    code = "windows_document_not_found"
    next_step = "Name the file that was written on the Windows machine."


class CollectedInvalid(InvalidInput):
    """It is no such document; the message says where, and quotes nothing of it."""

    code = "windows_document_invalid"
    next_step = _AGAIN


class CollectedVersion(InvalidInput):
    """It was written by another version of the script."""

    code = "windows_document_version"
    next_step = _AGAIN


class CollectedTooLarge(TooLarge):
    """It is larger than any machine has certificates and rules."""

    code = "windows_document_too_large"
    next_step = "Look into the file: the script writes far less."
