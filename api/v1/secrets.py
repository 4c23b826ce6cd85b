"""The shared secrets of tunnels: put under management, looked at, changed. Values come in; none goes out."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, GetPydanticSchema
from pydantic_core import core_schema

from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import When, Word
from api.v1.gateways import Identity
from core.secret import Secret
from fleet.rotation import machine, shown, slots
from fleet.rotation.binding import Binding
from fleet.rotation.imports import Import
from fleet.rotation.policies import PolicyChange, changed
from fleet.rotation.shown import EndView, RotationView, SlotView
from fleet.rotation.slots import SlotRequest
from fleet.rotation.values import Kind, Policy, Window
from pki.actors import Action

PATH = "/v1/tunnels/{name}/secrets"
TAG = "Shared secrets"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
KindName = Literal["psk", "ppk"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Clock = Annotated[str, Field(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]


def _decoded(text: str) -> Secret:
    try:
        return Secret(base64.b64decode(text, validate=True))
    except ValueError:
        raise ValueError("not base64") from None


# From here on it is a Secret, which shows itself nowhere.
SecretBase64 = Annotated[
    Secret,
    GetPydanticSchema(
        lambda _source, _handler: core_schema.no_info_after_validator_function(
            _decoded, core_schema.str_schema(min_length=1, max_length=6000)
        )
    ),
]


class MaintenanceWindow(Sent):
    """Days of the week, from and to: `to` before `from` is on the next day."""

    days: list[Day] = Field(min_length=1, max_length=7)
    start: Clock
    end: Clock


class ChangePolicy(Sent):
    """When and how it is rotated. What is left out stays as it is."""

    interval_days: int | None = Field(
        default=None, ge=0, le=3650, description="0: on demand only. A new one has 90."
    )
    jitter: float | None = Field(
        default=None, ge=0, le=0.5, description="By which part of that it may come earlier; 0.1."
    )
    windows: list[MaintenanceWindow] | None = Field(
        default=None, max_length=50, description="Begun in these only; none: at any time."
    )
    zone: Word | None = Field(default=None, description="Time zone of the windows; UTC.")
    frozen: bool | None = Field(default=None, description="Nothing is begun while it is; false.")
    gap: bool | None = Field(
        default=None,
        description="SAs may be interrupted to prove a key where the daemon cannot without; false.",
    )
    proof_hours: int | None = Field(
        default=None, ge=1, le=720, description="So long a new key may wait to be proven; 24."
    )


class ImportValue(Sent):
    """A value that is in use already; both ends have it."""

    value: SecretBase64 = Field(description="Base64.")
    accept_weak: bool = Field(
        default=False, description="Take it although it can be guessed, so that it is rotated away."
    )
    since: When | None = Field(
        default=None, description="In use since then, as far as is known; now if left out."
    )


class CreateSecret(Sent):
    """A shared secret of a tunnel. Without `import`, the service makes it and brings it to the ends."""

    kind: KindName = "psk"
    policy: ChangePolicy = ChangePolicy()
    imported: ImportValue | None = Field(default=None, alias="import")
    left_connection: Word | None = Field(
        default=None, description="What the daemon calls it, if not as the tunnel."
    )
    right_connection: Word | None = None
    left_identity: Identity | None = Field(
        default=None, description="The first on record if left out."
    )
    right_identity: Identity | None = None
    ike_version: Literal[1, 2] = 2


class WindowShown(Shown):
    """A maintenance window."""

    days: list[str]
    start: str
    end: str


class PolicyShown(Shown):
    """When and how it is rotated."""

    interval_days: int
    jitter: float
    windows: list[WindowShown]
    zone: str
    frozen: bool
    gap: bool
    proof_hours: int


class VersionShown(Shown):
    """A version, without its value."""

    version: int
    state: str
    source: str
    fingerprint: str | None = Field(
        description="Keyed: the same value has the same one, and nobody can guess from it."
    )
    ppk_id: str | None
    strength: dict[str, Any] | None
    created_at: datetime
    current_at: datetime | None
    destroyed_at: datetime | None


class AuthenticationShown(Shown):
    """A fresh authentication that an end saw."""

    version: int
    at: datetime | None
    spi_initiator: str
    spi_responder: str


class EndShown(Shown):
    """An end: the versions it should have, and what it last said."""

    side: str
    gateway: str | None = Field(description="Null: an outside peer.")
    keys: list[int] = Field(description="The first proves this end, all are accepted.")
    agrees: bool = Field(description="Whether it has what the rotation under way wants of it.")
    loaded: list[int] | None = Field(description="Null: it never told.")
    held: list[int] | None
    overlap: bool | None
    authenticated: AuthenticationShown | None
    foreign: list[dict[str, Any]]
    error_code: str | None
    error: str | None
    reported_at: datetime | None


class RotationShown(Shown):
    """A rotation."""

    id: int
    tunnel: str
    kind: str
    secret: str
    state: str
    back: bool = Field(description="It is being undone.")
    method: str
    reason: str
    from_version: int | None
    to_version: int | None
    created_at: datetime
    created_by: str
    entered_at: datetime
    deadline_at: datetime | None
    confirmed_at: datetime | None
    ended_at: datetime | None
    tries: int
    error_code: str | None
    error: str | None
    next_step: str | None
    waits_for: str | None = Field(
        description="In words, of one that goes on; not in lists of rotations."
    )


class SecretOfTunnel(Shown):
    """A tunnel's shared secret of one kind."""

    name: str
    tunnel: str
    kind: str
    version: int | None = Field(description="The one by which the left end proves itself.")
    current_at: datetime | None = Field(description="Since when it is in use.")
    due_at: datetime | None
    policy: PolicyShown
    connections: dict[str, str | None]
    identities: dict[str, str | None]
    versions: list[VersionShown] = Field(description="The newest first.")
    ends: list[EndShown]
    rotation: RotationShown | None = Field(description="The one under way.")
    created_at: datetime
    created_by: str


