"""Keys of authorities: traced from before they are made, so that one whose maker died is found and destroyed."""

from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import exists, select

from hsm.errors import KeyNotFound, KeyStoreError
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.trail import leave
from pki.x509.csr import spki_sha256
from store.engine import Unit
from store.tables import audit_events, authorities, certificates

MADE, DESTROYED = "ca.key", "ca.key.destroy"
_ABOUT = "ca-keys"
# For how long a key that nobody uses is left alone: its founding may be under way.
_UNUSED = timedelta(days=1)


def trace(unit: Unit, actor: Actor, key_uri: str, authority: str, now: datetime) -> None:
    """Put on record that a key is about to be made, for one founding alone: another run never uses it."""
    leave(unit, actor, MADE, _ABOUT, now=now, outcome="intent", key=key_uri, authority=authority)


def remove_dropped(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Destroy keys that were made for authorities which never came to be, because the process died; tell how many.

    Never one that an authority has or a certificate on record names, and only keys that our own records say we made:
    other instances may use the same token. What the key store does not let go of is tried again. Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    gone = 0
    for key_uri in _dropped(desk, now):
        with suppress(KeyStoreError):
            gone += _destroy(desk, actor, key_uri, now)
    return gone


def _dropped(desk: Desk, now: datetime) -> list[str]:
    with desk.store.read() as connection:
        events = connection.execute(
            select(audit_events).where(audit_events.c.object == _ABOUT)
        ).all()
        used = set(connection.scalars(select(authorities.c.key_uri)))
    ended = {event.detail["key"] for event in events if event.action == DESTROYED}
    made = {event.detail["key"]: event.at for event in events if event.action == MADE}
    return [uri for uri, at in made.items() if uri not in ended | used and at < now - _UNUSED]


def _destroy(desk: Desk, actor: Actor, key_uri: str, now: datetime) -> bool:
    found = True
    try:
        if _is_named(desk, spki_sha256(desk.keys.open(key_uri).public_key())):
            return False
        desk.keys.destroy(key_uri)
    except KeyNotFound:
        found = False  # it was never made, or destroyed before
    desk.store.together(lambda unit: leave(unit, actor, DESTROYED, _ABOUT, now=now, key=key_uri))
    return found


def _is_named(desk: Desk, spki: str) -> bool:
    """Whether a certificate names the key. An intent that was given up is none: its signature is on the list."""
    named = exists().where(certificates.c.spki_sha256 == spki, certificates.c.status != "abandoned")
    with desk.store.read() as connection:
        return bool(connection.scalar(select(named)))
