"""How a configuration is mended, in the words of whoever's it is. Pure."""

from ike.audit.configuration.baselines import Baseline
from ike.audit.configuration.proposals import Protocol
from ike.audit.configuration.transforms import NUMBERED
from ike.audit.configuration.values import Child, Tunnel, Writer

_HOURS = {
    (Writer.SWANCTL, "ike"): "rekey_time = {}h",
    (Writer.SWANCTL, "child"): "rekey_time = {}h",
    (Writer.IPSEC, "ike"): "ikelifetime={}h",
    (Writer.IPSEC, "child"): "lifetime={}h",
    (Writer.LIBRESWAN, "ike"): "ikelifetime={}h",
    (Writer.LIBRESWAN, "child"): "salifetime={}h",
    **{
        (writer, what): setting
        for writer in (Writer.NM_STRONGSWAN, Writer.NM_LIBRESWAN, Writer.NM_L2TP)
        for what, setting in (("ike", "ikelifetime={}h"), ("child", "salifetime={}h"))
    },
    (Writer.RACOON, "ike"): "lifetime time {} hour;",
    (Writer.RACOON, "child"): "lifetime time {} hour;",
    (Writer.VYOS, "ike"): "lifetime {seconds}",
    (Writer.VYOS, "child"): "lifetime {seconds}",
    (Writer.OPNSENSE, "ike"): "Rekey time: {seconds}",
    (Writer.OPNSENSE, "child"): "Rekey time: {seconds}",
    **{
        (writer, what): setting
        for writer, setting in (
            (Writer.OPNSENSE_OLD, "Lifetime: {seconds}"),
            (Writer.PFSENSE, "Life Time: {seconds}"),
        )
        for what in ("ike", "child")
    },
}
_IKEV2 = {
    Writer.SWANCTL: "Set `version = 2`",
    Writer.IPSEC: "Set `keyexchange=ikev2`",
    Writer.LIBRESWAN: "Set `ikev2=yes` (`keyexchange=ikev2` from release 5 on)",
    Writer.NM_STRONGSWAN: "Keep IKEv2, which is all that the plugin has",
    Writer.NM_LIBRESWAN: "Set `ikev2=insist` among the connection's VPN data",
    Writer.NM_L2TP: "L2TP has IKEv1 with most gateways: use another VPN",
    Writer.RACOON: "racoon has IKEv1 only: move the tunnel to strongSwan or Libreswan",
    Writer.VYOS: "Set `key-exchange ikev2`",
    Writer.OPNSENSE: "Choose IKEv2 as version",
    Writer.OPNSENSE_OLD: "Choose V2 as key exchange version",
    Writer.PFSENSE: "Choose IKEv2 as Key Exchange version",
}
_AGGRESSIVE = {
    Writer.SWANCTL: "Set `version = 2`, or at least `aggressive = no`",
    Writer.IPSEC: "Set `keyexchange=ikev2`, or at least `aggressive=no`",
    Writer.LIBRESWAN: "Set `ikev2=yes`, or at least `aggressive=no`",
    Writer.NM_STRONGSWAN: "Keep IKEv2, which is all that the plugin has",
    Writer.NM_LIBRESWAN: "Set `ikev2=insist` among the connection's VPN data",
    Writer.NM_L2TP: "L2TP has IKEv1 with most gateways: use another VPN",
    Writer.RACOON: "Write `exchange_mode main;` alone, and move the tunnel to a daemon that has IKEv2",
    Writer.VYOS: "Set `key-exchange ikev2`, or at least `mode main`",
    Writer.OPNSENSE: "Choose IKEv2 as version, or at least leave Aggressive off",
    Writer.OPNSENSE_OLD: "Choose V2 as key exchange version, or at least Main as negotiation mode",
    Writer.PFSENSE: "Choose IKEv2 as Key Exchange version, or at least Main as Negotiation mode",
}

