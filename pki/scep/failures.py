"""What is against a SCEP message (RFC 8894 §3.2.1.4), with a code and a next step each."""

from core.errors import InvalidInput


class ScepMessageMalformed(InvalidInput):
    """Not a SCEP message at all: there is not even a transaction to answer."""

    code = "scep_message_malformed"
    next_step = "Send a pkiMessage (RFC 8894 section 3.2): signed, with transactionID, messageType and senderNonce."


class ScepRefused(InvalidInput):
    """A SCEP message that is answered with a failure (badRequest)."""

    code = "scep_refused"
    next_step = "Send one of PKCSReq, RenewalReq, CertPoll, GetCert and GetCRL."


class ScepAlgorithmRefused(ScepRefused):
    """An algorithm that the endpoint does not take (badAlg)."""

    code = "scep_algorithm_refused"
    next_step = (
        "Set the device to AES with SHA-256 and RSA keys of 2048 bits; one that knows only 3DES or SHA-1 needs an "
        "endpoint with legacy = true under [scep]. Single DES and MD5 are never taken."
    )


class ScepCheckFailed(ScepRefused):
    """The message was altered, is not encrypted to this service, or holds nothing readable; what of it is not told
    (badMessageCheck).
    """

    code = "scep_check_failed"
    next_step = "Fetch the certificates anew (GetCACert), and send the message again."


def unreadable() -> ScepCheckFailed:
    """The one failure for whatever is found once a message is being decrypted."""
    return ScepCheckFailed("The message cannot be opened.")


class ScepTimeRefused(ScepRefused):
    """The message says that it was signed at another time (badTime)."""

    code = "scep_time_refused"
    next_step = "Set the device's clock."


class ScepCertificateUnknown(ScepRefused):
    """No certificate fits what was asked for, or none that whoever signed may see (badCertId)."""

    code = "scep_certificate_unknown"
    next_step = "Sign with a certificate of this service that is in force, and ask for one of the same gateway."
