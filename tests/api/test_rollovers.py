"""Rollovers over HTTP: what is sent about them, and who issues at each door in each phase."""

import base64
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from api.v1.rollovers import MoveRollover
from fleet.enrollment import channel_name
from pki.actors import Role, Scope
from pki.identity import CHANNEL
from pki.x509 import renewal
from tests.api.serving import Client, Serving
from tests.api.site import new_csr
from tests.pki.requests import request

_numbers = itertools.count(1)
LATER = (datetime.now(UTC) + timedelta(days=9)).isoformat()


def test_a_way_back_says_whence() -> None:
    assert MoveRollover.model_validate({"to": "back", "from": "switched"}).seen == "switched"
    assert MoveRollover.model_validate({"to": "published"}).seen is None
    with pytest.raises(ValidationError, match="from"):
        MoveRollover.model_validate({"to": "back"})


class Doors:
    """Everybody who gets certificates of one authority, whatever succeeds it."""

    def __init__(self, serving: Serving) -> None:
        self.serving, self.site = serving, serving.site
        self.clients: list[Client] = []
        self.admin = self.client(Role.ADMIN)
        body = {
            "name": f"ca{next(_numbers)}",
            "kind": "issuing",
            "parent": "root",
            "subject": f"CN=CA {next(_numbers)}",
        }
        self.old = str(self.send(self.admin, "/v1/authorities", body)["name"])
        self.roll_over()

    def roll_over(self) -> None:
        """Begin another rollover."""
        begun = self.send(self.admin, f"/v1/authorities/{self.old}/rollover", {})
        self.rollover, self.new = begun["id"], str(begun["successor"])

    def end(self, authority: str) -> None:
        """Revoke all that an authority issued."""
        path = f"/v1/certificates?authority={authority}&status=valid&limit=500"
        for each in self.admin.get(path).json["items"]:
            body = {"reason": "superseded", "cut_confirmed": 9}
            where = f"/v1/certificates/{each['serial']}/revoke?authority={authority}"
            self.send(self.admin, where, body)

    def client(self, who: Role | str) -> Client:
        self.clients.append(self.serving.client(who))
        return self.clients[-1]

    def send(self, client: Client, path: str, body: object) -> dict[str, Any]:
        reply = client.post(path, body)
        assert reply.status in {200, 201}, reply
        return dict(reply.json)

    def move(self, to: str, **more: str) -> str:
        path = f"/v1/rollovers/{self.rollover}"
        return str(self.send(self.admin, path, {"to": to, **more})["state"])

    def token(self, authority: str, role: Role = Role.OPERATOR, **scope: Any) -> Client:
        """Whoever has a token that is tied to an authority."""
        wanted = Scope(authorities=(authority,), **scope)
        return self.client(self.site.token(role, scope=wanted))

    def issue(self, client: Client, **more: str) -> dict[str, Any]:
        name = f"d{next(_numbers)}.example"
        body = {"csr": new_csr(name), "profile": "gateway", **more}
        return self.send(client, "/v1/certificates", body)

    def renew(self, client: Client, made: dict[str, Any]) -> dict[str, Any]:
        return self.send(client, f"/v1/certificates/{made['serial']}/renew", {})


@pytest.fixture
def doors(serving: Serving) -> Iterator[Doors]:
    made = Doors(serving)
    yield made
    for client in made.clients:
        client.connection.close()


class Gateway:
    """A gateway whose agent has a channel of its own; it enrolls, and renews, as an agent does."""

    def __init__(self, doors: Doors) -> None:
        self.doors, self.name = doors, f"g{next(_numbers)}.example"
        body = {"name": self.name, "identities": [f"dns:{self.name}"], "authority": doors.old}
        doors.send(doors.admin, "/v1/gateways", body)
        self.enroll()

    def enroll(self) -> str:
        """Both certificates; who issued them."""
        path = f"/v1/gateways/{self.name}/enrollment"
        token = self.doors.send(self.doors.admin, path, {"key": "token"})["token"]
        client, about = self.doors.client(token), {"gateway": self.name}
        self.key, own = private_key(), private_key()
        names = [channel_name(self.name)]
        body = {"csr": pem(request(names, key=own)), "profile": CHANNEL, **about}
        self.channel = self._as(self.doors.send(client, "/v1/certificates", body), own)
        body = {"csr": new_csr(self.name, self.key), "profile": "gateway", **about}
        self.made = self.doors.send(client, "/v1/certificates", body)
        return str(self.made["authority"])

    def renew(self) -> str:
        """By itself, and then by its channel; who issued."""
        itself = self._as(self.made, self.key)
        issuers = {self.doors.renew(itself, self.made)["authority"]}
        key = private_key()
        asked = request([f"dns:{self.name}"], key=key)
        proof = base64.b64encode(renewal.prove(self.key, asked)).decode()
        path = f"/v1/certificates/{self.made['serial']}/renew"
        self.made = self.doors.send(self.channel, path, {"csr": pem(asked), "proof": proof})
        self.key = key
        [issuer] = issuers | {self.made["authority"]}
        return str(issuer)

    def _as(self, made: dict[str, Any], key: ec.EllipticCurvePrivateKey) -> Client:
        file = self.doors.site.directory / f"{made['serial']}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        file.write_text(private + made["certificate"] + "".join(made["chain"][:-1]))
        context = self.doors.site.trust()
        context.load_cert_chain(file)
        self.doors.clients.append(Client(self.doors.serving, trust=context))
        return self.doors.clients[-1]


def private_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem(der: bytes) -> str:
    return x509.load_der_x509_csr(der).public_bytes(Encoding.PEM).decode()


def test_the_way_back_holds_at_every_door_and_so_does_the_next_switch(doors: Doors) -> None:
    """What the successor issued is renewed by the old one again: there is no other way to be rid of it."""
    first, tied = doors.issue(doors.admin, authority=doors.old), doors.token(doors.old)
    early = Gateway(doors)
    doors.move("published")
    doors.move("switched")
    late, late_name = Gateway(doors), doors.new
    tied_late = doors.token(late_name)
    made = [first]

    def check(expected: str) -> None:
        fresh = [doors.renew(who, made[-1]) for who in (doors.admin, tied)]
        made.append(fresh[-1])
        for who, of in ((tied, doors.old), (tied_late, late_name)):
            fresh += [doors.renew(who, made[-1]), doors.issue(who), doors.issue(who, authority=of)]
        fresh.append(doors.issue(doors.admin, authority=doors.old))
        assert [each["authority"] for each in fresh] == [expected] * len(fresh)
        for each in (early, late):
            assert each.renew() == expected
            assert each.enroll() == expected
            assert each.renew() == expected

    check(doors.new)
    assert doors.move("back", **{"from": "switched"}) == "published"
    check(doors.old)
    doors.move("switched", on=LATER)
    check(doors.old)
    doors.move("back", **{"from": "scheduled"})
    doors.move("switched")
    check(doors.new)
    doors.move("back", **{"from": "switched"})
    check(doors.old)
    doors.end(doors.new)
    assert doors.move("back", **{"from": "published"}) == "prepared"
    check(doors.old)
    assert doors.move("back", **{"from": "prepared"}) == "abandoned"
    check(doors.old)
    # The next successor takes the place of both.
    doors.roll_over()
    doors.move("published")
    doors.move("switched")
    check(doors.new)
