"""What is said of certificates: validity, signatures, lint by the dialects in use, issuers, and keys that fit."""

import datetime as dt
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ike.audit import certificates, keys
from ike.audit.certificates import CertificateFacts, dialects
from ike.audit.values import Finding, Policy, Role, Severity
from ike.secrets.reading import Found
from ike.secrets.values import Dialect
from tests.ike.audit.premises import NOW, RFC, Premises
from tests.x509 import workshop

CA = workshop.ec_key(number=1)


@pytest.fixture
def host(tmp_path: Path) -> Premises:
    return Premises(tmp_path)


def judged(host: Premises, *paths: str, policy: Policy = RFC, **given) -> list[Finding]:
    facts, problems = keys.look(host.files, host.discovered(*paths, **given))
    assert list(problems) == []
    (certificates,) = (each for each in facts if isinstance(each, CertificateFacts))
    return list(certificates.judge(policy, NOW))


def rules(findings: list[Finding]) -> list[str]:
    """Rules, but for what would be better only."""
    return sorted(each.rule.id for each in findings if each.weight is not Severity.INFO)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def key_pem(key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def put_gateway(host: Premises, certificate: x509.Certificate, key=None) -> None:
    host.put("/etc/swanctl/x509/gw1.pem", pem(certificate), Role.CERTIFICATE)
    host.put("/etc/swanctl/private/gw1.pem", key_pem(key or workshop.ec_key()), Role.KEY)
    host.put("/etc/swanctl/x509ca/ca.pem", pem(workshop.authority()), Role.TRUST)


@pytest.mark.parametrize("profile", ["gateway", "host"])
def test_certificates_as_our_profiles_make_them_are_not_found(host: Premises, profile: str) -> None:
    put_gateway(host, workshop.end_entity(profile))
    assert judged(host) == []


@pytest.mark.parametrize(
    ("days", "expected"),
    [(-1, ["certificate-expired"]), (29, ["certificate-expiring"]), (31, [])],
)
def test_the_end_of_validity(host: Premises, days: int, expected: list[str]) -> None:
    until = NOW + dt.timedelta(days=days)
    put_gateway(host, workshop.end_entity(not_before=NOW - dt.timedelta(days=90), not_after=until))
    assert rules(judged(host)) == expected
    if days == 29:
        assert rules(judged(host, policy=Policy(expiring_days=20))) == []


def test_an_expired_certificate_of_a_peer_weighs_less(host: Premises) -> None:
    expired = workshop.end_entity(
        public_key=workshop.ec_key(number=7).public_key(),
        not_before=NOW - dt.timedelta(days=90),
        not_after=NOW - dt.timedelta(seconds=1),
    )
    put_gateway(host, workshop.end_entity())
    host.put("/etc/swanctl/x509/peer.pem", pem(expired), Role.CERTIFICATE)
    (found,) = judged(host)
    assert (found.rule.id, found.weight) == ("certificate-expired", Severity.LOW)


def test_an_authority_that_has_expired(host: Premises) -> None:
    old = workshop.authority(not_before=NOW - dt.timedelta(days=9), not_after=NOW - dt.timedelta(1))
    host.put("/etc/swanctl/x509ca/ca.pem", pem(old), Role.TRUST)
    assert rules(judged(host)) == ["certificate-expired"]


def test_a_certificate_of_tomorrow(host: Premises) -> None:
    put_gateway(host, workshop.end_entity(not_before=NOW + dt.timedelta(hours=1)))
    assert rules(judged(host)) == ["certificate-not-yet-valid"]


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(
        ["openssl", *words],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(("digest", "weight"), [("sha1", Severity.MEDIUM), ("md5", Severity.HIGH)])
def test_broken_hashes_are_told_but_not_of_a_root(
    host: Premises, tmp_path: Path, digest: str, weight: Severity
) -> None:
    new = ("-newkey", "rsa:2048", "-nodes", f"-{digest}")
    openssl(
        tmp_path, "req", "-x509", *new, "-keyout", "root.key", "-out", "root.pem", "-subj", "/CN=R"
    )
    openssl(tmp_path, "req", *new, "-keyout", "gw.key", "-out", "gw.csr", "-subj", "/CN=gw1")
    by = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", f"-{digest}")
    openssl(tmp_path, "x509", "-req", "-in", "gw.csr", *by, "-out", "gw.pem")
    host.there("/root.pem", Role.TRUST)
    host.there("/gw.pem", Role.CERTIFICATE)
    found = [
        each
        for each in judged(host)
        if each.rule.id in ("certificate-weak-signature", "certificate-issuer-mismatch")
    ]
    assert [(each.rule.id, each.place.path, each.weight) for each in found] == [
        ("certificate-weak-signature", "/gw.pem", weight)
    ]


def test_a_self_signed_certificate(host: Premises) -> None:
    own = workshop.ec_key()
    name = workshop.name(cn="gw1.example.com")
    host.put(
        "/etc/ipsec.d/certs/gw1.pem",
        pem(workshop.end_entity(subject=name, issuer=name, signer=own)),
        Role.CERTIFICATE,
    )
    assert "certificate-self-signed" in rules(judged(host))


def test_what_the_daemon_in_use_refuses_is_told(host: Premises) -> None:
    # Without a subjectAltName the identity is the subject alone.
    bare = workshop.end_entity(plus=[(workshop.dns("*.example.com"), False)])
    put_gateway(host, bare)
    host.put("/etc/ipsec.secrets", '@gw2 : PSK "x"\n', Role.SECRETS)
    strongswan = judged(host, "/etc/ipsec.secrets", dialect=Dialect.STRONGSWAN)
    libreswan = judged(host, "/etc/ipsec.secrets", dialect=Dialect.LIBRESWAN)
    assert all(each.evidence.startswith("strongswan:") for each in strongswan)
    assert all(each.evidence.startswith("libreswan:") for each in libreswan)
    assert strongswan != libreswan


def test_a_refused_certificate_says_which_rule_and_how_to_mend_it(host: Premises) -> None:
    usage = workshop.key_usage("key_encipherment")
    put_gateway(host, workshop.end_entity(plus=[(usage, True)]))
    found = [each for each in judged(host) if each.rule.id == "certificate-refused"]
    assert any("strongswan.key_usage_forbids_signing" in each.evidence for each in found)
    assert all(each.fix for each in found)
    assert len({each.id for each in found}) == len(found)


def test_dialects_are_those_of_the_configuration_else_strongswan() -> None:
    nothing = Found((), (), (), {})
    assert dialects((nothing,), ()) == ("strongswan",)


def test_a_certificate_whose_issuer_is_not_here(host: Premises) -> None:
    host.put("/etc/swanctl/x509/gw1.pem", pem(workshop.end_entity()), Role.CERTIFICATE)
    assert rules(judged(host)) == []  # a peer's
    host.put("/etc/swanctl/private/gw1.pem", key_pem(workshop.ec_key()))
    assert rules(judged(host)) == ["certificate-without-issuer"]


def test_an_issuer_of_the_name_with_another_key(host: Premises) -> None:
    put_gateway(host, workshop.end_entity())
    impostor = workshop.authority(public_key=workshop.ec_key(number=8).public_key())
    host.put("/etc/swanctl/x509ca/ca.pem", pem(impostor), Role.TRUST)
    assert rules(judged(host)) == ["certificate-issuer-mismatch"]


def test_an_old_issuer_beside_the_new_one_is_fine(host: Premises) -> None:
    put_gateway(host, workshop.end_entity())
    other = workshop.authority(public_key=workshop.ec_key(number=8).public_key())
    host.put("/etc/swanctl/x509ca/old.pem", pem(other), Role.TRUST)
    assert rules(judged(host)) == []


@pytest.mark.parametrize(
    ("key", "certificate"),
    [
        ("gw1.pem", "gw1.pem"),
        ("gw1.key", "gw1.crt"),
        ("gw1Key.pem", "gw1Cert.pem"),
        ("gw1-key.pem", "gw1_cert.pem"),
        ("GW1.key.pem", "gw1.der"),
    ],
)
def test_a_key_that_does_not_fit_the_certificate_named_like_it(
    host: Premises, key: str, certificate: str
) -> None:
    host.put(f"/private/{key}", key_pem(workshop.ec_key(number=9)))
    host.put(f"/certs/{certificate}", pem(workshop.end_entity()), Role.CERTIFICATE)
    assert rules(judged(host)) == ["certificate-key-mismatch"]


def test_a_key_with_a_certificate_of_another_name_fits(host: Premises) -> None:
    host.put("/private/gw1.key", key_pem(workshop.ec_key()))
    other = workshop.end_entity(public_key=workshop.ec_key(number=9).public_key())
    host.put("/certs/gw1.crt", pem(other), Role.CERTIFICATE)
    host.put("/certs/2026.crt", pem(workshop.end_entity()), Role.CERTIFICATE)
    assert "certificate-key-mismatch" not in rules(judged(host))


def test_the_key_of_an_authority_has_no_place_here(host: Premises) -> None:
    put_gateway(host, workshop.end_entity())
    host.put("/root/ca.key", key_pem(CA))
    (found,) = judged(host)
    assert (found.rule.id, found.place.path) == ("authority-key-on-gateway", "/root/ca.key")


def test_certificates_that_are_broken_within_are_told(host: Premises) -> None:
    whole = workshop.end_entity()
    broken = workshop.altered(whole, b"gw1.example.com", b"gw1.example.co\xff")
    host.put("/x509/gw1.pem", pem(broken), Role.CERTIFICATE)
    findings = judged(host)
    assert all("\n" not in each.evidence for each in findings)


def test_names_in_certificates_may_be_anything(host: Premises) -> None:
    named = workshop.end_entity(subject=workshop.name(o="x" * 60, cn="y" * 64))
    host.put("/x509/gw1.pem", pem(named), Role.CERTIFICATE)
    assert all(len(each.evidence) < 1000 for each in judged(host))


def test_a_bundle_is_told_certificate_by_certificate(host: Premises) -> None:
    expired = [
        workshop.authority(
            serial=number,
            subject=workshop.name(cn=f"CA {number}"),
            not_before=NOW - dt.timedelta(days=9),
            not_after=NOW - dt.timedelta(days=1),
        )
        for number in (2**100 + 1, 2**100 + 2)
    ]
    host.put("/etc/swanctl/x509ca/all.pem", b"".join(map(pem, expired)), Role.TRUST)
    findings = [each for each in judged(host) if each.rule.id == "certificate-expired"]
    assert len({each.id for each in findings}) == 2
    assert [each.place.line for each in findings] == [1, 1 + pem(expired[0]).count(b"\n")]


def self_signed(folder: Path, *more: str) -> tuple[bytes, bytes]:
    """A key and its certificate, as `openssl req -x509` makes them: it may sign others, if nothing else is said."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "3650", "-subj", "/CN=gw1", "-keyout", key, "-out", certificate),
            *more,
        ],
        check=True,
        capture_output=True,
    )
    return key.read_bytes(), certificate.read_bytes()


def test_a_certificate_of_a_gateway_that_may_sign_others_is_no_authority(
    host: Premises, tmp_path: Path
) -> None:
    key, certificate = self_signed(tmp_path)
    host.put("/etc/swanctl/private/gw1.pem", key, Role.KEY)
    host.put("/etc/swanctl/x509/gw1.pem", certificate, Role.CERTIFICATE)
    found = {each.rule.id: each for each in judged(host)}
    assert "authority-key-on-gateway" not in found
    told = found["certificate-self-signed"]
    assert (told.place.path, told.weight) == ("/etc/swanctl/x509/gw1.pem", Severity.MEDIUM)
    assert "CA:TRUE" in told.evidence
    assert "CA:FALSE" in told.fix
    # Trusted as an authority here, it is one.
    host.put("/etc/swanctl/x509ca/gw1.pem", certificate, Role.TRUST)
    found = {each.rule.id: each for each in judged(host)}
    assert found["authority-key-on-gateway"].weight is Severity.HIGH


def test_what_has_signed_another_is_an_authority_wherever_it_lies(host: Premises) -> None:
    put_gateway(host, workshop.end_entity())
    host.put("/etc/swanctl/x509/ca.pem", pem(workshop.authority()), Role.CERTIFICATE)
    (host.root / "etc/swanctl/x509ca/ca.pem").unlink()
    items = host.discovered().items
    host._items[:] = [each for each in items if each.role is not Role.TRUST]
    host.put("/root/ca.key", key_pem(CA))
    found = {each.rule.id: each for each in judged(host)}
    assert found["authority-key-on-gateway"].weight is Severity.HIGH


def test_whether_certificates_say_where_they_are_revoked(host: Premises) -> None:
    facts, _ = keys.look(host.files, host.discovered())
    (none,) = (each for each in facts if isinstance(each, CertificateFacts))
    assert not none.revocation_unnamed
    put_gateway(host, workshop.end_entity())
    facts, _ = keys.look(host.files, host.discovered())
    (some,) = (each for each in facts if isinstance(each, CertificateFacts))
    parts = [each.parts for each in some.held if not each.parts.authority]
    assert some.revocation_unnamed != any(each.crl_urls or each.ocsp_urls for each in parts)


def authority_of_itself(number: int) -> tuple[x509.Certificate, object]:
    key = workshop.ec_key(number=number)
    name = workshop.name(cn="all alike")
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    builder = x509.CertificateBuilder(name, name, key.public_key(), number + 1)
    made = (
        builder.not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=300))
        .add_extension(constraints, critical=True)
        .sign(key, hashes.SHA256())
    )
    return made, key


def test_authorities_of_one_name_are_verified_only_so_often(
    host: Premises, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 60
    for number in range(count):
        certificate, key = authority_of_itself(number)
        host.put(f"/etc/swanctl/x509/{number}.pem", pem(certificate), Role.CERTIFICATE)
        host.put(f"/etc/swanctl/private/{number}.pem", key_pem(key), Role.KEY)
    verified = []
    real = certificates._has_signed
    monkeypatch.setattr(
        certificates, "_has_signed", lambda *pair: verified.append(pair) or real(*pair)
    )
    found = rules(judged(host))
    assert len(verified) <= 20 * count
    # Nobody sees whether one of so many has signed another: each is what it says.
    assert found.count("authority-key-on-gateway") == count


def test_a_few_of_one_name_are_known_as_gateways(host: Premises) -> None:
    for number in range(3):
        certificate, key = authority_of_itself(number)
        host.put(f"/etc/swanctl/x509/{number}.pem", pem(certificate), Role.CERTIFICATE)
        host.put(f"/etc/swanctl/private/{number}.pem", key_pem(key), Role.KEY)
    assert rules(judged(host)).count("certificate-self-signed") == 3
