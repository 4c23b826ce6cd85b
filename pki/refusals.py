"""Why a certificate is not issued, where the request and who asks are in order (those are in `pki.conditions`)."""

from core.errors import Conflict, InvalidInput, NotPermitted, Unavailable


class LintRefused(InvalidInput):
    """An IKE daemon that the profile names would refuse this certificate."""

    code = "lint_refused"
    next_step = "Change what the findings name, or use a profile for fewer kinds of daemons."


class IssuanceOvertaken(Unavailable):
    """Meanwhile the intent was given up, the authority retired or withdrawn, or a certificate with this key revoked for
    keyCompromise; the signature is thrown away.
    """

    code = "issuance_overtaken"


class NotRenewable(Conflict):
    """A certificate that is revoked, on hold, or was never issued is not renewed."""

    code = "certificate_not_renewable"
    next_step = "Ask for a new certificate: `ikewarden cert issue`, or on a gateway `ikewarden agent enroll`."


class NamesChanged(InvalidInput):
    """A renewal cannot ask for other names."""

    code = "renewal_names_changed"
    next_step = "Leave subjectAltName out of the request, or enroll anew with the new names."


class ProofMissing(NotPermitted):
    """A gateway's channel asked for a certificate of the gateway without the key of the one in force."""

    code = "renewal_proof_missing"
    next_step = "Sign the request with the gateway's present key too, or enroll anew."
