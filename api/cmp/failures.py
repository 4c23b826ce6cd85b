"""What a client is told of an error: PKIFailureInfo (RFC 9810 §5.2.3), and the code of ours with a sentence."""

from collections.abc import Mapping
from typing import Final

from core.errors import (
    IkewardenError,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    TooFast,
    Unavailable,
)
from pki.cmp.answers import Failure
from pki.cmp.errors import (
    AlgorithmRefused,
    CertificateOver,
    CmpMalformed,
    CmpNonceMissing,
    CmpOldCertificateOther,
    CmpRefused,
    CmpTimeRefused,
    CmpVersion,
    ConfirmedAlready,
    HashWrong,
    NonceWrong,
    PossessionUnproven,
    ProtectionInvalid,
    TemplateRefused,
    TransactionInUse,
)
from pki.identity import (
    ClientCertificateExpired,
    ClientCertificateRevoked,
    ClientCertificateUnknown,
)
from pki.own_revocation import NotItsOwn
from pki.profiles import ProfileNotFound
from pki.revocation import AlreadyRevoked
from pki.x509.csr import CsrExtensionRefused, CsrMalformed, CsrSignatureInvalid

_MOST: Final = 500


# The class itself or its nearest ancestor decides.
_FAILURES: Final[Mapping[type[IkewardenError], Failure]] = {
    CmpMalformed: Failure.BAD_DATA_FORMAT,
    CmpVersion: Failure.UNSUPPORTED_VERSION,
    ProtectionInvalid: Failure.BAD_MESSAGE_CHECK,
    AlgorithmRefused: Failure.BAD_ALG,
    CmpTimeRefused: Failure.BAD_TIME,
    CmpNonceMissing: Failure.BAD_SENDER_NONCE,
    NonceWrong: Failure.BAD_RECIPIENT_NONCE,
    TransactionInUse: Failure.TRANSACTION_ID_IN_USE,
    PossessionUnproven: Failure.BAD_POP,
    TemplateRefused: Failure.BAD_CERT_TEMPLATE,
    CmpOldCertificateOther: Failure.BAD_CERT_ID,
    HashWrong: Failure.BAD_CERT_ID,
    ConfirmedAlready: Failure.CERT_CONFIRMED,
    CertificateOver: Failure.CERT_REVOKED,
    ClientCertificateUnknown: Failure.SIGNER_NOT_TRUSTED,
    ClientCertificateExpired: Failure.SIGNER_NOT_TRUSTED,
    ClientCertificateRevoked: Failure.CERT_REVOKED,
    AlreadyRevoked: Failure.CERT_REVOKED,
    NotItsOwn: Failure.BAD_CERT_ID,
    CsrSignatureInvalid: Failure.BAD_POP,
    CsrMalformed: Failure.BAD_DATA_FORMAT,
    CsrExtensionRefused: Failure.BAD_CERT_TEMPLATE,
    ProfileNotFound: Failure.SYSTEM_FAILURE,
    NotAuthenticated: Failure.NOT_AUTHORIZED,
    NotPermitted: Failure.NOT_AUTHORIZED,
    NotFound: Failure.BAD_REQUEST,
    Unavailable: Failure.SYSTEM_UNAVAIL,
    TooFast: Failure.SYSTEM_UNAVAIL,
    IkewardenError: Failure.BAD_REQUEST,
}
_OF_REQUEST: Final = Failure.BAD_CERT_TEMPLATE


def failure_of(error: IkewardenError, *, of_request: bool = False) -> Failure:
    """The PKIFailureInfo of an error; `of_request`: a request for a certificate was read and is refused."""
    found = next(_FAILURES[kind] for kind in type(error).__mro__ if kind in _FAILURES)
    plain = found is Failure.BAD_REQUEST and not isinstance(error, CmpRefused)
    return _OF_REQUEST if of_request and plain else found


def words_of(error: IkewardenError) -> str:
    """The statusString."""
    return f"{error.code}: {error.message}"[:_MOST]
