"""What is said of keys: strength, flaws, shared primes, protection; and of NSS databases."""

import hashlib
import os
import random
import socket
import sqlite3
import subprocess
import time
from base64 import b64encode
from contextlib import closing
from dataclasses import replace
from math import gcd, isqrt, prod
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ike.audit import effort, keys, nss
from ike.audit.discovery import Start
from ike.audit.keys import KeyFacts
from ike.audit.values import Finding, Policy, Role, Severity
from pki.x509 import der
from tests.ike.audit.premises import NOW, RFC, Premises, told
from tests.x509 import workshop


@pytest.fixture
def host(tmp_path: Path) -> Premises:
    return Premises(tmp_path)


def judged(host: Premises, policy: Policy = RFC) -> list[Finding]:
    """What is found of keys and databases."""
    facts, problems = keys.look(host.files, host.discovered())
    assert list(problems) == []
    return [
        finding
        for each in facts
        if isinstance(each, KeyFacts | nss.DatabaseFacts)
        for finding in each.judge(policy, NOW)
    ]


def pem(key, how=None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption())


def made_up(modulus: int, exponent: int = 65537) -> bytes:
    """A key of these numbers; those that are private are nothing."""
    numbers = (0, modulus, exponent, 1, 1, 1, 1, 1, 1)
    return der.tlv(der.SEQUENCE, b"".join(map(der.integer, numbers)))


SMALL = prod(n for n in range(2, 752) if all(n % d for d in range(2, isqrt(n) + 1)))


def prime(bits: int, seed: int) -> int:
    """What nobody can tell from a prime who does not test for one: it has no small factor."""
    chance = random.Random(seed)
    while True:
        value = chance.getrandbits(bits) | 3 << (bits - 2) | 1
        if gcd(value, SMALL) == 1:
            return value


def rules(findings: list[Finding]) -> list[str]:
    return sorted(finding.rule.id for finding in findings)


def test_sound_keys_are_not_found(host: Premises) -> None:
    host.put("/etc/swanctl/private/a.pem", pem(workshop.rsa_key()))
    host.put("/etc/swanctl/private/b.pem", pem(workshop.ec_key()))
    host.put("/etc/swanctl/private/c.pem", pem(ed25519.Ed25519PrivateKey.generate()))
    host.put(
        "/etc/swanctl/x509/c.pem",
        workshop.end_entity().public_bytes(Encoding.PEM),
        Role.CERTIFICATE,
    )
    assert judged(host) == []


