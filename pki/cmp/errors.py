"""Why a CMP message is refused, each with its PKIFailureInfo (RFC 9810 §5.2.3)."""

from enum import IntEnum
from typing import ClassVar

from core.errors import InvalidInput


class Failure(IntEnum):
    """PKIFailureInfo: the number of the bit."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4
    BAD_DATA_FORMAT = 5
    WRONG_AUTHORITY = 6
    BAD_POP = 9
    CERT_REVOKED = 10
    CERT_CONFIRMED = 11
    UNACCEPTED_POLICY = 15
    UNSUPPORTED_VERSION = 22
    NOT_AUTHORIZED = 23
    SYSTEM_UNAVAIL = 24
    SYSTEM_FAILURE = 25
    TRANSACTION_ID_IN_USE = 21
    SIGNER_NOT_TRUSTED = 20
    BAD_CERT_TEMPLATE = 19
    BAD_SENDER_NONCE = 18
    BAD_RECIPIENT_NONCE = 13


class CmpRefused(InvalidInput):
    """A message that is not answered as it was meant; `failure` is what its sender is told."""

    code = "cmp_refused"
    failure: ClassVar[Failure] = Failure.BAD_REQUEST


class CmpMalformed(CmpRefused):
    """The bytes are no PKIMessage, or not one that the profile has (RFC 9483)."""

    code = "cmp_malformed"
    next_step = "Send a PKIMessage in DER as RFC 9483 has it."
    failure = Failure.BAD_DATA_FORMAT


class CmpVersion(CmpRefused):
    """Neither cmp2000 nor cmp2021."""

    code = "cmp_version_unsupported"
    next_step = "Use CMP version 2 or 3."
    failure = Failure.UNSUPPORTED_VERSION


class ProtectionInvalid(CmpRefused):
    """The message is not protected, or by somebody else, or was changed. Which it is, is not told."""

    code = "cmp_protection_invalid"
    next_step = "Use the reference and the secret that were given out, or the key of a certificate of this service."
    failure = Failure.BAD_MESSAGE_CHECK


class AlgorithmRefused(CmpRefused):
    """The protection is by an algorithm that is too weak, or not known."""

    code = "cmp_algorithm_refused"
    next_step = "Use HMAC with SHA-2, or a signature with SHA-2."
    failure = Failure.BAD_ALG


class PossessionUnproven(CmpRefused):
    """The request does not prove that its sender has the private key."""

    code = "cmp_possession_unproven"
    next_step = "Sign the certificate request with its own key (POPOSigningKey)."
    failure = Failure.BAD_POP


class TemplateRefused(CmpRefused):
    """The certificate template asks for something that cannot be given."""

    code = "cmp_template_refused"
    next_step = (
        "Ask for a public key, a subject and subjectAltName; the profile decides everything else."
    )
    failure = Failure.BAD_CERT_TEMPLATE
