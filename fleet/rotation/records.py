"""Slots, their ends and their rotations as they stand on record: rows turned into values."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, case, select

from core.errors import NotFound
from fleet.bumps import chunks
from fleet.rotation.values import (
    Authentication,
    End,
    EndAbilities,
    EndReport,
    Kind,
    Method,
    Policy,
    Reason,
    Rotation,
    Side,
    State,
    Window,
)
from store.fleet_tables import gateway_reports, gateway_sas, gateways, tunnels
from store.rotation_tables import rotations, secret_reports, secret_slots, secrets
from store.text import storable

# The source of a version that was in use before; one that came to its end is `current` from then on.
IMPORT = "import"
INTENDED = "intended"
# IKEv1 mixes the secret into every key: no end can take two.
_ONE_KEY_ONLY = 1


class SlotNotFound(NotFound):
    """No shared secret of this name."""

    code = "secret_not_found"
    next_step = "List the secrets of the tunnel to see their names."


class RotationNotFound(NotFound):
    """No rotation of this number."""

    code = "rotation_not_found"
    next_step = "List the rotations of the tunnel to see their numbers."


@dataclass(frozen=True)
class Slot:
    """A tunnel's shared secrets of one kind. `left`, `right` are the names of the gateways; of an outside peer both
    `right` and `right_id` are None. `path` is the place in the store of secrets.
    """

    id: int
    tunnel_id: int
    tunnel: str
    kind: Kind
    name: str
    path: str
    left_keys: tuple[int, ...]
    right_keys: tuple[int, ...]
    policy: Policy
    last_version: int
    rotation_id: int | None
    due_at: datetime | None
    left_id: int
    left: str
    right_id: int | None
    right: str | None
    ike_version: int = 2

    @property
    def current(self) -> int | None:
        """The version by which the left end proves itself; None before there is any."""
        return self.left_keys[0] if self.left_keys else None

    @property
    def gateway_ids(self) -> tuple[int, ...]:
        """The gateways of ours at its ends."""
        return (self.left_id,) if self.right_id is None else (self.left_id, self.right_id)


_LEFT, _RIGHT = gateways.alias("left_end"), gateways.alias("right_end")
_SLOTS = (
    select(
        secret_slots,
        tunnels.c.name.label("tunnel"),
        tunnels.c.left_id,
        tunnels.c.right_id,
        tunnels.c.definition,
        _LEFT.c.name.label("left"),
        _RIGHT.c.name.label("right"),
    )
    .join_from(secret_slots, tunnels, tunnels.c.id == secret_slots.c.tunnel_id)
    .join(_LEFT, _LEFT.c.id == tunnels.c.left_id)
    .outerjoin(_RIGHT, _RIGHT.c.id == tunnels.c.right_id)
)


def slot(connection: Connection, which: int | str) -> Slot:
    """The slot of this number or name (`<tunnel>.<kind>`). Raises SlotNotFound."""
    wanted = (
        secret_slots.c.id == which
        if isinstance(which, int)
        else secret_slots.c.name == storable(which)
    )
    row = connection.execute(_SLOTS.where(wanted)).one_or_none()
    if row is None:
        raise SlotNotFound(f"There is no shared secret {str(which)[:200]!r}.")
    return _slot(row)


def slots(connection: Connection, ids: Collection[int]) -> dict[int, Slot]:
    """Those of these slots that there are, by number."""
    return {
        row.id: _slot(row)
        for some in chunks(sorted(set(ids)))
        for row in connection.execute(_SLOTS.where(secret_slots.c.id.in_(some)))
    }


def slots_of_tunnel(connection: Connection, tunnel_id: int) -> list[Slot]:
    """The slots of a tunnel, by kind."""
    query = _SLOTS.where(secret_slots.c.tunnel_id == tunnel_id).order_by(secret_slots.c.kind)
    return [_slot(row) for row in connection.execute(query)]


def is_being_imported(connection: Connection, slot_id: int) -> bool:
    """Whether the slot is of an import that has not come to its end: nothing else may be done with it."""
    query = select(secrets.c.id).where(
        secrets.c.slot_id == slot_id, secrets.c.source == IMPORT, secrets.c.state == INTENDED
    )
    return connection.execute(query).first() is not None


# The version of the state which the agent had applied, where both rows are of the same report: an agent that was put
# back to an older program reports no secrets any more.
_MARK = case(
    (
        secret_reports.c.reported_at >= gateway_reports.c.applied_at,
        gateway_reports.c.applied_version,
    )
)
_REPORTS = select(secret_reports, _MARK.label("mark")).outerjoin(
    gateway_reports, gateway_reports.c.gateway_id == secret_reports.c.gateway_id
)


def ends(connection: Connection, of: Slot) -> tuple[End, End]:
    """The left and the right end of a slot, with what they last reported."""
    return ends_of_all(connection, [of])[of.id]


def ends_of_all(connection: Connection, of: Sequence[Slot]) -> dict[int, tuple[End, End]]:
    """The same for many slots at once, by slot."""
    reports: dict[tuple[int, str], EndReport] = {}
    starters: dict[int, set[Side]] = {}
    by_tunnel = {each.tunnel_id: each for each in of}
    for some in chunks(sorted(each.id for each in of)):
        query = _REPORTS.where(secret_reports.c.slot_id.in_(some))
        for row in connection.execute(query):
            reports[row.slot_id, row.side] = _report(row)
    for some in chunks(sorted(by_tunnel)):
        sas = select(
            gateway_sas.c.tunnel_id, gateway_sas.c.gateway_id, gateway_sas.c.document
        ).where(and_(gateway_sas.c.tunnel_id.in_(some), gateway_sas.c.state == "ESTABLISHED"))
        for row in connection.execute(sas):
            side = _starter(by_tunnel[row.tunnel_id], row)
            starters.setdefault(row.tunnel_id, set()).add(side)
    marks = _marks(connection, of)
    return {
        each.id: _ends(each, reports, starters.get(each.tunnel_id, set()), marks.get(each.id))
        for each in of
    }


def _marks(connection: Connection, of: Sequence[Slot]) -> dict[int, Any]:
    """The versions of the gateways' states that brought the lists, by slot, while a rotation is under way."""
    wanted = [each.rotation_id for each in of if each.rotation_id is not None]
    columns = [rotations.c[f"{side}_{name}"] for side in Side for name in ("mark", "since")]
    return {
        row.slot_id: row
        for some in chunks(sorted(wanted))
        for row in connection.execute(
            select(rotations.c.slot_id, *columns).where(rotations.c.id.in_(some))
        )
    }


