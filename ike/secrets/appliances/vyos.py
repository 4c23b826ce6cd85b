"""VyOS' config.boot: nodes in braces, each with a name and perhaps a value. Pure."""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from core.secret import Secret
from ike.secrets import forms, identities, ipsec_secrets
from ike.secrets.identities import Identity
from ike.secrets.values import (
    Connection,
    Dialect,
    End,
    Entry,
    Form,
    Kind,
    Parsed,
    Place,
    Problem,
    Source,
)

# One word at a time: a pattern for whole lines would try all ways to part them.
_WORD: Final = re.compile(r"\"((?:[^\"\\]|\\.)*)\"(?!\S)|([^\s\"{}]\S*)")
_ESCAPED: Final = re.compile(r"\\(.)")
_ANYWHERE: Final = ("any", "dhcp", "0.0.0.0", "::")  # noqa: S104
_MAX_DEPTH: Final = 50
_MAX_PROBLEMS: Final = 20
_NO_IDENTITY: Final = "what stands as an identity cannot be one"


@dataclass
class Node:
    """A node, with its `value` on the same line, and what is in its braces."""

    name: str
    value: str
    place: Place
    inner: list["Node"] = field(default_factory=list)

    def all(self, *path: str) -> Iterator["Node"]:
        """The nodes at a path; each step may be there several times."""
        if not path:
            yield self
            return
        for each in self.inner:
            if each.name == path[0]:
                yield from each.all(*path[1:])

    def values(self, *path: str) -> list[str]:
        """The values of the nodes at a path."""
        return [each.value for each in self.all(*path)]


def parse(source: Source) -> Parsed:
    """The pre-shared keys of `vpn ipsec` and `vpn l2tp`, the passwords of users that stand there, and for whom."""
    problems: list[Problem] = []
    top = read(source, problems)
    entries: list[Entry] = []
    connections: list[Connection] = []
    for vpn in top.all("vpn"):
        entries += _of_authentication(vpn, problems)
        entries += _of_peers(vpn, problems)
        entries += _for_everybody(vpn)
        entries += _users(vpn, problems)
        connections += _connections(vpn)
    return Parsed(tuple(entries), tuple(connections), tuple(problems))


def keys(source: Source) -> list[tuple[Place, bytes]]:
    """The private keys of `pki`, each in DER."""
    found = []
    for pki in read(source, []).all("pki"):
        for kind in ("ca", "certificate", "key-pair"):
            for each in pki.all(kind, "private", "key"):
                with suppress(ValueError):
                    found.append((each.place, base64.b64decode(each.value, validate=True)))
    return found


def read(source: Source, problems: list[Problem]) -> Node:
    """The node that holds all others. What is no node is told among the problems, and left out."""
    top = Node("", "", Place(source.path, 0))
    stack = [top]
    for number, line in enumerate(source.text.split("\n"), 1):
        text = line.strip()
        if not text or text.startswith(("/*", "//")):
            continue
        place = Place(source.path, number)
        if text == "}":
            if len(stack) > 1:
                stack.pop()
            else:
                _told(problems, place, "a brace that closes nothing")
            continue
        opens = text.endswith("{") and (text == "{" or text[-2].isspace())
        words = _words(text[:-1].rstrip() if opens else text)
        if not words or len(stack) > _MAX_DEPTH:
            _told(problems, place, "the line is no node of a configuration")
            continue
        node = Node(words[0], " ".join(words[1:]), place)
        stack[-1].inner.append(node)
        if opens:
            stack.append(node)
    if len(stack) > 1:
        _told(problems, stack[-1].place, "the node has no end")
    return top


def _told(problems: list[Problem], place: Place, message: str) -> None:
    if len(problems) < _MAX_PROBLEMS:
        problems.append(Problem(place, message))


def _words(text: str) -> list[str]:
    """The words of a line; none where it is not made of words."""
    words: list[str] = []
    at = 0
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            return []
        words.append(match[2] or _ESCAPED.sub(r"\1", match[1]))
        at = match.end()
        while at < len(text) and text[at].isspace():
            at += 1
    return words


# Who talks to whom


def _connections(vpn: Node) -> Iterator[Connection]:
    exchanges = {
        each.value: next(iter(each.values("key-exchange")), "")
        for each in vpn.all("ipsec", "ike-group")
    }
    kinds = ("site-to-site", "peer"), ("remote-access", "connection")
    for node in (each for kind in kinds for each in vpn.all("ipsec", *kind)):
        if any(node.all("disable")) or not _is_shown(node):
            continue
        group = next(iter(node.values("ike-group")), "")
        yield Connection(
            name=node.value,
            place=node.place,
            dialect=Dialect.STRONGSWAN,
            versions={"ikev1": (1,), "ikev2": (2,)}.get(exchanges.get(group, ""), (1, 2)),
            local=_end(node, "local", []),
            # Those of a remote access come from anywhere, and say later who they are.
            remote=_end(node, "remote", [node.value]) if node.name == "peer" else End(),
        )


