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
from pki.cmp.errors import CmpRefused, Failure
from pki.cmp_transactions import TransactionInUse
from pki.identity import (
    ClientCertificateExpired,
    ClientCertificateRevoked,
    ClientCertificateUnknown,
)
from pki.own_revocation import NotItsOwn
from pki.profiles import ProfileNotFound
from pki.revocation import AlreadyRevoked
from pki.x509.csr import CsrMalformed, CsrSignatureInvalid

_MOST: Final = 500


class CmpTimeRefused(CmpRefused):
    """The clock of the sender is wrong, or the message is an old one."""

    code = "cmp_time_refused"
    next_step = "Set the clock of the device."
    failure = Failure.BAD_TIME


class CmpNonceMissing(CmpRefused):
    """A message without a senderNonce, or with one that can be guessed."""

    code = "cmp_nonce_missing"
    next_step = "Send 16 random octets as senderNonce."
    failure = Failure.BAD_SENDER_NONCE


class CmpTransactionMissing(CmpRefused):
    """A message without a transactionID, or with one that can be guessed."""

    code = "cmp_transaction_missing"
    next_step = "Send 16 random octets as transactionID."


class CmpNestedRefused(CmpRefused):
    """A message inside of another one."""

    code = "cmp_nested_refused"
    next_step = "Send the message itself; registration authorities of others are not known here."


class CmpOperationMismatch(CmpRefused):
    """The path names another operation than the message."""

    code = "cmp_operation_mismatch"
    next_step = "Leave the operation out of the path, or send the message that it names."


class CmpCertificateWanted(NotAuthenticated):
    """What is done with a certificate is asked for with its own key."""

    code = "cmp_certificate_wanted"
    next_step = "Sign the message with the certificate's key (`-cert`, `-key` of `openssl cmp`)."


class CmpWayClosed(NotAuthenticated):
    """The endpoint wants another kind of proof of who asks."""

    code = "cmp_way_closed"
    next_step = "`ikewarden enroll-endpoint list` shows what each endpoint takes: a token, a certificate, or both."


class CmpOldCertificateOther(CmpRefused):
    """The update is of another certificate than that whose key signed."""

    code = "cmp_old_certificate_other"
    next_step = "Sign with the key of the certificate that is to be succeeded."
    failure = Failure.BAD_CERT_ID


# The class itself or its nearest ancestor decides.
_FAILURES: Final[Mapping[type[IkewardenError], Failure]] = {
    TransactionInUse: Failure.TRANSACTION_ID_IN_USE,
    ClientCertificateUnknown: Failure.SIGNER_NOT_TRUSTED,
    ClientCertificateExpired: Failure.SIGNER_NOT_TRUSTED,
    ClientCertificateRevoked: Failure.CERT_REVOKED,
    AlreadyRevoked: Failure.CERT_REVOKED,
    NotItsOwn: Failure.BAD_CERT_ID,
    CsrSignatureInvalid: Failure.BAD_POP,
    CsrMalformed: Failure.BAD_DATA_FORMAT,
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
    if isinstance(error, CmpRefused):
        return error.failure
    found = next(_FAILURES[kind] for kind in type(error).__mro__ if kind in _FAILURES)
    return _OF_REQUEST if of_request and found is Failure.BAD_REQUEST else found


def words_of(error: IkewardenError) -> str:
    """The statusString."""
    return f"{error.code}: {error.message}"[:_MOST]
