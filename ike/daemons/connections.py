"""Is a managed connection fit to be written into a daemon's configuration? Pure; the same for every daemon.

What comes from the server ends in files that a daemon reads as root. Nothing that could end a value and begin another
setting gets through, whatever the file's syntax.
"""

import ipaddress
import re
from collections.abc import Collection, Iterator

from cryptography import x509

from ike.daemons.port import Child, Connection, ConnectionInvalid

# Fit for a section name of swanctl.conf and of ipsec.conf, and for a VICI key. In swanctl.conf `include` is a statement
# also where a name stands: one such section, and swanctl unloads all connections there are.
_NAME = re.compile(r"(?!include\Z)[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_ADDRESS = re.compile(r"%any6?|[A-Za-z0-9][A-Za-z0-9.:_-]{0,252}(/[0-9]{1,3})?")
_PROPOSAL = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}")
_IDENTITY = re.compile(r'(dns|ip|email|dn):[^\x00-\x1f\x7f"\'\\{}#$`;]{1,512}')
_REVOCATION = ("strict", "ifuri", "relaxed")
_AUTHENTICATION = ("certificate", "psk")
_PPK = ("none", "preferred", "required")
_START = ("none", "trap", "start")
_MAX_SECONDS = 10 * 365 * 86400


def require_valid(connection: Connection, authorities: Collection[str]) -> None:
    """Make sure that a connection can be written as it is; raises ConnectionInvalid with the first fault.

    `authorities` are the fingerprints of the CA set, to which all `remote_authorities` must belong.
    """
    for fault in _faults(connection, authorities):
        name = connection.name if _NAME.fullmatch(connection.name) else repr(connection.name)
        raise ConnectionInvalid(f"Connection {name}: {fault}.")


def _faults(connection: Connection, authorities: Collection[str]) -> Iterator[str]:
    if not _NAME.fullmatch(connection.name):
        yield "a name has letters, digits, '-' and '_' only, at most 63"
    for address in (*connection.local_addresses, *connection.remote_addresses):
        if not _ADDRESS.fullmatch(address):
            yield f"{address!r} is no address"
    if not connection.remote_addresses:
        yield "it has no remote address"
    for identity in (connection.local_id, connection.remote_id):
        if not is_identity(identity):
            yield f"{identity!r} is no identity such as dns:gw.example or ip:192.0.2.1"
    if not set(connection.remote_authorities) <= set(authorities):
        yield "its remote authority is not in the CA set"
    if connection.revocation not in _REVOCATION:
        yield f"revocation is one of {', '.join(_REVOCATION)}"
    yield from _authentication_faults(connection)
    yield from _rest(connection)
    yield from _children_faults(connection.children)


def _authentication_faults(connection: Connection) -> Iterator[str]:
    if connection.authentication not in _AUTHENTICATION:
        yield f"authentication is one of {', '.join(_AUTHENTICATION)}"
    if connection.ike_version not in (1, 2):
        yield "ike_version is 1 or 2"
    if connection.ppk not in _PPK:
        yield f"ppk is one of {', '.join(_PPK)}"
    if connection.ike_version == 1 and connection.ppk != "none":
        yield "IKEv1 has no PPK"


def is_identity(identity: str) -> bool:
    """Whether this is an identity as in Connection, fit to be written into a daemon's configuration."""
    kind, _, value = identity.partition(":")
    try:
        if kind == "ip":
            ipaddress.ip_address(value)
        elif kind == "dn":
            x509.Name.from_rfc4514_string(value)
        elif any(character.isspace() for character in value):
            return False
    except ValueError:
        return False
    return _IDENTITY.fullmatch(identity) is not None


def _children_faults(children: Collection[Child]) -> Iterator[str]:
    if not children:
        yield "it has no children"
    if len({child.name for child in children}) != len(children):
        yield "two children have one name"
    for child in children:
        yield from _child_faults(child)


def _rest(part: Connection | Child) -> Iterator[str]:
    proposals = part.proposals if isinstance(part, Connection) else part.esp_proposals
    for proposal in proposals:
        if not _PROPOSAL.fullmatch(proposal):
            yield f"{proposal!r} is no proposal"
    if part.rekey_seconds is not None and not 0 <= part.rekey_seconds <= _MAX_SECONDS:
        yield "rekey_seconds is out of range"


def _child_faults(child: Child) -> Iterator[str]:
    if not _NAME.fullmatch(child.name):
        yield f"{child.name!r} is no name of a child"
    for network in (*child.local_ts, *child.remote_ts):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            yield f"{network!r} is no network"
    if not (child.local_ts and child.remote_ts):
        yield f"child {child.name} lacks a traffic selector"
    if child.start_action not in _START:
        yield f"start_action is one of {', '.join(_START)}"
    yield from _rest(child)
