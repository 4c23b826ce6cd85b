"""How a configuration is mended, in the words of whoever's it is. Pure."""

from ike.audit.configuration.baselines import Baseline
from ike.audit.configuration.proposals import Protocol
from ike.audit.configuration.values import Tunnel, Writer

_HOURS = {
    (Writer.SWANCTL, "ike"): "rekey_time = {}h",
    (Writer.SWANCTL, "child"): "rekey_time = {}h",
    (Writer.IPSEC, "ike"): "ikelifetime={}h",
    (Writer.IPSEC, "child"): "lifetime={}h",
    (Writer.LIBRESWAN, "ike"): "ikelifetime={}h",
    (Writer.LIBRESWAN, "child"): "salifetime={}h",
    (Writer.NETWORKMANAGER, "ike"): "ikelifetime={}h",
    (Writer.NETWORKMANAGER, "child"): "salifetime={}h",
    (Writer.RACOON, "ike"): "lifetime time {} hour;",
    (Writer.RACOON, "child"): "lifetime time {} hour;",
}
_IKEV2 = {
    Writer.SWANCTL: "Set `version = 2`",
    Writer.IPSEC: "Set `keyexchange=ikev2`",
    Writer.LIBRESWAN: "Set `ikev2=yes` (`keyexchange=ikev2` from release 5 on)",
    Writer.NETWORKMANAGER: "Set `ikev2=insist` among the connection's VPN data (L2TP has IKEv1 only: use another VPN)",
    Writer.RACOON: "racoon has IKEv1 only: move the tunnel to strongSwan or Libreswan",
}
_AGGRESSIVE = {
    Writer.SWANCTL: "Set `version = 2`, or at least `aggressive = no`",
    Writer.IPSEC: "Set `keyexchange=ikev2`, or at least `aggressive=no`",
    Writer.LIBRESWAN: "Set `ikev2=yes`, or at least `aggressive=no`",
    Writer.NETWORKMANAGER: "Set `ikev2=insist` among the connection's VPN data",
    Writer.RACOON: "Write `exchange_mode main;` alone, and move the tunnel to a daemon that has IKEv2",
}


def where(tunnel: Tunnel, child: str = "") -> str:
    """The section, as it is written there."""
    if tunnel.writer is Writer.SWANCTL:
        inner = f".children.{child}" if child else ""
        return f"connections.{tunnel.name}{inner}"
    if tunnel.writer is Writer.RACOON:
        return f"sainfo {child}" if child else f"remote {tunnel.name}"
    return f"conn {tunnel.name}" if tunnel.writer is not Writer.NETWORKMANAGER else tunnel.name


def proposals(tunnel: Tunnel, baseline: Baseline, protocol: Protocol, child: str = "") -> str:
    """What is to be proposed instead."""
    at = 0 if protocol is Protocol.IKE else 1
    strongswan, libreswan = baseline.strongswan[at], baseline.libreswan[at]
    if tunnel.writer is Writer.SWANCTL:
        setting = f"{('proposals', 'esp_proposals')[at]} = {strongswan}"
    elif tunnel.writer is Writer.IPSEC:
        setting = f"{('ike', 'esp')[at]}={strongswan}!"
    elif tunnel.writer is Writer.RACOON:
        return (
            "Write `encryption_algorithm aes 256; hash_algorithm sha256; dh_group 14;`"
            if not at
            else "Write `encryption_algorithm aes 256; authentication_algorithm hmac_sha256; pfs_group 14;`"
        ) + f" in {where(tunnel, child)}, the most that racoon has, and on the peer."
    else:
        setting = f"{('ike', 'esp')[at]}={libreswan}"
    note = " ML-KEM needs strongSwan 6.0 or later on both ends." if "mlkem" in setting else ""
    return (
        f"Set `{setting}` in {where(tunnel, child)} and the like on the peer, load it, and let the"
        f" tunnel be made anew.{note}"
    )


def lifetime(tunnel: Tunnel, seconds: int, child: str | None = None) -> str:
    """A lifetime within the baseline; `child` is None for the IKE SA."""
    what = "ike" if child is None else "child"
    hours = max(1, min(seconds // 3600, 4 if what == "ike" else 1))
    return f"Set `{_HOURS[tunnel.writer, what].format(hours)}` in {where(tunnel, child or '')}."


def ikev2(tunnel: Tunnel) -> str:
    """How the connection is made with IKEv2 alone."""
    return f"{_IKEV2[tunnel.writer]}: in {where(tunnel)}, and on the peer."


def main_mode(tunnel: Tunnel) -> str:
    """How Aggressive Mode is left."""
    return f"{_AGGRESSIVE[tunnel.writer]}: in {where(tunnel)}, and on the peer."


def pfs(tunnel: Tunnel, baseline: Baseline, child: str) -> str:
    """How each rekeying makes a key exchange of its own."""
    if tunnel.writer in (Writer.LIBRESWAN, Writer.NETWORKMANAGER):
        return f"Set `pfs=yes` in {where(tunnel)}."
    return proposals(tunnel, baseline, Protocol.ESP, child)
