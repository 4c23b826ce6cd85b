"""A ceremony held on a throw-away copy: other records, other keys, the same steps and the same judge."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, update

from core.secret import Secret
from hsm.seal import Seal
from hsm.sealedfiles import SealedFileKeyStore
from pki import authorities, founding
from pki.actors import Actor
from pki.authorities import ACTIVE, Authority
from pki.ceremony.course import Made, carry_out, check_parents, has_crossed, leader
from pki.ceremony.plan import Founding, Plan
from pki.desk import ApprovalRules, Desk
from pki.founding import AuthorityRequest
from pki.rollover import crossing
from pki.rollover.crossing import Crossing
from store.engine import open_store
from store.rollover_tables import rollovers
from store.schema import migrate
from store.tables import authorities as authorities_table


def rehearse(desk: Desk, plan: Plan, directory: Path, *, now: datetime) -> list[Made]:
    """Do every step in a directory that is empty and is thrown away; nothing of the real instance is touched.

    The keys are made in files there, whatever store the steps name. An authority that must be there before has a
    stand-in with the same name, subject, limits and end. What a stand-in does not show, because it has nothing above
    it, is looked up here. Raises what `pki.ceremony.course.carry_out` raises.
    """
    check_parents(desk, plan, now=now)
    url = f"sqlite:///{directory / 'records.db'}"
    migrate(url)
    sealed = Seal.create(directory / "keys", Secret(desk.entropy(32).hex()))
    copy = Desk(
        store=open_store(url),
        keys=SealedFileKeyStore(directory / "keys", sealed),
        rules=replace(desk.rules, approvals=ApprovalRules()),
    )
    actor = leader(plan)
    try:
        same: dict[str, str] = {}
        for name in sorted(plan.outside()):
            real = authorities.load(desk, name)
            subject = real.certificate.subject.rfc4514_string()
            _stand_in(copy, actor, real, same.get(subject), now)
            same[subject] = name
        steps = tuple(
            replace(step, store="files") if isinstance(step, Founding) else step
            for step in plan.steps
        )
        done = carry_out(copy, replace(plan, steps=steps), actor, lambda: now)
        _check_crosses(desk, copy, plan, now)
        return done
    finally:
        copy.store.close()


def _check_crosses(desk: Desk, copy: Desk, plan: Plan, now: datetime) -> None:
    """See that the cross-signs that are to come would make chains, also by what is above who was there before."""
    with desk.store.read() as connection:
        coming = [step for step in plan.crosses if not has_crossed(connection, plan, step)]
    for step in coming:
        pair = (_grafted(desk, copy, plan, name) for name in (step.authority, step.issuer))
        crossing.check(Crossing(*pair), now)


def _grafted(desk: Desk, copy: Desk, plan: Plan, name: str) -> Authority:
    """The real authority; one that the rehearsal made is put below the real ones."""
    if name not in plan.makes:
        return authorities.get(desk, leader(plan), name)
    made = authorities.load(copy, name)
    if made.parent is None:
        return made
    above = _grafted(desk, copy, plan, made.parent)
    return replace(
        made,
        chain=(made.certificate, *above.chain),
        constraints=(made.constraints[0], *above.constraints),
    )


def _stand_in(
    copy: Desk, actor: Actor, real: Authority, same_subject: str | None, now: datetime
) -> None:
    """Make it; `same_subject` is one there that has its subject, as the roots of a rollover have."""
    founding.create(
        copy,
        actor,
        AuthorityRequest(
            name=real.name,
            kind="root",
            subject=real.certificate.subject.rfc4514_string(),
            lifetime=max(real.certificate.not_valid_after_utc - now, timedelta(days=1)),
            path_length=real.path_length,
            permitted=tuple(str(tree) for tree in real.constraints[0].permitted),
            excluded=tuple(str(tree) for tree in real.constraints[0].excluded),
            replaces=same_subject,
        ),
        now=now,
    )
    if same_subject is not None:
        # It waits to succeed the other one; here both are as any authority.
        with copy.store.write() as connection:
            connection.execute(delete(rollovers))
            this = authorities_table.c.name == real.name
            connection.execute(update(authorities_table).where(this).values(status=ACTIVE))