class SecretsOfTunnel(Shown):
    """All shared secrets of a tunnel."""

    items: list[SecretOfTunnel]


def rotation_shown(view: RotationView) -> RotationShown:
    """A rotation as it is shown."""
    fields = {name: getattr(view, name, None) for name in RotationShown.model_fields}
    return RotationShown.model_validate(fields | {"secret": view.slot})


def _shown(view: SlotView) -> SecretOfTunnel:
    bound = view.binding
    return SecretOfTunnel(
        name=view.name,
        tunnel=view.tunnel,
        kind=view.kind,
        version=view.version,
        current_at=view.current_at,
        due_at=view.due_at,
        policy=_policy(view.policy),
        connections={"left": bound.left_connection, "right": bound.right_connection},
        identities={"left": bound.left_identity, "right": bound.right_identity},
        versions=[
            VersionShown.model_validate(
                {name: getattr(each, name) for name in VersionShown.model_fields}
            )
            for each in view.versions
        ],
        ends=[_end(each) for each in view.ends],
        rotation=None if view.rotation is None else rotation_shown(view.rotation),
        created_at=view.created_at,
        created_by=view.created_by,
    )


def _policy(policy: Policy) -> PolicyShown:
    windows = [
        WindowShown(
            days=[_DAYS[day] for day in each.days], start=_clock(each.start), end=_clock(each.end)
        )
        for each in policy.windows
    ]
    fields = {name: getattr(policy, name) for name in PolicyShown.model_fields}
    return PolicyShown.model_validate(fields | {"windows": windows})


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


def _end(view: EndView) -> EndShown:
    end, report = view.end, view.end.report
    seen = None if report is None else report.authenticated
    return EndShown(
        side=end.side,
        gateway=view.gateway,
        keys=list(end.keys),
        agrees=machine.agrees(end),
        loaded=None if report is None else list(report.versions),
        held=None if report is None else list(report.held),
        overlap=None if report is None else report.abilities.overlap,
        authenticated=None if seen is None else AuthenticationShown.model_validate(seen),
        foreign=[dict(each) for each in view.foreign],
        error_code=None if report is None else report.error_code or None,
        error=None if report is None else report.error or None,
        reported_at=None if report is None else report.reported_at,
    )


