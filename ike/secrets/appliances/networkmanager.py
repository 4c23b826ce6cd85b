"""NetworkManager's keyfiles: the secrets of the plugins for strongSwan, Libreswan and L2TP. Pure."""

import re
from dataclasses import dataclass, field
from typing import Final

from core.secret import Secret
from ike.secrets import forms, ipsec_secrets
from ike.secrets.forms import Unreadable
from ike.secrets.identities import Identity
from ike.secrets.ipsec_conf import Setting
from ike.secrets.values import Dialect, Entry, Form, Kind, Parsed, Place, Problem, Source

_GROUP: Final = re.compile(r"\[([^\]]+)\]\s*\Z")
_PEERS: Final = ("right", "address", "gateway")
_USERS: Final = ("user", "leftusername", "leftxauthusername")
_PSKS: Final = frozenset({"psk", "pskvalue", "IPSec secret", "ipsec-psk"})
_PASSPHRASES: Final = frozenset({"user-cert-pass", "machine-cert-pass"})
_PASSWORDS: Final = frozenset({"password", "xauthpassword", "Xauth password"})


@dataclass
class Group:
    """A group of a keyfile, and what stands in it."""

    name: str
    place: Place
    values: dict[str, Setting] = field(default_factory=dict)

    def text(self, *names: str) -> str:
        """The value of the first of these that is there; else nothing."""
        setting = self.first(*names)
        return "" if setting is None else setting.text

    def first(self, *names: str) -> Setting | None:
        """The first of these that is there."""
        return next((self.values[name] for name in names if name in self.values), None)


def groups(source: Source) -> dict[str, Group]:
    """All groups, by their names."""
    found: dict[str, Group] = {}
    current: Group | None = None
    for number, line in enumerate(source.text.split("\n"), 1):
        place = Place(source.path, number)
        if match := _GROUP.match(line):
            current = found.setdefault(match[1], Group(match[1], place))
        elif current is not None and "=" in line and not line.startswith("#"):
            name, _, text = line.partition("=")
            current.values[name.strip()] = Setting(text.strip(), place)
    return found


def parse(source: Source) -> Parsed:
    """The secrets that stand in the file; others are kept by the user's keyring, or asked for."""
    found = groups(source)
    empty = Group("", Place(source.path, 0))
    data, kept = found.get("vpn", empty), found.get("vpn-secrets", empty)
    entries: list[Entry] = []
    problems: list[Problem] = []
    for name, setting in {**data.values, **kept.values}.items():
        kind = _kind(name, data.text("method"))
        if kind is None or not setting.text:
            continue
        try:
            value, form = _value(name, setting.text)
        except Unreadable as error:
            problems.append(Problem(setting.place, str(error)))
            continue
        owners = _owners(kind, data, problems)
        if owners is None:
            continue  # without it the secret would seem to be everybody's
        entries.append(Entry(kind, owners, value, form, setting.place, Dialect.STRONGSWAN, name))
    return Parsed(tuple(entries), (), tuple(problems))


def _value(name: str, text: str) -> tuple[Secret, Form]:
    # Of the three plugins only that for L2TP knows a prefix.
    return (
        forms.strongswan(text) if name == "ipsec-psk" else (Secret(forms.octets(text)), Form.PLAIN)
    )


def _owners(kind: Kind, data: Group, problems: list[Problem]) -> tuple[Identity, ...] | None:
    names = {Kind.USER: _USERS, Kind.PSK: _PEERS}.get(kind, ())
    setting = data.first(*names)
    if setting is None or not setting.text:
        return ()
    owner = ipsec_secrets.owner(setting.text, kind)
    if owner is None:
        problems.append(Problem(setting.place, "what stands as an identity cannot be one"))
        return None if kind is Kind.PSK else ()
    return (owner,)


def _kind(name: str, method: str) -> Kind | None:
    if name in _PSKS or (name == "password" and method == "psk"):
        return Kind.PSK
    if name in _PASSPHRASES or (name == "password" and method in ("key", "cert", "smartcard")):
        return Kind.PASSPHRASE
    return Kind.USER if name in _PASSWORDS else None
