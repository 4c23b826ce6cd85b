"""Does the daemon run, and do packets get to the peer and back: ports, NAT, fragments, traffic. Pure."""

from collections.abc import Iterable

from ike.audit.configuration.values import Tunnel, Writer
from ike.doctor import matching
from ike.doctor.policy import OK, UNKNOWN, WRONG
from ike.doctor.values import Answer, Case, Check, Daemon, Network
from ike.events.event import SaEvent

_IKE, _NAT = 500, 4500
_DENIED = "Permission denied"
_NOT_HERE = "Run it on the gateway itself, or name the daemon's socket with --vici or --pluto."
# By the daemon: how it is asked, the option that names its socket, and its unit.
_HOW = {
    "charon": ("over VICI", "--vici", "strongswan"),
    "pluto": ("through whack", "--pluto", "ipsec"),
}


def daemon(case: Case) -> Check:
    """Whether the daemon answers."""
    name, told = "daemon", case.daemon
    if told is None:
        said = "The daemon was not asked: these are files of elsewhere."
        return Check(name, UNKNOWN, said, _NOT_HERE)
    how, option, unit = _HOW[told.kind]
    if not told.failure:
        return Check(name, OK, f"{told.version} answers {how}.")
    if _DENIED in told.failure:
        return Check(name, UNKNOWN, told.failure, "Run it as root.")
    if case.network is not None and _IKE in case.network.bound:
        said = f"{told.failure} Something listens at UDP 500, though."
        step = f"Give the path of {told.kind}'s socket with {option}, or restart the daemon if it hangs."
        return Check(name, WRONG, said, step)
    step = f"Start it (`systemctl start {unit}`); if it ends again: journalctl -u {unit}"
    return Check(name, WRONG, f"{told.failure} Nothing listens at UDP 500.", step)


def loaded(case: Case) -> Check | None:
    """Whether the daemon has the connection; charon lists only those of swanctl.conf."""
    told = case.daemon
    if told is None or told.failure or case.tunnel is None:
        return None
    if case.tunnel.writer is Writer.LIBRESWAN and told.is_pluto:
        return _loaded_by_pluto(told, case.tunnel)
    if case.tunnel.writer is not Writer.SWANCTL or told.is_pluto:
        return None
    if case.tunnel.name in told.connections:
        return Check("loaded", OK, f"The daemon has the connection {case.tunnel.name}.")
    others = ", ".join(sorted(told.connections)) or "no connection"
    said = f"The daemon has not loaded {case.tunnel.name}; it has {others}."
    return Check("loaded", WRONG, said, "Load it: swanctl --load-all")


def _loaded_by_pluto(told: Daemon, tunnel: Tunnel) -> Check:
    name = "loaded"
    if tunnel.name not in told.connections:
        others = ", ".join(sorted(told.connections)) or "no connection"
        said = f"The daemon has not loaded {tunnel.name}; it has {others}."
        if told.complaints:
            said += f" Its configuration cannot be read: {'; '.join(told.complaints)}"
            return Check(name, WRONG, said, "Mend the line that is named, then: ipsec restart")
        step = (
            f"Load it: ipsec auto --add {tunnel.name}; at a start, auto=add and the like load it."
        )
        return Check(name, WRONG, said, step)
    if tunnel.name in told.unoriented:
        said = f"Neither end of {tunnel.name} is an address of this host, so the daemon leaves it alone."
        step = (
            f"Write this host's address as left or right of {tunnel.place}, or left=%defaultroute."
        )
        return Check(name, WRONG, said, step)
    return Check(name, OK, f"The daemon has the connection {tunnel.name}.")


def ports(case: Case) -> Check | None:
    """Whether UDP 500 and 4500 are bound here."""
    if case.network is None or (case.daemon is not None and case.daemon.failure):
        return None
    lacking = [str(port) for port in (_IKE, _NAT) if port not in case.network.bound]
    if not lacking:
        return Check("ports", OK, "UDP 500 and 4500 are bound here.")
    said = f"Nothing here listens at UDP {' and '.join(lacking)}."
    step = (
        "Start the daemon if it does not run; else look which ports it takes (charon.port,"
        " charon.port_nat_t), and who holds these: ss -lunp"
    )
    return Check("ports", WRONG, said, step)


def reachable(case: Case) -> Check | None:
    """Whether the peer answers at UDP 500."""
    network = case.network
    if network is None:
        return None
    name, peer = "reachable", network.peer
    if not peer:
        said = "The peer's address is not configured: it comes to this end."
        return Check(name, UNKNOWN, said, "Run it on the end that initiates.")
    if network.ike is Answer.SILENT:
        return _silent(case, network)
    verdict, said, step = _ANSWERS[network.ike]
    return Check(name, verdict, said.format(peer=peer), step.format(peer=peer))


