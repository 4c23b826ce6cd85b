"""Pre-shared keys, PPKs, passwords and passphrases: whether they can be guessed, and who else may use them.

How strong a value is, `ike.secrets.strength` judges; whom it answers for, `ike.secrets.ranking`.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from core.secret import Secret
from ike.audit import passphrases
from ike.audit.secret_rules import (
    PASSPHRASE_BESIDE_KEY,
    PASSPHRASE_WEAK,
    PPK_SHORT,
    PSK_AMBIGUOUS,
    PSK_BELOW_STRENGTH,
    PSK_FOR_ANY_PEER,
    PSK_MISSING,
    PSK_REPEATED,
    PSK_SHARED,
    PSK_WEAK,
    SAMPLE_VALUE,
    SECRET_OF_SEVERAL_KINDS,
    TOKEN_PIN_WEAK,
    USER_PASSWORD_WEAK,
)
from ike.audit.values import Facts, Finding, Policy, Rule, Severity
from ike.secrets import identities, looking, strength
from ike.secrets.appliances import firewall, networkmanager, racoon, vyos
from ike.secrets.ipsec_secrets import is_plausible
from ike.secrets.looking import Overview, Seen, Tunnel
from ike.secrets.reading import Found
from ike.secrets.strength import Verdict
from ike.secrets.stumbling import stumbling
from ike.secrets.tree import File
from ike.secrets.values import (
    Connection,
    End,
    Entry,
    Kind,
    Parsed,
    Place,
    Problem,
    Source,
)

_PPK_BITS: Final = 256
_PIN_BITS: Final = 16  # of a PIN that is tried a few times: no date, and more than four digits
_NAMES: Final = {
    Kind.PSK: "pre-shared key",
    Kind.PPK: "PPK",
    Kind.USER: "password of a user",
    Kind.PASSPHRASE: "passphrase",
    Kind.PIN: "PIN",
}


class Files(Protocol):
    """What is needed of `ike.audit.ground.Ground`."""

    def read(self, path: str) -> File:
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
    def starts(self) -> Sequence[Start]:
        """The configurations."""

    @property
    def found(self) -> Found:
        """What stands in the configurations."""

    @property
    def apart(self) -> tuple[Found, ...]:
        """What stands in those of other hosts."""


@dataclass(frozen=True, eq=False)
class SecretFacts:
    """The secrets of a host, judged, and the connections that they answer for."""

    overview: Overview

    def judge(self, policy: Policy, _now: datetime) -> Iterator[Finding]:
        """See `ike.audit.values.Facts`."""
        remotes = _remotes(self.overview.tunnels)
        several = len({remote for each in remotes.values() for remote in each}) > 1
        peers = _Peers(tunnel.connection for tunnel in self.overview.tunnels)
        names: Counter[tuple[str, str]] = Counter()
        for seen in sorted(self.overview.secrets, key=lambda each: each.entry.place.line):
            names[seen.entry.place.path, _subject(seen.entry)] += 1
            number = names[seen.entry.place.path, _subject(seen.entry)]
            for finding in (
                *_guessing(seen, policy),
                *_elsewhere(seen, peers),
                *_peers(seen, remotes.get(id(seen.entry), ()), several=several),
            ):
                # Of several that are called alike in one file, each is told.
                subject = finding.subject + (f" {number}" if number > 1 else "")
                yield replace(finding, subject=subject)
        for tunnel in self.overview.tunnels:
            yield from _answer(tunnel)


def look(files: Files, discovered: Discovered) -> tuple[Sequence[Facts], Sequence[Problem]]:
    """The facts, and what could not be read of the systems' own files; of the daemons' it is told by who read them."""
    key = Secret(os.urandom(32))
    parsed, seen = [], set[tuple[int, int]]()
    problems: list[Problem] = []
    for start in discovered.starts:
        with stumbling(Place(start.path, 0), problems):
            file = _read(files, start.path) if start.kind in _PARSERS else None
            if file is not None and file.identity not in seen:
                seen.add(file.identity)
                text = file.content.decode("utf-8", "surrogateescape")
                parsed.append(_PARSERS[start.kind](Source(start.path, text)))
    entries = tuple(entry for each in parsed for entry in each.entries)
    # By themselves: what such a system writes for its daemon has the same values, and is no second place for them.
    connections = tuple(connection for each in parsed for connection in each.connections)
    own = Found(entries, connections, (), {})
    daemons = [passphrases.of_keys(files, each) for each in (discovered.found, *discovered.apart)]
    facts = [SecretFacts(looking.look(each, key)) for each in (*daemons, own)]
    # Those of the reading are told by whoever read.
    told = {problem for each in daemons for problem in each.problems}
    problems += [each for fact in facts for each in fact.overview.problems if each not in told]
    return facts, [*(problem for each in parsed for problem in each.problems), *problems]


def _read(files: Files, path: str) -> File | None:
    try:
        return files.read(path)
    except OSError:
        return None  # who discovered it tells


_PARSERS: Final[dict[str, Callable[[Source], Parsed]]] = {
    "vyos-config": vyos.parse,
    "opnsense-xml": firewall.parse,
    "racoon-psk": racoon.parse,
    "networkmanager": networkmanager.parse,
}


# ---------------------------------------------------------------- whose it is


def _subject(entry: Entry) -> str:
    """By what a secret is known in the next run: its kind, section and owners, never its value."""
    owners = " ".join(sorted(str(identities.folded(owner)) for owner in entry.owners))
    return " ".join(part for part in (entry.kind.value, entry.name or entry.file, owners) if part)


def _called(entry: Entry) -> str:
    """How evidence calls it."""
    name = _NAMES[entry.kind]
    if entry.owners:
        is_user = entry.kind is Kind.USER  # a name, whatever identity it would be as a peer's
        name = "password of the user" if is_user else f"{name} of"
        shown = ", ".join((is_user and owner.value) or str(owner) for owner in entry.owners[:3])
        more = f" and {len(entry.owners) - 3} more" if len(entry.owners) > 3 else ""
        return f"The {name} {shown}{more}"
    if entry.file and not entry.name:
        return f"The {name} of {entry.file}"
    if entry.kind is Kind.PIN:
        return f"The {name} of {entry.name or 'a token'}"
    return f"The {name} {entry.name}" if entry.name else f"A {name} without owners"


def _found(rule: Rule, seen: Seen, said: str, severity: Severity | None = None) -> Finding:
    evidence = f"{_called(seen.entry)} {said}."
    return Finding(rule, seen.entry.place, evidence, _subject(seen.entry), severity=severity)


# ---------------------------------------------------------------- guessing


def _guessing(seen: Seen, policy: Policy) -> Iterator[Finding]:
    kind, judged = seen.entry.kind, seen.strength
    why = f": {'; '.join(judged.reasons)}" if judged.reasons else ""
    said = f"has about {judged.bits} bits{why}"
    if kind is Kind.PASSPHRASE:
        yield _found(PASSPHRASE_BESIDE_KEY, seen, "stands in clear text on the host of its key")
    if strength.COMMON in judged.reasons or not judged.octets:
        instead = "" if kind is Kind.PSK else _WEAK[kind].fix
        yield replace(_found(SAMPLE_VALUE, seen, said, _SAMPLES[kind]), fix=instead)
    elif kind is Kind.PIN:
        if judged.bits < _PIN_BITS:
            yield _found(TOKEN_PIN_WEAK, seen, said)
    elif judged.verdict is Verdict.WEAK:
        yield _found(_WEAK[kind], seen, said)
    elif kind is Kind.PPK and judged.bits < _PPK_BITS:
        yield _found(PPK_SHORT, seen, f"has about {judged.bits} bits")
    elif kind is Kind.PSK and judged.bits < policy.psk_bits:
        yield _found(PSK_BELOW_STRENGTH, seen, f"{said}, and {policy.psk_bits} are asked for")


_WEAK: Final = {
    Kind.PSK: PSK_WEAK,
    Kind.PPK: PPK_SHORT,
    Kind.USER: USER_PASSWORD_WEAK,
    Kind.PASSPHRASE: PASSPHRASE_WEAK,
    Kind.PIN: TOKEN_PIN_WEAK,
}
_SAMPLES: Final = {
    Kind.PSK: Severity.CRITICAL,
    Kind.PPK: Severity.HIGH,
    Kind.USER: Severity.HIGH,
    Kind.PASSPHRASE: Severity.MEDIUM,
    Kind.PIN: Severity.MEDIUM,
}


# ---------------------------------------------------------------- the same value


class _Peers:
    """Which names and addresses are those of one peer, as a connection has them."""

    def __init__(self, connections: Iterable[Connection]) -> None:
        self._owners: dict[int, frozenset[str]] = {}
        self._own: set[str] = set()
        self._of: dict[str, set[int]] = {}
        for number, connection in enumerate(connections):
            self._own |= _names(connection.local)
            for name in _names(connection.remote):
                self._of.setdefault(name, set()).add(number)

    def are_one(self, entry: Entry, other: Entry) -> bool:
        """Whether two secrets are for the same peer, whatever each calls it."""
        one, two = self._owned(entry), self._owned(other)
        if one == two:
            return True
        one, two = one - self._own, two - self._own
        if not one or not two:
            return False
        return one == two or bool(
            set.intersection(*(self._of.get(name, set()) for name in one | two))
        )

    def _owned(self, entry: Entry) -> frozenset[str]:
        found = self._owners.get(id(entry))
        if found is None:
            found = self._owners[id(entry)] = frozenset(
                str(identities.folded(owner)) for owner in entry.owners
            )
        return found


def _names(end: End) -> set[str]:
    named = [end.identity] if end.identity is not None else []
    every = (*named, *map(identities.strongswan, end.addresses))
    return {str(identities.folded(each)) for each in every if not each.is_pattern}


def _elsewhere(seen: Seen, known: _Peers) -> Iterator[Finding]:
    entry = seen.entry
    # A passphrase is for a file; that several files have one is not for this rule.
    same = [each for each in seen.elsewhere if each.kind is entry.kind]
    other_kinds = [each for each in seen.elsewhere if each.kind is not entry.kind]
    if other_kinds:
        said = f"is at {other_kinds[0].place} a {_NAMES[other_kinds[0].kind]} as well"
        yield _found(SECRET_OF_SEVERAL_KINDS, seen, said)
    if entry.kind not in (Kind.PSK, Kind.PPK):
        return
    copies = [each for each in same if known.are_one(entry, each)]
    peers = [each for each in same if each not in copies]
    if peers:
        left = seen.copies - len(seen.elsewhere) + len(peers) - 1
        more = f" and {left} more" if left else ""
        yield _found(PSK_SHARED, seen, f"is that of others too: {peers[0].place}{more}")
    if copies:
        yield _found(PSK_REPEATED, seen, f"stands at {copies[0].place} as well")


# ---------------------------------------------------------------- peers


def _remotes(tunnels: Iterable[Tunnel]) -> dict[int, tuple[str, ...]]:
    """By secret: the peers of the connections that it answers for first."""
    found: dict[int, dict[str, None]] = {}
    for tunnel in tunnels:
        if tunnel.answer.first is not None:
            found.setdefault(id(tunnel.answer.first), {})[_peer(tunnel.connection)] = None
    return {secret: tuple(names) for secret, names in found.items()}


def _peer(connection: Connection) -> str:
    """How evidence calls the peer. What cannot be its name may be a secret that was written into the wrong line."""
    remote = connection.remote
    if remote.identity is None:
        given, shown = list(remote.addresses), ", ".join(remote.addresses)
    else:
        value = remote.identity.value
        given, shown = [value] if value else [], str(identities.folded(remote.identity))
    plain = shown and all(map(is_plausible, given))
    return shown if plain else f"the peer of {connection.name}"


def _peers(seen: Seen, remotes: Sequence[str], *, several: bool) -> Iterator[Finding]:
    """`several`: whether the host has connections to more than one peer by PSK."""
    if seen.answers_for_others:
        severity = None if several else Severity.LOW
        yield _found(
            PSK_FOR_ANY_PEER, seen, f"answers for any peer: {seen.answers_for_others}", severity
        )
    if len(remotes) > 1:
        more = f" and {len(remotes) - 3} more" if len(remotes) > 3 else ""
        said = f"is that of {len(remotes)} peers: {', '.join(remotes[:3])}{more}"
        yield _found(PSK_SHARED, seen, said)


def _answer(tunnel: Tunnel) -> Iterator[Finding]:
    connection = tunnel.connection
    if not tunnel.secrets:
        evidence = f"No secret here answers for the connection {connection.name}."
        yield Finding(PSK_MISSING, connection.place, evidence, connection.name)
    elif tunnel.answer.tied:
        places = ", ".join(str(each.entry.place) for each in tunnel.secrets[:3])
        evidence = f"Several secrets fit the connection {connection.name} equally well: {places}."
        yield Finding(PSK_AMBIGUOUS, connection.place, evidence, connection.name)
