"""Revocation: what it would end, that it happens, and how far it has got."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import Certificate, Reason, When, Which, Word, shown
from fleet import reach, revoking
from fleet.below import Below
from fleet.concern import Affected
from fleet.revoking import Revocation
from pki import compromise
from pki.actors import Action
from pki.certificates import CertificateView

_PATH = "/v1/certificates/{serial}"
_TAG = "Certificates"


class Revoke(Sent):
    """Why it is revoked and, for a lost key, since when it cannot be trusted."""

    reason: Reason = Field(description="A reason of RFC 5280 §5.3.1.")
    invalidity_date: When | None = Field(
        default=None, description="When the key is believed to have been lost (RFC 5280 §5.3.2)."
    )
    dry_run: bool = Field(default=False, description="Only tell what would end; change nothing.")
    cut_confirmed: int | None = Field(
        default=None,
        ge=0,
        description="How many tunnels, and certificates below a CA, may end, where that is more than the limit.",
    )


class RevokeAll(Sent):
    """Which certificates are revoked together, and why."""

    serials: Annotated[list[Word], Field(min_length=1, max_length=500)]
    authority: Word | None = Field(
        default=None, description="Needed only where two authorities used the same serial number."
    )
    reason: Reason = Field(description="A reason of RFC 5280 §5.3.1.")
    cut_confirmed: int | None = Field(
        default=None, ge=0, description="As when revoking one; for all of them together."
    )


class KnownSa(Shown):
    """An SA that ends."""

    gateway: str
    id: str
    connection: str
    remote_address: str
    remote_id: str
    matched_by: str = Field(description="`certificate` where it was seen, else `identity`.")


class CutTunnel(Shown):
    """A tunnel that ends, and the gateway that ends it. `tunnel` is null for a connection that is on no record."""

    gateway: str | None = Field(
        description="Null, as all of it: a token of one gateway may not know of this one."
    )
    tunnel: str | None
    connection: str | None
    peer: str | None
    sas: list[KnownSa]


class BelowCa(Shown):
    """What stands below the certificate of a CA: nobody accepts it any more. No gateway is told to cut: SAs stay up
    until they have to authenticate again.
    """

    authorities: list[str] = Field(description="The CA itself and those below it.")
    certificates: int = Field(description="How many certificates that are valid or on hold.")
    gateways: int = Field(description="How many gateways these speak for.")


class SameKey(Shown):
    """Another certificate in force with the key that is compromised."""

    serial: str
    authority: str
    status: str
    profile: str
    subject: str
    names: list[str]
    not_after: datetime


class Revoked(Certificate):
    """The certificate, and the tunnels that end with it."""

    dry_run: bool
    tunnels: int = Field(description="How many tunnels end; for a CA, of all that stands below it.")
    limit: int = Field(
        description="Up to how many tunnels, and certificates below a CA, end without `cut_confirmed`."
    )
    cut: list[CutTunnel]
    below: BelowCa | None = Field(description="For the certificate of a CA.")
    same_key: list[SameKey] = Field(
        description="With `keyCompromise`: up to a hundred other certificates in force with the key. Revoke them too."
    )


class RevokedAll(Shown):
    """The certificates that are revoked by this; those that were before are not among them."""

    items: list[Certificate]
    same_key: list[SameKey] = Field(description="As when revoking one; those in `items` left out.")


class GatewayReach(Shown):
    """How far one gateway is."""

    gateway: str | None = Field(description="Null: a token of one gateway may not know of it.")
    state: str = Field(description="`confirmed`, `pending`, or `unreachable`: not heard of lately.")
    told_at: datetime | None
    confirmed_at: datetime | None
    error: str
    cuts: list[Mapping[str, Any]] = Field(description="The SAs that it ended, as it reported them.")


class OwnGateway(Shown):
    """The gateway whose own certificate it is."""

    gateway: str
    told_at: datetime | None


class Reach(Shown):
    """How far a revocation has got."""

    serial: str
    authority: str
    status: str
    revoked_at: datetime | None
    published_at: datetime | None
    crl_number: int | None
    gateways: list[GatewayReach]
    own: OwnGateway | None = Field(description="Told last, because its way here may be a tunnel.")
    below: BelowCa | None = Field(description="For the certificate of a CA.")


def _shown(found: Revocation, now: datetime, *, dry_run: bool) -> Revoked:
    return Revoked(
        **shown(found.certificate, now).model_dump(),
        dry_run=dry_run,
        tunnels=len(found.cut),
        limit=found.limit,
        cut=[_cut(each) for each in found.cut],
        below=_below(found.below),
        same_key=[_same_key(each, now) for each in found.same_key],
    )


def _below(found: Below | None) -> BelowCa | None:
    if found is None:
        return None
    return BelowCa(
        authorities=list(found.authorities),
        certificates=found.certificates,
        gateways=found.gateways,
    )


def _same_key(each: CertificateView, now: datetime) -> SameKey:
    return SameKey(
        serial=each.serial,
        authority=each.authority,
        status=each.status_at(now),
        profile=each.profile,
        subject=each.subject,
        names=list(each.names),
        not_after=each.not_after,
    )


def _cut(each: Affected) -> CutTunnel:
    return CutTunnel(
        gateway=each.gateway,
        tunnel=each.tunnel,
        connection=each.connection,
        peer=each.peer,
        sas=[KnownSa.model_validate(sa) for sa in each.sas],
    )


def revoke(call: Call[Revoke, Which]) -> Reply:
    """Revoke a certificate, or tell what that would end."""
    body, serial = call.body, call.path["serial"]
    if body.dry_run:
        found = revoking.preview(
            call.desk,
            call.actor,
            serial,
            body.reason,
            now=call.now,
            authority=call.query.authority,
        )
        return Reply(_shown(found, call.now, dry_run=True))
    ended = revoking.revoke(
        call.desk,
        call.actor,
        serial,
        body.reason,
        now=call.now,
        invalidity_date=body.invalidity_date,
        authority=call.query.authority,
        confirmed=body.cut_confirmed,
    )
    return Reply(_shown(ended, call.now, dry_run=False))


def revoke_all(call: Call[RevokeAll, Nothing]) -> Reply:
    """Revoke certificates together."""
    body = call.body
    ended = revoking.revoke_all(
        call.desk,
        call.actor,
        [(body.authority, serial) for serial in body.serials],
        body.reason,
        now=call.now,
        confirmed=body.cut_confirmed,
    )
    others = compromise.others(call.desk, call.actor, ended, body.reason, now=call.now)
    return Reply(
        RevokedAll(
            items=[shown(each, call.now) for each in ended],
            same_key=[_same_key(each, call.now) for each in others],
        )
    )


def progress(call: Call[None, Which]) -> Reply:
    """Tell how far a revocation has got."""
    found = reach.progress(
        call.desk,
        call.actor,
        call.path["serial"],
        now=call.now,
        authority=call.query.authority,
    )
    ended = found.certificate
    own = None if found.own is None else OwnGateway.model_validate(found.own)
    return Reply(
        Reach(
            serial=ended.serial,
            authority=ended.authority,
            status=ended.status_at(call.now),
            revoked_at=ended.revoked_at,
            published_at=found.published_at,
            crl_number=found.crl_number,
            gateways=[
                GatewayReach(**vars(each) | {"cuts": [dict(cut) for cut in each.cuts]})
                for each in found.gateways
            ],
            own=own,
            below=_below(found.below),
        )
    )


ROUTES = (
    Route(
        method="POST",
        path=_PATH + "/revoke",
        view=revoke,
        summary="Revoke a certificate for ever; its peers end the tunnels that it authenticated",
        description=(
            "OCSP says so from the next question on, the CRLs within a second, caches in front of them later; "
            "then every gateway with a tunnel to its "
            "holder is told to cut. A revocation that ends more tunnels than the limit is refused with "
            "`cut_needs_approval` until `cut_confirmed` allows so many. That of a CA ends all that stands below it, "
            "and is refused as well where that is more certificates than the limit. "
            "With `dry_run` nothing changes and the "
            "answer lists what would end. With `keyCompromise` it also lists other certificates in force with the same "
            "key; that key is not certified again (`key_compromised`). Of a certificate that is revoked already only "
            "the reason can change, and only to keyCompromise."
        ),
        tag=_TAG,
        action=Action.CERTIFICATE_REVOKE,
        query=Which,
        body=Revoke,
        answer=Revoked,
        example={"reason": "superseded"},
        approval=True,
        refusals=(404, 409, 422),
    ),
    Route(
        method="POST",
        path="/v1/certificates/revoke",
        view=revoke_all,
        summary="Revoke certificates together: all of them or none",
        description="So that one approval is enough, where another person must approve of so many.",
        tag=_TAG,
        action=Action.CERTIFICATE_REVOKE,
        body=RevokeAll,
        answer=RevokedAll,
        example={"serials": ["4f2a", "5b01"], "reason": "keyCompromise"},
        approval=True,
        refusals=(404, 409, 422),
    ),
    Route(
        method="GET",
        path=_PATH + "/reach",
        view=progress,
        summary="How far a revocation has got: which gateways have cut, which are pending or unreachable",
        tag=_TAG,
        action=Action.GATEWAY_READ,
        query=Which,
        answer=Reach,
        refusals=(404, 409, 422),
    ),
)
