"""Every cell of the table of findings of CMP: the exact failure, and no certificate that was not there before."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pki import decisions, revocation, tokens
from pki.actors import Actor, Role
from pki.decisions import ApprovalQuery
from pki.guarded import Step
from pki.x509 import serials
from tests.api import cmpcrafting as crafting
from tests.api.cmp_findings import FAULTS, MESSAGES, WAYS, Finding, findings
from tests.api.cmpcrafting import Crafted, Template, confirmation, csr, poll
from tests.api.cmping import Told
from tests.api.cmpscene import Device, Scene, fresh, new_key, set_scene
from tests.api.site import CONSOLE, Site

APPROVER = Actor("ann", Role.APPROVER)
_TAGS = {
    "ir": crafting.IR,
    "cr": crafting.CR,
    "p10cr": crafting.P10CR,
    "kur": crafting.KUR,
    "rr": crafting.RR,
    "certConf": crafting.CERT_CONF,
    "pollReq": crafting.POLL_REQ,
    "genm": crafting.GENM,
}
_CA_CERTS = crafting.sequence(crafting.sequence(bytes.fromhex("06082b06010505070411")))
# After the end of any token and certificate here.
_LATE = timedelta(days=100)


@dataclass
class Attempt:
    """A message that is good, and what spoils it."""

    scene: Scene
    device: Device
    way: str
    kind: str
    endpoint: str = "devices"

    def message(self) -> Crafted:
        """The good one; what goes before it is done."""
        transaction = fresh()
        if self.kind not in {"certConf", "pollReq"}:
            return self._says(self._request(self.device.name), transaction)
        if self.kind == "pollReq" and self.way != "signature":
            self.endpoint = "watched"
        begun = self.begin(transaction)
        number = 0 if self.way == "signature" else -1
        body = poll(number)
        if self.kind == "certConf":
            assert begun.certificate is not None
            body = confirmation(begun.certificate, number)
        return self._says(body, transaction, answers=begun.nonce)

    def begin(self, transaction: bytes, device: Device | None = None) -> Told:
        """Ask for a certificate in a transaction."""
        whose = device or self.device
        if self.way == "signature":
            body, tag = Template(whose.name, new_key(), old=whose.certificate).body(), crafting.KUR
        else:
            body, tag = csr(whose.name), crafting.P10CR
        return self.scene.send(whose.says(self.way, tag, body, transaction), self.endpoint)

    def _says(self, body: bytes, transaction: bytes, **rest: Any) -> Crafted:
        return self.device.says(self.way, _TAGS[self.kind], body, transaction, **rest)

    def _request(self, name: str, certificate: bytes | None = None) -> bytes:
        of = certificate or self.device.certificate
        if self.kind == "p10cr":
            return csr(name)
        if self.kind == "rr":
            return crafting.revocation(of)
        if self.kind == "genm":
            return _CA_CERTS
        return Template(name, new_key(), old=of if self.kind == "kur" else None).body()

    def spoiled(self, fault: str) -> Crafted:
        """The message with its fault; for one that is replayed it was sent before."""
        good = self.message()
        return getattr(self, "_" + "_".join(fault.replace("'s", "").split()))(good)  # type: ignore[no-any-return]

    def _missing(self, good: Crafted) -> Crafted:
        by_key = self.way == "signature"
        return replace(good, certificates=()) if by_key else replace(good, protected=False)

    def _wrong(self, good: Crafted) -> Crafted:
        return replace(good, key=new_key()) if good.key else replace(good, secret=b"guessed")

    def _stranger(self, good: Crafted) -> Crafted:
        if good.key is None:
            return replace(good, reference="f" * 16)
        key = new_key()
        return replace(good, key=key, certificates=(self_signed(key, self.scene.site),))

    def _expired(self, good: Crafted) -> Crafted:
        self.scene.site.clock.ahead = _LATE
        return good

    def _revoked(self, good: Crafted) -> Crafted:
        desk, now = self.scene.site.desk, self.scene.site.clock()
        if self.way == "signature":
            number = x509.load_der_x509_certificate(self.device.certificate).serial_number
            revocation.revoke(desk, CONSOLE, serials.to_hex(number), "keyCompromise", now=now)
        else:
            tokens.revoke(desk, CONSOLE, self.device.token.view.id, now=now)
        return good

    def _used_up(self, good: Crafted) -> Crafted:
        if self.kind != "certConf":  # whose token is
            self.endpoint, now_at = "devices", self.endpoint
            assert self.begin(fresh()).certificate is not None
            self.endpoint = now_at
        return good

    def _other_device(self, good: Crafted) -> Crafted:
        other = Device(self.scene)
        if self.kind in {"certConf", "pollReq", "genm"}:
            return other.says(self.way, good.tag, good.body, good.transaction, answers=good.answers)
        name = self.device.name if self.kind == "kur" else other.name
        return replace(good, body=self._request(name, other.certificate))

    def _old(self, good: Crafted) -> Crafted:
        return replace(good, at=self.scene.site.clock() - timedelta(minutes=10))

    def _replayed(self, good: Crafted) -> Crafted:
        self.scene.send(good, self.endpoint)
        return good

    def _nonce(self, good: Crafted) -> Crafted:
        other = Attempt(self.scene, self.device, self.way, "kur", "watched")
        if self.way != "signature":  # that token is used up
            other.device = Device(self.scene)
        return replace(good, answers=other.begin(fresh()).nonce)

    def _transactionID(self, good: Crafted) -> Crafted:  # noqa: N802 - the name of the field
        if self.kind in {"certConf", "pollReq"}:
            return replace(good, transaction=fresh())
        self.begin(good.transaction)
        return good


def self_signed(key: ec.EllipticCurvePrivateKey, site: Site) -> bytes:
    """A certificate that nobody here has made."""
    name, now = x509.Name([]), site.clock()
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(now - _LATE).not_valid_after(now + 2 * _LATE)
    return dated.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def scene(site: Site) -> Scene:
    """One process with several endpoints."""
    return set_scene(site)


@pytest.fixture(autouse=True)
def in_time(scene: Scene) -> Iterator[None]:
    """Whatever a test does to the clock is undone."""
    yield
    scene.site.clock.ahead = timedelta(0)


_TABLE = list(findings())


def _name(finding: Finding) -> str:
    return f"{finding.way}-{finding.message}-{finding.fault}"


@pytest.mark.parametrize(
    "finding",
    [each for each in _TABLE if each.makes_sense and each.way != "approval"],
    ids=_name,
)
def test_a_message_with_a_fault_gets_nothing(scene: Scene, finding: Finding) -> None:
    attempt = Attempt(scene, Device(scene), finding.way, finding.message)
    spoiled = attempt.spoiled(finding.fault)
    before = scene.recorded()
    answer = scene.send(spoiled, attempt.endpoint)
    check(answer, finding)
    assert scene.recorded() == before


def check(answer: Told, finding: Finding) -> None:
    """What is answered is what the table says, and protected."""
    assert answer.by_mac or answer.has_certificates
    if finding.failure is None:
        assert answer.kind != "error"
        assert answer.failures == frozenset()
        return
    assert (set(answer.failures), answer.code) == ({finding.failure}, finding.code)
    assert answer.certificate is None


@pytest.mark.parametrize("finding", [each for each in _TABLE if each.way == "approval"], ids=_name)
def test_what_waits_for_a_person_is_not_to_be_had_without(scene: Scene, finding: Finding) -> None:
    device, transaction = Device(scene), fresh()
    asked = device.says("PBM", crafting.P10CR, csr(device.name), transaction)
    waits = scene.send(asked, "watched")
    assert waits.status == 3
    message = device.says("PBM", crafting.POLL_REQ, poll(), transaction, answers=waits.nonce)
    if finding.message == "p10cr":
        body = csr(device.name) if finding.fault == "transactionID" else asked.body
        message = replace(asked, body=body)
    elif finding.fault == "wrong":
        [number] = waiting(scene, device.name)
        now = scene.site.clock()
        decisions.decide(scene.site.desk, APPROVER, number, Step.REFUSE, "not ours", now=now)
    elif finding.fault == "expired":
        scene.site.clock.ahead = 2 * scene.site.desk.rules.approvals.valid
    elif finding.fault == "revoked":
        tokens.revoke(scene.site.desk, CONSOLE, device.token.view.id, now=scene.site.clock())
    elif finding.fault == "other device's":
        message = Device(scene).says(
            "PBM", message.tag, message.body, transaction, answers=waits.nonce
        )
    before = scene.recorded()
    check(scene.send(message, "watched"), finding)
    assert scene.recorded() == before
    assert len(waiting(scene, device.name)) <= 1


def waiting(scene: Scene, name: str) -> list[int]:
    """The numbers of what a person is asked about a name."""
    desk, now = scene.site.desk, scene.site.clock()
    found = decisions.list_(desk, APPROVER, ApprovalQuery(state="pending"), now=now)
    return [each.id for each in found if each.parameters.get("names") == [f"dns:{name}"]]


def test_the_table_is_whole() -> None:
    assert {each.way for each in _TABLE} == set(WAYS)
    assert {each.fault for each in _TABLE} == set(FAULTS)
    for way in ("PBM", "PBMAC1", "signature"):
        # A certificate is not used up: it may have several successors, each for a key of its own.
        faults = set(FAULTS) - ({"used up"} if way == "signature" else set())
        cells = {(each.fault, each.message) for each in _TABLE if each.way == way}
        assert cells == {(fault, message) for fault in faults for message in MESSAGES}
