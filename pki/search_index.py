"""The words by which certificates are found, kept after the fact: nobody who waits for a certificate waits for them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, select, update

from pki import reconcile
from pki.actors import Action, Actor, require
from pki.certificate_ids import MARK, PORTION
from pki.desk import Desk
from pki.words import words
from store.errors import Duplicate
from store.many import insert_all
from store.search_tables import certificate_words, search_marks
from store.tables import certificates

# Numbers are given before a transaction ends: one that is lower may still come. None lasts longer than this, and by
# then an intent has been signed or given up.
_SETTLED: Final = 2 * reconcile.PATIENCE
_SOME: Final = 2_000
_ROUNDS: Final = 50


def keep_words(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Keep the words of certificates that have none yet, the oldest first; tell of how many. What is left waits for the
    next time: a search looks at those one by one. Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    done = 0
    for _ in range(_ROUNDS):
        try:
            with desk.store.write() as connection:
                some = _some(connection, now)
                _keep(connection, some)
        except Duplicate:
            return done  # another replica was quicker
        done += len(some)
        if len(some) < _SOME:
            break
    return done


def _some(connection: Connection, now: datetime) -> Sequence[Any]:
    mark = select(search_marks.c.reached).where(search_marks.c.name == MARK).with_for_update()
    reached = connection.scalar(mark)
    if reached is None:
        connection.execute(search_marks.insert().values(name=MARK, reached=0))
        reached = 0
    unsigned = select(func.min(certificates.c.id)).where(certificates.c.status == "pending")
    first = connection.scalar(unsigned)
    query = (
        select(certificates)
        .with_only_columns(
            certificates.c.id,
            certificates.c.subject,
            certificates.c.names,
            certificates.c.gateway,
            certificates.c.fingerprint,
            certificates.c.created_at,
        )
        .where(certificates.c.id > reached)
        .order_by(certificates.c.id)
        .limit(_SOME)
    )
    if first is not None:
        query = query.where(certificates.c.id < first)
    found = []
    for row in connection.execute(query):
        if row.created_at > now - _SETTLED:
            break
        found.append(row)
    return found


def _keep(connection: Connection, rows: Sequence[Any]) -> None:
    if not rows:
        return
    kept = [
        {"portion": row.id // PORTION, "word": word, "certificate_id": row.id}
        for row in rows
        for word in words(row)
    ]
    kept.sort(key=lambda each: (each["portion"], each["word"]))
    insert_all(connection, certificate_words, kept)
    mark = update(search_marks).where(search_marks.c.name == MARK)
    connection.execute(mark.values(reached=rows[-1].id))
