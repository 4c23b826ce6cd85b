"""Managed connections as sections of ipsec.conf, and our file of them. Pure."""

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ike.daemons.port import Child, Connection, ConnectionInvalid

_MARK = "# ikewarden: "
HEAD = "# Written by the ikewarden agent, which replaces it as a whole. Changes are lost.\n"
_START = {"none": "add", "trap": "ondemand", "start": "start"}
# Tokens of strongSwan's proposals, in which the service writes them, as Libreswan's. DH groups stand after ';' or '-'.
_ENCRYPTION = {
    **{f"aes{bits}": f"aes{bits}" for bits in (128, 192, 256)},
    **{f"aes{bits}gcm16": f"aes_gcm{bits}" for bits in (128, 192, 256)},
    **{f"aes{bits}ccm16": f"aes_ccm{bits}" for bits in (128, 192, 256)},
    "chacha20poly1305": "chacha20_poly1305",
}
_HASH = {
    "sha1": "sha1",
    "sha256": "sha2_256",
    "sha384": "sha2_384",
    "sha512": "sha2_512",
    "aescmac": "aes_cmac",
}
_PRF = {f"prf{name}": hashed for name, hashed in _HASH.items() if name.startswith("sha")}
_GROUP = {
    "modp2048": "dh14",
    "modp3072": "dh15",
    "modp4096": "dh16",
    "modp6144": "dh17",
    "modp8192": "dh18",
    "ecp256": "dh19",
    "ecp384": "dh20",
    "ecp521": "dh21",
    "x25519": "dh31",
    "curve25519": "dh31",
}
_LATER = ("authentication", "ike_version", "ppk")
_PPK = {"none": "", "preferred": "propose", "required": "insist"}
_INSTANCE = re.compile(r"/\d+x\d+$")


def conns_of(connection: Connection) -> dict[str, Child]:
    """pluto's connections of a connection: one for each child, and for an only child the same name."""
    if len(connection.children) == 1:
        return {connection.name: connection.children[0]}
    # No name of a connection has a dot, so these are nobody else's.
    return {f"{connection.name}.{child.name}": child for child in connection.children}


def plain(conn: str) -> str:
    """The name in the file of one of pluto's connections; with several networks it makes `name/1x2` of it."""
    return _INSTANCE.sub("", conn)


def name_of(conn: str, managed: Iterable[Connection]) -> str:
    """The connection that one of pluto's belongs to, or its own name."""
    for connection in managed:
        if plain(conn) in conns_of(connection):
            return connection.name
    return plain(conn)


def methods_for(own: x509.Certificate | None) -> str:
    """How both ends may authenticate, by our certificate.

    With an ECDSA key and RSA allowed, Libreswan 4.10 tries to sign with RSA and fails. So it gets ECDSA alone, which
    keeps out peers with RSA; with an RSA key both kinds of peers are let in.
    """
    if own is not None and isinstance(own.public_key(), ec.EllipticCurvePublicKey):
        return "ecdsa"
    return "rsasig,ecdsa"


@dataclass(frozen=True)
class Around:
    """What a section takes from the gateway: the nickname, `methods_for` its certificate, the CA set by fingerprint."""

    nickname: str
    methods: str
    authorities: Mapping[str, x509.Certificate]


def render(connection: Connection, around: Around) -> str:
    """The sections of a connection; raises ConnectionInvalid for what Libreswan cannot do."""
    _require_known(connection, around)
    parts = [f"\n{_MARK}{json.dumps(_recorded(connection))}\n"]
    for name, child in conns_of(connection).items():
        settings = _settings(connection, child, around)
        lines = "".join(f"\t{key}={value}\n" for key, value in settings)
        parts.append(f"conn {name}\n{lines}")
    return "".join(parts)


def for_pluto(text: str) -> str:
    """A text of `render` without what pluto does not read."""
    return "".join(each for each in text.splitlines(keepends=True) if not each.startswith("#"))