@pytest.mark.parametrize(
    ("baseline", "bits", "expected"),
    [
        ("rfc", 2047, ["key-too-short"]),
        ("rfc", 2048, []),
        ("nist", 2048, []),
        ("unknown", 2048, []),
        ("bsi", 2999, ["key-below-baseline"]),
        ("bsi", 3000, []),
        ("cnsa1", 3071, ["key-below-baseline"]),
        ("cnsa1", 3072, []),
        ("cnsa1", 1024, ["key-too-short"]),
        ("cnsa2", 4096, ["key-below-baseline"]),
    ],
)
def test_rsa_is_measured_by_the_baseline(
    host: Premises, baseline: str, bits: int, expected: list[str]
) -> None:
    modulus = prime(bits // 2, bits) * prime(bits - bits // 2, bits + 1)
    assert modulus.bit_length() == bits
    host.put("/key", made_up(modulus))
    assert rules(judged(host, Policy(baseline=baseline))) == expected


@pytest.mark.parametrize(
    ("baseline", "curve", "expected"),
    [
        ("rfc", ec.SECP192R1, ["key-too-short"]),
        ("rfc", ec.SECP224R1, []),
        ("bsi", ec.SECP224R1, ["key-below-baseline"]),
        ("bsi", ec.BrainpoolP256R1, []),
        ("cnsa1", ec.SECP256R1, ["key-below-baseline"]),
        ("cnsa1", ec.SECP384R1, []),
    ],
)
def test_curves_are_measured_by_the_baseline(
    host: Premises, baseline: str, curve: type[ec.EllipticCurve], expected: list[str]
) -> None:
    host.put("/key", pem(ec.generate_private_key(curve())))
    assert rules(judged(host, Policy(baseline=baseline))) == expected


def test_cnsa_has_no_edwards_curves(host: Premises) -> None:
    host.put("/key", pem(workshop.ed25519_key()))
    assert rules(judged(host, Policy(baseline="cnsa1"))) == ["key-below-baseline"]
    (found,) = judged(host, Policy(baseline="cnsa2"))
    assert found.weight is Severity.LOW


@pytest.mark.parametrize("exponent", [1, 3, 65535, 65538, 2**300])
def test_small_and_even_exponents(host: Premises, exponent: int) -> None:
    host.put("/key", made_up(prime(1024, 1) * prime(1024, 2), exponent))
    (found,) = judged(host)
    assert found.rule.id == "rsa-exponent-small"
    assert (found.weight is Severity.CRITICAL) == (exponent == 1)
    assert len(found.evidence) < 120


def test_keys_that_can_be_factored(host: Premises) -> None:
    p = prime(1024, 3)
    q = p + 2
    while gcd(q, SMALL) != 1:
        q += 2
    host.put("/close", made_up(p * q))
    host.put("/square", made_up(p * p))
    small = made_up(prime(2040, 4) * 251)
    host.put("/small", small)
    host.put("/even", made_up(1 << 2047))
    findings = judged(host)
    assert told(findings) == [
        ("key-can-be-factored", "/close", 0),
        ("key-can-be-factored", "/even", 0),
        ("key-can-be-factored", "/small", 0),
        ("key-can-be-factored", "/square", 0),
        # The square and the product have p in common.
        ("key-shares-a-prime", "/close", 0),
        ("key-shares-a-prime", "/square", 0),
    ]
    assert not any(str(p) in finding.evidence for finding in findings)


@pytest.mark.parametrize(("bits", "last"), [(512, 167), (2048, 701)])
def test_keys_of_the_faulty_library(host: Premises, bits: int, last: int) -> None:
    primorial = prod(n for n in range(2, last + 1) if all(n % d for d in range(2, isqrt(n) + 1)))

    def faulty(seed: int) -> int:
        chance = random.Random(seed)
        rest = bits // 2 - primorial.bit_length()
        while True:
            value = (chance.getrandbits(rest) | 1 << (rest - 1)) * primorial
            value += pow(65537, chance.getrandbits(64), primorial)
            if pow(2, value - 1, value) == 1:
                return value

    host.put("/key", made_up(faulty(1) * faulty(2)))
    found = [each for each in judged(host) if each.rule.id == "key-can-be-factored"]
    assert ["Infineon" in each.evidence for each in found] == [True]


def test_keys_that_share_a_prime_are_named_to_each_other(host: Premises) -> None:
    p, q, r, s = (prime(1024, seed) for seed in range(10, 14))
    public = rsa.RSAPublicNumbers(65537, p * r).public_key()
    certificate = workshop.end_entity(public_key=public).public_bytes(Encoding.PEM)
    host.put("/mine.key", made_up(p * q))
    host.put("/peer.pem", certificate, Role.CERTIFICATE)
    host.put("/sound.key", made_up(prime(1024, 20) * s))
    findings = judged(host)
    assert told(findings) == [
        ("key-shares-a-prime", "/mine.key", 0),
        ("key-shares-a-prime", "/peer.pem", 1),
    ]
    assert "the key of a certificate at /peer.pem:1" in findings[0].evidence
    assert not any(str(n) in repr(findings) for n in (p, q, r))


def test_a_key_and_its_certificate_and_its_copies_share_nothing(host: Premises) -> None:
    key = workshop.rsa_key()
    host.put("/a.key", pem(key))
    host.put("/b.key", pem(key))
    certificate = workshop.end_entity(public_key=key.public_key())
    host.put("/a.crt", certificate.public_bytes(Encoding.DER), Role.CERTIFICATE)
    assert judged(host) == []


def test_a_passphrase_is_asked_for_by_policy_alone(host: Premises) -> None:
    host.put("/open.key", pem(workshop.rsa_key()))
    host.put("/closed.key", pem(workshop.ec_key(), BestAvailableEncryption(b"swordfish")))
    assert judged(host) == []
    assert told(judged(host, Policy(encrypted_keys=True))) == [
        ("private-key-unencrypted", "/open.key", 1)
    ]


def test_old_encryption_is_told(host: Premises) -> None:
    how = BestAvailableEncryption(b"swordfish")
    text = workshop.rsa_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, how)
    host.put("/old.key", text)
    assert told(judged(host, Policy(encrypted_keys=True))) == [
        ("private-key-old-encryption", "/old.key", 1)
    ]


