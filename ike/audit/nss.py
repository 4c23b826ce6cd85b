"""NSS databases: whether a password protects them, and the keys and certificates that stand in them in clear.

A database is read as octets, in memory: it is never opened where it is, so nothing is locked and no journal is written.
The numbers of public keys and the certificates are not encrypted in it, whatever its password.
"""

import hashlib
import posixpath
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from core.secret import Secret
from ike.audit import keyfiles, weak_keys
from ike.audit.effort import UNTRIED, Effort, TooCostly
from ike.audit.keyfiles import Contents, Key
from ike.audit.values import Area, Finding, Policy, Rule, Severity
from ike.audit.weak_keys import PublicKey
from ike.secrets import strength
from ike.secrets.strength import Verdict
from ike.secrets.values import Place, Problem
from pki.x509 import der
from pki.x509.malformed import MALFORMED

MAX_OCTETS: Final = 16 * 2**20
NAMES: Final = frozenset({"key4.db", "cert9.db"})
OLD_NAMES: Final = frozenset({"key3.db", "cert8.db", "secmod.db"})
_MAX_STEPS: Final = 5_000  # times a thousand instructions of SQLite: what a made-up schema may take
_MAX_ROWS: Final = 10_000
_MAX_ROUNDS: Final = 1_000_000
_PBES2: Final = "1.2.840.113549.1.5.13"
_PBKDF2: Final = "1.2.840.113549.1.5.12"
_HMAC_SHA256: Final = "1.2.840.113549.2.9"
_AES256: Final = "2.16.840.1.101.3.4.1.42"
_CHECK: Final = b"password-check"
# PKCS #11: CKO_CERTIFICATE, CKO_PRIVATE_KEY; CKK_RSA, CKK_DSA, CKK_EC
_CERTIFICATE, _PRIVATE_KEY = b"\0\0\0\1", b"\0\0\0\3"
_RSA, _DSA, _EC = b"\0\0\0\0", b"\0\0\0\1", b"\0\0\0\3"

PASSWORD_WEAK: Final = Rule(
    "nss-password-weak",
    Area.SECRETS,
    Severity.LOW,
    "The password of an NSS database is easy to guess",
    "Whoever gets a copy of the database alone, from a backup for instance, tries passwords until its keys open.",
    "Set a long random password with `certutil -W` and put it into the nsspassword file.",
    ("NIST SP 800-57 part 1 rev. 5 §6.2.2",),
)
PASSWORD_IN_CLEAR: Final = Rule(
    "nss-password-in-clear",
    Area.SECRETS,
    Severity.INFO,
    "The password of an NSS database stands in a file beside it",
    "The password protects copies of the database alone: whoever reads the folder has both.",
    "Leave the file out of backups, or keep the keys in a token.",
    ("libreswan ipsec.conf(5), NSS password file",),
)
OLD_DATABASE: Final = Rule(
    "nss-database-old",
    Area.KEYS,
    Severity.LOW,
    "An NSS database has the old format, whose encryption is weak",
    "Databases of Berkeley DB protect their keys by one round of SHA-1 and triple DES: passwords are tried fast."
    " They are also left behind with their keys after a change to the new format.",
    "Change it with `certutil --upgrade-merge`, check that all works, then remove key3.db, cert8.db and secmod.db.",
    ("NSS 3.35 release notes",),
)
RULES: Final[tuple[Rule, ...]] = (PASSWORD_WEAK, PASSWORD_IN_CLEAR, OLD_DATABASE)


@dataclass(frozen=True, eq=False)
class Password:
    """A line of an nsspassword file."""

    place: Place
    token: str
    value: Secret


@dataclass(frozen=True)
class DatabaseFacts:
    """What is to be said of databases as such; their keys and certificates are judged with the others."""

    passwords: tuple[Password, ...] = ()
    old: tuple[Place, ...] = ()

    def judge(self, _policy: Policy, _now: datetime) -> Iterator[Finding]:
        """See `ike.audit.values.Facts`."""
        for password in self.passwords:
            yield Finding(
                PASSWORD_IN_CLEAR,
                password.place,
                "The file holds a password for a database.",
                password.token,
            )
            judged = strength.judge(password.value)
            if judged.verdict is Verdict.WEAK:
                yield Finding(
                    PASSWORD_WEAK,
                    password.place,
                    f"It has about {judged.bits} bits: {'; '.join(judged.reasons)}.",
                    password.token,
                )
        for place in self.old:
            yield Finding(OLD_DATABASE, place, "The file is a database of the old format.")


def passwords(path: str, octets: bytes) -> list[Password]:
    """The lines `token:password` of an nsspassword file. A line without a colon is the password alone."""
    found = []
    for number, line in enumerate(octets.decode("utf-8", "surrogateescape").splitlines(), 1):
        token, colon, value = line.partition(":")
        if not colon:
            token, value = "", line
        if not value.strip() or line.lstrip().startswith("#"):
            continue
        # Before the colon may stand anything; a password with a colon too.
        shown = token if token.startswith("NSS ") and token.isprintable() else str(number)
        found.append(Password(Place(path, number), shown, Secret(_octets(value))))
    return found


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def parse(path: str, octets: bytes, effort: Effort | None = None) -> Contents:
    """The private keys of a key4.db, the certificates of a cert9.db. `effort`: that of the run."""
    contents = Contents(known=True)
    try:
        with closing(sqlite3.connect(":memory:")) as database:
            _open(database, octets)
            if _has(database, "nssPrivate"):
                encrypted = _is_encrypted(database, path, contents, effort or Effort())
                contents.keys += _keys(database, path, encrypted=encrypted)
            if _has(database, "nssPublic"):
                for row in _rows(database, "nssPublic", ("a0", "a11", "a3"), _CERTIFICATE):
                    _add(contents, path, row)
    except (sqlite3.Error, MemoryError, *MALFORMED):
        contents.problems.append(Problem(Place(path, 0), "no database of NSS that can be read"))
    return contents


