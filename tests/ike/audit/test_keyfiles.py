"""Key files as OpenSSL, OpenSSH, NSS and `cryptography` write them, and as nobody should."""

import base64
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, mldsa, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ike.audit import keyfiles, weak_keys
from ike.audit.effort import UNTRIED, Effort
from ike.audit.keyfiles import Key, parse
from ike.secrets.values import Place
from pki.x509 import der
from tests.fixtures.needs import needs_program
from tests.x509 import workshop

PASS = b"a passphrase of the test"
FORMATS = (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL, PrivateFormat.OpenSSH)


@cache
def keys() -> dict[str, object]:
    return {
        "rsa": workshop.rsa_key(),
        "ec": workshop.ec_key(),
        "ed25519": workshop.ed25519_key(),
        "ed448": ed448.Ed448PrivateKey.generate(),
        "x25519": x25519.X25519PrivateKey.generate(),
        "mldsa": mldsa.MLDSA65PrivateKey.generate(),
        "dsa": dsa.generate_private_key(2048),
    }


def spki(key) -> str:
    octets = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return weak_keys.from_spki(octets).digest


def only(octets: bytes) -> Key:
    contents = parse("/key", octets)
    assert contents.problems == []
    assert contents.certificates == []
    (key,) = contents.keys
    return key


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519", "ed448", "x25519", "mldsa", "dsa"])
def test_pkcs8_of_each_kind_is_known_by_its_public_part(kind: str, encoding: Encoding) -> None:
    key = keys()[kind]
    read = only(key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption()))
    assert not read.encrypted
    assert read.form == "PKCS#8"
    # DSA's value is not in the file, and is not calculated: nobody should have such a key.
    assert read.public.digest == ("" if kind == "dsa" else spki(key))


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("kind", ["rsa", "ec", "dsa"])
def test_the_older_forms_are_known(kind: str, encoding: Encoding) -> None:
    key = keys()[kind]
    read = only(key.private_bytes(encoding, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    assert not read.encrypted
    assert read.public.digest == spki(key)


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
def test_openssh_keys_are_known_by_their_public_part(kind: str) -> None:
    key = keys()[kind]
    read = only(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    assert (read.form, read.encrypted, read.public.digest) == ("OpenSSH", False, spki(key))


@needs_program("ssh-keygen", "openssh-client")
@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
@pytest.mark.parametrize("passphrase", ["", "swordfish"])
def test_ssh_keygen_shows_the_public_part_of_encrypted_keys_too(
    tmp_path: Path, kind: str, passphrase: str
) -> None:
    run("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", "id", cwd=tmp_path)
    read = only((tmp_path / "id").read_bytes())
    assert (read.form, read.encrypted) == ("OpenSSH", bool(passphrase))
    shown = base64.b64decode((tmp_path / "id.pub").read_text().split()[1])
    assert read.public == weak_keys.from_ssh(shown)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_encrypted_pkcs8_is_not_opened(encoding: Encoding) -> None:
    how = BestAvailableEncryption(PASS)
    read = only(workshop.rsa_key().private_bytes(encoding, PrivateFormat.PKCS8, how))
    assert read == Key(Place("/key", 1 if encoding is Encoding.PEM else 0), "PKCS#8", True)


def test_old_encrypted_pem_is_told_from_the_new() -> None:
    how = BestAvailableEncryption(PASS)
    text = workshop.rsa_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, how)
    read = only(text)
    assert (read.encrypted, read.old) == (True, True)


def test_several_blocks_in_one_file_have_their_lines() -> None:
    key = workshop.ec_key()
    pem = workshop.end_entity().public_bytes(Encoding.PEM)
    text = b"Bag Attributes\n\n" + pem + b"\n# and the key\n"
    line = text.count(b"\n") + 1
    text += key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    contents = parse("/both.pem", text)
    assert contents.problems == []
    assert contents.certificates[0].place == Place("/both.pem", 3)
    assert contents.keys[0].place == Place("/both.pem", line)
    assert contents.certificates[0].public.digest == contents.keys[0].public.digest


def run(*command: str, cwd: Path) -> None:
    subprocess.run(
        command, cwd=cwd, check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL
    )


@pytest.fixture
def p12(tmp_path: Path) -> Callable[..., bytes]:
    """A PKCS#12 file as OpenSSL makes it."""
    key = workshop.rsa_key()
    octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(octets)
    certificate = workshop.end_entity(public_key=key.public_key())
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))

    def make(password: str, *more: str) -> bytes:
        command = ["openssl", "pkcs12", "-export", "-inkey", "key.pem", "-in", "cert.pem"]
        run(*command, "-out", "out.p12", "-passout", f"pass:{password}", *more, cwd=tmp_path)
        return (tmp_path / "out.p12").read_bytes()

    return make


