"""Enrollment of a gateway: one line that holds all an agent needs, for one certificate, for a few hours."""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import update

from core.errors import InvalidInput
from core.secret import Secret
from fleet import ca_sets
from fleet.gateways import about, end_token, locked, pick
from pki import authorities, tokens
from pki.actors import Action, Actor, Role, Scope, require, require_gateway
from pki.authorities import Authority
from pki.desk import Desk
from pki.identity import CHANNEL
from pki.tokens import TokenRequest
from pki.trail import leave
from pki.x509.renewal import CHANNEL_NAMES
from store.engine import Unit
from store.fleet_tables import gateways

PREFIX = "iwe1_"
MAX_HOURS = 24 * 30
_MAX_TOKEN_NAME = 100


class EnrollmentRefused(InvalidInput):
    """An enrollment that would last no time, or too long."""

    code = "enrollment_refused"
    next_step = f"Give between 1 and {MAX_HOURS} hours."


@dataclass(frozen=True)
class Enrollment:
    """A one-time token, and the line that carries it together with the URL and the pin of the root."""

    gateway: str
    token: Secret
    line: Secret
    expires_at: datetime


def enroll(
    desk: Desk,
    actor: Actor,
    name: str,
    hours: int,
    *,
    now: datetime,
    in_token: bool = False,
) -> Enrollment:
    """Make the one-time token of a gateway: its profile, authority, names and gateway, one certificate. A token that
    was made for it before ends. `in_token`: its key will be in a PKCS#11 token, which no TLS library here can use, so
    that the enrollment is for a second certificate too, that of its agent's channel to the service.

    Raises RoleMayNot, OutsideScope, GatewayNotFound, EnrollmentRefused.
    """
    require(actor, Action.GATEWAY_ENROLL)
    require_gateway(actor, name)
    if not 1 <= hours <= MAX_HOURS:
        raise EnrollmentRefused(f"An enrollment lasts between 1 and {MAX_HOURS} hours.")
    with desk.store.read() as connection:
        gateway = pick(connection, desk, name, now)
    expires = now + timedelta(hours=hours)
    made = tokens.create(
        desk,
        actor,
        TokenRequest(
            name=gateway.name[:_MAX_TOKEN_NAME].strip(),
            role=Role.ENROLLER,
            scope=Scope(
                profiles=(gateway.profile, *((CHANNEL,) if in_token else ())),
                authorities=(gateway.authority,),
                names=(*gateway.identities, *((channel_name(gateway.name),) if in_token else ())),
                gateway=gateway.name,
            ),
            uses=2 if in_token else 1,
            expires_at=expires,
        ),
        now=now,
    )

    def work(unit: Unit) -> str | None:
        row = locked(unit.connection, name)
        unit.connection.execute(
            update(gateways).where(gateways.c.id == row.id).values(token_id=made.view.id)
        )
        leave(unit, actor, "gateway.enroll", about(name), now=now, token=made.view.id, hours=hours)
        former: str | None = row.token_id
        return former

    end_token(desk, actor, desk.store.together(work), now)
    return Enrollment(name, made.secret, _line(desk, name, made.secret, now), expires)


def channel_name(gateway: str) -> str:
    """The only name in the certificate of a gateway's channel."""
    digest = hashlib.sha256(gateway.encode()).hexdigest()  # a name may hold what a URI may not
    return f"{CHANNEL_NAMES}{digest[:32]}"


def _line(desk: Desk, name: str, token: Secret, now: datetime) -> Secret:
    root = service_root(desk, now)
    document = {
        "u": desk.rules.service_url,
        "p": hashlib.sha256(root.certificate.public_bytes(Encoding.DER)).hexdigest(),
        "t": token.reveal().decode(),
        "n": name,
    }
    content = json.dumps(document, separators=(",", ":")).encode()
    return Secret(PREFIX + base64.urlsafe_b64encode(content).rstrip(b"=").decode())


def service_root(desk: Desk, now: datetime) -> Authority:
    """The root by which the API proves itself: that of the authority which issues where none is named.

    Raises NoDefaultAuthority, AuthorityNotFound.
    """
    service = Actor("service", Role.SCHEDULER)
    return ca_sets.lineage(desk, authorities.choose(desk, service, None, now=now).name)[-1]


def roots(desk: Desk) -> tuple[Authority, ...]:
    """All roots, for whoever has a pin to choose by. Public: no actor."""
    known = [authorities.load(desk, name) for name in authorities.all_names(desk)]
    return tuple(authority for authority in known if authority.kind == "root")
