"""Does the daemon run, and do packets get to the peer and back: ports, NAT, fragments, traffic. Pure."""

from ike.doctor import matching
from ike.doctor.policy import OK, UNKNOWN, WRONG
from ike.doctor.values import Answer, Case, Check

_IKE, _NAT = 500, 4500
_NOT_HERE = "Run it on the gateway itself, or name charon's socket with --vici."


def daemon(case: Case) -> Check:
    """Whether the daemon answers."""
    name, told = "daemon", case.daemon
    if told is None:
        return Check(
            name, UNKNOWN, "The daemon was not asked: these are files of elsewhere.", _NOT_HERE
        )
    if told.failure:
        bound = case.network is not None and _IKE in case.network.bound
        also = " Something listens at UDP 500, though." if bound else " Nothing listens at UDP 500."
        step = "Start it (`systemctl start strongswan`), and look at `journalctl -u strongswan` if it ends again."
        if bound:
            step = "Give the path of charon's VICI socket with --vici, or restart the daemon if it hangs."
        return Check(name, WRONG, told.failure + also, step)
    return Check(name, OK, f"{told.version} answers over VICI.")


def loaded(case: Case) -> Check | None:
    """Whether the daemon has the connection."""
    told = case.daemon
    if told is None or told.failure or case.tunnel is None:
        return None
    if case.tunnel.name in told.connections:
        return Check("loaded", OK, f"The daemon has the connection {case.tunnel.name}.")
    said = f"The daemon has not loaded {case.tunnel.name}; it has {', '.join(sorted(told.connections)) or 'no connection'}."
    return Check("loaded", WRONG, said, "Load it: swanctl --load-all")


def ports(case: Case) -> Check | None:
    """Whether UDP 500 and 4500 are bound here."""
    if case.network is None or (case.daemon is not None and case.daemon.failure):
        return None
    lacking = [str(port) for port in (_IKE, _NAT) if port not in case.network.bound]
    if not lacking:
        return Check("ports", OK, "UDP 500 and 4500 are bound here.")
    said = f"Nothing here listens at UDP {' and '.join(lacking)}."
    step = "Look which ports the daemon takes (charon.port, charon.port_nat_t), and whether another one holds them."
    return Check("ports", WRONG, said, step)


def reachable(case: Case) -> Check | None:
    """Whether the peer answers at UDP 500."""
    network = case.network
    if network is None:
        return None
    if not network.peer:
        said = "The peer's address is not configured: it comes to this end."
        return Check("reachable", UNKNOWN, said, "Run it on the end that initiates.")
    name, peer = "reachable", network.peer
    if network.ike is Answer.ANSWERED:
        return Check(name, OK, f"{peer} answers at UDP 500.")
    if network.ike is Answer.NOT_TRIED:
        return Check(name, UNKNOWN, f"{peer} was not sent anything.", "Run it without --no-probe.")
    if network.ike is Answer.REFUSED:
        said = f"{peer} says that nobody listens at its UDP 500."
        return Check(name, WRONG, said, "Start the IKE daemon on the peer.")
    if network.ike is Answer.UNREACHABLE:
        said = f"There is no way to {peer}: the network says that it is unreachable."
        return Check(name, WRONG, said, f"Look at the route and the link: ip route get {peer}")
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
    """Whether NAT makes this end come from an address that the peer does not expect."""
    if case.tunnel is None:
        return None
    name = "nat"
    expected = matching.literal(case.peer_tunnel.remote_addrs) if case.peer_tunnel else frozenset()
    source = case.network.source if case.network is not None else ""
    if expected and source and source not in expected:
        said = f"This end speaks from {source}, and the peer expects {_listed(expected)}."
        return Check(name, WRONG, said, _expect(case))
    if expected and _is_refused_as_a_stranger(case):
        said = (
            f"The ends have a proposal in common, and still the peer finds none: it expects {_listed(expected)},"
            f" and has no connection for the address that it sees. NAT in between changes it."
        )
        return Check(name, WRONG, said, _expect(case))
    strangers = _strangers(case)
    if strangers:
        said = f"The peer came from {_listed(strangers)}, and {case.tunnel.name} expects {_listed(matching.literal(case.tunnel.remote_addrs))}."
        step = f"Let {case.tunnel.at('remote_addrs')} take that address, or %any, where NAT is in between."
        return Check(name, WRONG, said, step)
    seen = case.log.behind_nat if case.log is not None else frozenset()
    if seen:
        whose = {"local": "this end", "remote": "the peer"}
        said = f"By the log, {' and '.join(whose[each] for each in sorted(seen))} is behind NAT: UDP 4500 is used."
        return Check(name, OK, said)
    if case.log is None:
        return Check(
            name, UNKNOWN, "NAT shows in the log only.", "Give the daemon's log with --log FILE."
        )
    return Check(name, OK, "Nothing speaks for NAT.")


def _expect(case: Case) -> str:
    assert case.peer_tunnel is not None
    return (
        f"On the peer, let {case.peer_tunnel.at('remote_addrs')} take the address that NAT gives this end"
        " (its log tells: `no IKE config found for`), or %any."
    )


def _is_refused_as_a_stranger(case: Case) -> bool:
    failure = case.failure
    if failure is None or failure.kind != "proposal_mismatch":
        return False
    if case.log is None or case.log.ike_came_up:
        return False
    mine, theirs = case.tunnel, case.peer_tunnel
    if mine is None or theirs is None or not set(mine.versions) & set(theirs.versions):
        return False
    alone = {each.kind for each in case.log.failures} == {failure.kind}
    return alone and matching.agree(mine.ike, theirs.ike)


def _strangers(case: Case) -> frozenset[str]:
    """Where refused peers came from, where the tunnel expects its peer elsewhere, and saw nothing of it."""
    assert case.tunnel is not None
    known = matching.literal(case.tunnel.remote_addrs)
    if case.failure is None or case.log is None or not known:
        return frozenset()
    refused = {each.source for each in case.log.failures if each.kind == "unknown_peer"}
    return frozenset(each for each in refused if each is not None and each not in known)


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
        step = "Let protocol 50 (ESP), or UDP 4500 with NAT, through both ways; look whether the peer routes its answers into the tunnel."
        return Check("traffic", WRONG, said, step)
    if into and not out:
        said = f"{into:,} octets came through the Child SA, and nothing was sent."
        return Check(
            "traffic",
            WRONG,
            said,
            "Look whether this host routes the answers into the tunnel: ip route, ip xfrm policy",
        )
    return Check("traffic", OK, f"{out:,} octets out, {into:,} in.")


def _listed(addresses: frozenset[str]) -> str:
    return ", ".join(sorted(addresses))
