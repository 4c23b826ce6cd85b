"""What a managed tunnel is made of, and the connection that each of its ends gets from that."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from core.errors import InvalidInput
from fleet import identities
from fleet.rotation.values import Kind
from ike.audit.configuration.proposals import Protocol, Unreadable, strongswan
from ike.daemons.port import Child, Connection

# It becomes a section's name in swanctl.conf and ipsec.conf, where `include` is a statement, and an argument of whack.
NAME = re.compile(r"(?!include\Z)[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_PROPOSAL = re.compile(r"[a-z0-9_-]{1,200}")
_REVOCATION = ("strict", "ifuri", "relaxed")
_START = ("none", "trap", "start")
_AUTHENTICATION = ("certificate", "psk")
_PPK = ("none", "preferred", "required")
_MAX_LIST = 50
_SECONDS = (60, 7 * 86400)


class TunnelRefused(InvalidInput):
    """A tunnel that cannot be as asked."""

    code = "tunnel_refused"
    next_step = "Correct what the message names."


@dataclass(frozen=True)
class ChildDefinition:
    """A CHILD_SA: the networks on each side, in CIDR. Of `start_action` start, only the left end starts."""

    name: str
    left_networks: tuple[str, ...]
    right_networks: tuple[str, ...]
    esp_proposals: tuple[str, ...] = ()
    start_action: str = "none"
    rekey_seconds: int | None = None


@dataclass(frozen=True)
class Definition:
    """A managed tunnel as both ends see it. Without an identity an end uses the first of its record.

    `authentication` is certificate or psk; `ppk` (RFC 8784) none, preferred or required.
    """

    left_addresses: tuple[str, ...]
    right_addresses: tuple[str, ...]
    children: tuple[ChildDefinition, ...]
    left_identity: str | None = None
    right_identity: str | None = None
    proposals: tuple[str, ...] = ()
    rekey_seconds: int | None = None
    revocation: str = "strict"
    authentication: str = "certificate"
    ike_version: int = 2
    ppk: str = "none"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Which shared secrets the tunnel cannot do without."""
        found = [Kind.PSK] if self.authentication == Kind.PSK else []
        return (*found, *([Kind.PPK] if self.ppk != "none" else []))


@dataclass(frozen=True)
class End:
    """One end of a tunnel as its connection needs it. `authorities` are the fingerprints of the certificates that may
    be above its own: of its authority, and of those that succeed it or that it succeeded.
    """

    identities: tuple[str, ...]
    authorities: tuple[str, ...]


def check_name(name: str) -> None:
    """Make sure that a tunnel can have this name. Raises TunnelRefused."""
    if not NAME.fullmatch(name):
        raise TunnelRefused(
            "The name of a tunnel has 1 to 63 letters, digits, hyphens and underscores, and is not `include`."
        )


def checked(given: Definition, left: tuple[str, ...], right: tuple[str, ...]) -> Definition:
    """The definition in its only spelling; `left` and `right` are the identities of the ends. Raises TunnelRefused."""
    for side, identity, known in (
        ("left", given.left_identity, left),
        ("right", given.right_identity, right),
    ):
        if identity is not None and identity not in known:
            raise TunnelRefused(f"{identity[:100]!r} is none of the identities of the {side} end.")
    found = identities.shared(left, right, (given.left_identity, given.right_identity))
    if found is not None:
        raise TunnelRefused(f"Both ends would have the identity {found}.")
    for addresses in (given.left_addresses, given.right_addresses):
        if not 1 <= len(addresses) <= _MAX_LIST:
            raise TunnelRefused("Each end of a managed tunnel has addresses: IP or host names.")
        if wrong := [text for text in addresses if not _is_address(text)]:
            raise TunnelRefused(f"{wrong[0][:100]!r} is neither an IP address nor a host name.")
    _check_proposals(given.proposals, Protocol.IKE)
    _check_seconds(given.rekey_seconds)
    if given.revocation not in _REVOCATION:
        raise TunnelRefused(f"Revocation is one of {', '.join(_REVOCATION)}.")
    _check_authentication(given)
    names = [child.name for child in given.children]
    if not 1 <= len(names) <= _MAX_LIST or len(set(names)) != len(names):
        raise TunnelRefused(f"A managed tunnel has 1 to {_MAX_LIST} children of different names.")
    return replace(given, children=tuple(map(_checked_child, given.children)))