def _is_shown(node: Node) -> bool:
    """Whether its name and its ends may be shown; what may be a misplaced secret is told with the keys."""
    ids = [node.values("authentication", name) for name in ("local-id", "remote-id", "id")]
    return all(
        map(ipsec_secrets.is_plausible, [node.value, *(each for one in ids for each in one)])
    )


def _end(node: Node, side: str, otherwise: list[str]) -> End:
    given = [each for each in node.values(f"{side}-address") or otherwise if each not in _ANYWHERE]
    addresses = tuple(each for each in given if identities.strongswan(each).kind == "ip")
    named = node.values("authentication", f"{side}-id")
    if side == "local":
        named = named or node.values("authentication", "id")  # up to 1.2
    text = next(iter(named or given), "")
    modes = node.values("authentication", "mode") or ["pre-shared-secret"]
    return End(
        identities.strongswan(text) if text else None,
        addresses,
        node.name == "peer" and modes[0] == "pre-shared-secret",
    )


# From 1.4 on: keys with names and owners


def _of_authentication(vpn: Node, problems: list[Problem]) -> Iterator[Entry]:
    for psk in vpn.all("ipsec", "authentication", "psk"):
        owners = _owners(psk.values("id"), psk.place, problems)
        if owners is None:
            continue
        # An address that is not known before DHCP has given it.
        interfaces = filter(ipsec_secrets.is_plausible, psk.values("dhcp-interface"))
        owners += [Identity("keyid", f"dhcp {each}") for each in interfaces]
        form = next(iter(psk.values("secret-type")), "plaintext")
        for secret in psk.all("secret"):
            if form not in _FORMS:
                _told(problems, secret.place, "the secret is of a type that is not known")
                continue
            try:
                value = _FORMS[form][1](secret.value)
            except (ValueError, binascii.Error):
                _told(problems, secret.place, f"the secret is no {form}")
                continue
            yield _entry(Kind.PSK, owners, value, secret.place, psk.value, _FORMS[form][0])


_FORMS: Final[dict[str, tuple[Form, Callable[[str], bytes]]]] = {
    "plaintext": (Form.PLAIN, forms.octets),
    "base64": (Form.BASE64, lambda text: base64.b64decode(text, validate=True)),
    "hex": (Form.HEX, bytes.fromhex),
}


def _owners(texts: list[str], place: Place, problems: list[Problem]) -> list[Identity] | None:
    """Whose a key is; None, and told, where one of them may be a misplaced secret: without it the key would seem to be
    that of others.
    """
    found = []
    for text in texts:
        owner = ipsec_secrets.owner(text, Kind.PSK)
        if owner is None:
            _told(problems, place, _NO_IDENTITY)
            return None
        found.append(owner)
    return found


# Up to 1.3: keys beside the peer


def _of_peers(vpn: Node, problems: list[Problem]) -> Iterator[Entry]:
    for peer in vpn.all("ipsec", "site-to-site", "peer"):
        remote = peer.values("authentication", "remote-id") or [peer.value]
        local = peer.values("authentication", "local-id") or peer.values("authentication", "id")
        owners = _owners([*local, *remote], peer.place, problems)
        if owners is None:
            continue
        for secret in peer.all("authentication", "pre-shared-secret"):
            yield _text(Kind.PSK, owners, secret, peer.value)


def _for_everybody(vpn: Node) -> Iterator[Entry]:
    remote_access = ("ipsec", "remote-access", "connection")
    for connection in vpn.all(*remote_access):
        for secret in connection.all("authentication", "pre-shared-secret"):
            yield _text(Kind.PSK, [identities.ANY], secret, connection.value)
    for profile in vpn.all("ipsec", "profile"):  # DMVPN: of whoever comes
        for secret in profile.all("authentication", "pre-shared-secret"):
            yield _text(Kind.PSK, [identities.ANY], secret, profile.value)
    l2tp = ("l2tp", "remote-access", "ipsec-settings", "authentication", "pre-shared-secret")
    for secret in vpn.all(*l2tp):
        yield _text(Kind.PSK, [identities.ANY], secret, "l2tp")


def _users(vpn: Node, problems: list[Problem]) -> Iterator[Entry]:
    for access in (
        *vpn.all("ipsec", "remote-access", "connection"),
        *vpn.all("l2tp", "remote-access"),
    ):
        for user in access.all("authentication", "local-users", "username"):
            owner = ipsec_secrets.owner(user.value, Kind.USER)
            if owner is None:
                _told(problems, user.place, _NO_IDENTITY)
            for secret in user.all("password"):
                yield _text(Kind.USER, [owner] if owner is not None else [], secret)


def _text(kind: Kind, owners: list[Identity], secret: Node, name: str = "") -> Entry:
    return _entry(kind, owners, forms.octets(secret.value), secret.place, name)


def _entry(
    kind: Kind,
    owners: list[Identity],
    value: bytes,
    place: Place,
    name: str = "",
    form: Form = Form.PLAIN,
) -> Entry:
    shown = name if ipsec_secrets.is_plausible(name) else ""
    return Entry(kind, tuple(owners), Secret(value), form, place, Dialect.STRONGSWAN, shown)
