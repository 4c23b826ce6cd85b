"""racoon.conf: the `remote` and `sainfo` sections, which know IKEv1 alone. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ike.audit.configuration.proposals import Proposal, Protocol
from ike.audit.configuration.transforms import GROUPS, Kind, Transform
from ike.audit.configuration.values import Child, Offer, Round, Tunnel, Writer
from ike.secrets.values import MAX_PROBLEMS, Include, Place, Problem, Source, nothing

_TOKEN: Final = re.compile(
    r"(?P<skip>\s+|#[^\n]*)|(?P<sign>[{};,])|\"(?P<quoted>[^\"\n]*)\"|(?P<word>[^\s{};,\"#]+)"
)
_UNITS: Final = {"sec": 1, "min": 60, "hour": 3600}
_CIPHERS: Final = {
    "des": ("DES_CBC", 0),
    "3des": ("3DES_CBC", 0),
    "blowfish": ("BLOWFISH_CBC", 128),
    "cast128": ("CAST_CBC", 128),
    "aes": ("AES_CBC", 128),
    "rijndael": ("AES_CBC", 128),
    "camellia": ("CAMELLIA_CBC", 128),
    "null_enc": ("NULL", 0),
    "des_iv64": ("DES_CBC", 0),
    "des_iv32": ("DES_CBC", 0),
}
_HASHES: Final = {
    "md5": "HMAC_MD5_96",
    "sha1": "HMAC_SHA1_96",
    "sha256": "HMAC_SHA2_256_128",
    "sha384": "HMAC_SHA2_384_192",
    "sha512": "HMAC_SHA2_512_256",
}
_BY_NUMBER: Final = {str(number): name for name, number in GROUPS.items() if number}
_MAX_DEPTH: Final = 10


@dataclass
class _Statement:
    """Words up to `;`, or up to a section in braces, which `inner` is then."""

    words: list[str]
    place: Place
    inner: list["_Statement"] = field(default_factory=list)

    def all(self, *names: str) -> Iterator["_Statement"]:
        yield from (each for each in self.inner if each.words[0] in names)


def effective(source: Source, include: Include = nothing) -> tuple[list[Tunnel], list[Problem]]:
    """A tunnel for each `remote`; the first has all the `sainfo`s as its children, as no name ties them to one."""
    problems: list[Problem] = []
    top = _Statement(["top"], Place(source.path, 1))
    _read(source, include, top, problems)
    children = tuple(_child(each) for each in top.all("sainfo"))
    remotes = enumerate(top.all("remote"))
    return [_tunnel(each, () if number else children) for number, each in remotes], problems


def _read(source: Source, include: Include, top: _Statement, problems: list[Problem]) -> None:
    stack, words = [top], list[str]()
    place = top.place
    for text, is_sign, here in _tokens(source):
        if not is_sign:
            place = place if words else here
            words.append(text)
            continue
        if text == "{" and len(stack) < _MAX_DEPTH:
            stack.append(_Statement(words or ["?"], place))
            stack[-2].inner.append(stack[-1])
        elif text == "}":
            _close(stack, here, problems)
        elif text == ";" and words:
            _end(stack, _Statement(words, place), source, include, problems)
        if text != ",":
            words = []
    if len(stack) > 1:
        problems.append(Problem(stack[-1].place, "the section has no end"))


def _tokens(source: Source) -> Iterator[tuple[str, bool, Place]]:
    line, counted = 1, 0
    for match in _TOKEN.finditer(source.text):
        line, counted = line + source.text.count("\n", counted, match.start()), match.start()
        if match["sign"]:
            yield match["sign"], True, Place(source.path, line)
        elif not match["skip"]:
            yield match["word"] or match["quoted"], False, Place(source.path, line)


def _close(stack: list[_Statement], place: Place, problems: list[Problem]) -> None:
    if len(stack) > 1:
        stack.pop()
    elif len(problems) < MAX_PROBLEMS:
        problems.append(Problem(place, "a brace that closes nothing"))


def _end(
    stack: list[_Statement],
    statement: _Statement,
    source: Source,
    include: Include,
    problems: list[Problem],
) -> None:
    if statement.words[0] == "include" and len(statement.words) > 1:
        for each in include(statement.words[1], source):
            _read(each, include, stack[0], problems)
    else:
        stack[-1].inner.append(statement)


def _tunnel(section: _Statement, children: tuple[Child, ...]) -> Tunnel:
    name = section.words[1] if len(section.words) > 1 else "anonymous"
    modes = next(iter(section.all("exchange_mode")), None)
    proposals = list(section.all("proposal"))
    methods = [each for one in proposals for each in one.all("authentication_method")]
    life = next((each for one in (section, *proposals) for each in one.all("lifetime")), None)
    places = {} if modes is None else {"aggressive": modes.place}
    if life is not None:
        places["lifetime"] = life.place
    method = methods[0] if methods else None
    auth = "psk" if any("pre_shared_key" in each.words for each in methods) else "pubkey"
    one = Round(auth, method.place if method is not None else section.place)
    return Tunnel(
        name=name,
        place=section.place,
        writer=Writer.RACOON,
        versions=(1,),
        ike=Offer(
            Protocol.IKE,
            tuple(map(_ike, proposals)),
            proposals[0].place if proposals else section.place,
        ),
        rekey=_seconds(life, 8 * 3600),
        reauth=None,
        local_addrs=("%any",),
        remote_addrs=(name,),
        local=(one,),
        remote=(one,),
        children=children,
        aggressive=modes is not None and "aggressive" in modes.words,
        places=places,
    )


def _ike(section: _Statement) -> Proposal:
    found = []
    for each in section.inner:
        value = each.words[1:]
        if each.words[0] == "encryption_algorithm" and value:
            found += _ciphers(value)
        elif each.words[0] == "hash_algorithm" and value and value[0] in _HASHES:
            found.append(Transform(Kind.INTEGRITY, _HASHES[value[0]]))
        elif each.words[0] == "dh_group" and value:
            found.append(Transform(Kind.EXCHANGE, _group(value[0])))
    return Proposal(Protocol.IKE, tuple(found))


def _ciphers(words: list[str]) -> list[Transform]:
    found: list[Transform] = []
    for word in words:
        if word in _CIPHERS:
            name, bits = _CIPHERS[word]
            found.append(Transform(Kind.ENCRYPTION, name, bits))
        elif found and re.fullmatch(r"[0-9]{2,3}", word):
            found[-1] = Transform(Kind.ENCRYPTION, found[-1].name, int(word))
    return found


def _group(text: str) -> str:
    size = text.removeprefix("modp")
    if not re.fullmatch(r"[0-9]{1,5}", size):
        return "GROUP_UNKNOWN"  # what stands there is not quoted
    return f"MODP_{size}" if text != size else _BY_NUMBER.get(text, f"GROUP_{text}")


def _child(section: _Statement) -> Child:
    found: list[Transform] = []
    place = section.place
    life = next(iter(section.all("lifetime")), None)
    for each in section.inner:
        if each.words[0] == "encryption_algorithm":
            found += _ciphers(each.words[1:])
            place = each.place
        elif each.words[0] == "authentication_algorithm":
            names = (word.removeprefix("hmac_") for word in each.words[1:])
            found += [Transform(Kind.INTEGRITY, _HASHES[name]) for name in names if name in _HASHES]
        elif each.words[0] == "pfs_group" and len(each.words) > 1:
            found.append(Transform(Kind.EXCHANGE, _group(each.words[1])))
    return Child(
        name=" ".join(section.words[1:]) or "anonymous",
        place=section.place,
        offers=(Offer(Protocol.ESP, (Proposal(Protocol.ESP, tuple(found)),), place),),
        rekey=_seconds(life, 8 * 3600),
        life=None,
        places={} if life is None else {"lifetime": life.place},
    )


def _seconds(life: _Statement | None, default: int) -> int:
    """`lifetime time 24 hour`."""
    if life is None or len(life.words) < 4 or not re.fullmatch(r"[0-9]{1,9}", life.words[2]):
        return default
    unit = life.words[3].lower()
    return int(life.words[2]) * next(
        (size for name, size in _UNITS.items() if unit.startswith(name)), 1
    )
