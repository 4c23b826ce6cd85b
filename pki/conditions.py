"""What must hold between requester, profile and authority before anything is put on record or signed."""

import re
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import Connection, select

from core.errors import Conflict, InvalidInput
from pki.actors import GRANTS, Action, Actor, OutsideScope, Role, require_gateway
from pki.authorities import ACTIVE, OUTSIDE, PREPARED, RETIRED, REVOKED, Authority, seen
from pki.refusals import LintRefused
from pki.x509.draft import Draft, Subject
from pki.x509.keys import key_algorithm
from pki.x509.lint import LintReport, lint
from pki.x509.names import GeneralName
from pki.x509.profile import Profile
from pki.x509.signing import HashlessPublicKey
from store.tables import authorities

_GATEWAY = re.compile(r"\S(?:.{0,251}\S)?")


class ProfileIsInternal(InvalidInput):
    """The profile is for the service's own certificates."""

    code = "profile_internal"
    next_step = "Choose one that `ikewarden profile list` shows; it leaves out the internal ones."


class BadGateway(InvalidInput):
    """A name that no gateway can have."""

    code = "gateway_malformed"
    next_step = "Give the gateway's name: one line of up to 253 characters."


class LifetimeRefused(InvalidInput):
    """The wished end of validity is not possible."""

    code = "lifetime_refused"


class DistributionRefused(InvalidInput):
    """Profile and authority do not agree on how revocation is published."""

    code = "crl_distribution_refused"


class RootIssuesAuthorities(InvalidInput):
    """A root's key is too dear for certificates of gateways: losing it loses everything below."""

    code = "root_issues_authorities_only"
    next_step = (
        "Name an issuing authority: `ikewarden ca list` shows them, "
        "`ikewarden ca create NAME --parent root --subject CN=…` makes one."
    )


class AuthorityTooWeak(InvalidInput):
    """The authority's key does not match the strength that the profile promises."""

    code = "authority_too_weak"
    next_step = "Name an authority with a P-384 or RSA key, or make one."


class AuthorityRetired(Conflict):
    """The authority issues no more, or not yet; or its certificate is revoked."""

    code = "authority_retired"
    next_step = (
        "Name one that `ikewarden ca list` shows as active: --authority NAME, `authority` in a request, or for all "
        "[issuing] default_authority. docs/how-to/rollover.md puts another key in its place."
    )


class AuthorityExpired(Conflict):
    """The authority's own certificate has ended: no verifier would accept what it signs."""

    code = "authority_expired"
    next_step = (
        "Name one that `ikewarden ca list` shows as active: --authority NAME, `authority` in a request, or for all "
        "[issuing] default_authority. `ikewarden ca create` makes a new one."
    )


class AuthorityNotYetValid(Conflict):
    """The authority's own certificate has not begun: by the clock of this machine."""

    code = "authority_not_yet_valid"
    next_step = "Set the clock of this machine right; then try again."


def check_profile(actor: Actor, profile: Profile) -> None:
    """Raise ProfileIsInternal unless the profile is for everybody or the actor is the service itself.

    Whoever holds a certificate of the OCSP responder's profile answers for the authority.
    """
    if profile.internal and Action.SERVICE_CREDENTIAL not in GRANTS[actor.role]:
        raise ProfileIsInternal(f"The profile {profile.name!r} is for the service itself.")


def check_gateway(name: str) -> None:
    """Make sure that a gateway can have this name. Raises BadGateway."""
    if not _GATEWAY.fullmatch(name) or not name.isprintable():
        raise BadGateway("This is not a name that a gateway can have.")


def within_scope(actor: Actor, subject: Subject) -> Subject:
    """The subject as this credential may have it certified.

    IKE daemons know peers by it, and EAP maps its attributes to accounts: to somebody who is limited in names it says
    no more than they do, unless a pattern of his scope covers the whole (`dn:*,O=Example`).
    """
    patterns = actor.scope.names
    if patterns is None or not list(subject.name):
        return subject
    whole = GeneralName("dn", subject.name.rfc4514_string())
    return subject if any(whole.matches(each) for each in patterns) else subject.implied()


def gateway_for(
    actor: Actor, profile: Profile, subject: Subject, requested: str | None
) -> str | None:
    """Which gateway the certificate speaks for: the one named, the credential's, or its first name.

    That is who its holder is at the API. So a credential that is limited in names, and every enroller's, may name only
    its own gateway or a name in the certificate; one that is tied to a gateway gets certificates of that one alone.
    Raises BadGateway, OutsideScope.
    """
    if profile.authenticates_as != "gateway":
        require_gateway(actor, None)
        return None
    chosen = requested or actor.scope.gateway
    if chosen is None:
        common = subject.name.get_attributes_for_oid(NameOID.COMMON_NAME)
        first = next((name.value for name in subject.names), "")
        chosen = str(common[0].value) if common else first
    check_gateway(chosen)
    require_gateway(actor, chosen)
    limited = actor.scope.names is not None or actor.role is Role.ENROLLER
    if limited and actor.scope.gateway is None:
        names = {name.value for name in subject.names}
        if chosen not in names:
            raise OutsideScope(f"This credential may not speak for the gateway {chosen!r}.")
    return chosen


_WHY_NOT: Final = {
    RETIRED: "issues no more",
    PREPARED: "is to succeed another one, and is not published yet",
    OUTSIDE: "has its key elsewhere",
    REVOKED: "issues nothing while its certificate, or one above it, is revoked or on hold",
}


def check_in_force(authority: Authority, now: datetime) -> None:
    """Make sure that what this authority signs now will be accepted. Raises AuthorityRetired, AuthorityExpired,
    AuthorityNotYetValid.
    """
    _check_status(authority)
    check_lives(authority, now)