@pytest.mark.parametrize(
    ("password", "more", "encrypted"),
    [
        ("", (), False),
        ("swordfish", (), True),
        ("", ("-macalg", "sha1"), False),
        ("", ("-macalg", "sha512", "-iter", "10000"), False),
        ("swordfish", ("-macalg", "sha1"), True),
        ("", ("-nomac",), True),  # without a code nothing tells
        ("swordfish", ("-keypbe", "NONE", "-certpbe", "NONE"), False),
        ("swordfish", ("-keypbe", "NONE"), False),
        ("swordfish", ("-keypbe", "NONE", "-certpbe", "NONE", "-nomac"), False),
    ],
)
def test_pkcs12_is_open_without_a_password_or_encryption(
    p12: Callable[..., bytes], password: str, more: tuple[str, ...], encrypted: bool
) -> None:
    read = only(p12(password, *more))
    assert (read.form, read.encrypted) == ("PKCS#12", encrypted)
    if "-keypbe" in more:
        assert read.public.digest == spki(workshop.rsa_key())


def test_all_blocks_together_ask_for_no_more_rounds_than_one_run_has(
    p12: Callable[..., bytes],
) -> None:
    der = p12("", "-iter", "2048")
    block = b"-----BEGIN PKCS12-----\n" + base64.encodebytes(der) + b"-----END PKCS12-----\n"
    effort = Effort(10_000)  # two tries, each for two kinds of empty passwords
    first = parse("/a", block * 3, effort)
    second = parse("/b", der, effort)
    assert [key.encrypted for key in first.keys] == [False, False, True]
    assert [key.encrypted for key in second.keys] == [True]
    assert effort.left == 10_000 - 2 * 2 * 2048
    told = [(str(each.place), each.message) for each in (*first.problems, *second.problems)]
    assert told == [("/a", UNTRIED), ("/b", UNTRIED)]
    cheap = parse("/c", p12("", "-iter", "1"), effort)  # what is quick is still tried
    assert [key.encrypted for key in cheap.keys] == [False]


def test_a_pkcs12_file_that_asks_for_endless_rounds_is_left_closed(
    p12: Callable[..., bytes],
) -> None:
    octets = p12("", "-iter", "2048")
    # The last number of the file: the rounds of its code, in as many octets.
    assert octets.endswith(b"\x02\x02\x08\x00")
    longer = der.tlv(der.INTEGER, b"\x7f\xff\xff\xff")
    changed = _longer(octets, longer)
    started = time.monotonic()
    assert only(changed).encrypted
    assert time.monotonic() - started < 60


def _longer(octets: bytes, last: bytes) -> bytes:
    top = der.read(octets, 0)
    version, info, mac = der.children(octets, top)
    digest, salt, _ = der.children(octets, mac)
    pieces = octets[digest.start : digest.end] + octets[salt.start : salt.end] + last
    whole = octets[version.start : info.end] + der.tlv(der.SEQUENCE, pieces)
    return der.tlv(der.SEQUENCE, whole)


def test_keys_that_the_library_refuses_are_read(tmp_path: Path) -> None:
    run("openssl", "ecparam", "-genkey", "-name", "secp160r1", "-out", "ec", cwd=tmp_path)
    short = parse("/ec", (tmp_path / "ec").read_bytes())
    assert (short.keys[0].public.name, short.problems) == ("EC on secp160r1", [])
    run("openssl", "genrsa", "-traditional", "-out", "rsa", "512", cwd=tmp_path)
    assert only((tmp_path / "rsa").read_bytes()).public.bits == 512
    # Parameters that are spelled out have no name, and are no curve that anybody agreed on.
    spelled = ("-param_enc", "explicit", "-name", "prime256v1")
    run("openssl", "ecparam", "-genkey", "-noout", *spelled, "-out", "long", cwd=tmp_path)
    assert only((tmp_path / "long").read_bytes()).public.bits == 0