def _check_authentication(given: Definition) -> None:
    if given.authentication not in _AUTHENTICATION:
        raise TunnelRefused(f"Authentication is one of {', '.join(_AUTHENTICATION)}.")
    if given.ppk not in _PPK:
        raise TunnelRefused(f"A PPK is one of {', '.join(_PPK)}.")
    if given.ike_version not in (1, 2):
        raise TunnelRefused("The version of IKE is 1 or 2.")
    if given.ike_version == 1 and given.ppk != "none":
        raise TunnelRefused("PPKs are for IKEv2 (RFC 8784).")


def _checked_child(child: ChildDefinition) -> ChildDefinition:
    check_name(child.name)
    _check_proposals(child.esp_proposals, Protocol.ESP)
    _check_seconds(child.rekey_seconds)
    if child.start_action not in _START:
        raise TunnelRefused(f"A start action is one of {', '.join(_START)}.")
    return replace(
        child,
        left_networks=_networks(child.left_networks),
        right_networks=_networks(child.right_networks),
    )


def _networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(networks) <= _MAX_LIST:
        raise TunnelRefused("Each side of a child has networks.")
    return tuple(map(_network, networks))


def _network(text: str) -> str:
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise TunnelRefused(
            f"{text[:100]!r} is no network: write an address with its length, as 10.1.0.0/16."
        ) from None
    if ipaddress.ip_address(text.partition("/")[0]) != found.network_address:
        raise TunnelRefused(f"{text[:100]!r} has host bits: the network is {found}.")
    return str(found)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        # No host is named by a number: that is a misspelled address (RFC 1123, section 2.1).
        return _HOST.fullmatch(text) is not None and not text.rpartition(".")[2].isdigit()
    return True


def _check_proposals(proposals: tuple[str, ...], protocol: Protocol) -> None:
    example = "aes256gcm16-prfsha384-ecp384" if protocol is Protocol.IKE else "aes256gcm16-ecp384"
    written = f"Write proposals of {protocol} as {example}"
    if len(proposals) > _MAX_LIST or not all(map(_PROPOSAL.fullmatch, proposals)):
        raise TunnelRefused(f"{written}.")
    for each in proposals:
        try:
            if each != "default":
                strongswan(each, protocol)
        except Unreadable as error:
            raise TunnelRefused(f"{written}. No daemon takes {each!r}: {error}.") from None


def _check_seconds(seconds: int | None) -> None:
    low, high = _SECONDS
    if seconds is not None and not low <= seconds <= high:
        raise TunnelRefused(f"Rekey after {low} to {high} seconds.")


def document(definition: Definition) -> dict[str, Any]:
    """The definition as the records keep it."""
    return asdict(definition)


def from_document(kept: Mapping[str, Any]) -> Definition:
    """Read what `document` made."""
    children = tuple(ChildDefinition(**_tuples(child)) for child in kept["children"])
    return Definition(**{**_tuples(kept), "children": children})


def _tuples(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()
    }


def connection(
    name: str, definition: Definition, ends: tuple[End, End], *, left: bool
) -> Connection:
    """What the left (or right) end's daemon shall have; `ends` are (left, right)."""
    here, there = ends if left else ends[::-1]
    mine, its = definition.left_identity, definition.right_identity
    addresses = (definition.left_addresses, definition.right_addresses)
    if not left:
        mine, its = its, mine
        addresses = addresses[::-1]
    return Connection(
        name=name,
        local_addresses=addresses[0],
        remote_addresses=addresses[1],
        local_id=mine or here.identities[0],
        remote_id=its or there.identities[0],
        remote_authority=there.authorities[0] if there.authorities else None,
        children=tuple(_child(child, left=left) for child in definition.children),
        proposals=definition.proposals,
        rekey_seconds=definition.rekey_seconds,
        revocation=definition.revocation,
        authentication=definition.authentication,
        ike_version=definition.ike_version,
        ppk=definition.ppk,
        more_authorities=there.authorities[1:],
    )


def _child(child: ChildDefinition, *, left: bool) -> Child:
    networks = (child.left_networks, child.right_networks)
    # Both ends starting at once would make two SAs where one is wanted.
    action = child.start_action if left or child.start_action != "start" else "none"
    return Child(
        name=child.name,
        local_ts=networks[0 if left else 1],
        remote_ts=networks[1 if left else 0],
        esp_proposals=child.esp_proposals,
        start_action=action,
        rekey_seconds=child.rekey_seconds,
    )
