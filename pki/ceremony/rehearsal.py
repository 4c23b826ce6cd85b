"""A ceremony held on a throw-away copy: other records, other keys, the same steps and the same judge."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from core.secret import Secret
from hsm.seal import Seal
from hsm.sealedfiles import SealedFileKeyStore
from pki import authorities, founding
from pki.actors import Actor
from pki.authorities import Authority
from pki.ceremony.course import Made, carry_out, leader
from pki.ceremony.plan import Founding, Plan
from pki.desk import ApprovalRules, Desk
from pki.founding import AuthorityRequest
from store.engine import open_store
from store.schema import migrate


def rehearse(desk: Desk, plan: Plan, directory: Path, *, now: datetime) -> list[Made]:
    """Do every step in a directory that is empty and is thrown away; nothing of the real instance is touched.

    The keys are made in files there, whatever store the steps name. An authority that must be there before has a
    stand-in with the same name, subject, limits and end. Raises what `pki.ceremony.course.carry_out` raises.
    """
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
        for name in sorted(plan.outside()):
            _stand_in(copy, actor, authorities.load(desk, name), now)
        steps = tuple(
            replace(step, store="files") if isinstance(step, Founding) else step
            for step in plan.steps
        )
        return carry_out(copy, replace(plan, steps=steps), actor, lambda: now)
    finally:
        copy.store.close()


def _stand_in(copy: Desk, actor: Actor, real: Authority, now: datetime) -> None:
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
        ),
        now=now,
    )
