"""What an ACME client is refused with; `api.acme.problems` gives each its type (RFC 8555 §6.7)."""

from core.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, NotPermitted, TooFast


class RequestMalformed(InvalidInput):
    """The request is none of ACME."""

    code = "acme_malformed"
    next_step = "Use a client that speaks RFC 8555; docs/how-to/acme.md names some that do."


class NothingThere(NotFound):
    """No such account, order, authorization, challenge or certificate, or not of this account."""

    code = "acme_not_found"
    next_step = "Begin with a new order; what is old and was not finished is forgotten."


class NonceRefused(InvalidInput):
    """The nonce was not given out here, or too long ago, or was used (RFC 8555 §6.5)."""

    code = "acme_bad_nonce"
    next_step = "Send the same again with the nonce of this answer; clients do so by themselves."


class SignatureRefused(InvalidInput):
    """The signature is not by the key that is named."""

    code = "acme_signature_invalid"
    next_step = "Sign with the account's key; a key that was changed is no more the account's."


class AlgorithmRefused(InvalidInput):
    """The algorithm is not taken, or is not that of the key (RFC 8555 §6.2)."""

    code = "acme_algorithm_refused"
    next_step = "Sign with RS256, ES256, ES384 or EdDSA (Ed25519), as fits the key."


class KeyRefused(InvalidInput):
    """The account's key is of a kind or a size that is not taken, or has private parts in it."""

    code = "acme_key_refused"
    next_step = (
        "Use RSA of 2048 to 4096 bits, P-256, P-384 or Ed25519, and send the public key alone."
    )


class AccountUnknown(InvalidInput):
    """There is no account with this key, or at this URL."""

    code = "acme_account_unknown"
    next_step = "Register one; clients do so when their directory of accounts is empty."


class AccountRefused(NotAuthenticated):
    """The account was deactivated, or the token that it was made with was revoked."""

    code = "acme_account_refused"
    next_step = "Ask an operator for a new token, and register with another account key."


class ExternalAccountRequired(NotPermitted):
    """The endpoint wants to know who registers (RFC 8555 §7.3.4)."""

    code = "acme_external_account_required"
    next_step = (
        "`ikewarden token create NAME --role enroller --profile PROFILE --eab` gives an operator the values for the "
        "client's --eab-kid and --eab-hmac-key."
    )


class ExternalAccountRefused(NotAuthenticated):
    """The external account binding is not valid: mistyped, used up, expired, revoked, or for something else."""

    code = "acme_external_account_refused"
    next_step = "`ikewarden token list` tells an operator what became of the token."


class ContactRefused(InvalidInput):
    """A contact that is no mailbox (RFC 8555 §7.3)."""

    code = "acme_contact_refused"
    next_step = "Give mailto: addresses, each with one mailbox, or none at all."


class ContactUnsupported(InvalidInput):
    """A contact of another kind than mailto."""

    code = "acme_contact_unsupported"
    next_step = "Give mailto: addresses, or none at all."


class IdentifierUnsupported(InvalidInput):
    """An identifier of a kind that is not dns or ip, or that the endpoint's profile does not carry."""

    code = "acme_identifier_unsupported"
    next_step = "Order names of the kinds dns and ip, as the profile of the endpoint allows."


class IdentifierRefused(InvalidInput):
    """A name that this account gets no certificate for."""

    code = "acme_identifier_refused"
    next_step = (
        "Order names that the account's token is for; `ikewarden token list` shows its patterns."
    )


class OrderNotReady(Conflict):
    """The order is not in the state that this needs (RFC 8555 §7.4)."""

    code = "acme_order_not_ready"
    next_step = "Look at the order: its status says what comes next."


class RequestRefused(InvalidInput):
    """The certificate signing request does not fit the order (RFC 8555 §7.4)."""

    code = "acme_bad_csr"
    next_step = "Ask for exactly the order's names, with a key that is not the account's."


class ProfileUnknown(InvalidInput):
    """The order names another profile than that of the endpoint."""

    code = "acme_profile_unknown"
    next_step = (
        "Leave the profile out: an endpoint has one. `ikewarden enroll-endpoint list` shows which."
    )


class AlreadyReplaced(Conflict):
    """Another order replaces this certificate already (RFC 9773 §5)."""

    code = "acme_already_replaced"
    next_step = "Order without `replaces`."


class KeyTaken(Conflict):
    """The new key is that of another account, or of this one (RFC 8555 §7.3.5)."""

    code = "acme_key_taken"
    next_step = "Make a new key."


class LimitReached(TooFast):
    """More orders, failures or accounts in an hour than the endpoint allows."""

    code = "acme_limit_reached"
    next_step = "Wait; the endpoint's file says how many there may be in an hour."
