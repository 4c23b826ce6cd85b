"""Keyfiles of NetworkManager with an IPsec connection: its plugins for strongSwan, Libreswan and L2TP. Pure."""

import re
from typing import Final

from ike.audit.configuration import defaults, effective_swanctl, proposals
from ike.audit.configuration.proposals import Proposal, Protocol
from ike.audit.configuration.values import Child, Offer, Round, Tunnel, Writer
from ike.secrets.appliances.networkmanager import Group, groups
from ike.secrets.values import Problem, Source

_HOUR: Final = 3600
_SERVICE: Final = "org.freedesktop.NetworkManager."


def effective(source: Source) -> tuple[list[Tunnel], list[Problem]]:
    """The connection of a keyfile, where it is one of IPsec."""
    found = groups(source)
    data = found.get("vpn")
    if data is None:
        return [], []
    connection = found.get("connection")
    data.name = (connection.text("id") if connection is not None else "") or source.path
    service = data.text("service-type").removeprefix(_SERVICE)
    problems: list[Problem] = []
    if service == "strongswan":
        return [_strongswan(data, problems)], problems
    if service in ("libreswan", "openswan"):
        return [_libreswan(data, problems)], problems
    if service == "l2tp" and data.text("ipsec-enabled") == "yes":
        return [_l2tp(data, problems)], problems
    return [], []


def _offer(
    data: Group, protocol: Protocol, name: str, problems: list[Problem], is_pluto: bool
) -> Offer | None:
    found = data.values.get(name)
    if found is None or not found.text:
        return None
    try:
        if is_pluto:
            return Offer(protocol, proposals.libreswan(found.text, protocol), found.place)
        texts = [each for each in re.split(r"[;,]", found.text.removesuffix("!")) if each.strip()]
        read: tuple[Proposal, ...] = tuple(proposals.strongswan(each, protocol) for each in texts)
    except proposals.Unreadable as error:
        problems.append(Problem(found.place, f"{error}: the connection is not made"))
        return None
    return Offer(protocol, read, found.place) if read else None


def _default(data: Group, protocol: Protocol, version: int, is_pluto: bool) -> Offer:
    if not is_pluto:
        return Offer(protocol, defaults.STRONGSWAN[protocol], data.place, is_default=True)
    is_ike = protocol is Protocol.IKE
    groups = defaults.LIBRESWAN_GROUPS[version] if is_ike else ()
    hashes = defaults.LIBRESWAN_HASHES[version] if is_ike else ("HMAC_SHA1_96",)
    found = proposals.libreswan(defaults.LIBRESWAN[version, protocol], protocol, groups, hashes)
    return Offer(protocol, found, data.place, is_default=True)


def _tunnel(  # noqa: PLR0913 - what the plugins differ in
    data: Group,
    version: int,
    ike: Offer | None,
    esp: Offer | None,
    ends: tuple[Round, Round],
    *,
    writer: Writer,
    remote: str,
    aggressive: bool = False,
    lives: tuple[int, int] = (4 * _HOUR, _HOUR),
) -> Tunnel:
    is_pluto = writer is Writer.NM_LIBRESWAN
    return Tunnel(
        name=data.name,
        place=data.place,
        writer=writer,
        versions=(version,),
        ike=ike or _default(data, Protocol.IKE, version, is_pluto),
        rekey=lives[0],
        reauth=None,
        local_addrs=("%any",),
        remote_addrs=(remote or "unknown",),
        local=(ends[0],),
        remote=(ends[1],),
        children=(
            Child(
                name="",
                place=data.place,
                offers=(esp or _default(data, Protocol.ESP, version, is_pluto),),
                rekey=lives[1],
                life=None,
                pfs=(data.text("pfs") != "no") if is_pluto else None,
                places={name: each.place for name, each in data.values.items()},
            ),
        ),
        aggressive=aggressive,
        places={name: each.place for name, each in data.values.items()},
    )


def _strongswan(data: Group, problems: list[Problem]) -> Tunnel:
    asked = data.text("proposal") == "yes"  # else the fields are there and not used
    ike = _offer(data, Protocol.IKE, "ike", problems, is_pluto=False) if asked else None
    esp = _offer(data, Protocol.ESP, "esp", problems, is_pluto=False) if asked else None
    method = data.values.get("method")
    auth = "psk" if method is not None and method.text == "psk" else "pubkey"
    place = method.place if method is not None else data.place
    ends = Round("eap" if data.text("method") == "eap" else auth, place), Round(auth, place)
    writer, remote = Writer.NM_STRONGSWAN, data.text("address")
    return _tunnel(data, 2, ike, esp, ends, writer=writer, remote=remote)


def _libreswan(data: Group, problems: list[Problem]) -> Tunnel:
    version = 2 if data.text("ikev2") in ("insist", "yes", "propose") else 1
    ike = _offer(data, Protocol.IKE, "ike", problems, is_pluto=True)
    esp = _offer(data, Protocol.ESP, "esp", problems, is_pluto=True)
    cert = data.values.get("leftcert")
    place = cert.place if cert is not None else data.place
    one = Round("pubkey" if cert is not None else "psk", place, data.text("leftid"))
    lives = (_seconds(data, "ikelifetime"), _seconds(data, "salifetime"))
    return _tunnel(
        data,
        version,
        ike,
        esp,
        (one, one),
        writer=Writer.NM_LIBRESWAN,
        remote=data.text("right"),
        # With a name for its group the plugin asks for Aggressive Mode, as such gateways want it.
        aggressive=version == 1 and cert is None and bool(data.text("leftid")),
        lives=lives,
    )


def _l2tp(data: Group, problems: list[Problem]) -> Tunnel:
    ike = _offer(data, Protocol.IKE, "ipsec-ike", problems, is_pluto=False)
    esp = _offer(data, Protocol.ESP, "ipsec-esp", problems, is_pluto=False)
    auth = "pubkey" if data.text("machine-auth-type") == "tls" else "psk"
    one = Round(auth, data.place)
    version = 2 if data.text("ipsec-ikev2") == "yes" else 1
    remote = data.text("gateway")
    return _tunnel(data, version, ike, esp, (one, one), writer=Writer.NM_L2TP, remote=remote)


def _seconds(data: Group, name: str) -> int:
    text = data.text(name)
    return (effective_swanctl.seconds(text) if text else None) or 8 * _HOUR
