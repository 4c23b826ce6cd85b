"""Keys: what is read of a host's key and certificate files, and what is to be said of the keys."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from ike.audit import keyfiles, nss, shared_primes, weak_keys
from ike.audit.certificates import CertificateFacts, Held, dialects
from ike.audit.configuration.baselines import BASELINES
from ike.audit.effort import UNTRIED, Effort
from ike.audit.keyfiles import Contents, Key
from ike.audit.values import Area, Facts, Finding, Item, Policy, Role, Rule, Severity, Sort
from ike.audit.weak_keys import PublicKey
from ike.secrets.appliances import firewall, vyos
from ike.secrets.reading import Found
from ike.secrets.stumbling import stumbling
from ike.secrets.tree import MAX_OCTETS, File
from ike.secrets.values import Place, Problem, Source
from pki.x509.malformed import MALFORMED

UNENCRYPTED: Final = Rule(
    "private-key-unencrypted",
    Area.KEYS,
    Severity.MEDIUM,
    "A private key has no passphrase, and the policy asks for one",
    "A copy of the file, from a backup or a disk that was thrown away, is the gateway's identity.",
    "Encrypt it (`openssl pkcs8 -topk8 -v2 aes-256-cbc`) and give the daemon the passphrase, or keep it in a token.",
    ("NIST SP 800-57 part 1 rev. 5 §6.2.2",),
)
OLD_ENCRYPTION: Final = Rule(
    "private-key-old-encryption",
    Area.KEYS,
    Severity.LOW,
    "A private key is encrypted in the old PEM format, which slows down no guessing",
    "The key is made of the passphrase by one round of MD5: whoever has a copy tries billions of passphrases a second.",
    "Write it anew as PKCS#8: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`.",
    ("RFC 8018 §4.2", "RFC 1421 §4.6"),
)
TOO_SHORT: Final = Rule(
    "key-too-short",
    Area.KEYS,
    Severity.HIGH,
    "A key has less than 112 bits of security",
    "RSA of 1024 bits and curves below 224 bits are within reach of those with money; smaller ones of anybody.",
    "Make a new key, of P-256 or RSA with 3072 bits and more, have it certified, and revoke the old certificate.",
    ("NIST SP 800-131A rev. 2 §3", "RFC 8247 §3.1.1"),
)
BELOW_BASELINE: Final = Rule(
    "key-below-baseline",
    Area.KEYS,
    Severity.MEDIUM,
    "A key is weaker than the chosen baseline asks, or of a kind that it does not have",
    "It breaks nothing today; whoever has to follow the baseline is not following it.",
    "Make the next key as the baseline asks, and put the certificate into use at the next renewal.",
    ("RFC 9206 §4 (CNSA 1.0)", "NSA CNSA 2.0 (2022)", "BSI TR-02102-3 §3.2.5"),
)
DSA_KEY: Final = Rule(
    "key-dsa",
    Area.KEYS,
    Severity.MEDIUM,
    "A key is for DSA, which is no longer to be used",
    "One signature made with a bad random number gives the key away, and few peers still take it.",
    "Make an ECDSA or RSA key, and have it certified.",
    ("FIPS 186-5 §4", "RFC 8247 §3.1"),
)
FACTORABLE: Final = Rule(
    "key-can-be-factored",
    Area.KEYS,
    Severity.CRITICAL,
    "Anybody can calculate a private key from its public part",
    "The certificate, which every peer is shown, is enough to become this gateway. Looked for are keys of the faulty"
    " Infineon library, primes that are close to each other, and small factors.",
    "Make a new key by another program or device, have it certified, and revoke the old certificate today.",
    ("CVE-2017-15361 (ROCA)", "CVE-2022-26320 (Fermat)", "FIPS 186-5 §A.1"),
)
PUBLISHED: Final = Rule(
    "key-is-published",
    Area.KEYS,
    Severity.CRITICAL,
    "Everybody has this private key",
    "It is on a list of keys that were published, or that Debian's broken OpenSSL of 2006 to 2008 made: whoever looks"
    " for its public part finds the private one. Looked for where the policy or `--published-keys` names a list.",
    "Make a new key, have it certified, and revoke the old certificate today. Find out where the key came from.",
    (
        "CVE-2008-0166",
        "NIST SP 800-57 part 1 rev. 5 §5.5",
        "badkeys, a collection of published keys",
    ),
)
SHARED_PRIME: Final = Rule(
    "key-shares-a-prime",
    Area.KEYS,
    Severity.CRITICAL,
    "Two RSA keys have a prime in common, so both private keys can be calculated",
    "Devices that make their keys without enough entropy make such ones. Whoever collects certificates finds them.",
    "Make both keys anew, where the system's random numbers are known to be good, and revoke both certificates.",
    ("Heninger et al. 2012, Mining Your Ps and Qs", "NIST SP 800-90B"),
)
SMALL_EXPONENT: Final = Rule(
    "rsa-exponent-small",
    Area.KEYS,
    Severity.MEDIUM,
    "The public exponent of an RSA key is not an odd number above 65536",
    "Verifiers that check the padding carelessly can be deceived by forged signatures where it is 3.",
    "Make a new key with the usual exponent 65537.",
    ("FIPS 186-5 §A.1.1", "CVE-2006-4339"),
)
RULES: Final[tuple[Rule, ...]] = (
    UNENCRYPTED,
    OLD_ENCRYPTION,
    TOO_SHORT,
    BELOW_BASELINE,
    DSA_KEY,
    FACTORABLE,
    PUBLISHED,
    SHARED_PRIME,
    SMALL_EXPONENT,
)

_READ: Final = frozenset({Role.KEY, Role.CERTIFICATE, Role.TRUST, Role.OWN, Role.SECRETS})
# Bits that a baseline asks of RSA and of curves; those of less than 112 bits of security have a rule of their own.
_LEAST: Final = {"cnsa1": (3072, 384), "bsi": (3000, 250)}
_POST_QUANTUM: Final = frozenset({"ML-DSA-87"})


_System = Callable[[Source], list[tuple[Place, bytes]]]
# Systems that keep the keys of their certificates in their own configuration.
_SYSTEMS: Final[dict[str, _System]] = {"vyos-config": vyos.keys, "opnsense-xml": firewall.keys}
_AGENTS: Final = (
    "The agent takes no passphrase. Enrol it with its key in a token (`ikewarden agent enroll --force --key pkcs11:…`):"
    " what is left in a file then proves the gateway to no peer, and can be accepted."
)


class Files(Protocol):
    """What is needed of `ike.audit.ground.Ground`."""

    def read(self, path: str, limit: int = MAX_OCTETS) -> File:
        """A file. Raises OSError."""


class Start(Protocol):
    """What is needed of `ike.audit.discovery.Start`."""

    @property
    def path(self) -> str:
        """Where it is."""

    @property
    def kind(self) -> str:
        """What it is."""


class Discovered(Protocol):
    """What is needed of `ike.audit.discovery.Discovered`."""

    @property
    def items(self) -> tuple[Item, ...]:
        """The files that matter."""

    @property
    def starts(self) -> Sequence[Start]:
        """The configurations."""

    @property
    def found(self) -> Found:
        """What stands in the configurations."""

    @property
    def apart(self) -> tuple[Found, ...]:
        """What stands in those of other hosts."""


@dataclass(frozen=True)
class Used:
    """A public key, and where it was seen first: in a private key's file, or else in a certificate."""

    place: Place
    key: PublicKey
    what: str


