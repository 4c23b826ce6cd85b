"""SCEP (RFC 8894): messages spoiled before they are sealed and signed, or after."""

import base64
import random
from typing import cast
from urllib.parse import quote

from cryptography import x509

from pki.x509 import der
from tests.api import scepping
from tests.api.plain import Listener
from tests.api.serving import Reply
from tests.service.strange.door import NAME, Given, refused, resigned
from tests.service.strange.spoil import Ask, spoiled


class Scep:
    """RFC 8894."""

    def __init__(self, given: Given) -> None:
        key = given.modulus
        nobody = cast(Listener, None)  # the messages are sent otherwise
        self._device = scepping.Device(
            nobody,
            "routers",
            key,
            scepping.self_signed(key, NAME),
            ra=x509.load_der_x509_certificate(given.ra),
        )
        self._csr = scepping.csr(key, NAME, given.token)
        self._whole: list[bytes] = []

    def ask(self, dice: random.Random) -> Ask:
        if dice.random() < 0.1:
            what = dice.choice(["GetCACaps", "GetCACert", "GetNextCACert", "PKIOperation", "x", ""])
            more = dice.choice(
                ["", "&message=", "&message=AAAA", "&message=%ff", "&operation=GetCACert"]
            )
            return Ask(
                "GET",
                f"/scep/{dice.choice(['strange', 'old', 'none'])}?operation={what}{more}",
                {},
                b"",
                tls=False,
            )
        path = (
            f"/scep/{dice.choice(['strange', 'strange', 'old', 'watched'])}?operation=PKIOperation"
        )
        message = self._message(dice)
        if dice.random() < 0.1:
            sent = quote(base64.b64encode(message), safe="")
            return Ask("GET", f"{path}&message={sent}", {}, b"", tls=False)
        headers = {"Content-Type": "application/x-pki-message"}
        return Ask("POST", path, headers, message, tls=False)

    def _message(self, dice: random.Random) -> bytes:
        if dice.random() < 0.7 and len(self._whole) > 20:
            return spoiled(dice, dice.choice(self._whole), self._whole)
        kind = dice.choice(["19"] * 4 + ["17", "20", "21", "22"])
        inside = self._csr
        if kind in {"20", "21", "22"}:
            device = self._device
            inside = (
                device.names()
                if kind == "20"
                else scepping.name_and_number(device.authority()).dump()
            )
            inside = spoiled(dice, inside)
        elif dice.random() < 0.7:
            inside = resigned(dice, self._csr, self._device.key)
        else:
            inside = spoiled(dice, self._csr)
        sealed = self._device.sealed(inside)
        if dice.random() < 0.2:
            sealed = spoiled(dice, sealed)
        sender = self._device.with_certificate(self._device.certificate)
        made = sender.signed(kind, sealed)
        self._whole = [*self._whole[-30:], made]
        return made

    def fits(self, ask: Ask, reply: Reply) -> None:
        if reply.status != 200:
            return refused(reply)
        if not ask.bent:
            kind = reply.headers["content-type"]
            assert kind.startswith("application/x-") or kind.startswith("text/plain"), reply
            if kind == "application/x-pki-message":
                der.children(reply.body, der.read(reply.body, 0))
        return None