# For IKE, for ESP.
_SETTINGS = {
    Writer.SWANCTL: ("`proposals = {}`", "`esp_proposals = {}`"),
    Writer.IPSEC: ("`ike={}!`", "`esp={}!`"),
    Writer.LIBRESWAN: ("`ike={}`", "`esp={}`"),
    # Without `proposal` the plugin leaves the fields alone.
    Writer.NM_STRONGSWAN: ("`proposal=yes` and `ike={}`", "`proposal=yes` and `esp={}`"),
    Writer.NM_LIBRESWAN: ("`ike={}`", "`esp={}`"),
    Writer.NM_L2TP: ("`ipsec-ike={}`", "`ipsec-esp={}`"),
}
# Where algorithms are chosen from lists, and what brings the change into force.
_LISTS = {
    Writer.VYOS: "commit",
    **dict.fromkeys((Writer.OPNSENSE, Writer.OPNSENSE_OLD, Writer.PFSENSE), "apply the changes"),
}
_PAGES = {
    Writer.OPNSENSE_OLD: "VPN: IPsec: Tunnel Settings",
    Writer.PFSENSE: "VPN > IPsec > Tunnels",
}
# How AH goes, where the writer has it at all.
_AH = {
    Writer.SWANCTL: "Take out `ah_proposals`",
    Writer.IPSEC: "Take out `ah`",
    Writer.LIBRESWAN: "Set `phase2=esp`, with `esp` in the place of `ah` or `phase2alg`",
    **dict.fromkeys((Writer.OPNSENSE_OLD, Writer.PFSENSE), "Choose ESP as protocol"),
}
# Where the group for PFS is a setting of its own.
_GROUPS = {
    Writer.VYOS: "Set `pfs dh-group{}`",
    Writer.OPNSENSE_OLD: "Choose {} as PFS key group",
    Writer.PFSENSE: "Choose {} as PFS key group",
}
_NUMBERS = {name: number for number, name in NUMBERED.items()}
# How a peer proves itself by a certificate.
_CERTIFICATES = {
    Writer.SWANCTL: "Set `auth = pubkey` in the local and remote sections of {}",
    Writer.IPSEC: "Set `leftauth=pubkey` and `rightauth=pubkey` in {}",
    Writer.LIBRESWAN: "Set `authby=rsa-sha2` or `authby=ecdsa`, and `leftcert`, in {}",
    Writer.RACOON: "Write `authentication_method rsasig;` in {}",
    Writer.VYOS: "Set `authentication mode x509` for the peers of {}",
    Writer.OPNSENSE: "Choose Public Key for local and remote authentication of {}",
    Writer.OPNSENSE_OLD: "Choose Mutual RSA as authentication method of {}",
    Writer.PFSENSE: "Choose Mutual Certificate as Authentication Method of {}",
}
_SIGNATURES = {
    Writer.SWANCTL: "Leave `sha1` out of `auth`, `rsa-2048-sha256` or better, in the remote section of {}",
    Writer.IPSEC: "Leave `sha1` out of `rightauth`, `rsa-2048-sha256` or better, in {}",
    Writer.LIBRESWAN: "Set `authby=rsa-sha2` or `authby=ecdsa` in {}",
}
_EAP = {
    Writer.SWANCTL: "(`auth = eap-tls` or `pubkey`), or EAP-MSCHAPv2 with a gateway's certificate that is checked: in"
    " the remote section of {}",
    Writer.IPSEC: "(`rightauth=eap-tls` or `pubkey`), or EAP-MSCHAPv2 with a gateway's certificate that is checked: in"
    " {}",
    Writer.VYOS: "(`authentication client-mode x509`), or `client-mode eap-mschapv2` with a gateway's certificate that"
    " is checked: for the connection of {}",
}
_PEERS = {
    Writer.SWANCTL: "Set `id` in the remote section of {} to the peer's identity, or `cacerts` to the authority of"
    " those who may come in",
    Writer.IPSEC: "Set `rightid` in {} to the peer's identity, or `rightca` to the authority of those who may come in",
    Writer.LIBRESWAN: "Set `rightid` in {} to the peer's identity (`%fromcert` is whatever its certificate says), or"
    " `rightca` to the authority of those who may come in (`%same`: that of this end)",
    Writer.VYOS: "Set `authentication remote-id` to the peer's identity, or `authentication x509 ca-certificate` to the"
    " authority of those who may come in, for the peers of {}",
    Writer.OPNSENSE: "Set Id of the remote authentication to the peer's identity: of {}",
    Writer.OPNSENSE_OLD: "Set the peer identifier, or My Certificate Authority to that of those who may come in: of {}",
    Writer.PFSENSE: "Set the Peer identifier, or Peer Certificate Authority to that of those who may come in: of {}",
}
_NOTES = {
    "mlkem": " ML-KEM needs strongSwan 6.0 or later on both ends.",
    "ml_kem": " ML-KEM-1024 came to Libreswan in 2026: where `ipsec algparse` does not take it, use a PPK (RFC 8784)"
    " until it does.",
}