def test_a_finding_is_the_same_in_the_next_run_wherever_it_then_stands(host: Premises) -> None:
    short = pem(ec.generate_private_key(ec.SECP192R1()))
    host.put("/key", short)
    first = judged(host)
    host.put("/key", b"\n\n\n" + short)
    second = judged(host)
    assert first[0].place != second[0].place
    assert [each.id for each in first] == [each.id for each in second]


def test_what_cannot_be_read_is_a_problem_and_the_rest_is_read(host: Premises) -> None:
    host.put("/large", b"x" * (2**20 + 1))
    host.put("/junk", b"\xff\x00junk")
    gone = host.put("/gone", b"")
    host.put("/short.key", pem(ec.generate_private_key(ec.SECP192R1())))
    os.mkfifo(host.root / "fifo")
    host.there("/fifo", Role.KEY)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(host.root / "socket"))
        host.there("/socket", Role.KEY)
    (host.root / "gone").unlink()
    facts, problems = keys.look(host.files, host.discovered())
    assert [problem.place.path for problem in problems] == ["/large", "/junk", gone.path]
    assert rules(list(facts[0].judge(RFC, NOW))) == ["key-too-short"]


def test_other_files_of_our_own_are_no_problem(host: Premises) -> None:
    host.put("/var/lib/ikewarden/state.json", '{"version": 1}', Role.OWN)
    host.put("/var/lib/ikewarden/key.pem", pem(ec.generate_private_key(ec.SECP192R1())), Role.OWN)
    assert rules(judged(host)) == ["key-too-short"]


# ---------------------------------------------------------------- NSS


