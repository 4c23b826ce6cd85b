"""ACME (RFC 8555): requests spoiled before an account signs them, or after."""

import base64
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from joserfc.jwk import ECKey, OctKey

from tests.api import cmpcrafting
from tests.api.acme.client import b64, signed
from tests.api.acme.test_fuzz import spoiled as odd
from tests.api.serving import Reply
from tests.service.strange.door import NAME, Given
from tests.service.strange.spoil import Ask, spoiled


@dataclass
class Acme:
    """RFC 8555. A nonce comes from the answer before."""

    given: Given
    base: str
    key: Any = field(default_factory=lambda: ECKey.generate_key("P-256"))
    nonce: str = ""
    kid: str = ""
    seen: dict[str, list[str]] = field(default_factory=dict)
    csr: str = ""
    change: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.csr = b64(cmpcrafting.csr(NAME, self.given.curve))

    def ask(self, dice: random.Random) -> Ask:
        if not self.nonce:
            return Ask("HEAD", "/acme/strange/new-nonce", {}, b"", tls=True)
        if not self.kid:
            binding = {"alg": "HS256", "kid": self.given.reference, "url": self._url("new-account")}
            secret = base64.urlsafe_b64decode(self.given.eab_key + "==")
            bound = signed(binding, self._jwk(), OctKey.import_key(secret))
            return self._post(
                "new-account", {"externalAccountBinding": bound}, {"jwk": self._jwk()}
            )
        where, payload = self._right(dice)
        if dice.random() < 0.05:
            return Ask("GET", f"/acme/strange/{where}", {}, b"", tls=True)
        header: dict[str, Any] = {"kid": self.kid}
        if dice.random() < 0.1:
            header = {"jwk": self._jwk()}
        match dice.randrange(4):
            case 0:
                return self._under_another_header(dice, where, payload, header)
            case 1:
                whole = self._post(where, payload, header)
                return replace(whole, body=spoiled(dice, whole.body))
            case _:
                content = json.dumps(payload).encode()
                content = (
                    json.dumps(odd(dice, payload)).encode()
                    if dice.random() < 0.7
                    else spoiled(dice, content)
                )
                return self._post(where, content, header)

    def _right(self, dice: random.Random) -> tuple[str, Any]:
        """A resource, and what is right there."""
        account = self.kid.partition("/acme/strange/")[2]
        seen = [each for urls in self.seen.values() for each in urls]
        where = dice.choice(
            ["new-order", "new-account", "revoke-cert", "key-change", account, *seen]
        )
        match where:
            case "new-order":
                names = [{"type": "dns", "value": f"{dice.randrange(9)}.{NAME}"}]
                return where, {"identifiers": names}
            case "new-account":
                return where, {"onlyReturnExisting": True, "contact": ["mailto:a@example.com"]}
            case "revoke-cert":
                return where, {"certificate": self.csr, "reason": 1}
            case "key-change":
                if not self.change:
                    old = {"alg": "ES256", "jwk": self._jwk(), "url": self._url("key-change")}
                    content = {"account": self.kid, "oldKey": self._jwk()}
                    self.change = signed(old, content, self.key)
                return where, self.change
            case _ if where == account:
                return where, {"contact": ["mailto:b@example.com"]}
        return where, {"csr": self.csr} if "finalize" in where else {}

    def fits(self, ask: Ask, reply: Reply) -> None:
        self.nonce = reply.headers.get("replay-nonce", "")
        if reply.status >= 400:
            if not ask.bent:
                assert reply.headers["content-type"] == "application/problem+json", reply
                assert reply.json["type"].startswith("urn:ietf:params:acme:error:"), reply
            return
        if not self.kid and ask.path.endswith("new-account"):
            self.kid = reply.headers["location"]
        if reply.status == 201 and ask.path.endswith("new-order"):
            document = reply.json
            kept = [reply.headers["location"], document["finalize"], *document["authorizations"]]
            self.seen["order"] = [each.partition("/acme/strange/")[2] for each in kept]
        if reply.status == 200 and "challenges" in (document := _json(reply)):
            urls = [each["url"] for each in document["challenges"]]
            self.seen["challenges"] = [each.partition("/acme/strange/")[2] for each in urls]

    def _post(self, where: str, payload: object, header: Mapping[str, Any]) -> Ask:
        head = {"alg": "ES256", "nonce": self.nonce, "url": self._url(where), **header}
        self.nonce = ""
        body = json.dumps(signed(head, payload, self.key)).encode()
        return Ask(
            "POST",
            f"/acme/strange/{where}",
            {"Content-Type": "application/jose+json"},
            body,
            tls=True,
        )

    def _under_another_header(
        self, dice: random.Random, where: str, payload: object, header: Mapping[str, Any]
    ) -> Ask:
        """A header that is not what was signed."""
        head = {"alg": "ES256", "nonce": self.nonce, "url": self._url(where), **header}
        whole = self._post(where, payload, header)
        document = json.loads(whole.body) | {"protected": b64(json.dumps(odd(dice, head)).encode())}
        return replace(whole, body=json.dumps(document).encode())

    def _url(self, where: str) -> str:
        return f"{self.base}/acme/strange/{where}"

    def _jwk(self) -> dict[str, Any]:
        return dict(self.key.as_dict(private=False))


def _json(reply: Reply) -> dict[str, Any]:
    try:
        found = reply.json
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
