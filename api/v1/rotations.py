"""Rotations of shared secrets: ordered, looked at, confirmed, cancelled."""

from collections.abc import Callable
from datetime import datetime

from pydantic import Field

from api import cursors, decoding
from api.cursors import PageQuery
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import When, Word
from api.v1.secrets import TAG, KindName, RotationShown, rotation_shown
from api.v1.tunnels import TunnelName
from fleet.rotation import orders, shown
from fleet.rotation.orders import Order, SlotPlan
from fleet.rotation.shown import RotationQuery, RotationView
from fleet.rotation.values import Kind
from pki.actors import Action, Actor
from pki.desk import Desk

_PATH = "/v1/rotations"


class Rotate(Sent):
    """Which shared secrets of the tunnel."""

    kind: KindName | None = Field(default=None, description="All if left out.")
    emergency: bool = Field(
        default=False,
        description="The present key is known to others: both ends change at once, SAs are made anew.",
    )
    reason: Word | None = Field(default=None, description="For the audit log.")
    plan: bool = Field(default=False, description="Only tell what would be done.")


class RotationSearch(PageQuery):
    """Which rotations."""

    state: Word | None = Field(default=None, description="One of the states, or `running`.")
    tunnel: TunnelName | None = None
    ended_after: When | None = None


class PlanStepShown(Shown):
    """One thing that would happen."""

    side: str | None = Field(description="Null: at the service, or at both ends at once.")
    what: str
    waits_for: str
    interrupts: bool


class PlanShown(Shown):
    """What a rotation would do."""

    secret: str
    kind: str
    method: str
    steps: list[PlanStepShown]
    interruption: str = Field(description="What users would notice; empty: nothing.")
    missing: list[str] = Field(description="What keeps it from going on now.")


class Ordered(Shown):
    """The rotations that were begun, or what they would be."""

    rotations: list[RotationShown]
    plans: list[PlanShown]


class RotationPage(Shown):
    """Some rotations, the newest first."""

    items: list[RotationShown]
    next_cursor: str | None


def rotate(call: Call[Rotate, Nothing]) -> Reply:
    """Begin rotations, or tell what they would be."""
    body = call.body
    kind = None if body.kind is None else Kind(body.kind)
    order = Order(call.path["name"], kind, body.emergency, body.reason or "")
    if body.plan:
        plans = orders.plan(call.desk, call.actor, order)
        return Reply(Ordered(rotations=[], plans=[_plan(each) for each in plans]))
    begun = orders.rotate(call.desk, call.actor, order, now=call.now)
    answer = Ordered(rotations=[rotation_shown(each) for each in begun], plans=[])
    return Reply(answer, status=202)


def _plan(found: SlotPlan) -> PlanShown:
    return PlanShown(
        secret=found.slot.name,
        kind=found.slot.kind,
        method=found.plan.method,
        steps=[PlanStepShown.model_validate(vars(each)) for each in found.plan.steps],
        interruption=found.plan.interruption,
        missing=list(found.plan.missing),
    )


def search(call: Call[None, RotationSearch]) -> Reply:
    """Search rotations."""
    query = call.query
    wanted = RotationQuery(
        state=query.state,
        tunnel=query.tunnel,
        ended_after=query.ended_after,
        cursor=cursors.decode(_PATH, query.cursor, int),
        limit=query.limit,
    )
    found = shown.search(call.desk, call.actor, wanted)
    last = found[-1].id if found else None
    cursor, headers = cursors.next_page(_PATH, query, found, last)
    items = [rotation_shown(view) for view in found]
    return Reply(RotationPage(items=items, next_cursor=cursor), headers=headers)


def show(call: Call[None, Nothing]) -> Reply:
    """Look at one rotation."""
    number = decoding.number(call.path["id"])
    return Reply(rotation_shown(shown.rotation(call.desk, call.actor, number, now=call.now)))


def confirm(call: Call[None, Nothing]) -> Reply:
    """Say that the outside peer has the key."""
    return _act(call, orders.confirm)


def cancel(call: Call[None, Nothing]) -> Reply:
    """Have a rotation undone."""
    return _act(call, orders.cancel)


def _act(call: Call[None, Nothing], act: Callable[..., RotationView]) -> Reply:
    desk: Desk = call.desk
    actor: Actor = call.actor
    now: datetime = call.now
    return Reply(rotation_shown(act(desk, actor, decoding.number(call.path["id"]), now=now)))


ROUTES = (
    Route(
        method="POST",
        path="/v1/tunnels/{name}/rotate",
        view=rotate,
        summary="Rotate a tunnel's shared secrets now; with `plan`, tell what that would do (200)",
        tag=TAG,
        action=Action.ROTATION_ORDER,
        body=Rotate,
        answer=Ordered,
        status=202,
        example={"kind": "psk", "reason": "an administrator left"},
        refusals=(404, 409, 422, 503),
    ),
    Route(
        method="GET",
        path=_PATH,
        view=search,
        summary="Search rotations, the newest first",
        tag=TAG,
        action=Action.SECRET_READ,
        query=RotationSearch,
        answer=RotationPage,
        refusals=(404, 422),
    ),
    Route(
        method="GET",
        path=_PATH + "/{id}",
        view=show,
        summary="Look at a rotation: where it stands, and what it waits for",
        tag=TAG,
        action=Action.SECRET_READ,
        answer=RotationShown,
        refusals=(404,),
    ),
    Route(
        method="POST",
        path=_PATH + "/{id}/confirm",
        view=confirm,
        summary="Say that the outside peer has the new key, so that our end may use it",
        tag=TAG,
        action=Action.ROTATION_CONFIRM,
        answer=RotationShown,
        refusals=(404, 409),
    ),
    Route(
        method="POST",
        path=_PATH + "/{id}/cancel",
        view=cancel,
        summary="Have a rotation undone; the old key stays in force",
        tag=TAG,
        action=Action.ROTATION_ORDER,
        answer=RotationShown,
        refusals=(404, 409),
    ),
)