def _recorded(connection: Connection) -> dict[str, Any]:
    """What the file keeps of a connection. A setting that came later is left out where it is as it always was: the
    text of a connection that did not change stays the same, and pluto is not told to load it anew.
    """
    kept = asdict(connection)
    for each in fields(connection):
        if each.name in _LATER and kept[each.name] == each.default:
            del kept[each.name]
    return kept


def _require_known(connection: Connection, around: Around) -> None:
    faults = {
        f"authentication by {connection.authentication}": connection.authentication
        not in ("certificate", "psk"),
        f"IKE version {connection.ike_version}": connection.ike_version not in (1, 2),
        f"PPK {connection.ppk}": connection.ppk not in _PPK,
        "a PPK with IKEv1": connection.ppk != "none" and connection.ike_version == 1,
        "IKEv1 with an ECDSA certificate": connection.ike_version == 1
        and connection.authentication == "certificate"
        and around.methods == "ecdsa",
    }
    for fault, found in faults.items():
        if found:
            raise ConnectionInvalid(f"Connection {connection.name}: Libreswan has no {fault}.")


def parse(text: str) -> tuple[Connection, ...]:
    """The connections that a file of `render` was made from; what cannot be read is passed over."""
    found = []
    for line in text.splitlines():
        if line.startswith(_MARK):
            try:
                found.append(_connection(json.loads(line.removeprefix(_MARK))))
            except (ValueError, TypeError, KeyError):
                continue
    return tuple(found)


def _connection(raw: dict[str, Any]) -> Connection:
    def fixed(part: Mapping[str, Any]) -> dict[str, Any]:
        return {key: tuple(v) if isinstance(v, list) else v for key, v in part.items()}

    children = tuple(Child(**fixed(child)) for child in raw.pop("children"))
    return Connection(**fixed(raw), children=children)


def _settings(connection: Connection, child: Child, around: Around) -> Iterator[tuple[str, str]]:
    yield "left", _address(connection, connection.local_addresses, "%defaultroute")
    yield "right", _address(connection, connection.remote_addresses, "%any")
    yield "leftid", identity(connection.local_id)
    yield "rightid", identity(connection.remote_id)
    by_certificate = connection.authentication == "certificate"
    if by_certificate:
        yield from _certificates(connection, around)
    yield from _networks("left", child.local_ts)
    yield from _networks("right", child.remote_ts)
    yield "authby", _methods(connection, around) if by_certificate else "secret"
    yield "ikev2", "insist" if connection.ike_version == 2 else "no"
    if connection.ppk != "none":
        yield "ppk", _PPK[connection.ppk]
    if connection.proposals:
        yield "ike", ",".join(_ike(connection, each) for each in connection.proposals)
    if child.esp_proposals:
        yield "esp", ",".join(_esp(connection, each) for each in child.esp_proposals)
    # pluto begins to rekey between one and two margins before the end of the lifetime.
    for key, seconds in (
        ("ikelifetime", connection.rekey_seconds),
        ("salifetime", child.rekey_seconds),
    ):
        if seconds:
            yield key, f"{seconds}s"
    shortest = min(filter(None, (connection.rekey_seconds, child.rekey_seconds)), default=None)
    if shortest is not None and shortest < 1800:
        yield "rekeymargin", f"{max(shortest // 10, 1)}s"
    yield "auto", _START[child.start_action]


def _certificates(connection: Connection, around: Around) -> Iterator[tuple[str, str]]:
    yield "leftcert", around.nickname
    yield "leftsendcert", "always"
    yield "sendca", "all"  # a peer may lack the issuing CA
    if connection.remote_authority is not None:
        accepted = _accepted(connection, around)
        if accepted is not None:
            yield "rightca", _quoted(distinguished(accepted))


def _accepted(connection: Connection, around: Around) -> x509.Name | None:
    """The name that stands above every certificate that the peer may have: pluto takes one, and it may be anywhere on
    the way up. Of several authorities, as in a rollover, the nearest that is above all; None where none is.
    """
    known = around.authorities
    ways = [_way_up(known[each], known) for each in connection.remote_authorities if each in known]
    return next((name for name in ways[0] if all(name in way for way in ways[1:])), None)