def _open(database: sqlite3.Connection, octets: bytes) -> None:
    if not octets.startswith(b"SQLite format 3\0"):
        raise ValueError("not SQLite")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_OCTETS)
    steps = iter(range(_MAX_STEPS))
    database.set_progress_handler(lambda: next(steps, None) is None, 1000)
    # In memory there is no write-ahead log, whatever the header says.
    database.deserialize(octets[:18] + b"\1\1" + octets[20:])
    database.execute("PRAGMA trusted_schema = OFF")


def _has(database: sqlite3.Connection, table: str) -> bool:
    found = database.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
    )
    return found.fetchone() is not None


def _rows(
    database: sqlite3.Connection, table: str, columns: tuple[str, ...], kind: bytes
) -> list[tuple[bytes, ...]]:
    """The rows of a kind of object. Columns that the table has not are empty, as are such values."""
    there = {name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")}
    if "a0" not in there:
        return []
    asked = ", ".join(each if each in there else "NULL" for each in columns)
    rows = database.execute(f"SELECT {asked} FROM {table} WHERE a0 = ?", (kind,))  # noqa: S608 - names of ours
    return [
        tuple(value if isinstance(value, bytes) else b"" for value in row)
        for row in rows.fetchmany(_MAX_ROWS)
    ]


def _add(contents: Contents, path: str, row: tuple[bytes, ...]) -> None:
    place = Place(path, 0)
    label = row[2].decode("utf-8", "replace")
    try:
        contents.certificates.append(keyfiles.certificate(place, row[1], label))
    except MALFORMED:
        contents.problems.append(Problem(place, "a certificate in it cannot be read"))


def _is_encrypted(
    database: sqlite3.Connection, path: str, contents: Contents, effort: Effort
) -> bool:
    try:
        return not _opens_empty(database, effort)
    except TooCostly:
        contents.problems.append(Problem(Place(path, 0), UNTRIED))
        return True


def _keys(database: sqlite3.Connection, path: str, *, encrypted: bool) -> Iterator[Key]:
    columns = ("a0", "a100", "a120", "a122", "a180", "ad5a0db00", "a130")
    for row in _rows(database, "nssPrivate", columns, _PRIVATE_KEY):
        yield Key(Place(path, 0), "NSS", encrypted, _public(*row[1:]))


def _public(
    kind: bytes, modulus: bytes, exponent: bytes, curve: bytes, value: bytes, prime: bytes
) -> PublicKey | None:
    """By CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS, CKA_NETSCAPE_DB (the public value), CKA_PRIME."""
    if kind == _RSA and modulus:
        return weak_keys.rsa(int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big"))
    if kind == _EC and curve:
        with suppress(ValueError):
            return weak_keys.ec(weak_keys.curve_of(curve, der.read(curve, 0)), value)
    if kind == _DSA and prime:
        return weak_keys.dsa(int.from_bytes(prime, "big"))
    return None


def _opens_empty(database: sqlite3.Connection, effort: Effort) -> bool:
    """Whether the empty password opens it: so `ipsec initnss` makes it. False where that cannot be told."""
    if not _has(database, "metaData"):
        return False
    row = database.execute("SELECT item1, item2 FROM metaData WHERE id = 'password'").fetchone()
    if row is None or not all(isinstance(value, bytes) for value in row):
        return False
    try:
        salt, data = row
        return _checks(Secret(b""), salt, data, effort)
    except MALFORMED:
        return False


def _checks(password: Secret, salt: bytes, data: bytes, effort: Effort) -> bool:
    """Whether the known text comes out (NSS, lib/softoken: sftkpwd.c, lowpbe.c). Raises ValueError."""
    algorithm, text = der.children(data, der.read(data, 0))
    name, parameters = weak_keys.algorithm_of(data, algorithm)
    if name != _PBES2 or parameters is None:
        return False  # of NSS before 3.49
    kdf, cipher = der.children(data, parameters)
    kdf_name, options = weak_keys.algorithm_of(data, kdf)
    cipher_name, vector = weak_keys.algorithm_of(data, cipher)
    if (kdf_name, cipher_name) != (_PBKDF2, _AES256) or options is None or vector is None:
        return False
    entry, rounds, *rest = der.children(data, options)
    count = weak_keys.number(data, rounds)
    pseudo = [weak_keys.algorithm_of(data, part)[0] for part in rest if part.tag == der.SEQUENCE]
    if pseudo != [_HMAC_SHA256] or not 0 < count <= _MAX_ROUNDS:
        return False
    effort.spend(count)
    hashed = hashlib.sha1(salt + password.reveal(), usedforsecurity=False).digest()
    key = hashlib.pbkdf2_hmac("sha256", hashed, data[entry.content : entry.end], count, 32)
    # The vector is the parameter with its own header.
    opened = Cipher(algorithms.AES(key), modes.CBC(data[vector.start : vector.end])).decryptor()
    found = opened.update(data[text.content : text.end]) + opened.finalize()
    return found == _CHECK + b"\2\2"


def is_old(path: str) -> bool:
    """Whether this is a database of the old format, by its name."""
    return posixpath.basename(path) in OLD_NAMES