@dataclass(frozen=True)
class KeyFacts:
    """The private keys of a host, and all public ones. `shared`: positions in `used` of keys with a common prime.
    `own`: files that are ikewarden's agent's.
    """

    keys: tuple[Key, ...]
    used: tuple[Used, ...]
    shared: tuple[tuple[int, ...], ...] = ()
    own: frozenset[str] = frozenset()

    def judge(self, policy: Policy, _now: datetime) -> Iterator[Finding]:
        """See `ike.audit.values.Facts`."""
        for key in self.keys:
            yield from _protection(key, policy, is_own=key.place.path in self.own)
        for used in self.used:
            yield from _worth(used, policy)
            yield from _published(used, policy)
        for group in self.shared:
            for position in group:
                yield _sharing(self.used[position], [self.used[at] for at in group])


@dataclass
class _Seen:
    """What was read so far."""

    keys: list[Key] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    passwords: list[nss.Password] = field(default_factory=list)
    old: list[Place] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: set[tuple[int, int]] = field(default_factory=set)
    effort: Effort = field(default_factory=Effort)


def look(files: Files, discovered: Discovered) -> tuple[Sequence[Facts], Sequence[Problem]]:
    """Read all keys, certificates and NSS databases: facts, and what could not be read. A file is read once, whatever
    it is called.
    """
    seen = _Seen()
    systems = {
        each.path: _SYSTEMS[each.kind] for each in discovered.starts if each.kind in _SYSTEMS
    }
    for item in discovered.items:
        if item.status.sort is Sort.FILE and item.status.identity not in seen.files:
            seen.files.add(item.status.identity)
            with stumbling(Place(item.path, 0), seen.problems):
                _read(files, item, seen, systems.get(item.path))
    used = _used(seen)
    own = frozenset(each.path for each in discovered.items if each.role is Role.OWN)
    facts: list[Facts] = [
        KeyFacts(tuple(seen.keys), used, _shared(used), own),
        CertificateFacts(
            tuple(seen.held),
            tuple(seen.keys),
            dialects((discovered.found, *discovered.apart), discovered.items),
        ),
        nss.DatabaseFacts(tuple(seen.passwords), tuple(seen.old)),
    ]
    return facts, seen.problems