def where(tunnel: Tunnel, child: str = "") -> str:
    """The section, as it is written there."""
    if tunnel.writer is Writer.SWANCTL:
        inner = f".children.{child}" if child else ""
        return f"connections.{tunnel.name}{inner}"
    if tunnel.writer is Writer.RACOON:
        return f"sainfo {child}" if child else f"remote {tunnel.name}"
    if tunnel.writer is Writer.VYOS:
        return (
            f"the {'ESP' if child else 'IKE'} group of {tunnel.name}{' ' if child else ''}{child}"
        )
    if tunnel.writer is Writer.OPNSENSE:
        of = f"child {child} of " if child else ""
        return f"{of}connection {tunnel.name} on the page VPN: IPsec: Connections"
    if tunnel.writer in _PAGES:
        of = f"phase 2 {child} of " if child else "phase 1 of "
        return f"{of}{tunnel.name} on the page {_PAGES[tunnel.writer]}"
    is_ipsec_conf = tunnel.writer in (Writer.IPSEC, Writer.LIBRESWAN)
    return f"conn {tunnel.name}" if is_ipsec_conf else tunnel.name


def proposals(tunnel: Tunnel, baseline: Baseline, protocol: Protocol, child: str = "") -> str:
    """What is to be proposed instead: what the connection's version of IKE has, within the baseline. For AH that is
    ESP.
    """
    if protocol is Protocol.AH:
        return f"{_AH[tunnel.writer]}. {proposals(tunnel, baseline, Protocol.ESP, child)}"
    at = 0 if protocol is Protocol.IKE else 1
    algorithms = _algorithms(tunnel, baseline)[at]
    where_ = where(tunnel, child)
    if not algorithms:
        less = "L2TP" if tunnel.writer is Writer.NM_L2TP else "IKEv1"
        return f"{baseline.text} allows nothing that {less} has. {ikev2(tunnel)}"
    if tunnel.writer is Writer.RACOON:
        return f"Write `{algorithms}` in {where_} and the like on the peer."
    if tunnel.writer in _LISTS:
        then = _LISTS[tunnel.writer]
        return f"Let the proposals in {where_} come to `{algorithms}`, and the peer's too; then {then}."
    setting = _SETTINGS[tunnel.writer][at].format(algorithms)
    if "ml_kem" in algorithms:
        setting = f"{setting} and `intermediate=yes`"
    note = next((text for name, text in _NOTES.items() if name in algorithms), "")
    return (
        f"Set {setting} in {where_} and the like on the peer, load it, and let the tunnel be made"
        f" anew.{note}"
    )


def _algorithms(tunnel: Tunnel, baseline: Baseline) -> tuple[str, str]:
    if tunnel.writer is Writer.RACOON:
        return baseline.racoon
    if tunnel.writer is Writer.NM_L2TP:
        return baseline.either  # the plugin runs whichever of the two daemons is there
    is_pluto = tunnel.writer in (Writer.LIBRESWAN, Writer.NM_LIBRESWAN)
    old = baseline.libreswan_ikev1 if is_pluto else baseline.strongswan_ikev1
    new = baseline.libreswan if is_pluto else baseline.strongswan
    if 1 not in tunnel.versions:
        return new
    # What both versions have, or else the better one, where both are taken.
    return old if all(old) or 2 not in tunnel.versions else new


def strict(setting: str, section: str, *, unnamed: bool) -> str:
    """How revocation comes to be required. `unnamed`: the host's certificates do not say where to ask."""
    first = (
        " The certificates on this host name no CRL and no OCSP server: first have them issued with one, or see that"
        " CRLs are fetched and put into the daemon's folder or database."
        if unnamed
        else ""
    )
    return (
        f"Set `{setting}` in {section} once a CRL or OCSP answer is reachable for the peers' certificates: without one"
        f" the tunnel does not come up.{first}"
    )