_ANSWERS = {
    Answer.ANSWERED: (OK, "{peer} answers at UDP 500.", ""),
    Answer.NOT_TRIED: (UNKNOWN, "{peer} was not sent anything.", "Run it without --no-probe."),
    Answer.REFUSED: (
        WRONG,
        "{peer} says that nobody listens at its UDP 500.",
        "Start the IKE daemon on the peer.",
    ),
    Answer.FORBIDDEN: (
        WRONG,
        "This host's own firewall lets nothing out to {peer} at UDP 500.",
        "Let UDP 500 and 4500 out, and protocol 50: look at the rules for output (nft list ruleset).",
    ),
    Answer.UNREACHABLE: (
        WRONG,
        "There is no way to {peer}: the network says that it is unreachable.",
        "Look at the route and the link: ip route get {peer}",
    ),
}


def _silent(case: Case, network: Network) -> Check:
    name, peer = "reachable", network.peer
    if case.is_up or (case.tunnel is not None and 2 not in case.tunnel.versions):
        said = f"{peer} gave no answer at UDP 500 to a request of IKEv2."
        return Check(name, UNKNOWN, said, "Look for packets of the peer: tcpdump -n udp port 500")
    also = " UDP 4500 is answered." if network.nat is Answer.ANSWERED else ""
    said = f"{peer} does not answer at UDP 500, and no error comes back.{also}"
    step = (
        f"Let UDP 500 (and 4500) through in the firewalls between this host and {peer}, both ways;"
        " on the peer `tcpdump -n udp port 500` shows whether it arrives."
    )
    return Check(name, WRONG, said, step)


def nat_port(case: Case) -> Check | None:
    """Whether the peer answers at UDP 4500 as well."""
    network = case.network
    if network is None or network.nat is Answer.NOT_TRIED or network.ike is not Answer.ANSWERED:
        return None
    if network.nat is Answer.ANSWERED:
        return Check("nat_port", OK, f"{network.peer} answers at UDP 4500.")
    if case.is_up:
        return Check("nat_port", UNKNOWN, f"{network.peer} gave no answer at UDP 4500.", "")
    said = f"{network.peer} answers at UDP 500, and not at UDP 4500, to which IKE goes over {_why(case)}."
    step = f"Let UDP 4500 through in the firewalls between this host and {network.peer}, both ways."
    return Check("nat_port", WRONG, said, step)


def _why(case: Case) -> str:
    seen = case.log.behind_nat if case.log is not None else ()
    return "as NAT is in the way" if seen else "with NAT and MOBIKE"


def nat(case: Case) -> Check | None:
    """Whether NAT makes an end come from an address that the other does not expect."""
    if case.tunnel is None:
        return None
    return (
        _called_elsewhere(case, case.tunnel)
        or _unexpected(case, case.tunnel)
        or _stranger(case, case.tunnel)
        or _translated(case)
    )


def _called_elsewhere(case: Case, tunnel: Tunnel) -> Check | None:
    """An end has the connection for another address than the one at which the other calls it."""
    peer, log = case.peer_tunnel, case.log
    if peer is None or log is None or case.failure is None:
        return None
    refused = _is_refused_as_a_stranger(case, tunnel, peer)
    if refused and _is_of(log.theirs, peer) and (said := _misplaced(peer, tunnel)):
        step = f"Let {peer.at('local_addrs')} be an address that the peer has, or leave it out."
        return Check("nat", WRONG, f"The peer's connection is for {said}.", step)
    if _unplaced(log.ours) and _is_of(log.ours, tunnel) and (said := _misplaced(tunnel, peer)):
        step = f"Let {tunnel.at('local_addrs')} be an address that this host has, or leave it out."
        return Check("nat", WRONG, f"The connection here is for {said}.", step)
    return None


def _is_of(failures: Iterable[SaEvent], tunnel: Tunnel) -> bool:
    """Whether none of those who were refused came from an address that the connection does not take."""
    known = matching.literal(tunnel.remote_addrs)
    return not known or _refused(failures) <= known


def _misplaced(called: Tunnel, caller: Tunnel) -> str:
    """In words, that a connection is for other addresses of its host than the one that it is called at."""
    own, wanted = matching.literal(called.local_addrs), matching.literal(caller.remote_addrs)
    if not own or not wanted or own & wanted:
        return ""
    return f"its address {_listed(own)} only, and is called at {_listed(wanted)}"


def _unexpected(case: Case, tunnel: Tunnel) -> Check | None:
    """This end, at the peer."""
    peer = case.peer_tunnel
    if peer is None or case.is_up:
        return None
    expected = matching.literal(peer.remote_addrs)
    if not expected:
        return None
    seen = _refused(case.log.theirs) - expected if case.log is not None else frozenset()
    own = seen & matching.literal(tunnel.local_addrs)
    if case.network is not None and case.network.source:
        own = frozenset({case.network.source})
    step = (
        f"On the peer, let {peer.at('remote_addrs')} take the address that it sees this end come"
        " from (its log tells: `no IKE config found for`), or %any."
    )
    if own and not own & expected:
        said = f"This end speaks from {_listed(own)}, and the peer expects {_listed(expected)}."
        return Check("nat", WRONG, said, step)
    if seen:
        said = (
            f"The peer saw a host come from {_listed(seen)} and refused it; it expects"
            f" {_listed(expected)}. NAT in between changes the address."
        )
        return Check("nat", WRONG, said, step)
    if _is_refused_as_a_stranger(case, tunnel, peer):
        said = (
            "The ends have a proposal in common, and still the peer finds none: it expects"
            f" {_listed(expected)}, and has no connection for the address that it sees. NAT in"
            " between changes it."
        )
        return Check("nat", WRONG, said, step)
    return None


