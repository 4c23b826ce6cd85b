"""`cert lint`: verdicts from a file, without a server."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning

from pki.x509.lint import lint, report_document
from pki.x509.profile import DIALECTS
from tests.cli.conftest import credential
from tests.fixtures.served import Served, run


@pytest.fixture(scope="module")
def good(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of our own gateway profile."""
    out = tmp_path_factory.mktemp("good")
    served.json("cert", "issue", "lint.example", "--out", out)
    return out / "lint.example.pem"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A certificate that no IKE daemon should take: no name, no usage, long past its end."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string("CN=\x1b[31mred\x1b[0m")
    begin = datetime.now(UTC) - timedelta(days=900)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "bad.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path


def test_a_good_certificate(good: Path) -> None:
    done = run("cert", "lint", good)
    assert (done.code, done.err) == (0, "")
    for dialect in DIALECTS:
        assert any(line.startswith(dialect) for line in done.out.splitlines())
    assert "CN=lint.example" in done.out


def test_json_is_the_report(good: Path) -> None:
    done = run("cert", "lint", good, "--format", "json")
    assert done.code == 0
    certificate = x509.load_pem_x509_certificate(good.read_bytes())
    assert done.document == report_document(lint(certificate, at=datetime.now(UTC)))
    assert set(done.document["dialects"]) == set(DIALECTS)


def test_only_the_dialects_that_were_asked_for(good: Path, bad: Path) -> None:
    options = ("--dialect", "windows", "--dialect", "strongswan")
    done = run("cert", "lint", good, *options, "--format", "json")
    assert list(done.document["dialects"]) == ["windows", "strongswan"]
    assert run("cert", "lint", bad, "--dialect", "windows").code == 1


def test_a_bad_certificate_ends_with_1_and_says_why(bad: Path) -> None:
    done = run("cert", "lint", bad)
    assert (done.code, done.err) == (1, "")
    assert "FAIL " in done.out
    assert "  Fix: " in done.out
    assert "  Source: " in done.out
    assert "\x1b" not in done.out
    as_json = run("cert", "lint", bad, "--format", "json")
    assert as_json.code == 1
    verdicts = {each["verdict"] for each in as_json.document["dialects"].values()}
    assert "fail" in verdicts


def test_der_pem_with_a_chain_and_standard_input(good: Path, tmp_path: Path) -> None:
    certificate = x509.load_pem_x509_certificate(good.read_bytes())
    expected = run("cert", "lint", good, "--format", "json").document
    der = tmp_path / "x.der"
    der.write_bytes(certificate.public_bytes(Encoding.DER))
    chain = tmp_path / "chain.pem"
    chain.write_bytes(good.read_bytes() + good.with_name("lint.example-chain.pem").read_bytes())
    for path, given in (
        (der, b""),
        (chain, b""),
        ("-", good.read_bytes()),
        ("-", der.read_bytes()),
    ):
        done = run("cert", "lint", path, "--format", "json", given=given)
        assert (done.code, done.document) == (0, expected)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----",
        b"\x30\x82",
        b"\0" * 3_000_000,
    ],
)
def test_what_is_no_certificate_ends_with_2(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    done = run("cert", "lint", path)
    assert (done.code, done.out) == (2, "")
    assert "(certificate_unreadable)" in done.err
    assert run("cert", "lint", "-", given=content).code == 2


def test_a_key_is_no_certificate(tmp_path: Path) -> None:
    _, key = credential(tmp_path / "x")
    assert "(certificate_unreadable)" in run("cert", "lint", key).err


def test_what_the_library_thinks_of_a_certificate_is_not_told(tmp_path: Path) -> None:
    """It warns of a serial number of zero, which RFC 5280 forbids and old CAs have."""
    path = tmp_path / "zero.pem"
    made = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    where = ("-subj", "/CN=zero.example", "-keyout", tmp_path / "key", "-out", path)
    command = ["openssl", "req", *made, "-set_serial", "0", *where]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.warns(CryptographyDeprecationWarning):
        assert x509.load_pem_x509_certificate(path.read_bytes()).serial_number == 0
    done = run("cert", "lint", path)
    assert "zero.example" in done.out
    assert done.err == ""
