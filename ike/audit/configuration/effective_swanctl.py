"""swanctl.conf as charon has it after `swanctl --load-conns`. Pure."""

import re
from collections.abc import Iterator
from typing import Final

from ike.audit.configuration import defaults, proposals
from ike.audit.configuration.proposals import Proposal, Protocol
from ike.audit.configuration.values import Child, Offer, Round, Tunnel, Writer
from ike.secrets.settings_syntax import Section, Value, resolved
from ike.secrets.values import Problem

_NUMBER: Final = re.compile(r"[\t\n\v\f\r ]*([+-]?)(0[xX][0-9A-Fa-f]+|[0-9]+)")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_TRUE: Final = frozenset({"yes", "true", "enabled", "1"})
_VERSIONS: Final = {0: (1, 2), 1: (1,), 2: (2,)}
_PUBLIC: Final = ("ike:", "pubkey", "rsa", "ecdsa", "bliss", "ed25519", "ed448", "any")
# What narrows down whose certificates are taken.
_PINS: Final = ("cacerts", "certs", "pubkeys", "cert_policy", "ca_id", "groups")
_MAX_NUMBER: Final = 15  # characters that charon reads of one
_HOUR: Final = 3600


def effective(top: Section) -> tuple[list[Tunnel], list[Problem]]:
    """The connections of a tree of settings, and why charon does not load some of them as they are written."""
    problems: list[Problem] = []
    section = top.sections.get("connections")
    if section is None:
        return [], problems
    whole = resolved(top, section)
    return [_Connection(one, problems).tunnel() for one in whole.sections.values()], problems


class _Settings:
    """One section, and where its problems are told."""

    def __init__(self, section: Section, problems: list[Problem]) -> None:
        self.section = section
        self.problems = problems
        self.places = {name: value.place for name, value in section.values.items()}

    def text(self, name: str) -> str:
        value = self.section.values.get(name)
        return (value.text or "") if value is not None else ""

    def list(self, name: str) -> tuple[str, ...]:
        return tuple(
            each for each in (part.strip(" ") for part in self.text(name).split(",")) if each
        )

    def seconds(self, name: str) -> int | None:
        """What is configured, None where nothing is; a time that charon refuses is told."""
        value = self.section.values.get(name)
        if value is None or value.text is None:
            return None
        found = seconds(value.text)
        if found is None:
            self._refused(value, "a time that charon does not read")
        return found

    def offer(self, protocol: Protocol, name: str) -> Offer | None:
        """What is configured under a name, None where nothing is."""
        value = self.section.values.get(name)
        if value is None or value.text is None:
            return None
        found: list[Proposal] = []
        for text in self.list(name):
            if text.lower() == "default":
                found += defaults.STRONGSWAN[protocol]
                continue
            try:
                found.append(proposals.strongswan(text, protocol))
            except proposals.Unreadable as error:
                self._refused(value, str(error))
        return Offer(protocol, tuple(found), value.place) if found else None

    def _refused(self, value: Value, why: str) -> None:
        self.problems.append(Problem(value.place, f"{why}: charon does not load this connection"))


def seconds(text: str) -> int | None:
    """A time as charon reads it: a number as in C, and s, m, h or d behind it. None where it does not."""
    match = _NUMBER.match(text)
    if match is None or len(text) > _MAX_NUMBER:
        return None
    unit = text[match.end() :].lstrip(" ").lower()
    if unit not in _UNITS or match[1] == "-":
        return None
    digits = match[2]
    base = 16 if digits[:2].lower() == "0x" else 8 if digits[0] == "0" else 10
    try:
        return int(digits, base) * _UNITS[unit]
    except ValueError:  # an 8 or 9 in an octal number ends it, and is no unit
        return None


class _Connection:
    def __init__(self, section: Section, problems: list[Problem]) -> None:
        self.section = section
        self.settings = _Settings(section, problems)
        self.problems = problems

    def tunnel(self) -> Tunnel:
        settings = self.settings
        rekey, reauth = settings.seconds("rekey_time"), settings.seconds("reauth_time")
        if rekey is None and reauth is None:
            rekey = 4 * _HOUR
        over = settings.seconds("over_time")
        if over is None:
            over = max(rekey or 0, reauth or 0) // 10
        ike = settings.offer(Protocol.IKE, "proposals")
        return Tunnel(
            name=self.section.name,
            place=self.section.place,
            writer=Writer.SWANCTL,
            versions=_VERSIONS.get(_version(settings.text("version")), (1, 2)),
            ike=ike or self._default(Protocol.IKE),
            rekey=rekey or None,
            reauth=reauth or None,
            over=over,
            local_addrs=settings.list("local_addrs") or ("%any",),
            remote_addrs=settings.list("remote_addrs") or ("%any",),
            local=self._rounds("local"),
            remote=self._rounds("remote"),
            children=tuple(self._children()),
            aggressive=settings.text("aggressive").lower() in _TRUE,
            places=settings.places,
            fragmentation=settings.text("fragmentation").lower(),
        )

    def _default(self, protocol: Protocol) -> Offer:
        return Offer(protocol, defaults.STRONGSWAN[protocol], self.section.place, is_default=True)

    def _rounds(self, side: str) -> tuple[Round, ...]:
        found = [
            _Settings(section, self.problems)
            for name, section in self.section.sections.items()
            if name.lower().startswith(side)
        ]
        if not found:
            return (Round("any", self.section.place),)
        found.sort(key=lambda each: _version(each.text("round")))  # stable, as charon's is
        return tuple(map(_round, found))

    def _children(self) -> Iterator[Child]:
        whole = self.section.sections.get("children")
        for section in whole.sections.values() if whole is not None else ():
            yield _child(_Settings(section, self.problems))


def _version(text: str) -> int:
    match = _NUMBER.match(text[:_MAX_NUMBER])
    return int(match[2], 0) if match and match[2].isdigit() and match[2][0] != "0" else 0


def _round(settings: _Settings) -> Round:
    text = settings.text("auth").lower()
    if text.startswith(_PUBLIC):
        auth = "pubkey"
    else:
        auth = next((each for each in ("psk", "xauth", "eap") if text.startswith(each)), "any")
    return Round(
        auth=auth,
        place=settings.places.get("auth", settings.section.place),
        identity=settings.text("id"),
        revocation=settings.text("revocation").lower() or "relaxed",
        revocation_place=settings.places.get("revocation"),
        method=text,
        pinned=any(map(settings.text, _PINS))
        or any(name.startswith(("cert", "cacert")) for name in settings.section.sections),
    )


def _child(settings: _Settings) -> Child:
    rekey, life = settings.seconds("rekey_time"), settings.seconds("life_time")
    rekey = _HOUR if rekey is None else rekey
    life = rekey * 110 // 100 if life is None else life
    names = ("esp_proposals", Protocol.ESP), ("ah_proposals", Protocol.AH)
    offers = [settings.offer(protocol, name) for name, protocol in names]
    place = settings.section.place
    default = Offer(Protocol.ESP, defaults.STRONGSWAN[Protocol.ESP], place, is_default=True)
    return Child(
        name=settings.section.name,
        place=place,
        offers=tuple(each for each in offers if each is not None) or (default,),
        rekey=rekey or None,
        life=life or None,
        mode=settings.text("mode").lower() or "tunnel",
        local=settings.list("local_ts") or ("dynamic",),
        remote=settings.list("remote_ts") or ("dynamic",),
        truncated="sha256_96" if settings.text("sha256_96").lower() in _TRUE else "",
        places=settings.places,
    )
