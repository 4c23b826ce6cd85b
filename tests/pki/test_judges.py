"""Other people's verifiers and linters judge what we issue: every profile, every kind of key (issue 2, done when 3)."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from sqlalchemy import select

from hsm.keys import new_key
from hsm.ports import KeyAlgorithm
from pki import authorities, issuance, publication, ra_credential, revocation, tls_credential
from pki.desk import Desk
from pki.endpoints import Endpoint, ScepDoor
from pki.issuance import IssuedCertificate, IssueRequest
from pki.ocsp_responder import OcspResponder
from pki.x509.builtin import builtin_profiles
from store.engine import open_store
from store.tables import ocsp_signers
from tests import judges
from tests.fixtures.desk import CLOCKWORK, NOW, OPERATOR, SHARDS, Founding, drain, reopened
from tests.judges import Finding, Refused
from tests.pki.acts import certificate_of, issue, ocsp_request
from tests.pki.requests import DER, name, request
from tests.pki.test_clockwork import Blobs

ALGORITHMS: tuple[KeyAlgorithm, ...] = ("ec-p256", "ec-p384", "rsa-3072", "ed25519")
SHA1, SHA256 = hashes.SHA1(), hashes.SHA256()  # noqa: S303 - CertID hashes
NAMES = {
    "gateway": [
        "dns:gw1.example.com",
        "ip:192.0.2.1",
        "email:gw@example.com",
        "dn:CN=gw1,O=Example",
    ],
    "gateway-sharded": ["dns:gw1.example.com", "uri:https://gw1.example.com/"],
    "host": ["dns:host.example.com", "ip:2001:db8::1"],
    "user": ["email:carol@example.com"],
    "windows-gateway": ["dns:gw1.example.com"],
    "strict-rfc4945": ["dns:gw1.example.com"],
    "cnsa": ["dns:gw1.example.com"],
    "network-device": ["dns:r1.example.com"],
    "gateway-channel": ["uri:https://channel.ikewarden.invalid/0123456789abcdef0123456789abcdef"],
}
# What an authority's key rules out: Windows, Cisco and CNSA know no EdDSA, CNSA wants P-384 or RSA.
IMPOSSIBLE = {
    ("ed25519", "windows-gateway"),
    ("ed25519", "network-device"),
    ("ed25519", "cnsa"),
    ("ec-p256", "cnsa"),
}
CASES = [
    pytest.param(algorithm, profile, id=f"{algorithm}-{profile}")
    for algorithm in ALGORITHMS
    for profile in NAMES
    if (algorithm, profile) not in IMPOSSIBLE
]


@pytest.fixture(scope="module")
def village(
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_template: object,
    foundings: Callable[[KeyAlgorithm], Founding],
) -> Iterator[Callable[[KeyAlgorithm], Desk]]:
    """A desk for each kind of authority's key. The database does not matter here."""
    from pathlib import Path

    desks: dict[KeyAlgorithm, Desk] = {}

    def get(algorithm: KeyAlgorithm) -> Desk:
        if algorithm not in desks:
            path = tmp_path_factory.mktemp("judges") / "records.db"
            path.write_bytes(Path(str(sqlite_template)).read_bytes())
            path.chmod(0o600)
            desks[algorithm] = foundings(algorithm).into(open_store(f"sqlite:///{path}"))
        return desks[algorithm]

    yield get
    for each in desks.values():
        each.store.close()


def full(desk: Desk, authority: str) -> bytes:
    return publication.published(desk, authority, "full").der


def shard(desk: Desk, serial: str) -> bytes:
    return publication.published(desk, "sharded", "shard", int(serial, 16) % SHARDS).der


def issued(desk: Desk, profile: str, algorithm: KeyAlgorithm = "ec-p256") -> IssuedCertificate:
    key = new_key("ec-p384" if profile == "cnsa" else algorithm)
    csr = request(NAMES[profile], key=key, subject=name(C="DE", O="Example", CN="Carol"))
    authority = "sharded" if profile == "gateway-sharded" else "issuing"
    asked = IssueRequest(csr, profile, authority=authority)
    return issuance.issue(desk, OPERATOR, asked, now=NOW)


def no_complaints(*reports: list[Finding]) -> None:
    assert [finding for report in reports for finding in judges.grave(report)] == []


def test_every_profile_that_can_be_asked_for_is_judged() -> None:
    public = {profile.name for profile in builtin_profiles().values() if not profile.internal}
    assert set(NAMES) == public - {
        "post-quantum"
    }  # which has judges of its own: test_post_quantum.py


