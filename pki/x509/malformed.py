"""What `cryptography` raises where something that it is to read is malformed, or of a kind that it does not know.

Not all of it is a ValueError, and which it is changes with what is wrong. Who loads what others made catches all of it;
the messages may quote what was read, and are not passed on.
"""

from typing import Final

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.x509 import (
    AttributeNotFound,
    DuplicateExtension,
    ExtensionNotFound,
    InvalidVersion,
    UnsupportedGeneralNameType,
)

MALFORMED: Final = (
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
    UnsupportedAlgorithm,
    InternalError,  # OpenSSL left an error behind that the library did not expect
    InvalidVersion,
    DuplicateExtension,
    ExtensionNotFound,
    AttributeNotFound,
    UnsupportedGeneralNameType,
)
