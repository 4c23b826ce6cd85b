"""CMP: what is asked for that nobody should get, messages that are made to hurt, and what dies on the way."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from pki import cmp_transactions, reconcile, revocation
from pki.certificates import CertificateView, find
from pki.cmp.answers import Failure
from pki.x509 import der, serials
from tests.api import cmpcrafting as crafting
from tests.api.cmpcrafting import Template, confirmation, csr, oid, poll, sequence
from tests.api.cmping import Told
from tests.api.cmpscene import Device, Scene, fresh, new_key, set_scene
from tests.api.site import CLOCKWORK, CONSOLE, Site

_UNKNOWN = ({Failure.BAD_REQUEST}, "cmp_transaction_unknown")
_MALFORMED = ({Failure.BAD_DATA_FORMAT}, "cmp_malformed")


@pytest.fixture(scope="module")
def scene(site: Site) -> Scene:
    """One process with several endpoints."""
    return set_scene(site)


@pytest.fixture
def device(scene: Scene) -> Iterator[Device]:
    """A device that has nothing yet."""
    yield Device(scene)
    scene.site.clock.ahead = timedelta(0)


def refused(told: Told) -> tuple[set[int], str]:
    assert told.status == 2, told
    assert told.certificate is None
    return set(told.failures), told.code


def on_record(scene: Scene, certificate: bytes | None) -> CertificateView:
    known = x509.load_der_x509_certificate(certificate or b"")
    return find(scene.site.desk, serials.to_hex(known.serial_number))


def end_unconfirmed(scene: Scene) -> None:
    later = scene.site.clock() + timedelta(hours=1)
    cmp_transactions.end_unconfirmed(scene.site.desk, CLOCKWORK, now=later)


# what a template asks for


def extension(kind: str, value: bytes, *, critical: bool = True) -> bytes:
    """An Extension."""
    flag = b"\x01\x01\xff" if critical else b""
    return sequence(oid(kind), flag, der.tlv(der.OCTET_STRING, value))


_CA_TRUE = extension("551d13", sequence(b"\x01\x01\xff"))
_CERT_SIGN = extension("551d0f", bytes.fromhex("03020106"))
_ANY_PURPOSE = extension("551d25", sequence(oid("551d2500")), critical=False)


@pytest.mark.parametrize("extensions", [_CA_TRUE, _CERT_SIGN, _ANY_PURPOSE, _CA_TRUE + _CERT_SIGN])
@pytest.mark.parametrize("way", ["PBM", "signature"])
def test_the_profile_decides_what_a_certificate_is_for(
    scene: Scene, device: Device, extensions: bytes, way: str
) -> None:
    body = Template(device.name, new_key(), extensions=extensions).body()
    told = scene.send(device.says(way, crafting.IR, body, fresh()), "devices")
    usual = x509.load_der_x509_certificate(device.certificate)
    if told.certificate is None:
        assert refused(told)[0] == {Failure.BAD_CERT_TEMPLATE}
        return
    made = x509.load_der_x509_certificate(told.certificate)
    for kind in (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage):
        found, wanted = (each.extensions.get_extension_for_class(kind) for each in (made, usual))
        assert found.value == wanted.value
    assert told.status == 1  # granted with modifications (RFC 9810 §5.2.3)


def _validity() -> bytes:
    ends = der.tlv(0xA1, der.generalized_time(datetime(2999, 1, 1, tzinfo=UTC)))
    return der.tlv(0xA4, ends)


_OTHER_ISSUER = der.tlv(0xA3, x509.Name.from_rfc4514_string("CN=Somebody").public_bytes())


@pytest.mark.parametrize("before", [_validity(), _OTHER_ISSUER, b"\x81\x01\x07"])
def test_issuer_validity_and_number_are_ours(scene: Scene, device: Device, before: bytes) -> None:
    usual = x509.load_der_x509_certificate(device.certificate)
    body = Template(device.name, new_key(), before=before).body()
    told = scene.send(device.says("PBM", crafting.IR, body, fresh()), "devices")
    made = x509.load_der_x509_certificate(told.certificate or b"")
    assert made.issuer == usual.issuer
    length = made.not_valid_after_utc - made.not_valid_before_utc
    assert length == usual.not_valid_after_utc - usual.not_valid_before_utc
    assert made.serial_number != 7
    assert told.status == 1  # granted with modifications (RFC 9810 §5.2.3)


def test_what_is_given_as_it_was_asked_for_is_just_accepted(scene: Scene, device: Device) -> None:
    usual = x509.load_der_x509_certificate(device.certificate)
    use = usual.extensions.get_extension_for_class(x509.KeyUsage).value.public_bytes()
    mine = der.tlv(0xA3, usual.issuer.public_bytes())
    same = Template(device.name, new_key(), before=mine, extensions=extension("551d0f", use))
    told = scene.send(device.says("PBM", crafting.IR, same.body(), fresh()), "devices")
    assert (told.status, told.certificate is not None) == (0, True)
    again = scene.send(device.says("PBM", crafting.IR, same.body(), fresh()), "devices")
    assert (again.status, again.certificate) == (0, told.certificate)


def test_very_many_extensions_are_not_granted(scene: Scene, device: Device) -> None:
    many = b"".join(
        extension(f"2a03{number:02x}{more:02x}", b"\x05\x00", critical=False)
        for number in range(1, 100)
        for more in (1, 2)
    )
    body = Template(device.name, new_key(), extensions=many).body()
    told = scene.send(device.says("PBM", crafting.IR, body, fresh()), "devices")
    assert (told.kind, told.status) in {("ip", 1), ("error", 2)}


def test_one_message_asks_for_one_certificate(scene: Scene, device: Device) -> None:
    several = [Template(device.name, new_key(), number).message() for number in range(3)]
    before = scene.recorded()
    for body in (sequence(*several), b"\x30\x00"):
        told = scene.send(device.says("PBM", crafting.IR, body, fresh()), "devices")
        assert refused(told) == ({Failure.BAD_CERT_TEMPLATE}, "cmp_template_refused")
    details = [crafting.revocation(device.certificate)[2:]] * 2
    told = scene.send(device.says("signature", crafting.RR, sequence(*details), fresh()), "devices")
    assert refused(told)[0] == {Failure.BAD_CERT_TEMPLATE}
    assert scene.recorded() == before + 1  # the device's own


@pytest.mark.parametrize("proof", [b"", b"\x80\x00", b"\xa2\x02\x05\x00", b"\xa1\x00"])
@pytest.mark.parametrize("way", ["PBM", "signature"])
@pytest.mark.parametrize("tag", [crafting.IR, crafting.KUR])
def test_a_key_is_proved(scene: Scene, device: Device, proof: bytes, way: str, tag: int) -> None:
    """Also by whoever is somebody: nothing, raVerified, for encryption, an empty one."""
    key = new_key()
    body = Template(device.name, key, proof=proof).body()
    told = scene.send(device.says(way, tag, body, fresh()), "devices")
    assert refused(told) == ({Failure.BAD_POP}, "cmp_possession_unproven")
    # One by another key, or over another request.
    for other in (Template(device.name, new_key()), Template(device.name, key, number=7)):
        whole = other.message()
        taken = der.children(whole, der.read(whole, 0))[1]
        signature = whole[taken.start : taken.end]
        body = Template(device.name, key, proof=signature).body()
        told = scene.send(device.says(way, tag, body, fresh()), "devices")
        assert refused(told) == ({Failure.BAD_POP}, "cmp_possession_unproven")


# confirmations


def begun(scene: Scene, device: Device, number: int = -1) -> tuple[bytes, Told]:
    """A transaction whose certificate waits for its confirmation."""
    transaction = fresh()
    tag, body = crafting.P10CR, csr(device.name)
    if number >= 0:
        tag, body = crafting.IR, Template(device.name, new_key(), number).body()
    told = scene.send(device.says("PBM", tag, body, transaction), "devices")
    assert told.certificate is not None
    return transaction, told


@pytest.mark.parametrize(("asked", "said"), [(-1, 1), (5, 0), (5, -1), (0, -1)])
def test_a_confirmation_has_the_number_of_its_request(
    scene: Scene, device: Device, asked: int, said: int
) -> None:
    transaction, told = begun(scene, device, asked)
    assert told.certificate is not None

    def confirm(number: int) -> Told:
        body = confirmation(told.certificate or b"", number)
        message = device.says("PBM", crafting.CERT_CONF, body, transaction, answers=told.nonce)
        return scene.send(message, "devices")

    assert refused(confirm(said)) == _UNKNOWN
    assert confirm(asked).kind == "pkiconf"
    end_unconfirmed(scene)
    assert on_record(scene, told.certificate).status == "valid"


def test_wrong_confirmations_do_not_save_a_certificate(scene: Scene, device: Device) -> None:
    transaction, told = begun(scene, device)
    body = confirmation(b"another")
    for _ in range(3):
        message = device.says("PBM", crafting.CERT_CONF, body, transaction, answers=told.nonce)
        assert refused(scene.send(message, "devices"))[0] == {Failure.BAD_CERT_ID}
    assert on_record(scene, told.certificate).status == "valid"
    end_unconfirmed(scene)
    assert on_record(scene, told.certificate).status == "revoked"


@pytest.mark.parametrize("accepted", [True, False])
def test_what_an_operator_revoked_is_not_confirmed(
    scene: Scene, device: Device, accepted: bool
) -> None:
    transaction, told = begun(scene, device)
    found = on_record(scene, told.certificate)
    now = scene.site.clock()
    revocation.revoke(scene.site.desk, CONSOLE, found.serial, "keyCompromise", now=now)
    body = confirmation(told.certificate or b"", accepted=accepted)
    message = device.says("PBM", crafting.CERT_CONF, body, transaction, answers=told.nonce)
    answer = scene.send(message, "devices")
    if accepted:
        assert refused(answer) == ({Failure.CERT_REVOKED}, "cmp_certificate_over")
    else:
        assert answer.kind == "pkiconf"
    end_unconfirmed(scene)
    assert on_record(scene, told.certificate).reason == "keyCompromise"


def test_a_confirmation_by_the_new_key_is_of_another_transaction(
    scene: Scene, device: Device
) -> None:
    transaction, key = fresh(), new_key()
    body = Template(device.name, key, old=device.certificate).body()
    told = scene.send(device.says("signature", crafting.KUR, body, transaction), "devices")
    assert told.certificate is not None
    said = confirmation(told.certificate, 0)
    message = crafting.signed(
        key, told.certificate, crafting.CERT_CONF, said, transaction, answers=told.nonce
    )
    assert refused(scene.send(message, "devices")) == _UNKNOWN


# two at once, and what dies


def at_once(scene: Scene, messages: list[crafting.Crafted]) -> list[Told]:
    """Send messages at the same moment."""
    gate, answers = threading.Barrier(len(messages)), []

    def send(message: crafting.Crafted) -> None:
        gate.wait(60)
        answers.append(scene.send(message, "devices"))

    threads = [threading.Thread(target=send, args=(each,)) for each in messages]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
    assert len(answers) == len(messages)
    return answers


@pytest.mark.parametrize("way", ["PBM", "signature"])
def test_the_same_message_many_times_at_once_makes_one_certificate(
    scene: Scene, device: Device, way: str
) -> None:
    assert device.certificate
    body = Template(device.name, new_key()).body()
    message = device.says(way, crafting.IR, body, fresh())
    before = scene.recorded()
    answers = at_once(scene, [message] * 4)
    made = {each.certificate for each in answers} - {None}
    assert len(made) == 1
    assert scene.recorded() == before + 1
    for each in answers:
        if each.certificate is None:
            assert each.status == 3 or refused(each)[1] in {
                "cmp_transaction_in_use", "token_used_up", "token_refused",
            }  # fmt: skip
    assert scene.send(message, "devices").certificate in made


@pytest.mark.parametrize("implicit", [False, True])
def test_a_death_before_the_signature_is_no_end(
    scene: Scene, device: Device, implicit: bool
) -> None:
    body, transaction = Template(device.name, new_key()).body(), fresh()
    message = device.says("PBM", crafting.IR, body, transaction, implicit=implicit)
    scene.site.keys.fail()
    try:
        assert refused(scene.send(message, "devices"))[0] == {Failure.SYSTEM_UNAVAIL}
    finally:
        scene.site.keys.heal()
    # It may be that somebody signs it at this moment.
    waits = scene.send(message, "devices")
    assert (waits.kind, waits.status) == ("ip", 3)
    polled = device.says("PBM", crafting.POLL_REQ, poll(0), transaction, answers=waits.nonce)
    assert scene.send(polled, "devices").kind == "pollRep"
    another = device.says("PBM", crafting.IR, Template(device.name, new_key()).body(), fresh())
    assert refused(scene.send(another, "devices"))[1] == "token_refused"
    # Nobody does: the token has its use again, and the same message goes on.
    scene.site.clock.ahead = 2 * reconcile.PATIENCE
    assert reconcile.settle(scene.site.desk, CLOCKWORK, now=scene.site.clock()) == 1
    assert refused(scene.send(polled, "devices")) == _UNKNOWN
    made = scene.send(message, "devices").certificate
    assert made is not None
    assert scene.send(polled, "devices").certificate == made
    end_unconfirmed(scene)
    assert on_record(scene, made).status == ("valid" if implicit else "revoked")


# who revokes what


@pytest.mark.parametrize(
    ("reason", "stands"),
    [(6, False), (8, False), (7, False), (2, False), (1 << 70, False), (4, True)],
)
def test_reasons_that_a_device_may_give(
    scene: Scene, device: Device, reason: int, stands: bool
) -> None:
    body = crafting.revocation(device.certificate, reason)
    told = scene.send(device.says("signature", crafting.RR, body, fresh()), "devices")
    found = on_record(scene, device.certificate)
    if stands:
        assert (told.kind, told.status, found.reason) == ("rp", 0, "superseded")
        return
    assert (told.kind, *refused(told)) == ("rp", {Failure.BAD_REQUEST}, "revocation_reason_unknown")
    assert found.status == "valid"


def test_nobody_revokes_by_a_number_alone(scene: Scene, device: Device) -> None:
    """Its own number under another issuer's name, none, and numbers that are none."""
    known = x509.load_der_x509_certificate(device.certificate)
    issuer = der.tlv(0xA3, known.issuer.public_bytes())
    number = b"\x81" + der.integer(known.serial_number)[1:]
    for template in (
        number + _OTHER_ISSUER,
        number,
        issuer,
        issuer + b"\x81\x00",
        issuer + b"\x81\x01\xff",
    ):
        body = sequence(sequence(sequence(template)))
        told = scene.send(device.says("signature", crafting.RR, body, fresh()), "devices")
        assert refused(told)[0] <= {Failure.BAD_CERT_ID, Failure.BAD_CERT_TEMPLATE}
    assert on_record(scene, device.certificate).status == "valid"