@pytest.mark.parametrize(("algorithm", "profile"), CASES)
def test_certificates_of_every_profile(
    village: Callable[[KeyAlgorithm], Desk], algorithm: KeyAlgorithm, profile: str
) -> None:
    desk = village(algorithm)
    made = issued(desk, profile)
    authority = made.authority.name
    root, between = certificate_of(desk, "root"), certificate_of(desk, authority)
    lists = [full(desk, "root"), full(desk, authority)]
    judge_chain(made.der, root, between, lists)
    judges.strongswan_verify(made.der, authorities=[root, between], crls=lists)
    no_complaints(judges.pkilint_certificate(made.der), judges.pkilint_chain(between, made.der))
    if profile == "gateway-sharded":
        lists = [full(desk, "root"), shard(desk, made.serial)]
        judge_chain(made.der, root, between, lists)


def judge_chain(leaf: bytes, root: bytes, between: bytes, lists: list[bytes]) -> None:
    for options in (("-crl_check",), ("-crl_check_all", "-x509_strict"), ("-x509_strict",)):
        crls = lists if "crl" in options[0] else []
        judges.openssl_verify(leaf, *options, root=root, between=[between], crls=crls)


@pytest.mark.parametrize("algorithm", ["ec-p256", "ec-p384", "ec-p521", "rsa-3072", "ed25519"])
def test_keys_of_every_kind(
    village: Callable[[KeyAlgorithm], Desk], algorithm: KeyAlgorithm
) -> None:
    desk = village("ec-p256")
    made = issued(desk, "gateway", algorithm)
    root, between = certificate_of(desk, "root"), certificate_of(desk, "issuing")
    judge_chain(made.der, root, between, [full(desk, "root"), full(desk, "issuing")])
    no_complaints(judges.pkilint_certificate(made.der), judges.pkilint_chain(between, made.der))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_services_own_certificates(
    village: Callable[[KeyAlgorithm], Desk], algorithm: KeyAlgorithm
) -> None:
    desk = village(algorithm)
    root = certificate_of(desk, "root")
    no_complaints(judges.pkilint_certificate(root))
    judges.openssl_verify(root, "-x509_strict", root=root)
    for authority in ("issuing", "sharded"):
        own = certificate_of(desk, authority)
        judges.openssl_verify(
            own, "-x509_strict", "-crl_check", root=root, crls=[full(desk, "root")]
        )
        judges.strongswan_verify(own, authorities=[root], crls=[full(desk, "root")])
        no_complaints(judges.pkilint_certificate(own), judges.pkilint_chain(root, own))
    with desk.store.read() as connection:
        signers = connection.execute(select(ocsp_signers)).all()
    by_id = {authorities.load(desk, each).id: each for each in authorities.all_names(desk)}
    for signer in signers:
        issuer = certificate_of(desk, by_id[signer.authority_id])
        judges.openssl_verify(
            signer.certificate,
            *("-x509_strict", "-purpose", "ocsphelper"),
            root=root,
            between=[issuer],
        )
        no_complaints(
            judges.pkilint_certificate(signer.certificate),
            judges.pkilint_chain(issuer, signer.certificate),
        )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_services_tls_certificate(
    village: Callable[[KeyAlgorithm], Desk], algorithm: KeyAlgorithm
) -> None:
    desk, blobs = village(algorithm), Blobs()
    tls_credential.ensure(desk, CLOCKWORK, blobs, ("pki.example.com", "127.0.0.1"), now=NOW)
    held = tls_credential.current(desk, CLOCKWORK, blobs).certificate.public_bytes(DER)
    root, between = certificate_of(desk, "root"), certificate_of(desk, "issuing")
    judge_chain(held, root, between, [full(desk, "root"), full(desk, "issuing")])
    no_complaints(judges.pkilint_certificate(held), judges.pkilint_chain(between, held))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_registration_authority_of_scep(
    village: Callable[[KeyAlgorithm], Desk], algorithm: KeyAlgorithm
) -> None:
    endpoints = {"devices": Endpoint("devices", "network-device", scep=ScepDoor())}
    desk = reopened(village(algorithm), blobs=Blobs(), endpoints=endpoints)
    ra_credential.ensure(desk, CLOCKWORK, now=NOW)
    [made] = ra_credential.held(desk, CLOCKWORK, now=NOW).all
    own = made.certificate.public_bytes(DER)
    root, between = certificate_of(desk, "root"), certificate_of(desk, "issuing")
    judge_chain(own, root, between, [full(desk, "root"), full(desk, "issuing")])
    no_complaints(judges.pkilint_certificate(own), judges.pkilint_chain(between, own))


