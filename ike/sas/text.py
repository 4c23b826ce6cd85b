"""Associations as lines for people, at most 80 columns where names allow it. Pure; who prints them escapes them."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from ike.sas.association import MANUAL, NEGOTIATED, UNCLAIMED, UNKNOWN, Association, Child, Proof

_WIDTH: Final = 80
_WORDS: Final = {
    MANUAL: "manual: keys given by hand, never renewed",
    UNCLAIMED: "unclaimed: the kernel has it, and no daemon here knows it",
    UNKNOWN: "kernel's",
}
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def lines(associations: Sequence[Association]) -> Iterator[str]:
    """All of them, and how many there are."""
    for each in associations:
        yield from _association(each)
        yield ""
    yield _count(associations)


def _count(associations: Sequence[Association]) -> str:
    ike = [each for each in associations if each.origin == NEGOTIATED]
    others = {
        word: len([each for each in associations if each.origin == word])
        for word in (MANUAL, UNCLAIMED)
    }
    children = sum(len(each.children) for each in associations)
    parts = [_plural(len(ike), "IKE SA"), _plural(children, "child SA")]
    parts += [f"{number} {word}" for word, number in others.items() if number]
    return ", ".join(parts) + "."


def _association(each: Association) -> Iterator[str]:
    head = [each.connection, f"#{each.number}" if each.number else "", each.version, each.state]
    if each.origin in _WORDS:
        head.append(_WORDS[each.origin])
    yield from _folded("  ".join(filter(None, head)) or "SA", 0)
    between = "to" if each.directed else "and"
    ends = (_end(each.local, each.local_id), _end(each.remote, each.remote_id))
    yield from _folded(f" {between} ".join(filter(None, ends)), 2)
    about = [each.algorithms, each.authentication, "NAT-T" if each.nat_t else ""]
    about += [
        f"up {span(each.age_seconds)}" if each.age_seconds is not None else "",
        _in("rekey", each.rekey_seconds),
        _in("reauthentication", each.reauth_seconds),
    ]
    if any(about):
        yield from _folded(", ".join(filter(None, about)), 2)
    for who, proof in (("this end", each.local_proof), ("the peer", each.remote_proof)):
        if proof is not None:
            yield from _folded(f"{who} by {_proof(proof)}", 2)
    if each.spi_initiator:
        yield from _folded(f"SPIs {each.spi_initiator}_i {each.spi_responder}_r", 2)
    for child in each.children:
        yield from _child(child, ("in", "out") if each.directed else ("<-", "->"))


def _proof(proof: Proof) -> str:
    """`certificate CN=a, serial b0, SHA-256 0c… (inferred)`, and what is not known."""
    told = [
        proof.subject,
        f"serial {proof.serial}" if proof.serial else "",
        f"SHA-256 {proof.fingerprint}" if proof.fingerprint else "",
        proof.secret,
    ]
    shown = f"{proof.method or 'what is not known'} {', '.join(filter(None, told))}".rstrip()
    basis = f" ({proof.basis})" if proof.basis else ""
    return f"{shown}{basis}" + (f": {proof.remark}" if proof.remark else "")


def _end(address: str, identity: str) -> str:
    if identity and identity != address:
        return f"{address} [{identity}]" if address else identity
    return address


def _child(child: Child, ways: tuple[str, str]) -> Iterator[str]:
    head = [
        child.name,
        f"#{child.number}" if child.number else "",
        " ".join(filter(None, (child.protocol, child.mode))),
        child.state,
        f"{ways[0]} {child.spi_in}" if child.spi_in else "",
        f"{ways[1]} {child.spi_out}" if child.spi_out else "",
        "NAT-T" if child.nat_t else "",
    ]
    yield from _folded("  ".join(filter(None, head)), 4)
    about = [
        child.algorithms,
        f"made {span(child.age_seconds)} ago" if child.age_seconds is not None else "",
        _in("rekey", child.rekey_seconds),
        _in("ends", child.expire_seconds),
    ]
    if child.expire_seconds is None and child.lifetime_seconds:
        about.append(f"lives {span(child.lifetime_seconds)}")
    if child.bytes_in is not None or child.bytes_out is not None:
        about.append(f"{child.bytes_in or 0} B in and {child.bytes_out or 0} B out")
    if any(about):
        yield from _folded(", ".join(filter(None, about)), 6)
    if child.local_ts or child.remote_ts:
        ends = (" ".join(child.local_ts), " ".join(child.remote_ts))
        yield from _folded(" - ".join(ends), 6)


def _in(word: str, seconds: int | None) -> str:
    return "" if seconds is None else f"{word} in {span(seconds)}"


def span(seconds: int) -> str:
    """A time in its two largest units: `3 h 56 min`."""
    parts, left = [], max(0, seconds)
    for size, name in _UNITS:
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {name}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _folded(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
        break_long_words=True,
    )
