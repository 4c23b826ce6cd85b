"""Enrollment endpoints: by which doors devices ask for certificates."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from api.registry import Call, Nothing, Reply, Route, Shown
from pki import enrollments
from pki.actors import Action
from pki.desk import Desk
from pki.endpoints import DEFAULT, AcmeDoor, Challenge, CmpDoor, Endpoint, EstDoor, ScepDoor

_PATH = "/v1/enroll-endpoints"


class Est(Shown):
    """What EST wants there."""

    url: str = Field(description="What clients are given; operations follow it.")
    authentication: list[Literal["token", "certificate"]] = Field(
        description="token: an enroller's, as the password of HTTP Basic; certificate: of this service, over TLS."
    )
    server_keys: bool = Field(description="Whether the service makes keys for devices.")


class Scep(Shown):
    """What SCEP wants there."""

    url: str = Field(description="What clients are given; `?operation=` follows it.")
    authentication: list[Literal["token", "certificate"]] = Field(
        description="token: an enroller's, as the challenge password; certificate: of this service, which signs the "
        "message."
    )
    legacy: bool = Field(description="Whether 3DES and SHA-1 are taken.")


class Acme(Shown):
    """What ACME wants there."""

    url: str = Field(description="The directory that clients are given.")
    external_account: bool = Field(
        description="Whether a new account must be bound to an enroller's token (RFC 8555 §7.3.4)."
    )
    challenges: list[Challenge] = Field(description="By what a client can prove its names.")
    networks: list[str] = Field(
        description="Networks beside the public ones in which proofs are looked for."
    )
    networks_by_token: bool = Field(
        description="Whether of these an account reaches only those that its token names."
    )


class Cmp(Shown):
    """What CMP wants there."""

    url: str = Field(description="What clients are given.")
    authentication: list[Literal["token", "certificate"]] = Field(
        description="token: an enroller's, whose secret protects the message by a MAC; certificate: of this service, "
        "whose key signs it."
    )


class EnrollEndpoint(Shown):
    """An endpoint. A door that is null is shut."""

    name: str = Field(description="What the protocols call a label.")
    profile: str
    authority: str | None = Field(description="null: who issues where none is named.")
    approval: Literal["automatic", "manual"] = Field(
        description="manual: a person approves each first certificate (GET /v1/approvals)."
    )
    est: Est | None
    scep: Scep | None
    acme: Acme | None
    cmp: Cmp | None


class EnrollEndpoints(Shown):
    """All endpoints, by name."""

    items: list[EnrollEndpoint]


def _est(base: str, name: str, door: EstDoor) -> Est:
    return Est(
        url=f"{base}/.well-known/est" + ("" if name == DEFAULT else f"/{name}"),
        authentication=list(door.ways),
        server_keys=door.server_keys,
    )


def _scep(base: str, name: str, door: ScepDoor) -> Scep:
    return Scep(url=f"{base}/scep/{name}", authentication=list(door.ways), legacy=door.legacy)


def _acme(base: str, name: str, door: AcmeDoor) -> Acme:
    return Acme(
        url=f"{base}/acme/{name}/directory",
        external_account=door.external_account,
        challenges=list(door.challenges),
        networks=list(door.networks),
        networks_by_token=door.networks_by_token,
    )


def _cmp(base: str, name: str, door: CmpDoor) -> Cmp:
    return Cmp(url=f"{base}/.well-known/cmp/p/{name}", authentication=list(door.ways))


def endpoints_shown(desk: Desk, found: Iterable[Endpoint]) -> list[EnrollEndpoint]:
    """Endpoints as they are shown, with the URLs that clients are given."""
    base, plain = desk.rules.service_url, desk.rules.validation_url
    return [
        EnrollEndpoint(
            name=each.name,
            profile=each.profile,
            authority=each.authority,
            approval="manual" if each.manual else "automatic",
            est=None if each.est is None else _est(base, each.name, each.est),
            scep=None if each.scep is None else _scep(plain, each.name, each.scep),
            acme=None if each.acme is None else _acme(base, each.name, each.acme),
            cmp=None if each.cmp is None else _cmp(plain, each.name, each.cmp),
        )
        for each in found
    ]


def list_(call: Call[None, Nothing]) -> Reply:
    """List endpoints."""
    found = enrollments.list_(call.desk, call.actor)
    return Reply(EnrollEndpoints(items=endpoints_shown(call.desk, found)))


ROUTES = (
    Route(
        method="GET",
        path=_PATH,
        view=list_,
        summary="List enrollment endpoints: who, by which door, gets what",
        tag="Enrollment",
        action=Action.ENDPOINT_READ,
        answer=EnrollEndpoints,
    ),
)