def _way_up(
    authority: x509.Certificate, authorities: Mapping[str, x509.Certificate]
) -> list[x509.Name]:
    """The name of an authority and those above it, as far as they are known."""
    above = {each.subject: each.issuer for each in authorities.values()}
    way = [authority.subject, authority.issuer]
    while (name := above.get(way[-1])) is not None and name not in way:
        way.append(name)
    return way


def _methods(connection: Connection, around: Around) -> str:
    # IKEv1 of Libreswan knows RSA alone.
    return around.methods if connection.ike_version == 2 else "rsasig"


def _address(connection: Connection, addresses: tuple[str, ...], none: str) -> str:
    if len(addresses) > 1:
        raise ConnectionInvalid(
            f"Connection {connection.name}: Libreswan takes one address at each end."
        )
    if not addresses:
        return none
    return "%any" if addresses[0].startswith("%any") else addresses[0]


def _networks(end: str, networks: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    exact = [str(ipaddress.ip_network(each, strict=False)) for each in networks]
    if len(exact) == 1:
        yield f"{end}subnet", exact[0]
    else:
        yield f"{end}subnets", "{" + " ".join(exact) + "}"


def identity(text: str) -> str:
    """An identity of the port as ipsec.conf and pluto write it: `@` before a name, none before an address or DN."""
    kind, _, value = text.partition(":")
    if kind == "dns":
        return f"@{value}"
    if kind != "dn":
        return value
    try:
        # Written in the order of RFC 4514, last first; pluto reads names in the order of their encoding.
        return _quoted(distinguished(x509.Name.from_rfc4514_string(value)))
    except ValueError:
        raise ConnectionInvalid(f"{text!r} is no distinguished name (RFC 4514).") from None


def distinguished(name: x509.Name) -> str:
    """A name as pluto writes it: in the order of its encoding, a comma between the parts."""
    return ", ".join(
        "+".join(f"{part.rfc4514_attribute_name}={part.value!s}" for part in rdn)
        for rdn in name.rdns
    )


def _quoted(text: str) -> str:
    """A value in quotation marks. Raises ConnectionInvalid where it would end too early: a subject holds anything."""
    if not text.isprintable() or '"' in text or "\\" in text:
        raise ConnectionInvalid(f"{text!r} cannot be written into ipsec.conf.")
    return f'"{text}"'


def _ike(connection: Connection, proposal: str) -> str:
    cipher, hashes, prfs, groups = _sorted(connection, proposal)
    # An AEAD has no integrity; the PRF stands in its place.
    second = "+".join(prfs or hashes)
    return "-".join(filter(None, (cipher, second, "+".join(groups))))


def _esp(connection: Connection, proposal: str) -> str:
    cipher, hashes, _, groups = _sorted(connection, proposal)
    written = "-".join(filter(None, (cipher, "+".join(hashes))))
    return f"{written};{'+'.join(groups)}" if groups else written


def _sorted(connection: Connection, proposal: str) -> tuple[str, list[str], list[str], list[str]]:
    cipher: list[str] = []
    hashes: list[str] = []
    prfs: list[str] = []
    groups: list[str] = []
    for token in proposal.split("-"):
        for table, kept in ((_ENCRYPTION, cipher), (_HASH, hashes), (_PRF, prfs), (_GROUP, groups)):
            if token in table:
                kept.append(table[token])
                break
        else:
            if token not in ("esn", "noesn"):
                raise ConnectionInvalid(
                    f"Connection {connection.name}: {token!r} of proposal {proposal!r} is not known to Libreswan."
                )
    if not cipher:
        raise ConnectionInvalid(f"Connection {connection.name}: {proposal!r} has no cipher.")
    return "+".join(cipher), hashes, prfs, groups