# what is made to hurt


def test_many_certificates_beside_a_message_are_refused(scene: Scene, device: Device) -> None:
    message = device.says("PBM", crafting.P10CR, csr(device.name), fresh())
    small = der.tlv(der.SEQUENCE, b"\x05\x00")
    assert (
        refused(scene.send(replace(message, certificates=[small] * 1000), "devices")) == _MALFORMED
    )
    whole = device.certificate
    assert (
        refused(scene.send(replace(message, certificates=[whole] * 1000), "devices")) == _MALFORMED
    )
    assert (
        scene.send(replace(message, certificates=[small] * 50), "devices").certificate is not None
    )


@pytest.mark.parametrize("tag", [der.SEQUENCE, 0xA0, 0x31])
def test_depth_does_not_matter(scene: Scene, device: Device, tag: int) -> None:
    deep = b""
    while len(deep) < 40_000:
        deep = der.tlv(tag, deep)
    body = Template(device.name, new_key(), extensions=extension("2a0304", deep)).body()
    for kind in (
        crafting.IR,
        crafting.P10CR,
        crafting.RR,
        crafting.GENM,
        crafting.CERT_CONF,
        crafting.POLL_REQ,
    ):
        told = scene.send(device.says("PBM", kind, sequence(deep), fresh()), "devices")
        assert told.certificate is None
    told = scene.send(device.says("PBM", crafting.IR, body, fresh()), "devices")
    assert told.kind in {"ip", "error"}
    before = Template(device.name, new_key(), before=der.tlv(0xA3, deep)).body()
    told = scene.send(device.says("PBM", crafting.IR, before, fresh()), "devices")
    assert told.kind in {"ip", "error"}
    sender = der.tlv(0xA4, deep)
    told = scene.send(
        device.says("PBM", crafting.GENM, b"\x30\x00", fresh(), sender=sender), "devices"
    )
    assert told.kind == "genp"


