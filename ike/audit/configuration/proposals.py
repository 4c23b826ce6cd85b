"""What `proposals`, `esp_proposals`, `ike` and `esp` say, transform by transform, as the daemons read it. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from ike.audit.configuration import transforms
from ike.audit.configuration.transforms import PRF_OF, STRONGSWAN, Kind, Transform

_ADDITIONAL: Final = re.compile(r"ke([1-7])_(.+)\Z")
_ORDER: Final = (Kind.ENCRYPTION, Kind.INTEGRITY, Kind.PRF, Kind.EXCHANGE, Kind.SEQUENCE)
_KEYED: Final = re.compile(r"(?P<name>.+?)[_-]?(?P<bits>128|192|256)\Z")


class Protocol(StrEnum):
    """What is negotiated."""

    IKE = "IKE"
    ESP = "ESP"
    AH = "AH"


class Unreadable(ValueError):
    """The daemon does not take it; the message says why, and quotes nothing."""


@dataclass(frozen=True)
class Proposal:
    """Transforms of which the peers choose one of each kind."""

    protocol: Protocol
    transforms: tuple[Transform, ...]

    def of(self, kind: Kind) -> tuple[Transform, ...]:
        """Those of a kind, in their order."""
        return tuple(each for each in self.transforms if each.kind is kind)

    @property
    def has_exchange(self) -> bool:
        """Whether a key exchange is proposed that cannot be left out: for ESP and AH that is PFS."""
        names = {each.name for each in self.of(Kind.EXCHANGE) if not each.turn}
        return bool(names) and "KE_NONE" not in names

    def __str__(self) -> str:
        """As charon logs it."""
        return f"{self.protocol}:" + "/".join(
            str(each) for kind in _ORDER for each in sorted(self.of(kind), key=lambda x: x.turn)
        )


# ---------------------------------------------------------------- strongSwan


def strongswan(text: str, protocol: Protocol) -> Proposal:
    """One proposal of algorithms with `-` between them. Raises Unreadable where charon refuses it."""
    found = [_strongswan_algorithm(name) for name in map(str.strip, text.split("-")) if name]
    if not found:
        raise Unreadable("a proposal without an algorithm")
    if protocol is Protocol.IKE:
        return Proposal(protocol, _ike(found))
    found = [each for each in found if each.kind is not Kind.PRF]
    found = _ah(found) if protocol is Protocol.AH else _encrypting(found, protocol)
    if not any(each.kind is Kind.SEQUENCE for each in found):
        found.append(Transform(Kind.SEQUENCE, "NO_EXT_SEQ"))
    return Proposal(protocol, tuple(found))


def _strongswan_algorithm(name: str) -> Transform:
    turn = _ADDITIONAL.match(name)
    found = STRONGSWAN.get(turn[2] if turn else name)
    if found is None or (turn and found.kind is not Kind.EXCHANGE):
        raise Unreadable("an algorithm that strongSwan does not know")
    return replace(found, turn=int(turn[1])) if turn else found


def _ike(found: list[Transform]) -> tuple[Transform, ...]:
    if not any(each.kind is Kind.PRF for each in found):
        found += [
            Transform(Kind.PRF, PRF_OF[each.name])
            for each in found
            if each.kind is Kind.INTEGRITY and each.name in PRF_OF
        ]
    if not any(each.kind is Kind.PRF for each in found):
        raise Unreadable("an IKE proposal needs a PRF")
    found = [each for each in found if each.turn or each.name != "KE_NONE"]
    if not any(each.kind is Kind.EXCHANGE and not each.turn for each in found):
        raise Unreadable("an IKE proposal needs a group for the key exchange")
    return tuple(_encrypting(found, Protocol.IKE))


def _encrypting(found: list[Transform], protocol: Protocol) -> list[Transform]:
    ciphers = [each for each in found if each.kind is Kind.ENCRYPTION]
    if not ciphers:
        raise Unreadable("a proposal needs an algorithm for encryption")
    aead = [each.is_aead for each in ciphers]
    if any(aead) and not all(aead):
        raise Unreadable("AEAD and other algorithms cannot be in one proposal")
    if all(aead):
        return [each for each in found if each.kind is not Kind.INTEGRITY]
    if protocol is Protocol.IKE and not any(each.kind is Kind.INTEGRITY for each in found):
        raise Unreadable("a proposal needs an algorithm for integrity")
    return found


def _ah(found: list[Transform]) -> list[Transform]:
    kept = []
    for each in found:
        if each.name == "NULL_AES_GMAC":
            kept.append(Transform(Kind.INTEGRITY, f"AES_{each.bits}_GMAC"))
        elif each.kind is not Kind.ENCRYPTION:
            kept.append(each)
    if not any(each.kind is Kind.INTEGRITY for each in kept):
        raise Unreadable("an AH proposal needs an algorithm for integrity")
    return kept


# ---------------------------------------------------------------- Libreswan


def libreswan(
    text: str, protocol: Protocol, default_groups: Iterable[str] = (), hashes: Iterable[str] = ()
) -> tuple[Proposal, ...]:
    """The proposals of a whole setting: `,` between them, `-` or `;` between kinds, `+` between choices.

    `default_groups` and `hashes` stand where a proposal names none. Raises Unreadable.
    """
    found = tuple(
        Proposal(protocol, tuple(_libreswan(one, protocol, default_groups, hashes)))
        for one in map(str.strip, text.split(","))
        if one
    )
    if not found:
        raise Unreadable("a setting without a proposal")
    return found


def _libreswan(
    text: str, protocol: Protocol, groups: Iterable[str], hashes: Iterable[str]
) -> Iterator[Transform]:
    parts = _parts(text.lower().removesuffix("!"))
    ciphers = []
    if protocol is not Protocol.AH:
        ciphers = [_libreswan_cipher(name) for name in parts.pop(0).split("+")]
    yield from ciphers
    named_hashes: list[str] = []
    if parts and not _is_exchange(parts[0]):
        named_hashes = [_named(transforms.LIBRESWAN_HASHES, name) for name in parts[0].split("+")]
        parts.pop(0)
    # `aes-none-sha2-dh19`: integrity and PRF apart, as the newer ones may have it.
    if parts and named_hashes and not _is_exchange(parts[0]) and protocol is Protocol.IKE:
        named_hashes = [_named(transforms.LIBRESWAN_HASHES, name) for name in parts[0].split("+")]
        parts.pop(0)
    aead = bool(ciphers) and all(each.is_aead for each in ciphers)
    yield from _hashes([each for each in named_hashes if each] or hashes, protocol, aead)
    named = [_named(transforms.LIBRESWAN_EXCHANGES, name) for part in parts for name in _both(part)]
    for name in named or groups:
        yield Transform(Kind.EXCHANGE, name)


def _hashes(names: Iterable[str], protocol: Protocol, aead: bool) -> Iterator[Transform]:
    for name in names:
        if protocol is Protocol.IKE:
            yield Transform(Kind.PRF, PRF_OF.get(name, name))
        if not aead:
            yield Transform(Kind.INTEGRITY, name)


def _parts(text: str) -> list[str]:
    # The length of a key may be set off: aes-256-sha1, aes_gcm_c-256-dh19.
    joined = re.sub(r"-(128|192|256)(?=[-;+]|\Z)", r"\1", text)
    parts = [part for part in re.split(r"[-;]", joined) if part]
    if not parts:
        raise Unreadable("a proposal without an algorithm")
    return parts


def _both(part: str) -> list[str]:
    return [name for name in part.split("+") if name]


def _is_exchange(part: str) -> bool:
    return all(
        name in transforms.LIBRESWAN_EXCHANGES and name not in ("null", "none")
        for name in _both(part)
    )


def _named(names: Mapping[str, str], name: str) -> str:
    found = names.get(name)
    if found is None:
        raise Unreadable("an algorithm that Libreswan does not know")
    return found


def _libreswan_cipher(name: str) -> Transform:
    found = transforms.LIBRESWAN_CIPHERS.get(name)
    if found is not None:
        return Transform(Kind.ENCRYPTION, found)
    keyed = _KEYED.match(name)
    found = transforms.LIBRESWAN_CIPHERS.get(keyed["name"]) if keyed else None
    if keyed is None or found is None:
        raise Unreadable("an algorithm that Libreswan does not know")
    return Transform(Kind.ENCRYPTION, found, int(keyed["bits"]))