def _stranger(case: Case, tunnel: Tunnel) -> Check | None:
    """The peer, at this end."""
    if case.failure is None or case.log is None:
        return None
    known = matching.literal(tunnel.remote_addrs)
    strangers = _refused(case.log.ours) - known if known else frozenset()
    if not strangers:
        return None
    said = (
        f"A peer came from {_listed(strangers)} and was refused; {tunnel.name} expects"
        f" {_listed(known)}. NAT in between changes the address."
    )
    step = f"Let {tunnel.at('remote_addrs')} take that address, or %any, if it is this peer's NAT."
    return Check("nat", WRONG, said, step)


def _refused(failures: Iterable[SaEvent]) -> frozenset[str]:
    """The addresses from which somebody came whom no connection fits."""
    return frozenset(
        each.source for each in failures if each.kind == "unknown_peer" and each.source
    )


def _unplaced(failures: Iterable[SaEvent]) -> frozenset[str]:
    """Those of them for which there is no connection whoever it is."""
    return _refused(each for each in failures if each.identity is None and each.name is None)


def _translated(case: Case) -> Check:
    if case.log is None:
        step = "Give the daemon's log with --log FILE."
        return Check("nat", UNKNOWN, "NAT shows in the log only.", step)
    if not case.log.behind_nat:
        return Check("nat", OK, "Nothing speaks for NAT.")
    whose = {"local": "this end", "remote": "the peer"}
    ends = " and ".join(whose[each] for each in sorted(case.log.behind_nat))
    said = f"By the log, NAT is before {ends}, or made out to be (`encap`, kernel-libipsec)"
    return Check("nat", OK, f"{said}: UDP 4500 is used.")


def _is_refused_as_a_stranger(case: Case, mine: Tunnel, theirs: Tunnel) -> bool:
    """Whether the peer has no connection for the addresses, although there is a proposal in common."""
    log = case.log
    if case.failure is None or log is None or log.ike_came_up:
        return False
    alone = {each.kind for each in log.ours} == {"proposal_mismatch"}
    # Where its log tells more than that, it is not for the addresses.
    told = {each.source for each in log.theirs}
    versions = set(mine.versions) & set(theirs.versions)
    return (
        (alone or (not log.ours and bool(told)))
        and told <= _unplaced(log.theirs)
        and bool(versions)
        and matching.agree(mine.ike, theirs.ike)
    )


def fragments(case: Case) -> Check | None:
    """Whether messages get through that do not fit into one packet."""
    network = case.network
    if network is None or network.ike is not Answer.ANSWERED or case.tunnel is None:
        return None
    mtu = f" The path takes packets of {network.path_mtu} octets." if network.path_mtu else ""
    if network.large is Answer.ANSWERED:
        return Check("fragments", OK, f"A message in two packets is answered too.{mtu}")
    ends = [each for each in (case.tunnel, case.peer_tunnel) if each is not None]
    without = [each for each in ends if each.fragmentation == "no"]
    said = f"A small request is answered, and one that needs two packets is not: fragments of IP are lost.{mtu}"
    if without and not case.is_up:
        place = without[0].at("fragmentation")
        step = f"Set `fragmentation = yes` at {place}, on both ends; or let IP fragments pass, or lower the MTU."
        return Check("fragments", WRONG, f"{said} IKE does not fragment by itself ({place}).", step)
    return Check("fragments", OK, f"{said} IKE fragments its messages by itself.")


def traffic(case: Case) -> Check | None:
    """Whether both directions of a Child SA carry something."""
    if not case.is_up:
        return None
    children = [child for sa in case.sas for child in sa.children if child.state == "INSTALLED"]
    out, into = sum(each.bytes_out for each in children), sum(each.bytes_in for each in children)
    if out and not into:
        said = f"{out:,} octets were sent through the Child SA, and none came back."
        step = (
            "Let protocol 50 (ESP), or UDP 4500 with NAT, through both ways; look whether the peer"
            " routes its answers into the tunnel."
        )
        return Check("traffic", WRONG, said, step)
    if into and not out:
        said = f"{into:,} octets came through the Child SA, and nothing was sent."
        step = "Look whether this host routes its answers into the tunnel: ip xfrm policy"
        return Check("traffic", UNKNOWN, said, step)
    return Check("traffic", OK, f"{out:,} octets out, {into:,} in.")


def _listed(addresses: frozenset[str]) -> str:
    return ", ".join(sorted(addresses))
