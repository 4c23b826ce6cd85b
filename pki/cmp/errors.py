"""Why a CMP message is refused. Which PKIFailureInfo its sender is told is the table in `api.cmp.failures`."""

from core.errors import Conflict, InvalidInput, NotAuthenticated


class CmpRefused(InvalidInput):
    """A message that is not answered as it was meant."""

    code = "cmp_refused"


class CmpMalformed(CmpRefused):
    """The bytes are no PKIMessage, or not one that the profile has (RFC 9483)."""

    code = "cmp_malformed"
    next_step = "Send a PKIMessage in DER as RFC 9483 has it."


class CmpVersion(CmpRefused):
    """Neither cmp2000 nor cmp2021."""

    code = "cmp_version_unsupported"
    next_step = "Use CMP version 2 or 3."


class ProtectionInvalid(CmpRefused):
    """The message is not protected, or by somebody else, or was changed. Which it is, is not told."""

    code = "cmp_protection_invalid"
    next_step = "Use the reference and the secret that were given out, or the key of a certificate of this service."


class AlgorithmRefused(CmpRefused):
    """The protection is by an algorithm that is too weak, or not known."""

    code = "cmp_algorithm_refused"
    next_step = "Use HMAC with SHA-2, or a signature with SHA-2."


class PossessionUnproven(CmpRefused):
    """The request does not prove that its sender has the private key."""

    code = "cmp_possession_unproven"
    next_step = "Sign the certificate request with its own key (POPOSigningKey)."


class TemplateRefused(CmpRefused):
    """The certificate template asks for something that cannot be given."""

    code = "cmp_template_refused"
    next_step = (
        "Ask for a public key, a subject and subjectAltName; the profile decides everything else."
    )


class CmpTimeRefused(CmpRefused):
    """The clock of the sender is wrong, or the message is an old one."""

    code = "cmp_time_refused"
    next_step = "Set the clock of the device."


class CmpNonceMissing(CmpRefused):
    """A message without a senderNonce, or with one that can be guessed."""

    code = "cmp_nonce_missing"
    next_step = "Send 16 random octets as senderNonce."


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


class TransactionInUse(Conflict):
    """The transactionID was used for another request."""

    code = "cmp_transaction_in_use"
    next_step = "Begin again with a new transactionID."


class NoTransaction(CmpRefused):
    """Nothing was asked for in this transaction by this sender, or nothing that can be confirmed."""

    code = "cmp_transaction_unknown"
    next_step = "Send the request itself again, with a new transactionID."


class NonceWrong(CmpRefused):
    """The message does not answer one of ours."""

    code = "cmp_nonce_wrong"
    next_step = "Give back as recipNonce the senderNonce of the last answer."


class HashWrong(CmpRefused):
    """What is confirmed is another certificate."""

    code = "cmp_certificate_hash_wrong"
    next_step = "Confirm the certificate that was answered, by the hash function of its signature."


class ConfirmedAlready(CmpRefused):
    """The client has spoken already, or said that it would not."""

    code = "cmp_confirmed_already"
    next_step = "Nothing more is needed."


class CertificateOver(CmpRefused):
    """It was rejected, or not confirmed in time, and is revoked."""

    code = "cmp_certificate_over"
    next_step = "Ask for a certificate again."