def test_what_pkilint_says_and_we_do_on_purpose(
    village: Callable[[KeyAlgorithm], Desk],
) -> None:
    # pkilint wants two labels in every dNSName, and `localhost` is a name of the default installation; an address
    # among the dNSNames is what Windows looks for; and it knows the schemes of the web only.
    desk = village("ec-p256")
    between = [certificate_of(desk, "issuing")]
    for names, profile, code in (
        (["dns:localhost"], "service-tls", "pkix.invalid_domain_name_syntax"),
        (
            ["ip:192.0.2.1", "dns:gw1.example.com"],
            "windows-gateway",
            "pkix.invalid_domain_name_syntax",
        ),
        (["dns:gw1.example.com", "uri:spiffe://a.example/x"], "host", "pkix.invalid_uri_syntax"),
    ):
        made = issue(desk, names, profile, actor=CLOCKWORK)
        found = judges.grave(judges.pkilint_certificate(made.der))
        assert [each.code for each in found] == [code]
        judges.openssl_verify(
            made.der, "-x509_strict", root=certificate_of(desk, "root"), between=between
        )


# Revoked


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_revoked_certificates_are_refused(
    village: Callable[[KeyAlgorithm], Desk], algorithm: KeyAlgorithm
) -> None:
    desk = village(algorithm)
    root = certificate_of(desk, "root")
    for profile, authority in (("gateway", "issuing"), ("gateway-sharded", "sharded")):
        gone, good = issued(desk, profile), issued(desk, profile)
        revocation.revoke(desk, OPERATOR, gone.serial, "keyCompromise", now=NOW)
        drain(desk, NOW)
        between = certificate_of(desk, authority)
        for lists in (
            [full(desk, "root"), full(desk, authority)],
            [full(desk, "root"), shard(desk, gone.serial), shard(desk, good.serial)],
        ):
            if authority == "issuing" and len(lists) == 3:
                continue
            judge_chain(good.der, root, between, lists)
            with pytest.raises(Refused, match="certificate revoked"):
                judges.openssl_verify(
                    gone.der, "-crl_check", root=root, between=[between], crls=lists
                )
        lists = [full(desk, "root"), full(desk, authority)]
        judges.strongswan_verify(good.der, authorities=[root, between], crls=lists)
        with pytest.raises(Refused, match="revoked"):
            judges.strongswan_verify(gone.der, authorities=[root, between], crls=lists)


def test_a_shard_tells_nothing_about_another_shards_certificates(
    village: Callable[[KeyAlgorithm], Desk],
) -> None:
    desk = village("ec-p256")
    made = issued(desk, "gateway-sharded")
    other = (int(made.serial, 16) + 1) % SHARDS
    wrong = publication.published(desk, "sharded", "shard", other).der
    with pytest.raises(Refused, match=r"(?i)different CRL scope"):
        judges.openssl_verify(
            made.der,
            "-crl_check",
            root=certificate_of(desk, "root"),
            between=[certificate_of(desk, "sharded")],
            crls=[wrong],
        )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_deltas_bring_an_older_list_up_to_date(
    village: Callable[[KeyAlgorithm], Desk], algorithm: KeyAlgorithm
) -> None:
    desk = village(algorithm)
    gone, held = issued(desk, "gateway-sharded"), issued(desk, "gateway-sharded")
    revocation.hold(desk, OPERATOR, held.serial, now=NOW)
    drain(desk, NOW)
    base = full(desk, "sharded")
    at = NOW + timedelta(seconds=1)
    revocation.revoke(desk, OPERATOR, gone.serial, "keyCompromise", now=at)
    revocation.release(desk, OPERATOR, held.serial, now=at)
    drain(desk, at)
    delta = publication.published(desk, "sharded", "delta").der
    root, between = certificate_of(desk, "root"), certificate_of(desk, "sharded")
    later = str(int((NOW + timedelta(minutes=1)).timestamp()))

    def verify(leaf: bytes, *lists: bytes) -> None:
        judges.openssl_verify(
            leaf,
            *("-crl_check", "-use_deltas", "-attime", later),
            root=root,
            between=[between],
            crls=lists,
        )

    verify(gone.der, base)
    with pytest.raises(Refused, match="certificate revoked"):
        verify(gone.der, base, delta)
    with pytest.raises(Refused, match="certificate revoked"):
        verify(held.der, base)
    verify(held.der, base, delta)
    verify(held.der, full(desk, "sharded"), delta)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_lists_have_no_faults(
    village: Callable[[KeyAlgorithm], Desk], algorithm: KeyAlgorithm
) -> None:
    desk = village(algorithm)
    for reason in ("keyCompromise", "superseded", "unspecified"):
        for profile in ("gateway", "gateway-sharded"):
            made = issued(desk, profile)
            lost = NOW - timedelta(days=1)
            revocation.revoke(desk, OPERATOR, made.serial, reason, now=NOW, invalidity_date=lost)
    drain(desk, NOW)
    for authority in ("root", "issuing", "sharded"):
        for kind in ("full", "delta"):
            made_list = publication.published(desk, authority, kind).der
            no_complaints(judges.pkilint_crl(made_list))
            judges.openssl_crl(made_list, issuer=certificate_of(desk, authority))
            judges.strongswan_print(made_list, "crl")
    for number in range(SHARDS):
        no_complaints(
            judges.pkilint_crl(publication.published(desk, "sharded", "shard", number).der)
        )


