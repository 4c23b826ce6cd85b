"""Shared secrets that others wrote into swanctl's files and that answer for a peer of ours.

charon tells the ids of its shared secrets, which are the names of swanctl's sections, and nothing else of them; so the
files are read. A secret that was loaded in another way is not seen here.
"""

import base64
import binascii
import hmac
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from core.secret import Secret
from ike.daemons.port import ForeignSecret, SharedSlot
from ike.daemons.strongswan import names, settings
from ike.daemons.strongswan.files import SwanctlFiles
from ike.daemons.strongswan.names import Match

_KINDS = {"ike": "psk", "ppk": "ppk"}
Fit = tuple[Match, Match]


@dataclass(frozen=True)
class Written:
    """A secret of the operator's: its section's name and place, the identities that own it, its value."""

    id: str
    where: str
    kind: str
    owners: tuple[str, ...]
    value: Secret


def read(files: SwanctlFiles) -> list[Written]:
    """The shared secrets in swanctl's files, without our own."""
    found = settings.read(files.main_conf).sections.get("secrets")
    told = []
    for name, section in found.sections.items() if found else ():
        kind = _KINDS.get(name[:3])
        texts = {key: value.text or "" for key, value in section.values.items()}
        if kind is None or names.secret_of(name) or "secret" not in texts:
            continue
        owners = tuple(text for key, text in texts.items() if key.startswith("id"))
        where = f"{section.place.path}: secrets.{name}"
        told.append(Written(name, where, kind, owners, _decoded(texts["secret"])))
    return told


def of(
    slot: SharedSlot, others: Sequence[Written], listed: Sequence[str]
) -> Iterator[ForeignSecret]:
    """Those that answer for the peer of a slot; `listed` are the ids of what charon holds, the newest first."""
    for each in others:
        if each.kind == slot.kind and _fit(slot, each) != (Match.NONE, Match.NONE):
            yield ForeignSecret(
                slot.name, each.where, _same(slot, each), _shadows(slot, each, listed)
            )


def is_newer(slot: SharedSlot, other: Written, listed: Sequence[str]) -> bool:
    """Whether charon prefers it to ours for no other reason than that it was loaded later."""
    return (
        other.kind == slot.kind
        and _fit(slot, other) == (Match.EXACT, Match.NONE)
        and _is_before(slot, other, listed)
    )


def _fit(slot: SharedSlot, other: Written) -> Fit:
    """How well it fits the peer and us. Ours fit the peer exactly, and us not at all."""
    owners = other.owners or ("%any",)
    if slot.kind == "ppk":
        mine = {each.ppk_id for each in slot.keys}
        best = max(_ppk_match(mine, each) for each in owners)
        return best, Match.NONE
    return (
        max(names.matched(slot.remote_id, each) for each in owners),
        max(names.matched(slot.local_id, each) for each in owners),
    )


def _ppk_match(mine: set[str | None], owner: str) -> Match:
    best = Match.NONE
    for each in mine:
        best = max(best, names.matched(f"dns:{each}", owner))
    return best


def _shadows(slot: SharedSlot, other: Written, listed: Sequence[str]) -> bool:
    if other.id not in listed:
        return False
    return _fit(slot, other) > (Match.EXACT, Match.NONE) or is_newer(slot, other, listed)


def _is_before(slot: SharedSlot, other: Written, listed: Sequence[str]) -> bool:
    """Whether it was loaded after the one of ours that is used."""
    for each in listed:
        if each == other.id:
            return True
        if (ours := names.secret_of(each)) and ours[0] == slot.name:
            return False
    return False


def _same(slot: SharedSlot, other: Written) -> int | None:
    for key in slot.keys:
        if hmac.compare_digest(key.value.reveal(), other.value.reveal()):
            return key.version
    return None


def _decoded(text: str) -> Secret:
    """As swanctl reads it: octets in hexadecimal, base64, or as they stand."""
    raw = text.encode("utf-8", errors="surrogateescape")
    with suppress(ValueError, binascii.Error):
        if text[:2].lower() == "0x":
            digits = text[2:].replace(":", "")
            return Secret(bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2)))
        if text[:2].lower() == "0s":
            return Secret(base64.b64decode(raw[2:]))
    return Secret(raw)