def lifetime(
    tunnel: Tunnel, seconds: int, child: str | None = None, *, is_off: bool = False
) -> str:
    """A lifetime within the baseline; `child` is None for the IKE SA. `is_off`: now it is never replaced."""
    what = "ike" if child is None else "child"
    hours = max(1, min(seconds // 3600, 4 if what == "ike" else 1))
    setting = f"`{_HOURS[tunnel.writer, what].format(hours, seconds=3600 * hours)}`"
    if is_off and tunnel.writer is Writer.IPSEC:
        setting = f"`rekey=yes` and {setting}"  # without it the lifetime does nothing
    if is_off and tunnel.writer is Writer.OPNSENSE_OLD:
        setting = f"{setting}, leave Disable Rekey off,"
    return f"Set {setting} in {where(tunnel, child or '')}."


def ikev2(tunnel: Tunnel) -> str:
    """How the connection is made with IKEv2 alone."""
    return f"{_IKEV2[tunnel.writer]}: in {where(tunnel)}, and on the peer."


def main_mode(tunnel: Tunnel) -> str:
    """How Aggressive Mode is left."""
    return f"{_AGGRESSIVE[tunnel.writer]}: in {where(tunnel)}, and on the peer."


def pfs(tunnel: Tunnel, baseline: Baseline, child: Child) -> str:
    """How each rekeying makes a key exchange of its own."""
    if tunnel.writer in (Writer.LIBRESWAN, Writer.NM_LIBRESWAN):
        return f"Set `pfs=yes` in {where(tunnel)}."
    number = _group(_algorithms(tunnel, baseline)[1])
    if number and tunnel.writer in _GROUPS:
        setting, then = _GROUPS[tunnel.writer].format(number), _LISTS[tunnel.writer]
        return f"{setting} in {where(tunnel, child.name)}, and on the peer; then {then}."
    is_ah = all(each.protocol is Protocol.AH for each in child.offers)
    return proposals(tunnel, baseline, Protocol.AH if is_ah else Protocol.ESP, child.name)


def _group(proposal: str) -> str:
    """The number of the group in a proposal, empty where it has none."""
    return next((_NUMBERS[name] for name in proposal.split("-") if name in _NUMBERS), "")


def without_ah(tunnel: Tunnel, child: str) -> str:
    """How ESP alone is left where AH stands beside it."""
    return f"{_AH[tunnel.writer]} in {where(tunnel, child)}, and on the peer."


def whole_hash(tunnel: Tunnel, setting: str, child: str) -> str:
    """How SHA-256 comes to be cut no shorter than the standard has it."""
    equals = "=" if tunnel.writer in (Writer.IPSEC, Writer.LIBRESWAN) else " = "
    return f"Set `{setting}{equals}no` in {where(tunnel, child)}, and on the peer."


def certificates(tunnel: Tunnel) -> str:
    """How both ends prove themselves by certificates."""
    text = _CERTIFICATES.get(tunnel.writer, "Choose to be authenticated by certificate in {}")
    if tunnel.versions == (1,):
        text = text.replace("`authby=rsa-sha2` or `authby=ecdsa`", "`authby=rsasig`")
    return f"{text.format(where(tunnel))}, with a certificate on both ends."


def signature(tunnel: Tunnel) -> str:
    """How signatures with SHA-1 are taken no longer."""
    text = _SIGNATURES.get(tunnel.writer, "Let the peer sign with SHA-256 or better in {}")
    return f"{text.format(where(tunnel))}, and the like on the peer."


def eap(tunnel: Tunnel) -> str:
    """How users prove themselves by something that cannot be guessed."""
    other = "or EAP-MSCHAPv2 with a gateway's certificate that is checked: in {}"
    return f"Use certificates {_EAP.get(tunnel.writer, other).format(where(tunnel))}."


def certificate_of(tunnel: Tunnel) -> str:
    """How a certificate comes to be that of somebody who is meant."""
    text = _PEERS.get(tunnel.writer, "Name the peer's identity in {}")
    return f"{text.format(where(tunnel))}."


def unanswered(tunnel: Tunnel) -> str:
    """How charon comes to answer nobody by a connection whose children negotiate nothing."""
    setting = "`remote_addrs = 127.0.0.1`"
    if tunnel.writer is Writer.OPNSENSE:
        setting = "Remote addresses to `127.0.0.1`"
    return f"Set {setting} in {where(tunnel)}: its children negotiate nothing, and then charon answers nobody by it."