def _change(sent: ChangePolicy) -> PolicyChange:
    windows: Sequence[MaintenanceWindow] | None = sent.windows
    return PolicyChange(
        interval_days=sent.interval_days,
        jitter=sent.jitter,
        windows=None
        if windows is None
        else tuple(
            Window(tuple(map(_DAYS.index, each.days)), _minutes(each.start), _minutes(each.end))
            for each in windows
        ),
        zone=sent.zone,
        frozen=sent.frozen,
        gap=sent.gap,
        proof_hours=sent.proof_hours,
    )


def create(call: Call[CreateSecret, Nothing]) -> Reply:
    """Put a shared secret under management."""
    body, given = call.body, call.body.imported
    request = SlotRequest(
        kind=Kind(body.kind),
        policy=changed(Policy(), _change(body.policy)),
        binding=Binding(
            left_connection=body.left_connection,
            right_connection=body.right_connection,
            left_identity=body.left_identity,
            right_identity=body.right_identity,
            ike_version=body.ike_version,
        ),
        imported=None if given is None else Import(given.value, given.accept_weak, given.since),
    )
    made = slots.create(call.desk, call.actor, call.path["name"], request, now=call.now)
    return Reply(_shown(made), status=201)


def show(call: Call[None, Nothing]) -> Reply:
    """Look at the shared secrets of a tunnel."""
    found = shown.of_tunnel(call.desk, call.actor, call.path["name"])
    return Reply(SecretsOfTunnel(items=[_shown(each) for each in found]))


def change(call: Call[ChangePolicy, Nothing]) -> Reply:
    """Change a policy."""
    wanted = _change(call.body)
    changed_to = slots.change(call.desk, call.actor, _name(call), wanted, now=call.now)
    return Reply(_shown(changed_to))


def remove(call: Call[None, Nothing]) -> Reply:
    """Take a shared secret off."""
    slots.remove(call.desk, call.actor, _name(call), now=call.now)
    return Reply(b"", status=204, media_type="")


def _name(call: Call[Any, Any]) -> str:
    return f"{call.path['name']}.{call.path['kind']}"


ROUTES = (
    Route(
        method="POST",
        path=PATH,
        view=create,
        summary="Put a tunnel's shared secret under management: made by the service, or imported",
        description=(
            "A value is checked: its length, an estimate of its entropy, examples out of documentation, and whether "
            "another tunnel has it. Neither it nor a digest of it is kept anywhere but in the store of secrets."
        ),
        tag=TAG,
        action=Action.SECRET_CREATE,
        body=CreateSecret,
        answer=SecretOfTunnel,
        status=201,
        secret_body=True,
        example={"kind": "psk", "policy": {"interval_days": 90}},
        refusals=(404, 409, 422, 503),
    ),
    Route(
        method="GET",
        path=PATH,
        view=show,
        summary="Look at a tunnel's shared secrets: versions, ages, fingerprints, what the ends say; never a value",
        tag=TAG,
        action=Action.SECRET_READ,
        answer=SecretsOfTunnel,
        refusals=(404,),
    ),
    Route(
        method="PATCH",
        path=PATH + "/{kind}",
        view=change,
        summary="Change when and how a shared secret is rotated; freeze it, or let it go on",
        tag=TAG,
        action=Action.SECRET_CHANGE,
        body=ChangePolicy,
        answer=SecretOfTunnel,
        example={"interval_days": 30, "frozen": False},
        refusals=(404, 422),
    ),
    Route(
        method="DELETE",
        path=PATH + "/{kind}",
        view=remove,
        summary="Take a shared secret off: unloaded at its ends, its values destroyed in the store",
        tag=TAG,
        action=Action.SECRET_REMOVE,
        answer="",
        status=204,
        refusals=(404, 422),
    ),
)