def certutil(folder: Path, *arguments: str) -> None:
    (folder / "noise").write_bytes(random.Random(1).randbytes(64))
    subprocess.run(
        ["certutil", *arguments, "-d", f"sql:{folder}"],
        check=True,
        capture_output=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def database(host: Premises) -> Path:
    folder = host.root / "nss"
    folder.mkdir()
    return folder


def put_database(host: Premises, folder: Path, password: str, *key: str) -> None:
    if password:
        (folder / "pw").write_text(password + "\n")
    given = ("-f", str(folder / "pw")) if password else ("--empty-password",)
    certutil(folder, "-N", *given)
    usual = ("-n", "gw", "-s", "CN=gw", "-x", "-t", ",,", "-z", str(folder / "noise"))
    certutil(folder, "-S", *usual, *(given if password else ()), *key)
    for name in ("key4.db", "cert9.db", "pkcs11.txt"):
        host.there(f"/nss/{name}", Role.DATABASE)


@pytest.mark.parametrize("password", ["", "Long-Enough-1"])
def test_keys_in_nss_databases_are_read_without_the_password(
    host: Premises, database: Path, password: str
) -> None:
    put_database(host, database, password, "-k", "rsa", "-g", "1024", "-Z", "SHA256")
    findings = judged(host, Policy(encrypted_keys=True))
    assert ("key-too-short", "/nss/key4.db", 0) in told(findings)
    assert ("private-key-unencrypted" in rules(findings)) == (not password)
    (certificates,) = (
        each.held for each in keys.look(host.files, host.discovered())[0] if hasattr(each, "held")
    )
    assert [(each.found.label, each.place.path) for each in certificates] == [
        ("gw", "/nss/cert9.db")
    ]


def test_a_key_on_a_curve_in_an_nss_database_is_that_of_its_certificate(
    host: Premises, database: Path
) -> None:
    put_database(host, database, "", "-k", "ec", "-q", "nistp256")
    (facts,) = (
        each for each in keys.look(host.files, host.discovered())[0] if isinstance(each, KeyFacts)
    )
    assert [used.what for used in facts.used] == ["a private key"]
    assert facts.keys[0].public.name == "EC on P-256"


def test_reading_a_database_changes_nothing_in_its_folder(host: Premises, database: Path) -> None:
    put_database(host, database, "", "-k", "ec", "-q", "nistp256")
    before = {
        each.name: (each.stat().st_mtime_ns, each.read_bytes()) for each in database.iterdir()
    }
    judged(host)
    assert before == {
        each.name: (each.stat().st_mtime_ns, each.read_bytes()) for each in database.iterdir()
    }


def test_databases_made_to_hang_or_break_do_neither(tmp_path: Path) -> None:
    made = sqlite3.connect(tmp_path / "made")
    made.executescript(
        "CREATE TABLE metaData (id, item1, item2); INSERT INTO metaData VALUES ('password', 1, 'x');"
        "CREATE TABLE nssPrivate (a0, endless GENERATED ALWAYS AS (a0), a120);"
        "CREATE VIEW nssPublic AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
        " SELECT x AS a0, x AS a11, x AS a3 FROM n;"
    )
    made.execute("INSERT INTO nssPrivate (a0, a120) VALUES (x'00000003', 7)")
    made.commit()
    made.close()
    octets = (tmp_path / "made").read_bytes()
    started = time.monotonic()
    contents = nss.parse("/x", octets)
    assert contents.certificates == []
    chance = random.Random(3)
    for _ in range(200):
        at = chance.randrange(100, len(octets))
        nss.parse("/x", octets[:at] + chance.randbytes(20) + octets[at + 20 :])
        nss.parse("/x", octets[:at])
    assert nss.parse("/x", b"junk").problems
    assert time.monotonic() - started < 60


def test_endless_rows_are_given_up(tmp_path: Path) -> None:
    made = sqlite3.connect(tmp_path / "made")
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    made.execute("CREATE TABLE real (a0, a11, a3)")
    made.execute(f"CREATE VIEW nssPublic AS SELECT ({endless}) AS a0, 1 AS a11, 1 AS a3")
    # As only somebody can who writes the file by hand: what is a view says that it is a table.
    made.execute("PRAGMA writable_schema = ON")
    made.execute("UPDATE sqlite_master SET type = 'table' WHERE name = 'nssPublic'")
    made.commit()
    made.close()
    started = time.monotonic()
    nss.parse("/x", (tmp_path / "made").read_bytes())
    assert time.monotonic() - started < 60


def test_nsspassword_is_judged_and_never_quoted(host: Premises) -> None:
    host.put(
        "/etc/ipsec.d/nsspassword",
        "NSS Certificate DB:swordfish\nNSS FIPS 140-2 Certificate DB:hB7-pQ2_xW9+zK4!mR8vTy\n"
        "a line:with a colon\n\n",
        Role.PASSWORD,
    )
    findings = judged(host)
    assert [each.place.line for each in findings if each.rule.id == "nss-password-weak"] == [1, 3]
    assert len([each for each in findings if each.rule.id == "nss-password-in-clear"]) == 3
    shown = repr(findings)
    assert not any(each in shown for each in ("swordfish", "hB7", "a line", "with a"))


def test_databases_of_the_old_format_are_told(host: Premises) -> None:
    host.put("/etc/ipsec.d/key3.db", b"\0\x06\x15\x61", Role.DATABASE)
    assert rules(judged(host)) == ["nss-database-old"]


def test_rules_are_told_apart() -> None:
    ids = [rule.id for rule in (*keys.RULES, *nss.RULES)]
    assert len(set(ids)) == len(ids)


def test_the_public_part_of_keys_here_is_that_of_their_spki(host: Premises) -> None:
    key = workshop.rsa_key()
    octets = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert keys.weak_keys.from_spki(octets).modulus == key.public_key().public_numbers().n


def test_a_key_of_the_agent_is_kept_in_a_token_instead(host: Premises) -> None:
    host.put("/var/lib/ikewarden-agent/identity.key", pem(workshop.ec_key()), Role.OWN)
    [found] = judged(host, Policy(encrypted_keys=True))
    assert found.rule.id == "private-key-unencrypted"
    assert "--key pkcs11:" in found.fix
    assert "openssl" not in found.fix


@pytest.mark.parametrize(
    ("baseline", "reference"),
    [
        ("cnsa1", "RFC 9206 §4 (CNSA 1.0)"),
        ("cnsa2", "NSA CNSA 2.0 (2022)"),
        ("bsi", "BSI TR-02102-3 §3.2.5"),
    ],
)
def test_a_key_below_a_baseline_cites_that_one(
    host: Premises, baseline: str, reference: str
) -> None:
    host.put("/key", pem(rsa.generate_private_key(65537, 2048)))
    [found] = judged(host, Policy(baseline=baseline))
    assert found.sources == (reference,)


def test_rounds_are_counted_over_all_files_of_a_run(
    host: Premises, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effort, "MAX_ROUNDS", 50_000)
    made = key_database(10_000)
    for number in range(7):
        host.put(f"/nss/{number}/key4.db", made, Role.DATABASE)
    facts, problems = keys.look(host.files, host.discovered())
    (found,) = (each for each in facts if isinstance(each, keys.KeyFacts))
    assert [key.encrypted for key in found.keys] == [False] * 5 + [True] * 2
    assert [(each.place.path, each.message) for each in problems] == [
        ("/nss/5/key4.db", effort.UNTRIED),
        ("/nss/6/key4.db", effort.UNTRIED),
    ]


def test_so_are_those_of_keys_in_the_configuration_of_a_firewall(
    host: Premises, monkeypatch: pytest.MonkeyPatch
) -> None:
    pfx = pfx_of(4000)
    prv = "".join(f"<cert><prv>{b64encode(pfx).decode()}</prv></cert>" for _ in range(5))
    host.put("/conf/config.xml", f"<opnsense>{prv}</opnsense>", Role.SECRETS)
    monkeypatch.setattr(effort, "MAX_ROUNDS", 16_000)
    found = replace(host.discovered(), starts=(Start("/conf/config.xml", "opnsense-xml"),))
    facts, problems = keys.look(host.files, found)
    (seen,) = (each for each in facts if isinstance(each, keys.KeyFacts))
    assert len(seen.keys) == 5
    assert [str(each.place) for each in problems] == ["/conf/config.xml"]


def oid(*arcs: int) -> bytes:
    """Of small arcs."""
    octets = bytes((40 * arcs[0] + arcs[1],))
    for arc in arcs[2:]:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        octets += bytes(reversed(groups))
    return der.tlv(6, octets)


def pfx_of(rounds: int) -> bytes:
    """A PKCS#12 file of nothing, with a code that no password makes."""
    data = oid(1, 2, 840, 113549, 1, 7, 1) + der.tlv(0xA0, der.tlv(4, der.tlv(0x30, b"")))
    digest = der.tlv(0x30, der.tlv(0x30, oid(2, 16, 840, 1, 101, 3, 4, 2, 1)) + der.tlv(4, b"?"))
    mac = digest + der.tlv(4, b"salt") + der.integer(rounds)
    return der.tlv(0x30, der.integer(3) + der.tlv(0x30, data) + der.tlv(0x30, mac))


def key_database(rounds: int) -> bytes:
    """A key4.db that opens with the empty password, with one key in it."""
    salt, vector = b"s" * 20, der.tlv(4, bytes(14))
    key = hashlib.pbkdf2_hmac(
        "sha256", hashlib.sha1(salt, usedforsecurity=False).digest(), b"entry", rounds, 32
    )
    closed = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    pseudo = der.tlv(0x30, oid(1, 2, 840, 113549, 2, 9))
    options = der.tlv(4, b"entry") + der.integer(rounds) + der.integer(32) + pseudo
    kdf = der.tlv(0x30, oid(1, 2, 840, 113549, 1, 5, 12) + der.tlv(0x30, options))
    cipher = der.tlv(0x30, oid(2, 16, 840, 1, 101, 3, 4, 1, 42) + vector)
    scheme = der.tlv(0x30, oid(1, 2, 840, 113549, 1, 5, 13) + der.tlv(0x30, kdf + cipher))
    check = der.tlv(0x30, scheme + der.tlv(4, closed.update(b"password-check\2\2")))
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE metaData (id, item1, item2)")
        database.execute("INSERT INTO metaData VALUES ('password', ?, ?)", (salt, check))
        database.execute("CREATE TABLE nssPrivate (a0, a100)")
        database.execute("INSERT INTO nssPrivate VALUES (x'00000003', x'00000000')")
        database.commit()
        return database.serialize()