def _check_status(authority: Authority) -> None:
    if authority.status != ACTIVE:
        why = _WHY_NOT[authority.status]
        raise AuthorityRetired(f"The authority {authority.name!r} {why}.")


def check_still(connection: Connection, authority: Authority) -> None:
    """Look once more, in the transaction that puts on record what the authority will sign: it may have been retired
    meanwhile. It stays as it is until the transaction ends. Raises AuthorityRetired.
    """
    row = select(authorities.c.id).where(authorities.c.id == authority.id)
    connection.execute(row.with_for_update(read=True)).all()
    _check_status(seen(connection, authority))


def check_unrevoked(connection: Connection, authority: Authority) -> None:
    """Make sure that neither its own certificate is revoked or on hold nor one above. Raises AuthorityRetired."""
    now = seen(connection, authority)
    if now.status == REVOKED:
        _check_status(now)


def check_lives(authority: Authority, now: datetime) -> None:
    """Make sure that its own certificate is in its time, and those above. Raises AuthorityExpired,
    AuthorityNotYetValid.
    """
    if authority.ends_at <= now:
        raise AuthorityExpired(f"The time of the authority {authority.name!r} is over.")
    begins = max(each.not_valid_before_utc for each in authority.chain)
    if now < begins:
        raise AuthorityNotYetValid(
            f"The time of the authority {authority.name!r} begins at {begins:%Y-%m-%dT%H:%M:%SZ}, "
            f"and the clock says {now:%Y-%m-%dT%H:%M:%SZ}."
        )


def check_authority(
    authority: Authority, profile: Profile, subject: Subject, now: datetime
) -> None:
    """Make sure that this authority can issue such a certificate.

    Raises as `check_in_force` does, and RootIssuesAuthorities, DistributionRefused, AuthorityTooWeak,
    NameOutsideConstraints. What the service itself needs, as for OCSP, also one gives that is retired, or prepared.
    """
    if profile.internal:
        check_lives(authority, now)
    else:
        check_in_force(authority, now)
    if authority.kind == "root" and not profile.internal:
        raise RootIssuesAuthorities(f"{authority.name!r} is a root: it certifies authorities only.")
    _check_distribution(authority, profile)
    _check_strength(authority, profile)
    for constraints in authority.constraints:
        constraints.check(subject.constrained())


def _check_distribution(authority: Authority, profile: Profile) -> None:
    # Those who ignore the scope of a CRL stay away from authorities that sign shards: one cached shard, wherever it
    # came from, would make charon accept certificates that another shard revokes.
    scope = profile.distribution.crl
    if scope == "shard" and not authority.shards:
        raise DistributionRefused(
            f"The profile {profile.name!r} points at CRL shards and {authority.name!r} has none.",
            next_step="Name an authority that was made with shards.",
        )
    if scope == "full" and authority.shards and not profile.internal:
        raise DistributionRefused(
            f"The profile {profile.name!r} is for peers that ignore the scope of a CRL, "
            f"and {authority.name!r} signs shards.",
            next_step="Name an authority without shards.",
        )


def _check_strength(authority: Authority, profile: Profile) -> None:
    # A profile that insists on a hash insists on an authority that matches it (CNSA: P-384, RSA 3072).
    if profile.hash in {"auto", "sha256"}:
        return
    key = authority.public_key
    weak = isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < 384
    if weak or isinstance(key, HashlessPublicKey):
        raise AuthorityTooWeak(
            f"The profile {profile.name!r} wants {profile.hash} and an authority to match; "
            f"{authority.name!r} has the key {key_algorithm(key)}."
        )


def end_of_validity(
    authority: Authority, profile: Profile, wished: datetime | None, now: datetime
) -> datetime:
    """When the certificate ends: as wished, else after the profile's lifetime, never after its authority.

    Raises LifetimeRefused.
    """
    latest = authority.certificate.not_valid_after_utc
    if wished is None:
        return min(now + profile.lifetime, latest).replace(microsecond=0)
    end = wished.replace(microsecond=0)
    if end <= now:
        raise LifetimeRefused(
            "The wished end of validity is in the past.",
            next_step="Choose a later end (--not-after, `not_after`).",
        )
    longest = now + profile.max_lifetime
    if end > longest:
        raise LifetimeRefused(
            f"The profile {profile.name!r} allows at most {profile.max_lifetime.days} days.",
            next_step=f"Choose an end (--not-after, `not_after`) up to {longest:%Y-%m-%dT%H:%M:%SZ}.",
        )
    if end > latest:
        raise LifetimeRefused(
            "The certificate would outlive its authority.",
            next_step=f"Choose an end (--not-after, `not_after`) up to {latest:%Y-%m-%dT%H:%M:%SZ}.",
        )
    return end


def check_lint(profile: Profile, draft: Draft) -> LintReport:
    """What each kind of IKE daemon will say of the certificate. Raises LintRefused where the profile says so."""
    dialects = tuple(d for d, level in profile.lint.items() if level != "off")
    report = lint(draft.preview, dialects)
    blocked = [
        dialect
        for dialect in dialects
        if profile.lint[dialect] == "block" and report.verdict(dialect) == "fail"
    ]
    if blocked:
        findings = [
            {"dialect": dialect, "rule": finding.rule, "message": finding.message}
            for dialect in blocked
            for finding in report.findings(dialect)
            if finding.severity == "fail"
        ]
        raise LintRefused(
            f"This certificate would not work with {', '.join(blocked)}: {findings[0]['message']}",
            details={"findings": findings},
        )
    return report