def _starter(of: Slot, sa: Row[Any]) -> Side:
    """Which end started an SA that one of them reported."""
    reporter = Side.LEFT if sa.gateway_id == of.left_id else Side.RIGHT
    other = Side.RIGHT if reporter is Side.LEFT else Side.LEFT
    return reporter if sa.document.get("initiator") else other


def _ends(
    of: Slot,
    reports: Mapping[tuple[int, str], EndReport],
    starters: Collection[Side],
    marks: Any,
) -> tuple[End, End]:
    def end(side: Side, name: str | None, keys: tuple[int, ...]) -> End:
        ours = name is not None
        found = reports.get((of.id, side)) if ours else None
        if found is not None and of.ike_version == _ONE_KEY_ONLY and found.abilities.overlap:
            found = _without_overlap(found)
        mark, since = (
            None if marks is None else getattr(marks, f"{side}_{each}")
            for each in ("mark", "since")
        )
        told = name or "the outside peer"
        return End(side, ours, keys, found, side in starters, mark, told, since)

    return (
        end(Side.LEFT, of.left, of.left_keys),
        end(Side.RIGHT, of.right, of.right_keys),
    )


def _without_overlap(report: EndReport) -> EndReport:
    return replace(report, abilities=replace(report.abilities, overlap=False))


def _report(row: Row[Any]) -> EndReport:
    return EndReport(
        versions=tuple(row.versions),
        held=tuple(row.held),
        authenticated=authentication(row.authenticated),
        abilities=EndAbilities(**(row.abilities or {})),
        error_code=row.error_code or "",
        error=row.error or "",
        reported_at=row.reported_at,
        mark=row.mark or 0,
    )


def authentication(document: Mapping[str, Any] | None) -> Authentication | None:
    """An authentication from its document: `version`, `at` (RFC 3339 or missing), `spi_initiator`, `spi_responder`,
    `mark`.
    """
    if document is None:
        return None
    at = document.get("at")
    return Authentication(
        version=document["version"],
        spi_initiator=document.get("spi_initiator", ""),
        spi_responder=document.get("spi_responder", ""),
        at=None if at is None else datetime.fromisoformat(at),
        mark=document.get("mark", 0),
    )


def authentication_document(value: Authentication | None) -> dict[str, Any] | None:
    """The document of an authentication, as `authentication` reads it."""
    if value is None:
        return None
    return {**asdict(value), "at": None if value.at is None else value.at.isoformat()}


def rotation(connection: Connection, number: int) -> Rotation:
    """The rotation of this number. Raises RotationNotFound."""
    row = connection.execute(select(rotations).where(rotations.c.id == number)).one_or_none()
    if row is None:
        raise RotationNotFound(f"There is no rotation {number}.")
    return rotation_of(row)


def rotation_of(row: Row[Any]) -> Rotation:
    """A row of `rotations` as a value."""
    return Rotation(
        id=row.id,
        slot_id=row.slot_id,
        state=State(row.state),
        back=bool(row.back),
        method=Method(row.method),
        reason=Reason(row.reason),
        from_version=row.from_version,
        to_version=row.to_version,
        created_at=row.created_at,
        entered_at=row.entered_at,
        deadline_at=row.deadline_at,
        confirmed_at=row.confirmed_at,
        tries=row.tries,
        error_code=row.error_code or "",
        error=row.error or "",
        next_step=row.next_step or "",
    )


def policy_document(policy: Policy) -> dict[str, Any]:
    """A policy as it is kept."""
    document = asdict(policy)
    document["windows"] = [
        {"days": list(each.days), "start": each.start, "end": each.end} for each in policy.windows
    ]
    return document


def policy_of(document: Mapping[str, Any]) -> Policy:
    """A policy from its document; what is missing is as in a new one."""
    fields = dict(document)
    fields["windows"] = tuple(
        Window(tuple(each["days"]), each["start"], each["end"])
        for each in fields.get("windows", ())
    )
    return Policy(**fields)


def _ike_version(row: Row[Any]) -> int:
    """Of a managed tunnel by its definition, of another by the slot's binding."""
    kept: Mapping[str, Any] = row.definition or row.binding or {}
    return int(kept.get("ike_version", 2))


def _slot(row: Row[Any]) -> Slot:
    return Slot(
        id=row.id,
        tunnel_id=row.tunnel_id,
        tunnel=row.tunnel,
        kind=Kind(row.kind),
        name=row.name,
        path=row.path,
        left_keys=tuple(row.left_keys),
        right_keys=tuple(row.right_keys),
        policy=policy_of(row.policy),
        last_version=row.last_version,
        rotation_id=row.rotation_id,
        due_at=row.due_at,
        left_id=row.left_id,
        left=row.left,
        right_id=row.right_id,
        right=row.right,
        ike_version=_ike_version(row),
    )
