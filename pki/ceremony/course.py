"""How a ceremony is held: it begins with the witnesses' confirmations, then each step is done and compared.

What was done is on record: the audit rows of a founding have the ceremony's number as their request, in the same
transaction. So a run that was cut off is told apart from somebody else's work, and the next run goes on with what is
missing. The name of each key follows from the file's hash: a key that was made before the cut is used, and there is
never a second one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from sqlalchemy import Connection, select

from core.escaping import escaped
from hsm.keystores import check_makes, chosen_place
from pki import authorities, founding, publication
from pki.actors import Action, Actor, Role, require
from pki.approvals import PARTS, asked_for, look, named, require_approval
from pki.authorities import Authority
from pki.ceremony.errors import CeremonyDeviation, CeremonyNotConfirmed
from pki.ceremony.plan import CrossSign, FirstCrl, Founding, Plan, Step
from pki.desk import Desk
from pki.founding import AuthorityRequest, Terms
from pki.guarded import Act, Guarded, plain
from pki.publication import FULL, Crl, CrlNotFound
from pki.rollover import crossing
from pki.rollover.crossing import CrossCertificate
from pki.trail import leave
from store.approval_tables import approvals
from store.engine import Unit
from store.tables import audit_events
from store.tables import authorities as authorities_table

BEGIN: Final = "ceremony.begin"
CONFIRM: Final = "ceremony.confirm"
END: Final = "ceremony.end"
_TYPED: Final = re.compile(r"[0-9a-fA-F :]{1,128}")
_CLOCKWORK: Final = Actor("ceremony", Role.SCHEDULER)


@dataclass(frozen=True)
class Confirmation:
    """What a witness typed, and when."""

    witness: str
    typed: str
    at: datetime


@dataclass(frozen=True)
class Made:
    """What came of a step; `before` if an earlier run did it."""

    step: Step
    what: Authority | CrossCertificate | Crl
    before: bool


def leader(plan: Plan, approval: int | None = None) -> Actor:
    """Who acts in a ceremony: its leader, at the console."""
    return Actor(
        plan.led_by, Role.ADMIN, request_id=f"ceremony-{plan.sha256[:16]}", approval=approval
    )


def check(desk: Desk, plan: Plan) -> list[str]:
    """See that the ceremony could be held here; tell which authorities and cross-certificates (`X by Y`) an earlier run
    of it made.

    Raises CeremonyDeviation (the key store is another), KeyAlgorithmUnknown, AuthorityExists,
    AuthorityNotFound, BadAuthority.
    """
    chosen = chosen_place(desk.keys)
    for step in plan.foundings:
        if step.store != chosen:
            raise CeremonyDeviation(
                f"The key of {step.name!r} is to be made in {step.store!r}, and [keys] store is {chosen!r}.",
                next_step=f'Set [keys] store = "{step.store}", or correct the file and agree on it anew.',
            )
        check_makes(step.store, step.algorithm)
    for name in sorted(plan.outside()):
        authorities.load(desk, name)
    with desk.store.read() as connection:
        made = [step.name for step in plan.foundings if _has_made(connection, plan, step.name)]
        crossed = [step.label for step in plan.crosses if has_crossed(connection, plan, step)]
    for step in plan.foundings:
        if step.name not in made:
            founding.refuse_taken(desk, request_of(step))
    return [*made, *crossed]


def check_parents(desk: Desk, plan: Plan, *, now: datetime) -> None:
    """See that the parents who were there before sign themselves what is still to be made, and nobody in their place.

    Raises AuthorityNotFound, CeremonyDeviation.
    """
    with desk.store.read() as connection:
        coming = [step for step in plan.foundings if not _has_made(connection, plan, step.name)]
    for step in coming:
        if step.parent is None or step.parent in plan.makes:
            continue
        signs = authorities.current(desk, authorities.load(desk, step.parent), now=now).name
        if signs != step.parent:
            raise CeremonyDeviation(
                f"The parent of {step.name!r} is to be {step.parent!r}, and in its place {signs!r} signs.",
                next_step="Name the one that signs (`ikewarden ca rollover list` tells), and agree on the file anew.",
            )


def request_of(step: Founding) -> AuthorityRequest:
    """A step as the founding of an authority."""
    return AuthorityRequest(
        name=step.name,
        kind=step.kind,
        subject=step.subject,
        algorithm=step.algorithm,
        parent=step.parent,
        lifetime=timedelta(days=step.days),
        path_length=step.path_length,
        permitted=step.permitted,
        excluded=step.excluded,
        key_store=step.store,
    )


def wants_approval(desk: Desk, plan: Plan) -> bool:
    """Whether settings want a second person for what this ceremony makes."""
    return named(desk, _names(plan)) is not None


def ask(desk: Desk, plan: Plan, actor: Actor, *, now: datetime) -> None:
    """Make sure that the ceremony is approved where it must be, before witnesses are asked; use nothing up.

    Raises RoleMayNot, the errors of `pki.approvals`.
    """
    require(actor, Action.AUTHORITY_CREATE)
    if actor.approval is None:
        with desk.store.read() as connection:
            if _standing_approval(connection, plan, now) is not None:
                return
    with asked_for(desk, actor, now=now):
        look(desk, actor, _act(desk, plan, now), now=now)


def hear(
    desk: Desk, plan: Plan, actor: Actor, said: Sequence[Confirmation], *, now: datetime
) -> None:
    """Compare what witnesses typed with the file, and put on record who typed something else.

    Raises RoleMayNot, CeremonyNotConfirmed.
    """
    require(actor, Action.AUTHORITY_CREATE)
    wrong = next((each for each in said if not plan.confirms(each.typed)), None)
    if wrong is None:
        return
    detail: dict[str, Any] = {"witness": wrong.witness, "typed": _digits(wrong.typed)}
    about = _about(plan)
    desk.store.together(
        lambda unit: leave(unit, actor, CONFIRM, about, now=now, outcome="denied", **detail)
    )
    raise CeremonyNotConfirmed(f"{wrong.witness} did not type the hash of the file.")


def _digits(typed: str) -> str | None:
    """What was typed, if it may be part of a hash: anything else could be a secret typed at the wrong place."""
    return typed if _TYPED.fullmatch(typed) else None


def begin(
    desk: Desk, plan: Plan, actor: Actor, said: Sequence[Confirmation], *, now: datetime
) -> Actor:
    """Put on record that the ceremony begins or goes on, and who confirmed the file; give who acts from now on.

    Where settings want an approval, one for the whole ceremony is used up here, and is good for its steps until it
    expires. Raises RoleMayNot, CeremonyNotConfirmed, the errors of `pki.approvals`.
    """
    require(actor, Action.AUTHORITY_CREATE)
    if [each.witness for each in said] != list(plan.witnesses):
        raise CeremonyNotConfirmed("Not all witnesses confirmed the file.")
    hear(desk, plan, actor, said, now=now)
    if actor.approval is None:
        with desk.store.read() as connection:
            actor = replace(actor, approval=_standing_approval(connection, plan, now))
        if actor.approval is not None:
            again = {"approval": actor.approval}
            desk.store.together(lambda unit: _note_begin(unit, plan, actor, said, again, now))
            return actor
    act = _act(desk, plan, now)

    def work(unit: Unit) -> None:
        allowed = require_approval(unit, desk, actor, act, now=now)
        _note_begin(unit, plan, actor, said, allowed, now)

    with asked_for(desk, actor, now=now):
        desk.store.together(work)
    return actor


def carry_out(
    desk: Desk,
    plan: Plan,
    actor: Actor,
    clock: Callable[[], datetime],
    report: Callable[[Made], None] = lambda made: None,
) -> list[Made]:
    """Do every step that an earlier run did not do; tell `report` of each at once, and all of them in the end.

    Raises CeremonyDeviation, what `pki.founding.create`, `pki.rollover.crossing.cross_sign` and
    `pki.publication.publish_full` raise.
    """
    done: list[Made] = []
    for step in plan.steps:
        if isinstance(step, FirstCrl):
            made = _publish(desk, step, clock())
        elif isinstance(step, CrossSign):
            made = _cross(desk, plan, step, actor, clock())
        else:
            made = _found(desk, plan, step, actor, clock())
        done.append(made)
        report(made)
    about = _about(plan)
    desk.store.together(lambda unit: leave(unit, actor, END, about, now=clock(), steps=len(done)))
    return done


def confirmations(desk: Desk, plan: Plan) -> list[dict[str, Any]]:
    """Everything that witnesses confirmed, in this run and in earlier ones, and who approved the whole."""
    query = (
        select(audit_events.c.at, audit_events.c.action, audit_events.c.detail)
        .where(
            audit_events.c.object == _about(plan),
            audit_events.c.action.in_((BEGIN, CONFIRM)),
            audit_events.c.outcome == "ok",
        )
        .order_by(audit_events.c.id)
    )
    with desk.store.read() as connection:
        return [
            {"record": row.action, "at": plain(row.at), **row.detail}
            for row in connection.execute(query)
        ]


def _found(desk: Desk, plan: Plan, step: Founding, actor: Actor, now: datetime) -> Made:
    parent = None if step.parent is None else authorities.load(desk, step.parent)
    issuer = None if parent is None else parent.certificate

    def judge(certificate: x509.Certificate, uri: str) -> None:
        step.require(certificate, uri, issuer)
        _require_signed(step, certificate, issuer or certificate)

    with desk.store.read() as connection:
        if _has_made(connection, plan, step.name):
            known = authorities.load(desk, step.name)
            judge(known.certificate, known.key_uri)
            return Made(step, known, before=True)
        resumed = _has_made(connection, plan, step.name, "authority.key")
    beside = step.parent in plan.makes
    terms = Terms(f"ca-{step.name}-{plan.sha256[:8]}", resumed, judge, beside)
    made = founding.create(desk, actor, request_of(step), now=now, terms=terms)
    return Made(step, made, before=False)


def _require_signed(
    step: Founding, certificate: x509.Certificate, issuer: x509.Certificate
) -> None:
    """Of two roots of a rollover both have the name that is compared. Raises CeremonyDeviation."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        raise CeremonyDeviation(
            f"The certificate of {step.name!r} was not signed by {step.parent!r}."
        ) from None


