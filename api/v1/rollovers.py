"""Rollovers of authorities, phase by phase, and cross-certificates."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from api import decoding
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import When, Word
from fleet import successions
from hsm.ports import KeyAlgorithm
from pki.actors import Action
from pki.rollover import crossing, phases
from pki.rollover.crossing import CrossCertificate as KnownCross
from pki.rollover.phases import Order
from pki.rollover.records import Rollover as KnownRollover
from pki.rollover.records import State
from pki.rollover.successor import RolloverRequest

_PATH = "/v1/rollovers"
_OF = "/v1/authorities/{name}"
_TAG = "Authorities"


class BeginRollover(Sent):
    """What is to succeed the authority: another key, limits and parent alike."""

    successor: Word | None = Field(
        default=None, description="Its name; `NAME-2`, or the next number, if left out."
    )
    algorithm: KeyAlgorithm | None = Field(
        default=None, description="Its key; of the same kind if left out."
    )
    days: int | None = Field(
        default=None, ge=1, le=14640, description="How long it is valid; as long as the first."
    )
    key_store: Literal["files", "pkcs11", "transit"] | None = Field(
        default=None, description="Where its key is made; where the first one's is if left out."
    )
    subject: Word | None = Field(
        default=None,
        description="Distinguished name, RFC 4514. If left out, that of the first with the next number (`CN=Issuing CA "
        "2`), and of a root the same.",
    )


class MoveRollover(Sent):
    """A step of a rollover."""

    to: Literal["published", "switched", "finished", "back"] = Field(
        description="The next phase, or back to the one before."
    )
    on: When | None = Field(
        default=None, description="With `switched`: from when on the successor issues; now."
    )
    despite: bool = Field(
        default=False,
        description="`finished`, although certificates of the old one are in force; `switched`, although gateways do "
        "not know the successor yet.",
    )
    seen: (
        Literal["prepared", "published", "scheduled", "switched", "finished", "abandoned"] | None
    ) = Field(
        default=None,
        alias="from",
        description="Only from this phase; needed with `back`, so that the same request sent twice goes back once.",
    )

    @model_validator(mode="after")
    def _says_whence(self) -> "MoveRollover":
        if self.to == "back" and self.seen is None:
            raise ValueError("`back` needs `from`, the phase that it goes back from")
        return self


class InForce(Shown):
    """What the authority signed and peers may still need: what keeps it from being finished."""

    certificates: int = Field(description="Of gateways, hosts and people.")
    pending: int = Field(description="Being signed; within minutes they are valid or given up.")
    authorities: list[str] = Field(
        description="Names of the authorities below it that are not retired, or of which something is in force; their "
        "subjects where they are not here."
    )
    cross_certificates: int = Field(description="For others than its successor.")
    until: datetime | None = Field(description="When the last of them ends.")


class Rollover(Shown):
    """An authority and what succeeds it, and where that stands."""

    id: int
    authority: str
    successor: str
    same_subject: bool = Field(
        description="Whether both have one subject. Libreswan keeps one revocation list for a subject."
    )
    key_store: str = Field(description="Where the authority's key is: files, pkcs11 or transit.")
    successor_key_store: str = Field(description="Where the successor's key is.")
    state: str = Field(
        description="prepared, published, scheduled (to be switched at `switch_at`), switched, finished or abandoned."
    )
    switch_at: datetime | None = Field(
        description="From when on certificates come from the successor; null: they do not."
    )
    created_at: datetime
    created_by: str
    published_at: datetime | None
    published_by: str | None
    switched_at: datetime | None
    switched_by: str | None
    ended_at: datetime | None = Field(description="When it was finished or abandoned.")
    ended_by: str | None
    in_force: InForce | None = Field(
        default=None, description="Of the authority; null in lists, and where it is abandoned."
    )


class RolloverList(Shown):
    """The rollovers of all authorities that this caller may see, newest first."""

    items: list[Rollover]


class CrossSign(Sent):
    """Who certifies the authority's key."""

    issuer: Word = Field(description="The other authority.")
    days: int | None = Field(
        default=None,
        ge=1,
        le=14640,
        description="How long; never longer than the issuer's certificate and the subject's own.",
    )


class CrossCertificate(Shown):
    """The certificate of an authority's key by another authority than its parent."""

    subject: str
    issuer: str
    serial: str = Field(description="Of the issuer's certificates; it is revoked as any other.")
    status: str
    not_before: datetime
    not_after: datetime
    certificate: str = Field(description="PEM.")
    created_at: datetime
    created_by: str


class CrossCertificateList(Shown):
    """The cross-certificates of an authority's key, newest first."""

    items: list[CrossCertificate]


def _shown(known: KnownRollover, now: datetime) -> Rollover:
    alike = set(Rollover.model_fields) - {"state", "in_force"}
    fields = {name: getattr(known, name) for name in alike}
    return Rollover(state=known.phase(now), **fields)