def test_lengths_are_definite(scene: Scene, device: Device) -> None:
    good = device.says("PBM", crafting.P10CR, csr(device.name), fresh()).der()
    inside = good[der.read(good, 0).content :]
    for bad in (
        b"\x30\x80" + inside + b"\x00\x00",
        b"\x30\x85\x00\x00\x00\x00" + bytes([len(inside) & 0xFF]) + inside,
        b"\x30\x84\xff\xff\xff\xff" + inside,
        b"\x30\x81",
        good + b"\x00",
        good[:-1],
    ):
        assert refused(scene.post(bad, "devices")) == _MALFORMED


@pytest.mark.parametrize("version", [0, 1, 4, 9, 1 << 64])
def test_versions_that_nobody_speaks(scene: Scene, device: Device, version: int) -> None:
    message = device.says("PBM", crafting.P10CR, csr(device.name), fresh(), version=version)
    assert refused(scene.send(message, "devices")) == (
        {Failure.UNSUPPORTED_VERSION},
        "cmp_version_unsupported",
    )


@pytest.mark.parametrize("pbmac1", [False, True])
@pytest.mark.parametrize("rounds", [0, 99, 10_001, 1 << 31, 1 << 200])
def test_nobody_makes_us_count(scene: Scene, device: Device, rounds: int, pbmac1: bool) -> None:
    """Iterations are counted before they are made."""
    way = "PBMAC1" if pbmac1 else "PBM"
    message = device.says(way, crafting.P10CR, csr(device.name), fresh())
    asked = replace(message, claims=rounds)
    assert refused(scene.send(asked, "devices")) == ({Failure.BAD_ALG}, "cmp_algorithm_refused")
    assert scene.send(message, "devices").certificate is not None


@pytest.mark.parametrize(
    "text",
    [
        "99991231235959Z",
        "00010101000000Z",
        "20261130",
        "20261301000000Z",
        "20261130120000.5Z",
        "20261130120000+0100",
        "",
    ],
)
def test_times_that_are_none_of_now(scene: Scene, device: Device, text: str) -> None:
    message = device.says("PBM", crafting.P10CR, csr(device.name), fresh(), time=text.encode())
    assert refused(scene.send(message, "devices"))[0] <= {
        Failure.BAD_TIME,
        Failure.BAD_DATA_FORMAT,
    }
