"""ipsec.conf as the daemon has it: strongSwan's starter hands it to charon, Libreswan's addconn to pluto. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from ike.audit.configuration import defaults, proposals
from ike.audit.configuration.proposals import Proposal, Protocol
from ike.audit.configuration.values import Child, Offer, Round, Tunnel, Writer
from ike.secrets import ipsec_conf
from ike.secrets.ipsec_conf import Section, Sections, Setting
from ike.secrets.values import Dialect, Place, Problem

_TIME: Final = re.compile(r"([0-9]+)(?:\.[0-9]+)?[ \t]*([smhdw]?)\Z")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_HOUR: Final = 3600
_PLUTO_MAXIMUM: Final = 86400
_MODES: Final = {"transport": "transport", "passthrough": "pass", "pass": "pass"}
_TUNNELS: Final = ("ike", "esp", "phase2alg", "authby", "leftcert", "rightcert")
# What narrows down whose certificates are taken, and with what values it does not.
_PINS: Final = ("ca", "certpolicy", "sigkey", "rsasigkey", "ecdsakey", "pubkey")
_OPEN: Final = frozenset({"", "%any", "%cert", "%none", "%dns", "%dnsondemand", "%dnsonload"})
_NO_IPSEC: Final = frozenset({"passthrough", "drop", "reject", "pass"})


def effective(sections: Sections, dialect: Dialect) -> tuple[list[Tunnel], list[Problem]]:
    """The connections of an ipsec.conf, and which of their settings the daemon does not take."""
    problems: list[Problem] = []
    found = []
    for section, values in sections.whole():
        settings = _Settings(section, values, dialect, problems)
        passes = settings.text("type").lower() in _NO_IPSEC
        if (not passes or _was_tunnel(settings)) and settings.text("authby") != "never":
            found.append(_tunnel(settings))
    return found, problems


class _Settings:
    def __init__(
        self,
        section: Section,
        values: Mapping[str, Setting],
        dialect: Dialect,
        problems: list[Problem],
    ) -> None:
        self.section = section
        self.values = values
        self.dialect = dialect
        self.problems = problems
        self.versions = ipsec_conf.versions(
            {name: each.text for name, each in values.items()}, dialect
        )
        self.places = {name: each.place for name, each in values.items()}

    @property
    def is_pluto(self) -> bool:
        return self.dialect is Dialect.LIBRESWAN

    def find(self, name: str) -> Setting | None:
        """A setting; none where it is empty."""
        found = self.values.get(name)
        return found if found is not None and found.text else None

    def text(self, name: str) -> str:
        found = self.find(name)
        return found.text if found is not None else ""

    def says(self, name: str, default: bool) -> bool:
        text = self.text(name).lower()
        return text in ("yes", "1", "true", "on") if text else default

    def seconds(self, name: str, default: int) -> int:
        found = self.find(name)
        if found is None:
            return default
        match = _TIME.match(found.text.lower())
        if match is None:
            self.problems.append(Problem(found.place, "a time that the daemon does not read"))
            return default
        return int(match[1][:12]) * _UNITS[match[2]]

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(each for each in re.split(r"[,\s]+", self.text(name)) if each)

    def offer(self, protocol: Protocol, name: str) -> Offer | None:
        found = self.find(name)
        if found is None:
            return None
        read = self._pluto(found, protocol) if self.is_pluto else self._charon(found, protocol)
        is_strict = self.is_pluto or found.text.endswith("!")
        added = () if is_strict else defaults.STRONGSWAN[protocol]
        return Offer(protocol, read, found.place, added=added) if read else None

    def default(self, protocol: Protocol) -> Offer:
        place = self.section.place
        if not self.is_pluto:
            return Offer(protocol, defaults.STRONGSWAN[protocol], place, is_default=True)
        text = defaults.LIBRESWAN[self.versions[-1], protocol]
        return Offer(protocol, self._parsed(text, protocol), place, is_default=True)

    def _charon(self, setting: Setting, protocol: Protocol) -> tuple[Proposal, ...]:
        found = []
        for text in setting.text.removesuffix("!").split(","):
            try:
                found.append(proposals.strongswan(text, protocol))
            except proposals.Unreadable as error:
                self.problems.append(Problem(setting.place, f"{error}: charon leaves it out"))
        return tuple(found)

    def _pluto(self, setting: Setting, protocol: Protocol) -> tuple[Proposal, ...]:
        try:
            return self._parsed(setting.text, protocol)
        except proposals.Unreadable as error:
            self.problems.append(
                Problem(setting.place, f"{error}: pluto does not load this connection")
            )
            return ()

    def _parsed(self, text: str, protocol: Protocol) -> tuple[Proposal, ...]:
        version = self.versions[-1]
        is_ike = protocol is Protocol.IKE
        groups = defaults.LIBRESWAN_GROUPS[version] if is_ike else ()
        hashes = defaults.LIBRESWAN_HASHES[version]
        if version == 1 and not is_ike:
            hashes = ("HMAC_SHA1_96",)
        return proposals.libreswan(text, protocol, groups, hashes)


def _tunnel(settings: _Settings) -> Tunnel:
    section = settings.section
    rekeys = settings.is_pluto or settings.says("rekey", default=True)
    life = settings.seconds("ikelifetime", 8 * _HOUR if settings.is_pluto else 3 * _HOUR)
    reauth = not settings.is_pluto and settings.says("reauth", default=True)
    if settings.is_pluto:
        life = _held(life)
    return Tunnel(
        name=section.name,
        place=section.place,
        writer=Writer.LIBRESWAN if settings.is_pluto else Writer.IPSEC,
        versions=settings.versions,
        ike=settings.offer(Protocol.IKE, "ike") or settings.default(Protocol.IKE),
        rekey=life or None if rekeys and not reauth else None,
        reauth=life or None if rekeys and reauth else None,
        local_addrs=settings.words("left") or ("%any",),
        remote_addrs=settings.words("right") or ("%any",),
        local=tuple(_rounds(settings, "left")),
        remote=tuple(_rounds(settings, "right")),
        children=(_child(settings, rekeys),),
        aggressive=settings.says("aggressive", default=False),
        clear=tuple(_clear(settings)),
        places=settings.places,
        fragmentation=settings.text("fragmentation").lower(),
    )


def _was_tunnel(settings: _Settings) -> bool:
    """Whether what lets traffic through has all that a tunnel needs, as somebody made it one in a hurry."""
    passes = settings.text("type").lower() in ("passthrough", "pass")
    return passes and any(map(settings.find, _TUNNELS))


def _clear(settings: _Settings) -> Iterator[str]:
    if settings.text("type").lower() in ("passthrough", "pass"):
        yield "type"
    for name in ("failureshunt", "negotiationshunt") if settings.is_pluto else ():
        if settings.text(name).lower() == "passthrough":
            yield name


def _held(seconds: int) -> int:
    """pluto takes 0, and all that is longer, as its maximum."""
    return min(seconds, _PLUTO_MAXIMUM) or _PLUTO_MAXIMUM


def _child(settings: _Settings, rekeys: bool) -> Child:
    life = settings.seconds("lifetime", 8 * _HOUR if settings.is_pluto else _HOUR)
    if settings.is_pluto:
        life = _held(life)
    offers = _offers(settings)
    return Child(
        name="",
        place=settings.section.place,
        offers=offers,
        rekey=life or None if rekeys else None,
        life=life or None if rekeys else None,
        mode=_MODES.get(settings.text("type").lower(), "tunnel"),
        local=settings.words("leftsubnet") or settings.words("leftsubnets") or ("dynamic",),
        remote=settings.words("rightsubnet") or settings.words("rightsubnets") or ("dynamic",),
        pfs=settings.says("pfs", default=True) if settings.is_pluto else None,
        truncated=_truncated(settings),
        places=settings.places,
    )


def _truncated(settings: _Settings) -> str:
    setting = "sha2-truncbug" if settings.is_pluto else "sha256_96"
    return setting if settings.says(setting, default=False) else ""


def _offers(settings: _Settings) -> tuple[Offer, ...]:
    ah = settings.text("phase2").lower() == "ah" or settings.text("auth").lower() == "ah"
    names = (("ah", Protocol.AH), ("esp", Protocol.AH)) if ah else (("esp", Protocol.ESP),)
    if not settings.is_pluto:
        names = (("ah", Protocol.AH), ("esp", Protocol.ESP))
    for name, protocol in names:
        found = settings.offer(protocol, name)
        if found is not None:
            return (found,)
    return (settings.default(Protocol.AH if ah else Protocol.ESP),)


def _rounds(settings: _Settings, side: str) -> Iterator[Round]:
    for suffix in ("", "2"):
        own = settings.find(f"{side}auth{suffix}")
        both = settings.find("authby") if not suffix else None
        found = own or both
        if found is None and suffix:
            continue
        yield Round(
            auth=_auth(found.text if found is not None else ""),
            place=found.place if found is not None else settings.section.place,
            identity=_identity(settings, side, suffix),
            method=found.text.lower() if found is not None else "",
            pinned=_is_pinned(settings, side, suffix),
        )


def _identity(settings: _Settings, side: str, suffix: str) -> str:
    """What is configured, else what the daemon takes in its stead: the certificate's subject, the only address."""
    text, certificate = settings.text(f"{side}id{suffix}"), settings.text(f"{side}cert{suffix}")
    if settings.is_pluto and text.lower() == "%fromcert":
        return certificate or text
    if text or suffix:
        return text
    if certificate and not settings.is_pluto:
        return certificate
    addresses = settings.words(side)
    is_one = len(addresses) == 1 and not addresses[0].startswith("%")
    return addresses[0] if is_one else ""


def _is_pinned(settings: _Settings, side: str, suffix: str) -> bool:
    """Whether certificates are narrowed down; without `rightca` both daemons take those of any authority."""
    if any(settings.text(f"{side}{name}{suffix}").lower() not in _OPEN for name in _PINS):
        return True
    # pluto takes the authority of a certificate that it has of the peer.
    return any(map(settings.find, (f"{side}cert{suffix}", f"{side}ckaid", f"{side}groups")))


def _auth(text: str) -> str:
    methods = [each.strip() for each in re.split(r"[,|]", text.lower())]
    if any(each in ("psk", "secret", "xauthpsk") for each in methods):
        return "psk"  # the weakest one of those that it may be
    for kind in ("eap", "xauth", "null"):
        if any(each.startswith(kind) and each != "xauthrsasig" for each in methods):
            return kind
    return "pubkey"


def strict_crls(sections: Sections) -> tuple[str, Place]:
    """What `config setup` says of certificates whose revocation is not known: yes, ifuri or no."""
    for name in ("strictcrlpolicy", "crl-strict"):
        found = sections.setup.values.get(name)
        if found is not None:
            return found.text.lower(), found.place
    return "no", sections.setup.place