def _cross(desk: Desk, plan: Plan, step: CrossSign, actor: Actor, now: datetime) -> Made:
    subject, issuer = authorities.load(desk, step.authority), authorities.load(desk, step.issuer)

    def require_written(certificate: x509.Certificate) -> None:
        step.require(certificate, subject.certificate, issuer.certificate)

    def judge(unit: Unit, certificate: x509.Certificate) -> None:
        require_written(certificate)
        # An authority's name is taken once; for a cross-certificate this is what keeps two runs from keeping two.
        row = select(authorities_table.c.id).where(authorities_table.c.id == subject.id)
        unit.connection.execute(row.with_for_update(key_share=True)).all()
        if has_crossed(unit.connection, plan, step):
            raise CeremonyDeviation(
                f"Another run of this ceremony made the certificate of {step.label} meanwhile.",
                next_step="Run it again, alone: it goes on with what is missing.",
            )

    with desk.store.read() as connection:
        serial = has_crossed(connection, plan, step)
        known = crossing.of(connection, [subject.id])
    if serial is not None:
        (made,) = [each for each in known if (each.issuer, each.serial) == (step.issuer, serial)]
        require_written(x509.load_der_x509_certificate(made.der))
        return Made(step, made, before=True)
    made = crossing.cross_sign(
        desk,
        actor,
        step.authority,
        step.issuer,
        step.days,
        now=now,
        terms=crossing.Terms(_names(plan), plan.makes, judge),
    )
    return Made(step, made, before=False)


