"""CMP in one process, whose clock can be moved, and the devices that speak to it."""

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import func, select

from api.cmp import CmpDoors
from pki.tokens import CreatedToken
from store.tables import certificates
from tests.api import cmpcrafting as crafting
from tests.api.cmpcrafting import Crafted, crafted, csr, signed
from tests.api.cmping import MEDIA_TYPE, Told, equip, token_of, told
from tests.api.serving import Reply
from tests.api.site import Site


@dataclass
class Scene:
    """One process that answers for a site, whose clock can be moved."""

    site: Site
    doors: CmpDoors

    def send(self, message: Crafted, endpoint: str) -> Told:
        """Send a message."""
        return self.post(message.der(), endpoint)

    def post(self, message: bytes, endpoint: str) -> Told:
        """Send bytes."""
        path = f"/.well-known/cmp/p/{endpoint}"
        body = self.doors.answer("POST", path, MEDIA_TYPE, message)
        return told(Reply(200, {"content-type": MEDIA_TYPE}, body))

    def recorded(self) -> int:
        """How many certificates are on record, whatever became of them."""
        with self.site.desk.store.read() as connection:
            return connection.scalar(select(func.count()).select_from(certificates)) or 0


@dataclass
class Device:
    """A device with a name, a token, a key and a certificate of its own."""

    scene: Scene
    name: str = field(default_factory=lambda: f"{secrets.token_hex(4)}.example")
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @cached_property
    def token(self) -> CreatedToken:
        """What it enrolls with."""
        return self.new_token()

    @cached_property
    def certificate(self) -> bytes:
        """What it enrolled for with another one (DER)."""
        asked = crafted(self.new_token(), crafting.P10CR, csr(self.name, self.key), fresh())
        made = self.scene.send(asked, "devices").certificate
        assert made is not None
        return made

    def new_token(self) -> CreatedToken:
        """A token for its name, for one certificate."""
        ends = self.scene.site.clock() + timedelta(days=50)
        return token_of(self.scene.site, self.name, expires_at=ends)

    def says(self, way: str, tag: int, body: bytes, transaction: bytes, **rest: Any) -> Crafted:
        """A message of this device."""
        if way == "signature":
            return signed(self.key, self.certificate, tag, body, transaction, **rest)
        return crafted(self.token, tag, body, transaction, pbmac1=way == "PBMAC1", **rest)


def fresh() -> bytes:
    """A transactionID."""
    return secrets.token_bytes(16)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key of a device."""
    return ec.generate_private_key(ec.SECP256R1())


def set_scene(site: Site) -> Scene:
    """Give a site several endpoints, and one process that answers."""
    equip(site)
    return Scene(site, CmpDoors(site.desk, site.clock))
