"""EST (RFC 7030): requests that are almost right."""

import base64
import random

from tests.api import cmpcrafting
from tests.api.serving import Reply
from tests.service.strange.door import NAME, Given, refused, resigned
from tests.service.strange.spoil import Ask, spoiled


class Est:
    """RFC 7030."""

    def __init__(self, given: Given) -> None:
        self._given, self._key = given, given.curve
        self._csr = cmpcrafting.csr(NAME, self._key)

    def ask(self, dice: random.Random) -> Ask:
        operation = dice.choice(
            ["simpleenroll"] * 12
            + ["serverkeygen", "simplereenroll"] * 2
            + ["cacerts", "csrattrs", "fullcmc"]
        )
        where = dice.choice(
            ["/.well-known/est/", "/.well-known/est/strange/", "/p/strange/.well-known/est/"]
        )
        if operation in {"cacerts", "csrattrs"}:
            return Ask("GET", where + operation, {}, b"", tls=True)
        csr = self._csr
        match dice.randrange(5):
            case 0 | 1:
                body = base64.b64encode(resigned(dice, csr, self._key))
            case 2 | 3:
                body = base64.b64encode(spoiled(dice, csr))
            case _:
                body = spoiled(dice, base64.b64encode(csr))
        who = f"x:{self._given.token}".encode()
        if dice.random() < 0.1:
            who = spoiled(dice, who)
        headers = {
            "Authorization": f"Basic {base64.b64encode(who).decode()}",
            "Content-Type": "application/pkcs10",
        }
        return Ask("POST", where + operation, headers, body, tls=True)

    def fits(self, ask: Ask, reply: Reply) -> None:
        if reply.status != 200 or ask.bent:
            return refused(reply) if reply.status not in {200, 202, 204} else None
        assert reply.headers["content-type"].startswith(
            ("application/pkcs7-mime", "application/csrattrs", "multipart/mixed")
        )
        return None
