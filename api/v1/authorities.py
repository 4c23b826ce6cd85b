"""Certificate authorities: founded, listed, shown."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import Word
from hsm.keystores import place_of
from hsm.ports import KeyAlgorithm
from pki import authorities, founding
from pki.actors import Action
from pki.authorities import Authority as KnownAuthority
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.x509.keys import key_algorithm

_PATH = "/v1/authorities"
_TAG = "Authorities"
_Patterns = Annotated[list[Word], Field(max_length=100)]


class CreateAuthority(Sent):
    """What the new authority shall be."""

    name: Word = Field(
        description="1 to 40 lower-case letters, digits, hyphens; it stands in URLs."
    )
    kind: Literal["root", "issuing"]
    subject: Word = Field(description="Distinguished name, RFC 4514.")
    algorithm: KeyAlgorithm = "ec-p256"
    parent: Word | None = Field(default=None, description="Who signs it; none for a root.")
    days: int = Field(default=3650, ge=1, le=14640, description="How long it is valid.")
    path_length: int | None = Field(
        default=0, description="How many authorities may follow below; null for any number."
    )
    permitted: _Patterns = Field(
        default_factory=list, description="Name constraints: `dns:example.com`, `ip:192.0.2.0/24`."
    )
    excluded: _Patterns = Field(default_factory=list)
    shards: int = Field(
        default=0, description="0: one complete CRL, as IKE daemons need; more splits it."
    )
    key_store: Literal["files", "pkcs11", "transit"] | None = Field(
        default=None, description="Where its key is made; where the settings say if left out."
    )


class Authority(Shown):
    """An authority with its certificate and where its lists are."""

    name: str
    kind: str
    status: str
    parent: str | None
    subject: str
    serial: str
    algorithm: str
    key_store: str | None = Field(
        description="Where its key is: `files`, `pkcs11` (an HSM), `transit`; null where it is not here."
    )
    not_before: datetime
    not_after: datetime
    shards: int
    path_length: int | None = Field(description="How many authorities may follow below; null: any.")
    permitted: list[str] = Field(description="Name constraints: nothing else of these kinds.")
    excluded: list[str] = Field(description="Name constraints: nothing within these.")
    certificate: str = Field(description="PEM.")
    chain: list[str] = Field(description="PEM: its issuer first, the root last; empty for a root.")
    crl_url: str
    delta_crl_url: str
    ocsp_url: str
    certificate_url: str
    created_at: datetime


class AuthorityList(Shown):
    """All authorities this caller may see, by name."""

    items: list[Authority]


def _shown(desk: Desk, known: KnownAuthority) -> Authority:
    return Authority(
        name=known.name,
        kind=known.kind,
        status=known.status,
        parent=known.parent,
        subject=known.certificate.subject.rfc4514_string(),
        serial=known.serial,
        algorithm=key_algorithm(known.public_key),
        key_store=place_of(known.key_uri) or None,
        not_before=known.certificate.not_valid_before_utc,
        not_after=known.certificate.not_valid_after_utc,
        shards=known.shards,
        path_length=known.path_length,
        permitted=[str(tree) for tree in known.constraints[0].permitted],
        excluded=[str(tree) for tree in known.constraints[0].excluded],
        certificate=authorities.pem(known.certificate),
        chain=[authorities.pem(above) for above in known.chain[1:]],
        crl_url=authorities.full_crl_url(desk, known.name),
        delta_crl_url=authorities.delta_crl_url(desk, known.name),
        ocsp_url=authorities.ocsp_url(desk, known.name),
        certificate_url=authorities.certificate_url(desk, known.name),
        created_at=known.created_at,
    )


def create(call: Call[CreateAuthority, Nothing]) -> Reply:
    """Found an authority."""
    body = call.body
    wanted = AuthorityRequest(
        name=body.name,
        kind=body.kind,
        subject=body.subject,
        algorithm=body.algorithm,
        parent=body.parent,
        lifetime=timedelta(days=body.days),
        path_length=body.path_length,
        permitted=tuple(body.permitted),
        excluded=tuple(body.excluded),
        shards=body.shards,
        key_store=body.key_store,
    )
    made = founding.create(call.desk, call.actor, wanted, now=call.now)
    location = (("Location", f"{_PATH}/{made.name}"),)
    return Reply(_shown(call.desk, made), status=201, headers=location)


def list_(call: Call[None, Nothing]) -> Reply:
    """List authorities."""
    found = authorities.list_(call.desk, call.actor)
    return Reply(AuthorityList(items=[_shown(call.desk, known) for known in found]))


def show(call: Call[None, Nothing]) -> Reply:
    """Look at one authority."""
    return Reply(_shown(call.desk, authorities.get(call.desk, call.actor, call.path["name"])))


ROUTES = (
    Route(
        method="POST",
        path=_PATH,
        view=create,
        summary="Found an authority: its key, its certificate, its first lists",
        tag=_TAG,
        action=Action.AUTHORITY_CREATE,
        body=CreateAuthority,
        answer=Authority,
        status=201,
        example={
            "name": "branch",
            "kind": "issuing",
            "parent": "root",
            "subject": "CN=Branch Issuing CA,O=Example",
            "permitted": ["dns:branch.example.com"],
        },
        approval=True,
        refusals=(404, 409, 422),
    ),
    Route(
        method="GET",
        path=_PATH,
        view=list_,
        summary="List authorities",
        tag=_TAG,
        action=Action.AUTHORITY_READ,
        answer=AuthorityList,
    ),
    Route(
        method="GET",
        path=_PATH + "/{name}",
        view=show,
        summary="Look at one authority",
        tag=_TAG,
        action=Action.AUTHORITY_READ,
        answer=Authority,
        refusals=(404,),
    ),
)