def _whole(call: Call[Any, Nothing], known: KnownRollover) -> Rollover:
    shown = _shown(known, call.now)
    if known.state == State.ABANDONED:
        return shown
    found = phases.usage(call.desk, call.actor, known.id, now=call.now)
    in_force = InForce(**{name: getattr(found, name) for name in InForce.model_fields})
    return shown.model_copy(update={"in_force": in_force})


def _shown_cross(known: KnownCross) -> CrossCertificate:
    alike = set(CrossCertificate.model_fields) - {"certificate"}
    fields = {name: getattr(known, name) for name in alike}
    return CrossCertificate(certificate=known.pem, **fields)


def begin(call: Call[BeginRollover, Nothing]) -> Reply:
    """Prepare a rollover."""
    body = call.body
    wanted = RolloverRequest(
        call.path["name"],
        body.successor,
        body.algorithm,
        body.days,
        body.subject,
        body.key_store,
    )
    made = phases.prepare(call.desk, call.actor, wanted, now=call.now)
    return Reply(_whole(call, made), status=201, headers=(("Location", f"{_PATH}/{made.id}"),))


def list_(call: Call[None, Nothing]) -> Reply:
    """List rollovers."""
    found = phases.list_(call.desk, call.actor)
    return Reply(RolloverList(items=[_shown(each, call.now) for each in found]))


def show(call: Call[None, Nothing]) -> Reply:
    """Look at one rollover."""
    found = phases.get(call.desk, call.actor, decoding.number(call.path["id"]))
    return Reply(_whole(call, found))


def move(call: Call[MoveRollover, Nothing]) -> Reply:
    """Take a step of a rollover."""
    order = Order(call.body.to, call.body.on, call.body.despite, call.body.seen)
    number = decoding.number(call.path["id"])
    moved = successions.move(call.desk, call.actor, number, order, now=call.now)
    return Reply(_whole(call, moved))


def cross_sign(call: Call[CrossSign, Nothing]) -> Reply:
    """Certify an authority's key by another one."""
    body, subject = call.body, call.path["name"]
    made = crossing.cross_sign(call.desk, call.actor, subject, body.issuer, body.days, now=call.now)
    return Reply(_shown_cross(made), status=201)


def list_crosses(call: Call[None, Nothing]) -> Reply:
    """List the cross-certificates of an authority's key."""
    found = crossing.list_(call.desk, call.actor, call.path["name"])
    return Reply(CrossCertificateList(items=[_shown_cross(each) for each in found]))


ROUTES = (
    Route(
        method="POST",
        path=_OF + "/rollover",
        view=begin,
        summary="Prepare a rollover: make the authority's next key, and its certificate",
        description="The successor has the same limits and parent, its own name, lists and OCSP; its subject is "
        "another, but for a root's. It issues nothing, and nobody is told of it, until the rollover is published.",
        tag=_TAG,
        action=Action.AUTHORITY_CREATE,
        body=BeginRollover,
        answer=Rollover,
        status=201,
        example={"successor": "issuing-2", "algorithm": "ec-p384"},
        approval=True,
        refusals=(404, 409, 422),
    ),
    Route(
        method="GET",
        path=_PATH,
        view=list_,
        summary="List rollovers, newest first",
        tag=_TAG,
        action=Action.AUTHORITY_READ,
        answer=RolloverList,
    ),
    Route(
        method="GET",
        path=_PATH + "/{id}",
        view=show,
        summary="Look at a rollover",
        tag=_TAG,
        action=Action.AUTHORITY_READ,
        answer=Rollover,
        refusals=(404,),
    ),
    Route(
        method="POST",
        path=_PATH + "/{id}",
        view=move,
        summary="Take the next step of a rollover, or go one back",
        description="`published`: gateways trust both; the keys of a root and of its successor are certified by each "
        "other. `switched`: certificates come from the successor, also renewed ones; refused while gateways that trust "
        "the old one have not reported the successor as loaded; with a later `on` it is `scheduled` until then. "
        "`finished`: the old authority issues nothing any more; its lists and OCSP go on.",
        tag=_TAG,
        action=Action.AUTHORITY_CREATE,
        body=MoveRollover,
        answer=Rollover,
        example={"to": "switched", "on": "2027-06-30T00:00:00Z"},
        approval=True,
        refusals=(404, 409, 422),
    ),
    Route(
        method="POST",
        path=_OF + "/cross-certificates",
        view=cross_sign,
        summary="Certify an authority's key by another authority",
        tag=_TAG,
        action=Action.AUTHORITY_CREATE,
        body=CrossSign,
        answer=CrossCertificate,
        status=201,
        example={"issuer": "partner-root"},
        approval=True,
        refusals=(404, 409, 422),
    ),
    Route(
        method="GET",
        path=_OF + "/cross-certificates",
        view=list_crosses,
        summary="List the cross-certificates of an authority's key",
        tag=_TAG,
        action=Action.AUTHORITY_READ,
        answer=CrossCertificateList,
        refusals=(404,),
    ),
)