def test_what_else_stands_in_pem_files_is_passed_over() -> None:
    contents = parse(
        "/x",
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    )
    assert (contents.keys, contents.certificates, contents.problems) == ([], [], [])


@pytest.mark.parametrize(
    "octets",
    [
        b"not a key",
        b"-----BEGIN PRIVATE KEY-----\nAAAA",
        b"-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----",
        b"-----BEGIN PRIVATE KEY-----\nMAMCAQA=\n-----END PRIVATE KEY-----",
        b"-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x80\x00\x00",
        b"openssh-key-v1\0\xff\xff\xff\xff",
    ],
)
def test_what_cannot_be_read_is_named(octets: bytes) -> None:
    contents = parse("/broken", octets)
    assert (contents.keys, contents.certificates) == ([], [])
    assert [problem.place.path for problem in contents.problems] == ["/broken"]


def test_a_broken_block_does_not_hide_the_next() -> None:
    whole = workshop.ec_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    broken = b"-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n"
    contents = parse("/x", broken + whole)
    assert len(contents.problems) == len(contents.keys) == 1


def test_an_empty_file_is_nothing() -> None:
    assert parse("/empty", b"\n \n") == keyfiles.Contents()


def test_a_key_of_a_million_bits_takes_no_time() -> None:
    modulus = (1 << 1_000_000) + 1
    numbers = b"".join(der.integer(n) for n in (0, modulus, 65537, 3, 3, 3, 3, 3, 3))
    started = time.monotonic()
    read = only(der.tlv(der.SEQUENCE, numbers))
    assert read.public.bits == 1_000_001
    assert weak_keys.flaw(read.public) == ""
    assert time.monotonic() - started < 60


def test_raw_keys_of_secrets_files_are_found() -> None:
    numbers = workshop.rsa_key().private_numbers()
    text = (
        "# a key\n: RSA {\n"
        f"\tModulus: 0x{numbers.public_numbers.n:x}\n\tPublicExponent: 0x{numbers.public_numbers.e:x}\n"
        f"\tPrivateExponent: 0x{numbers.d:x}\n\t}}\n"
    )
    (read,) = keyfiles.raw_keys("/etc/ipsec.secrets", text.encode())
    assert read.place == Place("/etc/ipsec.secrets", 3)
    assert read.public.digest == spki(workshop.rsa_key())
    assert f"{numbers.d:x}" not in repr(read)


def test_no_private_number_is_kept() -> None:
    for kind, key in keys().items():
        octets = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        kept = repr(parse("/key", octets)) + repr(vars(only(octets).public))
        if isinstance(key, rsa.RSAPrivateKey):
            numbers = key.private_numbers()
            secret = [str(n) for n in (numbers.d, numbers.p, numbers.q)]
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            secret = [str(key.private_numbers().private_value)]
        elif isinstance(key, dsa.DSAPrivateKey):
            secret = [str(key.private_numbers().x)]
        else:
            raw = key.private_bytes_raw()
            secret = [raw.hex(), repr(raw)]
        assert not any(each in kept for each in secret), kind


SEEDS = [
    workshop.rsa_key().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    workshop.ec_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
    ),
    workshop.end_entity().public_bytes(Encoding.DER),
]


@settings(deadline=None, max_examples=300)
@example(0, 3, b"\x84\x7f\xff\xff\xff")
@given(st.integers(0, len(SEEDS) - 1), st.integers(0, 1200), st.binary(max_size=6))
def test_whatever_stands_there_is_read_or_named(which: int, at: int, piece: bytes) -> None:
    seed = SEEDS[which]
    at %= len(seed)
    contents = parse("/x", seed[:at] + piece + seed[at + len(piece) :])
    assert contents.keys or contents.certificates or contents.problems or contents.known
