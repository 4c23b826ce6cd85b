"""Tunnels of config.xml in the older model, for where what the system makes of them is not there. Pure.

They are all that pfSense has, and OPNsense's page Tunnel Settings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ike.audit.configuration import defaults, proposals
from ike.audit.configuration.proposals import Protocol
from ike.audit.configuration.transforms import NUMBERED
from ike.audit.configuration.values import Child, Offer, Round, Tunnel, Writer
from ike.secrets.appliances.firewall import Record, records
from ike.secrets.values import Place, Problem, Source

_IPSEC: Final = ("ipsec",)
_CLIENT: Final = (*_IPSEC, "client")
_PHASE1: Final = (*_IPSEC, "phase1")
_ITEM: Final = (*_PHASE1, "encryption", "item")  # of pfSense since 2.4.4
_PHASE2: Final = (*_IPSEC, "phase2")
_ENDS: Final = ("localid", "remoteid")
_WANTED: Final = frozenset(
    {
        *(_IPSEC, _CLIENT, _PHASE1, _ITEM, _PHASE2),
        (*_PHASE1, "encryption-algorithm"),
        (*_ITEM, "encryption-algorithm"),
        (*_PHASE2, "encryption-algorithm-option"),
        *((*_PHASE2, end) for end in _ENDS),
    }
)
_VERSIONS: Final = {"": (1,), "ikev1": (1,), "ikev2": (2,)}
# How this end proves itself, and the rounds of the other.
_METHODS: Final = {
    "pre_shared_key": ("psk", ("psk",)),
    "xauth_psk_server": ("psk", ("psk", "xauth")),
    **dict.fromkeys(("rsasig", "cert", "pkcs11"), ("pubkey", ("pubkey",))),
    **dict.fromkeys(("xauth_rsa_server", "xauth_cert_server"), ("pubkey", ("pubkey", "xauth"))),
    **dict.fromkeys(("hybrid_rsa_server", "hybrid_cert_server"), ("pubkey", ("xauth",))),
    "rsa_eap-mschapv2": ("pubkey", ("pubkey", "eap")),
}
_ALL: Final = "0.0.0.0/0"
_HOUR: Final = 3600


def effective(source: Source) -> tuple[list[Tunnel], list[Problem]]:
    """The tunnels of `ipsec` that are enabled: phase 1 with each phase 2 as a child."""
    found = records(source, _WANTED)
    ipsec = next((each for each in found if each.path == _IPSEC), None)
    # pfSense has no switch for all of them.
    if ipsec is None or (ipsec.root == "opnsense" and "enable" not in ipsec.texts):
        return [], []
    told: list[Problem] = []
    firewall = _Firewall(source.path, found, told)
    tunnels = [
        firewall.tunnel(each)
        for each in found
        if each.path == _PHASE1 and "disabled" not in each.texts
    ]
    return tunnels, list(dict.fromkeys(told))


@dataclass
class _Firewall:
    """A document, and what could not be read of its proposals."""

    path: str
    found: list[Record]
    told: list[Problem]

    def tunnel(self, phase1: Record) -> Tunnel:
        is_mobile = "mobile" in phase1.texts
        versions = _VERSIONS.get(phase1.text("iketype"), (1, 2))
        local, remote = _rounds(phase1, self.path, is_mobile=is_mobile)
        rekey, reauth = _ike_seconds(phase1, versions)
        gateway = phase1.text("remote-gateway")
        names = {"iketype": "keyexchange", "mode": "aggressive", "lifetime": "lifetime"}
        return Tunnel(
            name=phase1.text("descr") or f"con{phase1.text('ikeid')}",
            place=Place(self.path, phase1.line),
            writer=Writer.PFSENSE if phase1.root == "pfsense" else Writer.OPNSENSE_OLD,
            versions=versions,
            ike=self._offer(phase1, Protocol.IKE, list(_ike(phase1))),
            rekey=rekey,
            reauth=reauth,
            local_addrs=("%any",),
            remote_addrs=("%any" if is_mobile or not gateway else gateway,),
            local=local,
            remote=remote,
            children=tuple(self._children(phase1)),
            aggressive=phase1.text("mode") == "aggressive" and 1 in versions,
            places={
                place: Place(self.path, phase1.texts[name][1])
                for name, place in names.items()
                if name in phase1.texts
            },
        )

    def _children(self, phase1: Record) -> Iterator[Child]:
        client = next((each for each in self.found if each.path == _CLIENT), None)
        number = 0
        for each in self.found:
            if each.path != _PHASE2 or each.text("ikeid") != phase1.text("ikeid"):
                continue
            number += 1
            mobile = "mobile" in each.texts
            if "disabled" in each.texts or (mobile and not (client and "enable" in client.texts)):
                continue
            yield self._child(phase1, each, client, number)

    def _child(self, phase1: Record, phase2: Record, client: Record | None, number: int) -> Child:
        protocol = Protocol.AH if phase2.text("protocol") == "ah" else Protocol.ESP
        rekey, life = _child_seconds(phase1, phase2)
        line = phase2.texts.get("lifetime", ("", phase2.line))[1]
        return Child(
            name=phase2.text("descr") or f"{number}",
            place=Place(self.path, phase2.line),
            offers=(self._offer(phase2, protocol, list(_esp(phase2, protocol, client))),),
            rekey=rekey,
            life=life,
            mode="transport" if phase2.text("mode") == "transport" else "tunnel",
            local=_network(phase2, "localid"),
            remote=("dynamic",) if "mobile" in phase2.texts else _network(phase2, "remoteid"),
            places={"life_time": Place(self.path, line)},
        )

    def _offer(self, phase: Record, protocol: Protocol, texts: list[str]) -> Offer:
        algorithms = [
            each
            for holder in (*phase.all("item"), phase)
            for name in ("encryption-algorithm", "encryption-algorithm-option")
            for each in holder.all(name)
        ]
        place = Place(self.path, algorithms[0].line if algorithms else phase.line)
        if not texts:
            return Offer(protocol, defaults.STRONGSWAN[protocol], place, is_default=True)
        known = []
        for text in dict.fromkeys(texts):
            try:
                known.append(proposals.strongswan(text, protocol))
            except proposals.Unreadable as error:
                self.told.append(Problem(place, f"{error}: the proposal is not judged"))
        return Offer(protocol, tuple(known), place)


# ---------------------------------------------------------------- proposals


def _ike(phase1: Record) -> Iterator[str]:
    for holder in phase1.all("item") or [phase1]:
        prf = holder.text("prf-algorithm") if phase1.text("prfselect_enable") == "yes" else ""
        for cipher in _ciphers(holder, "encryption-algorithm"):
            for digest in _parts(holder.text("hash-algorithm")):
                for group in _parts(holder.text("dhgroup")):
                    yield _joined(cipher, digest, prf and f"prf{prf}", _group(group))


def _esp(phase2: Record, protocol: Protocol, client: Record | None) -> Iterator[str]:
    # What is set for mobile clients goes for all tunnels in OPNsense.
    by_client = client is not None and (
        "mobile" in phase2.texts or (phase2.root == "opnsense" and "enable" in client.texts)
    )
    pfs = client.text("pfs_group") if client is not None and by_client else ""
    group = _group(pfs or phase2.text("pfsgroup"))
    every = [text for name, text, _ in phase2.every if name == "hash-algorithm-option"]
    digests = [text.removeprefix("hmac_") for text in every if text]
    if protocol is Protocol.AH:
        yield from (_joined(digest, group) for digest in digests)
        return
    for cipher in _ciphers(phase2, "encryption-algorithm-option"):
        for digest in ("",) if "gcm" in cipher else digests or ("",):
            yield _joined(cipher, digest, group)


def _ciphers(holder: Record, name: str) -> Iterator[str]:
    for each in holder.all(name):
        cipher, length = each.text("name"), each.text("keylen")
        if not cipher:
            continue
        if length == "auto":  # of the checks of GCM, or of the keys of the others
            sizes = ("128", "96", "64") if "gcm" in cipher else ("256", "192", "128")
            yield from (f"{cipher}{size}" for size in sizes)
        else:
            yield f"{cipher}{length}"


def _parts(text: str) -> list[str]:
    return [each.strip() for each in text.split(",")]


def _group(number: str) -> str:
    return "" if number in ("", "0", "off") else NUMBERED.get(number, number)


def _joined(*parts: str) -> str:
    return "-".join(part for part in parts if part)


# ---------------------------------------------------------------- lifetimes


def _seconds(record: Record, name: str, otherwise: int) -> int:
    text = record.text(name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else otherwise


def _ike_seconds(phase1: Record, versions: tuple[int, ...]) -> tuple[int | None, int | None]:
    """When the IKE SA is rekeyed, and when it is authenticated anew."""
    if phase1.root == "opnsense":
        life = _seconds(phase1, "lifetime", 0) or 3 * _HOUR
        if "rekey_enable" in phase1.texts:  # which turns it off, as the next one does
            return None, None
        return (life, None) if "reauth_enable" in phase1.texts else (None, life)
    life = _seconds(phase1, "lifetime", 0) * 9 // 10
    is_old = versions == (1,)
    reauth = _seconds(phase1, "reauth_time", life if is_old else 0)
    rekey = 0 if is_old else _seconds(phase1, "rekey_time", life or 4 * _HOUR)
    return rekey or None, reauth or None


def _child_seconds(phase1: Record, phase2: Record) -> tuple[int | None, int | None]:
    life = _seconds(phase2, "lifetime", 0) or _HOUR
    if phase1.root == "opnsense":
        return (None, None) if "rekey_enable" in phase1.texts else (life, life)
    return _seconds(phase2, "rekey_time", life * 9 // 10) or None, life


# ---------------------------------------------------------------- who


def _rounds(
    phase1: Record, path: str, *, is_mobile: bool
) -> tuple[tuple[Round, ...], tuple[Round, ...]]:
    text, line = phase1.texts.get("authentication_method", ("", phase1.line))
    place = Place(path, line)
    known = ("pubkey", ("eap",)) if "eap" in text else ("any", ("any",))
    own, theirs = _METHODS.get(text, known)
    identity = _peer(phase1)
    if is_mobile and theirs[0] == "psk":
        identity = "%any"
    pinned = bool(phase1.text("caref"))
    local = Round(own, place, phase1.text("myid_data"), method=own)
    return (local,), tuple(
        Round(
            each,
            place,
            identity if not number else "",
            method=text if each == "eap" else each,
            pinned=pinned,
        )
        for number, each in enumerate(theirs)
    )


def _peer(phase1: Record) -> str:
    """The peer's identity: of any kind, the one that is named, else its address."""
    if phase1.text("peerid_type") == "any":
        return "%any"
    return phase1.text("peerid_data") or phase1.text("remote-gateway") or "%any"


def _network(phase2: Record, name: str) -> tuple[str, ...]:
    end = next(iter(phase2.all(name)), None)
    kind = end.text("type") if end is not None else ""
    if end is None or kind in ("", "none", "mobile"):
        return (_ALL,)
    if kind == "network":
        return (f"{end.text('address')}/{end.text('netbits')}",)
    return (end.text("address") if kind == "address" else kind,)
