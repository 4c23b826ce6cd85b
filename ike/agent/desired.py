"""The desired state of a gateway, as the service tells it, read with suspicion."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from cryptography import x509

from core.errors import Unavailable
from ike.agent.keys import is_authority
from ike.daemons.port import Child, Connection, RevokedPeer

Value = TypeVar("Value")
_MOST: Final = 10_000
_HEX: Final = re.compile(r"[0-9a-f]{1,64}")
_ACTIONS: Final = ("none", "trap", "start")
_REVOCATION: Final = ("strict", "ifuri", "relaxed")
_AUTHENTICATION: Final = ("certificate", "psk")
_PPK: Final = ("none", "preferred", "required")
_KINDS: Final = ("psk", "ppk")
_SLOT: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{32}")
# Whom a secret is for, and nobody else: what daemons read as "whoever it is" is no identity here.
_IDENTITY: Final = re.compile(r"[a-z]{1,8}:[^%*\s][^*]{0,1023}")


class StateUnusable(Unavailable):
    """The desired state cannot be understood; the agent goes on with the one before."""

    code = "state_unusable"
    next_step = "Nothing was changed here. Is the agent older than the service?"


@dataclass(frozen=True)
class DesiredCrl:
    """A revocation list that is to be loaded: whose, its number, and SHA-256 of its DER."""

    authority: str
    number: int
    sha256: str
    size: int


@dataclass(frozen=True)
class Command:
    """Something to be done once: kind cut, reauthenticate or renew, or one that this agent does not know.

    `id` is given back as it came; `key` is the same as text.
    """

    id: int | str
    kind: str
    peer: RevokedPeer | None = None
    crl_authority: str = ""
    crl_number: int = 0
    connection: str = ""
    expires_at: datetime | None = None

    @property
    def key(self) -> str:
        """How its outcome is kept."""
        return str(self.id)


@dataclass(frozen=True)
class DesiredKey:
    """A version of a shared secret without its value; `id` is by what the service gives the value. `fingerprint` is the
    service's own mark of the value, where it has one.
    """

    id: int
    version: int
    fingerprint: str | None
    ppk_id: str | None = None


@dataclass(frozen=True)
class ProofOrder:
    """A fresh authentication under this version is wanted. `start`: this end starts it; `gap`: it may interrupt."""

    version: int
    start: bool
    gap: bool


@dataclass(frozen=True)
class DesiredSlot:
    """The shared secrets of one kind of this end of a tunnel; the first key proves, all are accepted."""

    name: str
    kind: str
    tunnel: str
    connection: str
    local_id: str
    remote_id: str
    keys: tuple[DesiredKey, ...]
    ike_version: int = 2
    prove: ProofOrder | None = None

    @property
    def versions(self) -> list[int]:
        """Versions in order."""
        return [each.version for each in self.keys]


@dataclass(frozen=True)
class DesiredState:
    """What the service wants of this gateway. `certificate` is the newest valid one, PEM and its chain.

    `secrets` is None where the service is too old to know of shared secrets: then none is touched.
    """

    gateway: str
    version: int
    profile: str
    authorities: tuple[x509.Certificate, ...]
    certificate: x509.Certificate | None
    chain: tuple[x509.Certificate, ...]
    renew: bool
    crls: tuple[DesiredCrl, ...]
    connections: tuple[Connection, ...]
    commands: tuple[Command, ...]
    secrets: tuple[DesiredSlot, ...] | None = None


def read(document: Mapping[str, Any], gateway: str) -> DesiredState:
    """Understand a state for this gateway. Raises StateUnusable, which names the member at fault."""
    own = _text(document, "gateway")
    if own != gateway:
        raise StateUnusable(
            f"The service answered with the state of {own!r}, and this is {gateway!r}.",
            next_step="The certificate here belongs to another gateway: enroll again.",
        )
    authorities = tuple(_pem(each, "authorities") for each in _list(document, "authorities"))
    if not all(map(is_authority, authorities)):
        raise StateUnusable("The desired state names something as an authority that is none.")
    given = document.get("certificate")
    if given is not None and not isinstance(given, dict):
        raise StateUnusable("The desired state's certificate cannot be understood.")
    return DesiredState(
        gateway=own,
        version=_number(document, "version"),
        profile=_text(document, "profile", ""),
        authorities=authorities,
        certificate=_pem(given.get("certificate"), "certificate") if given else None,
        chain=tuple(_pem(each, "chain") for each in _list(given, "chain")) if given else (),
        renew=document.get("renew") is True,
        crls=_each(document, "crls", _crl),
        connections=_each(document, "connections", connection),
        commands=_each(document, "commands", _command),
        secrets=None if document.get("secrets") is None else _slots(document),
    )


def _slots(document: Mapping[str, Any]) -> tuple[DesiredSlot, ...]:
    slots = _each(document, "secrets", _slot)
    _refuse_twice([each.name for each in slots], "slot")
    _refuse_twice([key.id for each in slots for key in each.keys], "shared secret")
    return slots


def _slot(document: Mapping[str, Any]) -> DesiredSlot:
    order = document.get("prove")
    if order is not None and not isinstance(order, dict):
        raise StateUnusable("The desired state's prove cannot be understood.")
    kind = _one_of(document, "kind", "", _KINDS)
    keys = _each(document, "keys", _key)
    _refuse_twice([each.version for each in keys], "version")
    if any((each.ppk_id is not None) != (kind == "ppk") for each in keys):
        raise StateUnusable("The desired state has a PPK without its PPK_ID, or a PSK with one.")
    return DesiredSlot(
        name=_like(document, "name", _SLOT),
        kind=kind,
        tunnel=_text(document, "tunnel", ""),
        connection=_text(document, "connection"),
        local_id=_like(document, "local_id", _IDENTITY),
        remote_id=_like(document, "remote_id", _IDENTITY),
        ike_version=_ike_version(document),
        keys=keys,
        prove=None if order is None else _order(order),
    )


def _key(document: Mapping[str, Any]) -> DesiredKey:
    ppk_id = document.get("ppk_id")
    if ppk_id is not None and not _text(document, "ppk_id"):
        raise StateUnusable("The desired state has a PPK without its PPK_ID, or a PSK with one.")
    return DesiredKey(
        id=_number(document, "id"),
        version=_number(document, "version"),
        fingerprint=None
        if document.get("fingerprint") is None
        else _like(document, "fingerprint", _FINGERPRINT),
        ppk_id=ppk_id,
    )


def _order(document: Mapping[str, Any]) -> ProofOrder:
    return ProofOrder(
        version=_number(document, "version"),
        start=document.get("start") is True,
        gap=document.get("gap") is True,
    )


def _crl(document: Mapping[str, Any]) -> DesiredCrl:
    sha256 = _text(document, "sha256")
    if not _HEX.fullmatch(sha256):
        raise StateUnusable("The desired state names a CRL without its SHA-256.")
    return DesiredCrl(
        authority=_text(document, "authority"),
        number=_number(document, "number"),
        sha256=sha256,
        size=_number(document, "size", 0),
    )


def connection(document: Mapping[str, Any]) -> Connection:
    """A managed connection from its document. Raises StateUnusable."""
    authority = document.get("remote_authority")
    return Connection(
        name=_text(document, "name"),
        local_addresses=_texts(document, "local_addresses"),
        remote_addresses=_texts(document, "remote_addresses"),
        local_id=_text(document, "local_id"),
        remote_id=_text(document, "remote_id"),
        remote_authority=None if authority is None else str(authority),
        children=_each(document, "children", _child),
        proposals=_texts(document, "proposals"),
        rekey_seconds=_optional(document, "rekey_seconds"),
        revocation=_one_of(document, "revocation", "strict", _REVOCATION),
        authentication=_one_of(document, "authentication", "certificate", _AUTHENTICATION),
        ike_version=_ike_version(document),
        ppk=_one_of(document, "ppk", "none", _PPK),
        more_authorities=_texts(document, "more_authorities"),
    )


def _child(document: Mapping[str, Any]) -> Child:
    return Child(
        name=_text(document, "name"),
        local_ts=_texts(document, "local_ts"),
        remote_ts=_texts(document, "remote_ts"),
        esp_proposals=_texts(document, "esp_proposals"),
        start_action=_one_of(document, "start_action", "none", _ACTIONS),
        rekey_seconds=_optional(document, "rekey_seconds"),
    )


def _command(document: Mapping[str, Any]) -> Command:
    kind = _text(document, "kind")
    crl = document.get("crl")
    crl = crl if isinstance(crl, dict) else {}
    return Command(
        id=_number(document, "id")
        if isinstance(document.get("id"), int)
        else _text(document, "id"),
        kind=kind,
        peer=_peer(document) if kind == "cut" else None,
        crl_authority=_text(crl, "authority", ""),
        crl_number=_number(crl, "number", 0),
        connection=_text(document, "connection", ""),
        expires_at=_time(document, "expires_at"),
    )


def _peer(document: Mapping[str, Any]) -> RevokedPeer:
    peer = document.get("peer")
    if not isinstance(peer, dict):
        raise StateUnusable("The desired state has a command to cut, and not whom.")
    return RevokedPeer(
        fingerprint=_text(peer, "fingerprint"),
        serial=_text(peer, "serial"),
        identities=_texts(peer, "identities"),
        good=frozenset(_texts(peer, "good")),
    )


def _pem(value: object, member: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(str(value).encode())
    except ValueError:
        raise StateUnusable(
            f"The desired state's {member} holds something that is no certificate."
        ) from None


def _text(document: Mapping[str, Any], member: str, default: str | None = None) -> str:
    value = document.get(member, default)
    if not isinstance(value, str) or not value.isprintable():
        raise StateUnusable(f"The desired state's {member} is missing or is no text.")
    return value


def _number(document: Mapping[str, Any], member: str, default: int | None = None) -> int:
    value = document.get(member, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise StateUnusable(f"The desired state's {member} is missing or is no number.")
    return value


def _optional(document: Mapping[str, Any], member: str) -> int | None:
    return None if document.get(member) is None else _number(document, member)


def _one_of(document: Mapping[str, Any], member: str, default: str, known: tuple[str, ...]) -> str:
    value = _text(document, member, default)
    if value not in known:
        raise StateUnusable(f"The desired state's {member} is none of {', '.join(known)}.")
    return value


def _ike_version(document: Mapping[str, Any]) -> int:
    version = _number(document, "ike_version", 2)
    if version not in (1, 2):
        raise StateUnusable("The desired state's ike_version is neither 1 nor 2.")
    return version


def _like(document: Mapping[str, Any], member: str, pattern: re.Pattern[str]) -> str:
    value = _text(document, member)
    if not pattern.fullmatch(value):
        raise StateUnusable(f"The desired state's {member} is not written as it must be.")
    return value


def _refuse_twice(names: Sequence[object], what: str) -> None:
    if len(set(names)) != len(names):
        raise StateUnusable(f"The desired state names a {what} twice.")


def _time(document: Mapping[str, Any], member: str) -> datetime | None:
    value = document.get(member)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise StateUnusable(f"The desired state's {member} is no time.")
    return moment


def _list(document: Mapping[str, Any], member: str) -> list[Any]:
    value = document.get(member, [])
    if not isinstance(value, list) or len(value) > _MOST:
        raise StateUnusable(f"The desired state's {member} is no list, or a far too long one.")
    return value


def _texts(document: Mapping[str, Any], member: str) -> tuple[str, ...]:
    values = _list(document, member)
    if not all(isinstance(each, str) and each.isprintable() for each in values):
        raise StateUnusable(f"The desired state's {member} holds something that is no text.")
    return tuple(values)


def _each(
    document: Mapping[str, Any], member: str, one: Callable[[Mapping[str, Any]], Value]
) -> tuple[Value, ...]:
    values = _list(document, member)
    if not all(isinstance(each, dict) for each in values):
        raise StateUnusable(f"The desired state's {member} holds something that is no object.")
    return tuple(one(each) for each in values)
