"""ACME: revocation (RFC 8555 §7.6) and renewal information (RFC 9773)."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc.jwk import ECKey, RSAKey

from pki import authorities, issuance, revocation
from pki.certificates import find
from pki.issuance import IssueRequest
from pki.x509 import serials
from tests.api.acme.client import Acme, b64, csr, external, kind
from tests.api.acme.conftest import World
from tests.api.acme.test_orders import issued, prove
from tests.api.serving import Client, Reply
from tests.api.site import CONSOLE


def revoke(acme: Acme, certificate: x509.Certificate, **more: Any) -> Reply:
    der = b64(certificate.public_bytes(Encoding.DER))
    return acme.post(acme.directory["revokeCert"], {"certificate": der, **more})


def status(world: World, certificate: x509.Certificate) -> tuple[str, str | None]:
    found = find(world.serving.site.desk, serials.to_hex(certificate.serial_number))
    return found.status, found.reason


def test_who_ordered_it_revokes_it(world: World, acme: Acme) -> None:
    _, (made, _) = issued(world, acme, "revoked.example")
    assert revoke(acme, made, reason=4).status == 200
    assert status(world, made) == ("revoked", "superseded")
    again = revoke(acme, made)
    assert (again.status, kind(again)) == (400, "alreadyRevoked")


KEYS: list[tuple[str, Callable[[], Any], Any]] = [
    ("ES256", lambda: ec.generate_private_key(ec.SECP256R1()), ECKey),
    ("ES384", lambda: ec.generate_private_key(ec.SECP384R1()), ECKey),
    ("RS256", lambda: rsa.generate_private_key(65537, 3072), RSAKey),
]


@pytest.mark.parametrize(("algorithm", "make", "kind_of"), KEYS, ids=[each[0] for each in KEYS])
def test_its_own_key_revokes_it(
    world: World, anybody: Acme, algorithm: str, make: Any, kind_of: Any
) -> None:
    key = make()
    order = anybody.order("key.example")
    prove(world, anybody, order)
    done = anybody.finalize(order, csr(["key.example"], key=key))
    assert done.status == 200, done
    made, _ = x509.load_pem_x509_certificates(anybody.post(done.json["certificate"]).body)
    holder = Acme(anybody.client, "open", key=kind_of.import_key(key), algorithm=algorithm)
    assert revoke(holder, made, reason=1).status == 200
    assert status(world, made) == ("revoked", "keyCompromise")


def test_who_has_proved_all_of_its_names_revokes_it(
    world: World, acme: Acme, client: Client
) -> None:
    _, (made, _) = issued(world, acme, "moved.example", "moved-b.example")
    heir = Acme(client)
    heir.register(external(world.serving))
    prove(world, heir, heir.order("moved.example"))
    refused = revoke(heir, made)
    assert (refused.status, kind(refused)) == (403, "unauthorized")
    prove(world, heir, heir.order("moved-b.example"))
    assert revoke(heir, made).status == 200


def test_proofs_at_another_endpoint_do_not_end_a_certificate(
    world: World, acme: Acme, anybody: Acme
) -> None:
    """Nor one that was issued through no endpoint of ACME at all."""
    _, (made, _) = issued(world, acme, "elsewhere.example")
    site = world.serving.site
    asked = IssueRequest(csr(["elsewhere.example"]), "gateway", "issuing")
    other = issuance.issue(site.desk, CONSOLE, asked, now=site.clock())
    prove(world, anybody, anybody.order("elsewhere.example"))
    for each in (made, x509.load_der_x509_certificate(other.der)):
        reply = revoke(anybody, each)
        assert (reply.status, kind(reply)) == (403, "unauthorized")
        assert status(world, each)[0] == "valid"


def test_an_authority_is_nobody_s_to_revoke(world: World, acme: Acme) -> None:
    _, (_, issuer) = issued(world, acme, "kept.example")
    reply = revoke(acme, issuer)
    assert (reply.status, kind(reply)) == (404, "malformed")


def test_the_service_s_own_certificates_are_not_revoked(world: World, acme: Acme) -> None:
    site = world.serving.site
    shown = x509.load_pem_x509_certificates(site.credential().pem.reveal())[0]
    reply = revoke(acme, shown)
    assert (reply.status, kind(reply)) == (403, "unauthorized")


@pytest.mark.parametrize(
    ("reason", "problem"),
    [
        (2, "badRevocationReason"),
        (6, "badRevocationReason"),
        (7, "badRevocationReason"),
        (8, "badRevocationReason"),
        (10, "badRevocationReason"),
        (99, "badRevocationReason"),
        (-1, "badRevocationReason"),
        ("keyCompromise", "malformed"),
        (True, "malformed"),
    ],
)
def test_reasons_that_nobody_gives(world: World, acme: Acme, reason: object, problem: str) -> None:
    _, (made, _) = issued(world, acme, "reason.example")
    reply = revoke(acme, made, reason=reason)
    assert (reply.status, kind(reply)) == (400, problem)
    assert status(world, made)[0] == "valid"


def test_what_is_no_certificate_of_ours(world: World, acme: Acme) -> None:
    url = acme.directory["revokeCert"]
    for sent in ("", "AAAA", "x=", b64(b"0\x03\x02\x01\x00")):
        reply = acme.post(url, {"certificate": sent})
        assert (reply.status, kind(reply)) == (400, "malformed"), sent
    from tests.api.acme.world import self_signed

    foreign = x509.load_pem_x509_certificates(self_signed(["a.example"], None))[0]
    reply = revoke(acme, foreign)
    assert (reply.status, kind(reply)) == (404, "malformed")


def identifier(certificate: x509.Certificate) -> str:
    """RFC 9773 §4.1."""
    known = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    number = certificate.serial_number
    serial = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return f"{b64(known.key_identifier or b'')}.{b64(serial)}"


def window(acme: Acme, certificate: x509.Certificate) -> tuple[datetime, datetime]:
    url = acme.directory["renewalInfo"] + "/" + identifier(certificate)
    reply = acme.client.get("/" + url.split("/", 3)[3])
    assert reply.status == 200, reply
    assert int(reply.headers["retry-after"]) > 0
    shown = reply.json["suggestedWindow"]
    start, end = (datetime.fromisoformat(shown[each]) for each in ("start", "end"))
    assert start < end
    return start, end


def test_a_certificate_is_to_be_renewed_before_it_ends(world: World, acme: Acme) -> None:
    _, (made, _) = issued(world, acme, "renew.example")
    start, end = window(acme, made)
    assert world.serving.site.clock() < start
    assert end < made.not_valid_after_utc


def test_one_that_was_revoked_is_to_be_renewed_at_once(world: World, acme: Acme) -> None:
    _, (made, _) = issued(world, acme, "now.example")
    site = world.serving.site
    serial = serials.to_hex(made.serial_number)
    revocation.revoke(site.desk, CONSOLE, serial, "superseded", now=site.clock())
    _, end = window(acme, made)
    assert end <= site.clock()


@pytest.mark.parametrize("name", ["x", "AAAA.AAAA", "AAAA.", ".AAAA", "A=.AAAA", "a.b.c", "A.A"])
def test_there_is_no_such_certificate(client: Client, name: str) -> None:
    reply = client.get(f"/acme/gateway/renewal-info/{name}")
    assert (reply.status, kind(reply)) in {(404, "malformed"), (400, "malformed")}


def test_the_key_of_the_issuer_counts(world: World, acme: Acme) -> None:
    _, (made, _) = issued(world, acme, "issuer.example")
    serial = identifier(made).partition(".")[2]
    root = authorities.load(world.serving.site.desk, "root").certificate
    digest = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    reply = acme.client.get(f"/acme/gateway/renewal-info/{b64(digest)}.{serial}")
    assert reply.status == 404


def test_an_order_replaces_a_certificate_once(world: World, acme: Acme, client: Client) -> None:
    _, (made, _) = issued(world, acme, "again.example")
    name = identifier(made)
    order, (renewed, _) = issued(world, acme, "again.example", replaces=name)
    assert acme.post(order.headers["location"]).json["replaces"] == name
    reply = acme.order("again.example", replaces=name)
    assert (reply.status, kind(reply)) == (409, "alreadyReplaced")
    assert acme.order("again.example", replaces=identifier(renewed)).status == 201
    other = Acme(client)
    other.register(external(world.serving))
    reply = other.order("again.example", replaces=identifier(renewed))
    assert (reply.status, kind(reply)) == (400, "malformed")