def _publish(desk: Desk, step: FirstCrl, now: datetime) -> Made:
    try:
        return Made(step, publication.published(desk, step.authority, FULL), before=True)
    except CrlNotFound:
        made = publication.publish_full(desk, _CLOCKWORK, step.authority, now=now)
        return Made(step, made, before=False)


def _names(plan: Plan) -> tuple[Guarded, ...]:
    """What it is, in the words of settings; a step is approved under the same name as the whole."""
    issues = plan.crosses or any(step.parent is not None for step in plan.foundings)
    creates = (Guarded.AUTHORITY_CREATE,) if plan.foundings else ()
    return (*creates, Guarded.AUTHORITY_ISSUE) if issues else creates


def _act(desk: Desk, plan: Plan, now: datetime) -> Act:
    """What another person must approve: the file, and each founding and cross-sign as it would be asked for alone. Who
    is made in the ceremony itself has no certificate yet; there the file's hash says who it will be.
    """
    there = {
        name: authorities.current(desk, authorities.load(desk, name), now=now)
        for name in plan.parents
    }
    requests = []
    for step in plan.foundings:
        above = there.get(step.parent or "")
        signed_by, sha256 = (above.name, above.sha256) if above else (step.parent, None)
        requests.append(founding.bound(desk, request_of(step), signed_by, sha256))
    known = {name: authorities.load(desk, name).sha256 for name in plan.outside()}
    for cross in plan.crosses:
        requests.append(crossing.bound([(cross.authority, cross.issuer)], known, cross.days))
    return Act(
        _names(plan),
        {
            "ceremony": plan.title,
            "sha256": plan.sha256,
            "witnesses": plan.witnesses,
            PARTS: requests,
        },
    )


