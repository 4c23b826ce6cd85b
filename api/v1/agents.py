"""What the agent on a gateway fetches and reports. Each of these is for the gateway of the client certificate alone."""

import ssl
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from cryptography import x509
from pydantic import Field, field_validator

from api.bridge import Hold
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1 import agent_secrets
from api.v1.agent_secrets import Able, ReportedSecret, SecretShown
from api.v1.certificates import When
from fleet import reports, state
from fleet.reports import AppliedReport, CommandReport, SaReport
from fleet.state import CUT, REAUTHENTICATE, Command, DesiredState, LeafState, Mark
from pki.actors import Action
from pki.authorities import pem

_PATH = "/v1/gateways/self"
_TAG = "Agents"
_MAX_WAIT = 300
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Long = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")]
Name = Annotated[str, Field(max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*$")]
Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[int, Field(ge=0, lt=1 << 63)]
Spi = Annotated[str, Field(pattern=r"^[0-9a-f]{0,16}$")]


class Wait(Sent):
    """How long to wait for news."""

    wait: int = Field(
        default=0,
        ge=0,
        le=_MAX_WAIT,
        description="Seconds. With If-None-Match the answer is held until the state differs from that.",
    )


class LoadedCertificate(Sent):
    """A certificate in the daemon."""

    fingerprint: Fingerprint
    subject: Name = ""
    authority: bool
    has_key: bool
    cached: bool = False
    in_use: bool = Field(
        default=False, description="The daemon authenticates itself by it, as far as it tells."
    )


class LoadedCrl(Sent):
    """A revocation list in the daemon: issuer in RFC 4514, its number."""

    issuer: Name
    number: Annotated[int, Field(ge=0, lt=1 << 160)] | None = None


class Inventory(Sent):
    """What the daemon holds."""

    certificates: list[LoadedCertificate] = Field(default_factory=list, max_length=2000)
    keys: list[Text] = Field(default_factory=list, max_length=1000)
    crls: list[LoadedCrl] = Field(default_factory=list, max_length=1000)
    connections: list[Text] = Field(default_factory=list, max_length=10_000)


class Daemon(Sent):
    """The IKE daemon that the agent found."""

    kind: Text
    version: Text
    incarnation: Text


class Failure(Sent):
    """Something that the agent could not do."""

    code: Text
    message: Long


class Cut(Sent):
    """An SA that a `cut` found."""

    connection: Text
    remote_id: Name = ""
    matched_by: Literal["certificate", "identity"]
    ended: bool
    error: Long = ""
    sa_id: Text = ""


class CommandDone(Sent):
    """What became of a command. A `cut` that failed stays, and is tried again."""

    id: Number
    outcome: Literal["done", "failed"]
    error: Long = ""
    cuts: list[Cut] = Field(default_factory=list, max_length=5000)
    at: When


class Applied(Sent):
    """What the agent has made of the desired state."""

    version: Number
    agent_version: Text
    daemon: Daemon
    certificate: Fingerprint | None = None
    proof: Literal["loaded", "authenticated"] | None = None
    inventory: Inventory = Inventory()
    errors: list[Failure] = Field(default_factory=list, max_length=100)
    commands: list[CommandDone] = Field(default_factory=list, max_length=1000)
    abilities: Able | None = None
    secrets: list[ReportedSecret] | None = Field(
        default=None,
        max_length=5000,
        description="Left out by an agent that knows nothing of them.",
    )

    @field_validator("secrets")
    @classmethod
    def _once_each(cls, sent: list[ReportedSecret] | None) -> list[ReportedSecret] | None:
        if sent is not None and len({each.name for each in sent}) < len(sent):
            raise ValueError("a secret is reported once")
        return sent


class ChildSa(Sent):
    """A CHILD_SA."""

    name: Text
    state: Text
    spi_in: Spi = ""
    spi_out: Spi = ""
    local_ts: list[Text] = Field(default_factory=list, max_length=300)
    remote_ts: list[Text] = Field(default_factory=list, max_length=300)
    bytes_in: Number = 0
    bytes_out: Number = 0
    protocol: Text = Field(default="", description="ESP or AH.")
    mode: Text = Field(default="", description="tunnel or transport.")
    nat_t: bool | None = None
    algorithms: Text = ""
    rekey_seconds: Number | None = Field(default=None, description="From `at`.")
    expire_seconds: Number | None = Field(default=None, description="From `at`.")


class UsedSecret(Sent):
    """A version of a shared secret."""

    name: Text
    version: Number


class IkeSa(Sent):
    """An IKE_SA, as the daemon lists it."""

    id: Text
    connection: Text
    state: Text
    version: int = Field(default=2, ge=1, le=2)
    local_address: Text = ""
    remote_address: Text = ""
    local_id: Name = ""
    remote_id: Name = ""
    established: bool
    established_at: When | None = None
    initiator: bool = False
    spi_initiator: Spi = ""
    spi_responder: Spi = ""
    algorithms: Text = ""
    local_certificate: Fingerprint | None = None
    remote_certificate: Fingerprint | None = None
    children: list[ChildSa] = Field(default_factory=list, max_length=500)
    nat_t: bool | None = None
    rekey_seconds: Number | None = Field(default=None, description="From `at`.")
    reauth_seconds: Number | None = Field(default=None, description="From `at`.")
    secrets: list[UsedSecret] = Field(
        default_factory=list,
        max_length=50,
        description="What authenticated it by a shared secret, as far as the agent saw.",
    )


class Sas(Sent):
    """All IKE_SAs of the daemon at one moment."""

    at: When
    sas: list[IkeSa] = Field(max_length=10_000)


class LeafShown(Shown):
    """The newest valid certificate of the gateway."""

    serial: str
    authority: str
    fingerprint: str
    not_before: datetime
    not_after: datetime
    certificate: str = Field(description="PEM.")
    chain: list[str] = Field(description="PEM certificates: the issuer first, the root last.")


class CrlShown(Shown):
    """A revocation list to be had at /v1/authorities/{name}/crl."""

    authority: str
    number: int
    sha256: str
    size: int


class ChildShown(Shown):
    """A CHILD_SA of a managed connection."""

    name: str
    local_ts: list[str]
    remote_ts: list[str]
    esp_proposals: list[str]
    start_action: str
    rekey_seconds: int | None


class ConnectionShown(Shown):
    """A connection that the daemon shall have."""

    name: str
    local_addresses: list[str]
    remote_addresses: list[str]
    local_id: str
    remote_id: str
    remote_authority: str | None
    children: list[ChildShown]
    proposals: list[str]
    rekey_seconds: int | None
    revocation: str
    authentication: str
    ike_version: int
    ppk: str
    more_authorities: list[str]


class State(Shown):
    """Everything that the gateway should have. Fields may be added."""

    gateway: str
    version: int
    profile: str
    authorities: list[str] = Field(
        description="The CA set in PEM: what the daemon shall trust for IKE."
    )
    certificate: LeafShown | None
    renew: bool = Field(description="Renew now, whatever the dates say.")
    crls: list[CrlShown]
    connections: list[ConnectionShown]
    secrets: list[SecretShown]
    commands: list[dict[str, Any]] = Field(
        description="`cut` with `peer` and `crl`, `reauthenticate` with `connection`, `renew`; each with its `id`."
    )


def _state(found: DesiredState) -> State:
    # model_construct: all of it is ours already.
    return State.model_construct(
        gateway=found.gateway,
        version=found.mark.version,
        profile=found.profile,
        authorities=[_pem(each.certificate) for each in found.authorities],
        certificate=None if found.leaf is None else _leaf(found.leaf),
        renew=found.renew,
        crls=[
            CrlShown.model_construct(
                authority=each.authority, number=each.number, sha256=each.sha256, size=each.size
            )
            for each in found.crls
        ],
        connections=[ConnectionShown.model_validate(_listed(each)) for each in found.connections],
        secrets=[agent_secrets.shown(each) for each in found.secrets],
        commands=[_command(each) for each in found.commands],
    )


def _leaf(leaf: LeafState) -> LeafShown:
    return LeafShown.model_construct(
        serial=leaf.serial,
        authority=leaf.authority.name,
        fingerprint=leaf.fingerprint,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        certificate=ssl.DER_cert_to_PEM_cert(leaf.der),
        chain=[_pem(each) for each in leaf.authority.chain],
    )


@lru_cache(maxsize=256)
def _pem(certificate: x509.Certificate) -> str:
    return pem(certificate)


def _listed(connection: Mapping[str, Any]) -> dict[str, Any]:
    """Tuples as lists, and no more fields than this version shows."""
    shown = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in connection.items()
        if name in ConnectionShown.model_fields
    }
    shown["children"] = [
        {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in child.items()
            if name in ChildShown.model_fields
        }
        for child in connection["children"]
    ]
    return shown


def _command(command: Command) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": command.id, "kind": command.kind}
    if command.kind == CUT:
        peer = {**command.detail["peer"], "good": list(command.good)}
        # It is never too late for a cut: it ends when it is confirmed.
        shown |= {"peer": peer, "crl": command.detail["crl"], "expires_at": None}
    elif command.kind == REAUTHENTICATE:
        shown["connection"] = command.connection
    return shown


def fetch(call: Call[None, Wait]) -> Reply:
    """Give the state, or wait for another one."""
    found = state.current(call.desk, call.actor, call.known, now=call.now)
    if isinstance(found, Mark):
        hold = None
        if call.query.wait:
            hold = Hold(found.gateway_id, found.version, found.leaf_id, float(call.query.wait))
        return Reply(b"", status=304, headers=(("ETag", found.etag),), hold=hold)
    return Reply(_state(found), headers=(("ETag", found.mark.etag),))


def applied(call: Call[Applied, Nothing]) -> Reply:
    """Take the report of what was applied."""
    body = call.body
    report = AppliedReport(
        version=body.version,
        agent_version=body.agent_version,
        daemon_kind=body.daemon.kind,
        daemon_version=body.daemon.version,
        incarnation=body.daemon.incarnation,
        certificate=body.certificate,
        proof=body.proof,
        inventory=body.inventory.model_dump(mode="json"),
        errors=tuple(error.model_dump(mode="json") for error in body.errors),
        commands=tuple(
            CommandReport(
                id=each.id,
                outcome=each.outcome,
                error=each.error,
                cuts=tuple(cut.model_dump(mode="json") for cut in each.cuts),
                at=each.at,
            )
            for each in body.commands
        ),
        secrets=agent_secrets.told(body.abilities, body.secrets),
    )
    reports.applied(call.desk, call.actor, report, now=call.now)
    return _done()


def sas(call: Call[Sas, Nothing]) -> Reply:
    """Take the list of SAs."""
    found = [
        SaReport(
            id=each.id,
            connection=each.connection,
            state=each.state,
            remote_id=each.remote_id,
            local_certificate=each.local_certificate,
            remote_certificate=each.remote_certificate,
            document=each.model_dump(mode="json"),
        )
        for each in call.body.sas
    ]
    reports.sas(call.desk, call.actor, call.body.at, found, now=call.now)
    return _done()


def _done() -> Reply:
    return Reply(b"", status=204, media_type="")


ROUTES = (
    Route(
        method="GET",
        path=_PATH + "/state",
        view=fetch,
        summary="Fetch, or wait for, what the calling gateway should have",
        description=(
            "With If-None-Match and `wait` the answer is held until the state differs or the time is over (304). "
            "Who calls is asked again before a held answer is given."
        ),
        tag=_TAG,
        action=Action.GATEWAY_SELF,
        query=Wait,
        answer=State,
        refusals=(404, 422),
    ),
    Route(
        method="POST",
        path=_PATH + "/applied",
        view=applied,
        summary="Report what the calling gateway has applied, and what it did of its commands",
        tag=_TAG,
        action=Action.GATEWAY_SELF,
        body=Applied,
        answer="",
        status=204,
        example={
            "version": 17,
            "agent_version": "0.1.0",
            "daemon": {"kind": "strongswan", "version": "5.9.14", "incarnation": "1234:5678"},
        },
        refusals=(404, 422),
    ),
    Route(
        method="POST",
        path=_PATH + "/sas",
        view=sas,
        summary="Report the IKE_SAs of the calling gateway; they replace those reported before",
        tag=_TAG,
        action=Action.GATEWAY_SELF,
        body=Sas,
        answer="",
        status=204,
        example={"at": "2026-11-28T12:00:00Z", "sas": []},
        refusals=(404, 422),
    ),
    *agent_secrets.ROUTES,
)
