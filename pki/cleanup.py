"""Forgetting what nobody needs any more. Certificates and the audit log are never among it."""

from datetime import datetime, timedelta

from sqlalchemy import delete

from pki import ca_keys, cmp_transactions, ocsp_answers, ocsp_signers, sessions, tallies
from pki.acme import leftovers
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store import jobs
from store.tables import idempotency, status_changes

_JOB_RUNS = timedelta(days=14)
_STATUS_CHANGES = timedelta(days=1)


def sweep(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Remove old job runs, answers past their end, replay records, keys of OCSP signers that ended or never came to be,
    and those of authorities that never did; tell how many.

    Raises RoleMayNot, SignerUnavailable.
    """
    require(actor, Action.JOB_RUN)
    removed = ocsp_answers.remove_ended(desk, actor, now=now)
    with desk.store.write() as connection:
        removed += jobs.prune(connection, now - _JOB_RUNS)
        removed += tallies.forget(connection, now)
        removed += leftovers.forget(connection, now)
        removed += cmp_transactions.forget(connection, now)
        removed += sessions.forget(connection, now)
        for gone in (
            delete(idempotency).where(idempotency.c.expires_at < now),
            delete(status_changes).where(status_changes.c.at < now - _STATUS_CHANGES),
        ):
            removed += connection.execute(gone).rowcount
    # Last: the signer may be away.
    removed += ocsp_signers.remove_expired(desk, actor, now=now)
    removed += ca_keys.remove_dropped(desk, actor, now=now)
    return removed + ocsp_signers.remove_dropped(desk, actor, now=now)