def _read(files: Files, item: Item, seen: _Seen, system: _System | None) -> None:
    name = item.path.rpartition("/")[2]
    database = item.role is Role.DATABASE and name in nss.NAMES
    if item.role is Role.DATABASE and nss.is_old(item.path):
        seen.old.append(Place(item.path, 0))
    password = item.role is Role.PASSWORD and name == "nsspassword"
    if not (database or password or item.role in _READ):
        return
    try:
        octets = files.read(item.path, nss.MAX_OCTETS if database else MAX_OCTETS).content
    except OSError as error:
        seen.problems.append(Problem(Place(item.path, 0), error.strerror or "it cannot be read"))
        return
    if password:
        seen.passwords += nss.passwords(item.path, octets)
    elif item.role is Role.SECRETS:
        seen.keys += keyfiles.raw_keys(item.path, octets)
        if system is not None:
            text = octets.decode("utf-8", "surrogateescape")
            _add_from_system(seen, system, Source(item.path, text))
    elif database:
        _add(seen, item, nss.parse(item.path, octets, seen.effort))
    else:
        _add(seen, item, _parsed(item, octets, seen.effort))


def _add_from_system(seen: _Seen, system: _System, source: Source) -> None:
    untried = Problem(Place(source.path, 0), UNTRIED)
    for place, octets in system(source):
        contents = keyfiles.parse(source.path, octets, seen.effort)
        seen.keys += [replace(key, place=place) for key in contents.keys]
        if untried in contents.problems and untried not in seen.problems:
            seen.problems.append(untried)


def _parsed(item: Item, octets: bytes, effort: Effort) -> Contents:
    contents = keyfiles.parse(item.path, octets, effort)
    if item.role is Role.OWN:
        contents.problems.clear()  # state of other kinds stands beside its keys
    return contents


def _add(seen: _Seen, item: Item, contents: Contents) -> None:
    seen.keys += contents.keys
    seen.problems += contents.problems
    for certificate in contents.certificates:
        held = Held(certificate, item.role)
        try:
            _ = held.parts, held.name, held.fingerprint  # what is wrong with it shows here
        except MALFORMED:
            problem = Problem(certificate.place, "a certificate whose parts cannot be read")
            seen.problems.append(problem)
        else:
            seen.held.append(held)


def _used(seen: _Seen) -> tuple[Used, ...]:
    """Each public key once."""
    found: dict[str, Used] = {}
    for key in seen.keys:
        if key.public is not None:
            name = key.public.digest or f"{key.place} {key.public.name}"
            found.setdefault(name, Used(key.place, key.public, "a private key"))
    for held in seen.held:
        public = held.found.public
        if public is not None:
            found.setdefault(
                public.digest, Used(held.found.place, public, "the key of a certificate")
            )
    return tuple(found.values())


