"""Shared secrets as an agent sees them: the lists it should have, one value at a time, and what it reports."""

import base64
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from api import decoding
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import When
from fleet.rotation import delivery
from fleet.rotation.desired import SlotState
from fleet.rotation.intake import SecretReport, Secrets
from fleet.rotation.values import Authentication, EndAbilities
from pki.actors import Action

Version = Annotated[int, Field(ge=1, lt=1 << 31)]
Versions = Annotated[list[Version], Field(max_length=20)]
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Long = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")]
Spi = Annotated[str, Field(pattern=r"^([0-9a-f]{16})?$")]
# What a JSON number holds everywhere


class Able(Sent):
    """What the daemon can do for a rotation."""

    overlap: bool = Field(description="It takes several secrets from a peer at once.")
    ppk: bool = Field(description="RFC 8784.")
    gapless: bool = Field(description="It authenticates an SA afresh without an interruption.")
    beside: bool = Field(
        default=False,
        description="It authenticates a managed connection (IKEv2) afresh beside its SAs, without touching them.",
    )


class Foreign(Sent):
    """A secret in the daemon that is not of the agent, and answers for the slot's peer."""

    where: Text
    same_as: Version | None = None
    shadows: bool = False


class Authenticated(Sent):
    """The latest fresh IKE_AUTH, with the version that was the first in the daemon when it came up."""

    version: Version
    at: When
    spi_initiator: Spi = ""
    spi_responder: Spi = ""


class ReportedSecret(Sent):
    """What has become of a slot."""

    name: Text
    versions: Versions = Field(description="In the daemon, the one that it uses first.")
    held: Versions = Field(description="On the disk of the agent.")
    foreign: list[Foreign] = Field(default_factory=list, max_length=50)
    authenticated: Authenticated | None = None
    error_code: Text = ""
    error: Long = ""


class KeyShown(Shown):
    """A version to be had at /v1/gateways/self/secrets/{id}."""

    id: int
    version: int
    fingerprint: str | None
    ppk_id: str | None


class ProveShown(Shown):
    """A fresh IKE_AUTH under `version` is wanted; `start`: this end starts it; `gap`: SAs may be interrupted for it."""

    version: int
    start: bool
    gap: bool


class SecretShown(Shown):
    """A slot: the first key proves, all are accepted."""

    name: str
    kind: str
    tunnel: str
    connection: str
    local_id: str
    remote_id: str
    ike_version: int
    keys: list[KeyShown]
    prove: ProveShown | None


class SecretValue(Shown):
    """A version with its value."""

    id: int
    slot: str
    version: int
    kind: str
    fingerprint: str | None
    ppk_id: str | None
    value: str = Field(description="Base64.")


def shown(slot: SlotState) -> SecretShown:
    """A slot as an agent gets it."""
    return SecretShown.model_validate(slot)


def told(abilities: Able | None, reports: list[ReportedSecret] | None) -> Secrets | None:
    """What a report says of shared secrets; None from an agent that knows nothing of them."""
    if reports is None:
        return None
    able = EndAbilities() if abilities is None else EndAbilities(**abilities.model_dump())
    return Secrets(able, tuple(map(_report, reports)))


def _report(sent: ReportedSecret) -> SecretReport:
    seen = None
    if sent.authenticated is not None:
        moment: datetime = sent.authenticated.at
        seen = Authentication(
            version=sent.authenticated.version,
            spi_initiator=sent.authenticated.spi_initiator,
            spi_responder=sent.authenticated.spi_responder,
            at=moment,
        )
    return SecretReport(
        name=sent.name,
        versions=tuple(sent.versions),
        held=tuple(sent.held),
        foreign=tuple(each.model_dump(mode="json") for each in sent.foreign),
        authenticated=seen,
        error_code=sent.error_code,
        error=sent.error,
    )


def fetch(call: Call[None, Nothing]) -> Reply:
    """Give one value."""
    number = decoding.number(call.path["id"])
    found = delivery.value(call.desk, call.actor, number, now=call.now)
    fields: dict[str, Any] = {
        name: getattr(found, name) for name in SecretValue.model_fields if name != "value"
    }
    text = base64.b64encode(found.value.reveal()).decode()
    return Reply(SecretValue(**fields, value=text), headers=(("Cache-Control", "no-store"),))


ROUTES = (
    Route(
        method="GET",
        path="/v1/gateways/self/secrets/{id}",
        view=fetch,
        summary="Fetch the value of a shared secret that the calling gateway should have",
        description="With the gateway's client certificate alone, never with a token. Each fetch is on record.",
        tag="Agents",
        action=Action.GATEWAY_SELF,
        answer=SecretValue,
        refusals=(404, 503),
    ),
)
