"""Whether what authorities promise is kept: their own time, their lists, their OCSP signers."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from pki import authorities, publication
from pki.actors import Action, Actor, require
from pki.authorities import Authority
from pki.desk import Desk
from pki.ocsp_signers import COUNTS
from store.tables import authorities as owners
from store.tables import certificates, ocsp_signers


@dataclass(frozen=True)
class AuthorityHealth:
    """An authority. `lists_until` is when the first of its lists ends, None where one was never published; `ocsp_until`
    when its last OCSP signer does, None where it has none. An authority whose key is elsewhere, or whose time is over,
    needs no lists and no signer: then `is_kept` is False.
    """

    name: str
    kind: str
    status: str
    ends_at: datetime
    is_kept: bool
    lists_until: datetime | None
    ocsp_until: datetime | None

    def lists_are_late(self, now: datetime) -> bool:
        """Whether verifiers have no list that is in its time."""
        return self.is_kept and (self.lists_until is None or self.lists_until <= now)

    def ocsp_is_late(self, now: datetime) -> bool:
        """Whether nobody answers for it."""
        return self.is_kept and (self.ocsp_until is None or self.ocsp_until <= now)


def look(desk: Desk, actor: Actor, *, now: datetime) -> tuple[AuthorityHealth, ...]:
    """How the authorities are that this caller may see, by name. Raises RoleMayNot."""
    require(actor, Action.AUTHORITY_READ)
    require(actor, Action.METRICS_READ)
    lists: dict[str, datetime] = {}
    for name, _, _, until in publication.staleness(desk, actor):
        lists[name] = min(until, lists.get(name, until))
    never = {name for name, _, _ in publication.missing(desk, actor)}
    signers = (
        select(owners.c.name, func.max(ocsp_signers.c.not_after))
        .join_from(ocsp_signers, owners, owners.c.id == ocsp_signers.c.authority_id)
        .join(certificates, COUNTS)
        .group_by(owners.c.name)
    )
    with desk.store.read() as connection:
        answers = {name: until for name, until in connection.execute(signers)}
    return tuple(
        AuthorityHealth(
            name=each.name,
            kind=each.kind,
            status=each.status,
            ends_at=each.ends_at,
            is_kept=_is_kept(each, now),
            lists_until=None if each.name in never else lists.get(each.name),
            ocsp_until=answers.get(each.name),
        )
        for each in authorities.list_(desk, actor)
    )


def _is_kept(each: Authority, now: datetime) -> bool:
    return each.status != authorities.OUTSIDE and each.ends_at > now
