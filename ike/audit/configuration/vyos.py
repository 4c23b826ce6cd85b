"""VyOS' own configuration, for where what it makes of it is not there: an archive, a disk that is not booted. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ike.audit.configuration import defaults, proposals
from ike.audit.configuration.proposals import Proposal, Protocol
from ike.audit.configuration.transforms import NUMBERED
from ike.audit.configuration.values import Child, Offer, Round, Tunnel, Writer
from ike.secrets.appliances.vyos import Node, read
from ike.secrets.values import Place, Problem, Source

# What VyOS takes where nothing is set (interface-definitions of vyos-1x).
_IKE_SECONDS: Final = 28800
_ESP_SECONDS: Final = 3600
_GROUP: Final = "2"
_ALL: Final = ("0.0.0.0/0", "::/0")


def effective(source: Source) -> tuple[list[Tunnel], list[Problem]]:
    """The peers of `vpn ipsec site-to-site` and the connections of `remote-access`."""
    told: list[Problem] = []
    # Mistakes of its syntax are told by who looks for secrets in it.
    top = read(source, [])
    tunnels: list[Tunnel] = []
    for ipsec in top.all("vpn", "ipsec"):
        groups = _Groups(ipsec, told)
        for peer in ipsec.all("site-to-site", "peer"):
            if not any(peer.all("disable")):
                tunnels += _peer(peer, groups)
        for connection in ipsec.all("remote-access", "connection"):
            if not any(connection.all("disable")):
                tunnels += _remote_access(connection, groups)
    return tunnels, list(dict.fromkeys(told))


@dataclass
class _Groups:
    """The groups of algorithms and lifetimes that peers name."""

    ipsec: Node
    told: list[Problem]
    _named: dict[tuple[str, str], Node] = field(init=False)

    def __post_init__(self) -> None:
        kinds = ("ike-group", "esp-group")
        self._named = {(kind, each.value): each for kind in kinds for each in self.ipsec.all(kind)}

    def find(self, kind: str, name: str) -> Node | None:
        return self._named.get((kind, name))

    def ike(self, group: Node) -> Offer:
        read_ = [self._proposal(each, Protocol.IKE, _dh(each)) for each in group.all("proposal")]
        return _offer(group, Protocol.IKE, read_)

    def esp(self, group: Node, ike: Node) -> Offer:
        pfs = _value(group, "pfs", "enable")
        number = pfs.removeprefix("dh-group") if pfs != "enable" else _first_dh(ike)
        dh = "" if pfs == "disable" else NUMBERED.get(number, number)
        read_ = [self._proposal(each, Protocol.ESP, dh) for each in group.all("proposal")]
        return _offer(group, Protocol.ESP, read_)

    def _proposal(self, node: Node, protocol: Protocol, dh: str) -> Proposal | None:
        names = [_value(node, "encryption", "aes128"), _value(node, "hash", "sha1")]
        if protocol is Protocol.IKE:
            names += node.values("prf")
        try:
            return proposals.strongswan("-".join([*names, *([dh] if dh else [])]), protocol)
        except proposals.Unreadable as error:
            self.told.append(Problem(node.place, f"{error}: the proposal is not judged"))
            return None


def _offer(group: Node, protocol: Protocol, read_: list[Proposal | None]) -> Offer:
    place = next((each.place for each in group.all("proposal")), group.place)
    known = tuple(each for each in read_ if each is not None)
    if not read_:
        return Offer(protocol, defaults.STRONGSWAN[protocol], place, is_default=True)
    return Offer(protocol, known, place)


def _value(node: Node, name: str, otherwise: str) -> str:
    return next(iter(node.values(name)), otherwise)


def _dh(proposal: Node) -> str:
    number = _value(proposal, "dh-group", _GROUP)
    return NUMBERED.get(number, number)


def _first_dh(ike: Node) -> str:
    return next(iter(ike.values("proposal", "dh-group")), _GROUP)


def _seconds(group: Node, otherwise: int) -> int:
    text = _value(group, "lifetime", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else otherwise


def _peer(peer: Node, groups: _Groups) -> Iterator[Tunnel]:
    ike = groups.find("ike-group", _value(peer, "ike-group", ""))
    if ike is None:
        return  # VyOS does not commit it
    authentication = next(iter(peer.all("authentication")), peer)
    mode = _value(authentication, "mode", "pre-shared-secret")
    auth = "psk" if mode == "pre-shared-secret" else "pubkey"
    remote = _value(authentication, "remote-id", peer.value)
    addresses = peer.values("remote-address") or [peer.value]
    yield _tunnel(
        peer,
        groups,
        ike,
        (
            Round(auth, authentication.place, _value(authentication, "local-id", "")),
            Round(auth, authentication.place, remote),
        ),
        tuple("%any" if each in ("any", "0.0.0.0", "::") else each for each in addresses),  # noqa: S104
    )


def _remote_access(connection: Node, groups: _Groups) -> Iterator[Tunnel]:
    ike = groups.find("ike-group", _value(connection, "ike-group", ""))
    if ike is None:
        return
    authentication = next(iter(connection.all("authentication")), connection)
    place = authentication.place
    own = (
        "psk" if _value(authentication, "server-mode", "x509") == "pre-shared-secret" else "pubkey"
    )
    client = _value(authentication, "client-mode", "eap-mschapv2")
    theirs = "pubkey" if client == "x509" else "eap"
    ends = (
        Round(own, place, _value(authentication, "local-id", "")),
        Round(theirs, place, method=client, pinned=bool(authentication.values("x509", "ca-certificate"))),
    )  # fmt: skip
    yield _tunnel(connection, groups, ike, ends, ("%any",))


def _tunnel(
    node: Node, groups: _Groups, ike: Node, ends: tuple[Round, Round], remote: tuple[str, ...]
) -> Tunnel:
    exchange = _value(ike, "key-exchange", "")
    versions = {"ikev1": (1,), "ikev2": (2,)}.get(exchange, (1, 2))
    return Tunnel(
        name=node.value,
        place=node.place,
        writer=Writer.VYOS,
        versions=versions,
        ike=groups.ike(ike),
        rekey=_seconds(ike, _IKE_SECONDS),
        reauth=None,
        local_addrs=(_value(node, "local-address", "%any"),),
        remote_addrs=remote,
        local=(ends[0],),
        remote=(ends[1],),
        children=tuple(_children(node, groups, ike)),
        aggressive=versions == (1,) and _value(ike, "mode", "main") == "aggressive",
        places={
            "keyexchange": next((each.place for each in ike.all("key-exchange")), ike.place),
            "aggressive": next((each.place for each in ike.all("mode")), ike.place),
            "rekey_time": _lifetime_place(ike),
        },
    )


def _lifetime_place(group: Node) -> Place:
    return next((each.place for each in group.all("lifetime")), group.place)


def _children(node: Node, groups: _Groups, ike: Node) -> Iterator[Child]:
    default = _value(node, "default-esp-group", _value(node, "esp-group", ""))
    tunnels = [each for each in node.all("tunnel") if not any(each.all("disable"))]
    for tunnel in tunnels:
        yield from _child(
            f"tunnel {tunnel.value}",
            tunnel,
            groups.find("esp-group", _value(tunnel, "esp-group", default)),
            (groups, ike),
        )
    if not tunnels:
        vti = next(iter(node.all("vti")), node)
        group = groups.find("esp-group", _value(vti, "esp-group", default))
        yield from _child("vti" if vti is not node else "child", vti, group, (groups, ike))


def _child(name: str, node: Node, group: Node | None, of: tuple[_Groups, Node]) -> Iterator[Child]:
    if group is None:
        return
    groups, ike = of
    local, remote = (_networks(node.values(side, "prefix")) for side in ("local", "remote"))
    yield Child(
        name=name,
        place=node.place,
        offers=(groups.esp(group, ike),),
        rekey=None,
        life=_seconds(group, _ESP_SECONDS),
        mode=_value(group, "mode", "tunnel"),
        local=local,
        remote=remote,
        places={"life_time": _lifetime_place(group)},
    )


def _networks(found: list[str]) -> tuple[str, ...]:
    return _ALL if "any" in found else tuple(found)
