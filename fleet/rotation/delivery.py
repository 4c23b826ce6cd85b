"""The value of a shared secret, given to the gateway that should have it and to nobody else."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, select

from core.errors import NotFound, NotPermitted
from core.secret import Secret
from fleet.rotation.allotment import store_of
from fleet.state import own_name
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.trail import leave
from store.fleet_tables import gateways, tunnels
from store.rotation_tables import secret_slots, secrets

_BY_CERTIFICATE = "certificate:"


class ValueNotFound(NotFound):
    """None of the secrets that this gateway should have."""

    code = "secret_value_not_found"
    next_step = "Fetch the state again: it names the secrets that this gateway should have."


class CertificateOnly(NotPermitted):
    """A value is given to nobody but the gateway itself, over mutual TLS."""

    code = "certificate_only"
    next_step = "Connect with the gateway's client certificate, and send no token."


@dataclass(frozen=True)
class Value:
    """A version with its value."""

    id: int
    slot: str
    version: int
    kind: str
    fingerprint: str | None
    ppk_id: str | None
    value: Secret


_LEFT, _RIGHT = gateways.alias("left_end"), gateways.alias("right_end")
_VALUE = (
    select(
        secrets,
        secret_slots.c.name.label("slot"),
        secret_slots.c.kind,
        secret_slots.c.path,
        secret_slots.c.left_keys,
        secret_slots.c.right_keys,
        _LEFT.c.name.label("left"),
        _RIGHT.c.name.label("right"),
    )
    .join_from(secrets, secret_slots, secret_slots.c.id == secrets.c.slot_id)
    .join(tunnels, tunnels.c.id == secret_slots.c.tunnel_id)
    .join(_LEFT, _LEFT.c.id == tunnels.c.left_id)
    .outerjoin(_RIGHT, _RIGHT.c.id == tunnels.c.right_id)
    .where(secrets.c.id == bindparam("secret"))
)


def value(desk: Desk, actor: Actor, number: int, *, now: datetime) -> Value:
    """The value of a secret that stands in one of the acting gateway's lists.

    It is on record before it is given. Raises RoleMayNot, OutsideScope, CertificateOnly, ValueNotFound, NoSecretStore,
    and what the store of secrets raises.
    """
    require(actor, Action.GATEWAY_SELF)
    name = own_name(actor)
    if not actor.credential.startswith(_BY_CERTIFICATE):
        raise CertificateOnly(
            "The value of a secret is given to the gateway's own certificate alone."
        )
    with desk.store.read() as connection:
        row = connection.execute(_VALUE, {"secret": number}).one_or_none()
    if row is None or not _stands_in_a_list(row, name):
        raise ValueNotFound("This gateway should have no such secret.")
    stored = store_of(desk).get(row.path, row.store_version)
    desk.store.together(
        lambda unit: leave(
            unit,
            actor,
            "secret.fetch",
            f"secret:{row.slot}",
            now=now,
            version=row.version,
            fingerprint=row.fingerprint,
        )
    )
    return Value(
        id=row.id,
        slot=row.slot,
        version=row.version,
        kind=row.kind,
        fingerprint=row.fingerprint,
        ppk_id=row.ppk_id,
        value=stored.value,
    )


def _stands_in_a_list(row: Row[Any], gateway: str) -> bool:
    keys = [
        *(row.left_keys if row.left == gateway else ()),
        *(row.right_keys if row.right == gateway else ()),
    ]
    return row.version in keys and row.store_version is not None and row.destroyed_at is None