def _note_begin(
    unit: Unit,
    plan: Plan,
    actor: Actor,
    said: Sequence[Confirmation],
    allowed: Mapping[str, object],
    now: datetime,
) -> None:
    about = _about(plan)
    detail: dict[str, Any] = {"title": plan.title, **allowed}
    leave(unit, actor, BEGIN, about, now=now, **detail)
    for each in said:
        # A terminal's odd characters are no part of what was typed.
        typed = escaped(each.typed)
        leave(unit, actor, CONFIRM, about, now=each.at, witness=each.witness, typed=typed)


def _standing_approval(connection: Connection, plan: Plan, now: datetime) -> int | None:
    """The approval that an earlier run of this ceremony used, as long as it lasts."""
    query = (
        select(audit_events.c.detail)
        .where(audit_events.c.action == BEGIN, audit_events.c.object == _about(plan))
        .order_by(audit_events.c.id.desc())
    )
    number = next((each.get("approval") for each in connection.scalars(query)), None)
    if not isinstance(number, int):
        return None
    lasts = select(approvals.c.id).where(approvals.c.id == number, approvals.c.expires_at > now)
    return number if connection.execute(lasts).first() is not None else None


def _has_made(
    connection: Connection, plan: Plan, name: str, action: str = "authority.create"
) -> bool:
    query = select(audit_events.c.id).where(
        audit_events.c.action == action,
        audit_events.c.object == f"authority:{name}",
        audit_events.c.request_id == leader(plan).request_id,
    )
    return connection.execute(query.limit(1)).first() is not None


def has_crossed(connection: Connection, plan: Plan, step: CrossSign) -> str | None:
    """The serial number of the cross-certificate that a run of this ceremony made for a step."""
    query = select(audit_events.c.detail).where(
        audit_events.c.action == "authority.crossed",
        audit_events.c.object == f"authority:{step.authority}",
        audit_events.c.request_id == leader(plan).request_id,
    )
    found = connection.scalars(query)
    return next((each["serial"] for each in found if each["signed_by"] == step.issuer), None)


def _about(plan: Plan) -> str:
    return f"ceremony:{plan.sha256}"
