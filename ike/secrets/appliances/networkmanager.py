"""NetworkManager's keyfiles: the secrets of the plugins for strongSwan, Libreswan and L2TP. Pure."""

import re
from typing import Final

from core.secret import Secret
from ike.secrets import forms, identities
from ike.secrets.forms import Unreadable
from ike.secrets.identities import Identity
from ike.secrets.values import Dialect, Entry, Form, Kind, Parsed, Place, Problem, Source

_GROUP: Final = re.compile(r"\[([^\]]+)\]\s*\Z")
_PEERS: Final = ("right", "address", "gateway")
_PSKS: Final = frozenset({"psk", "pskvalue", "IPSec secret", "ipsec-psk"})
_PASSPHRASES: Final = frozenset({"user-cert-pass", "machine-cert-pass"})
_PASSWORDS: Final = frozenset({"password", "xauthpassword", "Xauth password"})

_Lines = dict[str, tuple[str, Place]]


def parse(source: Source) -> Parsed:
    """The secrets that stand in the file; others are kept by the user's keyring, or asked for."""
    groups = _groups(source)
    data = groups.get("vpn", {})
    peer = next((data[name][0] for name in _PEERS if name in data), "")
    method = data["method"][0] if "method" in data else ""
    user = next(
        (data[name][0] for name in ("user", "leftusername", "leftxauthusername") if name in data),
        "",
    )
    entries: list[Entry] = []
    problems: list[Problem] = []
    for name, (text, place) in {**data, **groups.get("vpn-secrets", {})}.items():
        kind = _kind(name, method)
        if kind is None or not text:
            continue
        owner = Identity("keyid", user) if kind is Kind.USER else identities.strongswan(peer)
        owners = (
            () if kind is Kind.PASSPHRASE or not (user if kind is Kind.USER else peer) else (owner,)
        )
        try:
            # Of its three plugins only that for L2TP knows a prefix.
            value, form = (
                forms.strongswan(text)
                if name == "ipsec-psk"
                else (Secret(forms.octets(text)), Form.PLAIN)
            )
        except Unreadable as error:
            problems.append(Problem(place, str(error)))
            continue
        entries.append(Entry(kind, owners, value, form, place, Dialect.STRONGSWAN, name))
    return Parsed(tuple(entries), (), tuple(problems))


def _kind(name: str, method: str) -> Kind | None:
    if name in _PSKS or (name == "password" and method == "psk"):
        return Kind.PSK
    if name in _PASSPHRASES or (name == "password" and method in ("key", "cert", "smartcard")):
        return Kind.PASSPHRASE
    return Kind.USER if name in _PASSWORDS else None


def _groups(source: Source) -> dict[str, _Lines]:
    groups: dict[str, _Lines] = {}
    current: _Lines = {}
    for number, line in enumerate(source.text.split("\n"), 1):
        if match := _GROUP.match(line):
            current = groups.setdefault(match[1], {})
        elif "=" in line and not line.startswith("#"):
            name, _, text = line.partition("=")
            current[name.strip()] = (text.strip(), Place(source.path, number))
    return groups