# OCSP


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("digest", [SHA1, SHA256], ids=["sha1", "sha256"])
def test_ocsp_answers(
    village: Callable[[KeyAlgorithm], Desk],
    algorithm: KeyAlgorithm,
    digest: hashes.HashAlgorithm,
) -> None:
    desk = village(algorithm)
    responder = OcspResponder(reopened(desk))
    root, between = certificate_of(desk, "root"), certificate_of(desk, "issuing")
    good, gone, held = (issued(desk, "gateway") for _ in range(3))
    revocation.revoke(desk, OPERATOR, gone.serial, "affiliationChanged", now=NOW)
    revocation.hold(desk, OPERATOR, held.serial, now=NOW)
    for made, wanted in (
        (good, "good"),
        (gone, "revoked affiliationChanged"),
        (held, "revoked certificateHold"),
        (never_issued(desk), "unknown"),
    ):
        for nonce in (None, b"0123456789abcdef"):
            body = responder.answer("issuing", ocsp_request(made, digest, nonce), NOW).body
            said = judges.openssl_ocsp(
                body, leaf=made.der, issuer=between, root=root, digest=digest.name
            )
            assert said == wanted
            no_complaints(judges.pkilint_ocsp(body))


def never_issued(desk: Desk) -> IssuedCertificate:
    """A certificate that the authority's key signed behind our back."""
    from dataclasses import replace

    from tests.fixtures.desk import custody

    honest = issued(desk, "gateway")
    owner = authorities.load(desk, "issuing")
    key = custody(desk).raw[owner.key_uri.removeprefix("fake:")]
    old = x509.load_der_x509_certificate(honest.der)
    builder = x509.CertificateBuilder(
        issuer_name=old.issuer,
        subject_name=old.subject,
        public_key=old.public_key(),
        serial_number=old.serial_number ^ 1,
        not_valid_before=old.not_valid_before_utc,
        not_valid_after=old.not_valid_after_utc,
        extensions=list(old.extensions),
    )
    forged = builder.sign(key, old.signature_hash_algorithm)  # type: ignore[arg-type]  # our own hash
    return replace(
        honest,
        der=forged.public_bytes(DER),
        serial=format(forged.serial_number, "032x"),
    )


def test_openssl_itself_asks_and_understands(village: Callable[[KeyAlgorithm], Desk]) -> None:
    import subprocess
    import tempfile
    from pathlib import Path

    desk = village("ec-p256")
    made = issued(desk, "gateway")
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for what, der in (("leaf", made.der), ("issuer", certificate_of(desk, "issuing"))):
            paths[what] = Path(folder) / f"{what}.pem"
            pem = x509.load_der_x509_certificate(der)
            from cryptography.hazmat.primitives.serialization import Encoding

            paths[what].write_bytes(pem.public_bytes(Encoding.PEM))
        asked = Path(folder) / "request.der"
        command = ["openssl", "ocsp", "-issuer", str(paths["issuer"]), "-cert", str(paths["leaf"])]
        subprocess.run([*command, "-reqout", str(asked)], check=True, capture_output=True)
        body = OcspResponder(desk).answer("issuing", asked.read_bytes(), NOW).body
    answer = ocsp.load_der_ocsp_response(body)
    assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce)