def _shared(used: Sequence[Used]) -> tuple[tuple[int, ...], ...]:
    positions = [
        at
        for at, each in enumerate(used)
        if each.key.kind == "rsa"
        and each.key.modulus > 1
        and each.key.bits <= weak_keys.MAX_MODULUS_BITS
    ]
    groups = shared_primes.shared([used[at].key.modulus for at in positions])
    return tuple(tuple(positions[at] for at in group) for group in groups)


def _protection(key: Key, policy: Policy, *, is_own: bool) -> Iterator[Finding]:
    subject = key.public.fingerprint if key.public is not None else ""
    if policy.encrypted_keys and not key.encrypted:
        where = " in a database without a password" if key.form == "NSS" else ""
        said = f"A private key ({key.form}) is not encrypted{where}."
        yield Finding(UNENCRYPTED, key.place, said, subject, _AGENTS if is_own else "")
    if key.old:
        yield Finding(OLD_ENCRYPTION, key.place, "The passphrase is hashed by MD5, once.", subject)


def _worth(used: Used, policy: Policy) -> Iterator[Finding]:
    key = used.key
    said = f"{used.what[0].upper()}{used.what[1:]} is {key.name}"
    if 0 < key.strength < 112:
        yield Finding(TOO_SHORT, used.place, f"{said}.", key.fingerprint)
    elif reason := _lacking(key, policy.baseline):
        severity = Severity.LOW if policy.baseline == "cnsa2" else None
        yield Finding(
            BELOW_BASELINE,
            used.place,
            f"{said}; {reason}.",
            key.fingerprint,
            severity=severity,
            references=BASELINES[policy.baseline].sources(BELOW_BASELINE.references),
        )
    if key.kind == "dsa":
        yield Finding(DSA_KEY, used.place, f"{said}.", key.fingerprint)
    if key.kind != "rsa":
        return
    if flaw := weak_keys.flaw(key):
        yield Finding(FACTORABLE, used.place, f"{said}: {flaw}.", key.fingerprint)
    if key.exponent < 65537 or key.exponent % 2 == 0:
        broken = key.exponent < 2
        yield Finding(
            SMALL_EXPONENT,
            used.place,
            f"{said}, and its public exponent is {_short(key.exponent)}.",
            key.fingerprint,
            severity=Severity.CRITICAL if broken else None,
        )


def _published(used: Used, policy: Policy) -> Iterator[Finding]:
    for each in policy.published:
        if (name := each.collection(used.key.listed)) is not None:
            said = f"{used.what[0].upper()}{used.what[1:]} is on the list of published keys, collection {name}."
            yield Finding(PUBLISHED, used.place, said, used.key.fingerprint)
            return


def _short(number: int) -> str:
    return str(number) if number < 10**9 else "an even number"


def _lacking(key: PublicKey, baseline: str) -> str:
    """What a baseline minds about a key, as part of a sentence; empty where nothing."""
    if baseline == "cnsa2":
        return "" if key.kind in _POST_QUANTUM else "CNSA 2.0 has ML-DSA-87 alone"
    if baseline not in _LEAST or key.kind == "dsa":
        return ""
    modulus, field_bits = _LEAST[baseline]
    if key.kind == "rsa":
        return f"{modulus} bits are asked for" if key.bits < modulus else ""
    if key.kind == "ec":
        return f"curves of {field_bits} bits are asked for" if 0 < key.bits < field_bits else ""
    if baseline == "cnsa1" and key.kind != "unknown":
        return "CNSA 1.0 has RSA and ECDSA on P-384 alone"
    return ""


def _sharing(used: Used, group: Iterable[Used]) -> Finding:
    others = [each for each in group if each is not used]
    first = f"{others[0].what} at {others[0].place}"
    more = f" and with {len(others) - 1} more" if len(others) > 1 else ""
    return Finding(
        SHARED_PRIME,
        used.place,
        f"{used.what[0].upper()}{used.what[1:]} shares a prime with {first}{more}.",
        used.key.fingerprint,
    )
