"""People who sign in to the console with a certificate: who they are, and who may get a certificate of such a name.

Settings name them ([console] people). A certificate for such a name is a way in with that person's role; so only an
admin gets one, and another person approves it where a change of roles needs that.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from core.errors import NotPermitted
from pki.actors import Actor, Role
from pki.approvals import asked_for, require_approval
from pki.desk import Desk
from pki.guarded import Act, Guarded
from store.engine import Unit

Consent = Callable[[Unit, Any, str], Mapping[str, Any]]


class NameOfPerson(NotPermitted):
    """The certificate would be a way in to the console for one of its people."""

    code = "name_of_a_person"
    next_step = (
        "Ask an admin: whoever has a certificate with a name of [console] people signs in with it."
    )


def check(desk: Desk, actor: Actor, names: Iterable[object]) -> bool:
    """Whether a certificate with these names would be of a person. Raises NameOfPerson for who may not get one."""
    people = desk.rules.sessions.people
    if not people or not any(str(name) in people for name in names):
        return False
    if actor.role is not Role.ADMIN:
        raise NameOfPerson("This name is of somebody who signs in to the console.")
    return True


@contextmanager
def asking(
    desk: Desk, actor: Actor, names: Iterable[object], inner: Consent, now: datetime
) -> Iterator[Consent]:
    """The consent that a certificate with these names needs: of the door, and of another person where it is a person's
    and a change of roles needs one. Raises NameOfPerson, and what `asked_for` raises.
    """
    if not check(desk, actor, names):
        yield inner
        return
    with asked_for(desk, actor, now=now):
        yield approved(desk, actor, inner, now)


def approved(desk: Desk, actor: Actor, inner: Consent, now: datetime) -> Consent:
    """The consent of a door, and that of another person where a change of roles needs one. To be called within
    `asked_for`.
    """

    def consent(unit: Unit, issued: Any, spki: str) -> Mapping[str, Any]:
        people = desk.rules.sessions.people
        act = Act(
            (Guarded.ROLE_CHANGE,),
            {
                "certificate_for": {name: people[name] for name in issued.names if name in people},
                "names": issued.names,
                "authority": issued.authority.name,
                "profile": issued.profile.name,
                "key_sha256": spki,
            },
            makes_approver=any(people.get(name) is Role.APPROVER for name in issued.names),
        )
        return {
            **inner(unit, issued, spki),
            **require_approval(unit, desk, actor, act, now=now),
        }

    return consent
