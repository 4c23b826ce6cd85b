"""Shared secrets as a daemon is to be given them: checked, and kept in a file of one's own. Pure."""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from core.secret import Secret
from ike.daemons.connections import is_identity
from ike.daemons.port import DaemonRefused, SharedKey, SharedSlot

KINDS = ("psk", "ppk")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_PPK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_MOST = 4096  # octets; what is longer is no secret of ours


def to_be_loaded(slot: SharedSlot, *, overlap: bool) -> SharedSlot:
    """The slot with the keys that a daemon is given: all where it takes several (`overlap`), else the first.

    Raises DaemonRefused, naming the slot, where it cannot be written into a daemon's configuration as it is. Nothing
    of a value is told.
    """
    if fault := _fault(slot):
        raise DaemonRefused(f"Shared secret {slot.name}: {fault}.")
    # A peer of IKEv1 is recognised by its address, and one secret is all that is tried.
    return slot if overlap and slot.ike_version != 1 else replace(slot, keys=slot.keys[:1])


def _fault(slot: SharedSlot) -> str:
    if slot.kind not in KINDS or not _NAME.fullmatch(slot.name):
        return "a slot of kind psk or ppk has a name of letters, digits, '_', '.' and '-'"
    if not is_identity(slot.remote_id):
        return "the peer's identity cannot be written"
    if len({key.version for key in slot.keys}) != len(slot.keys):
        return "a version stands there twice"
    for key in slot.keys:
        if not 0 < len(key.value.reveal()) <= _MOST:
            return f"version {key.version} has no octets, or more than {_MOST}"
        if slot.kind == "ppk" and not _PPK_ID.fullmatch(key.ppk_id or ""):
            return f"version {key.version} has no PPK_ID of letters, digits, '_', '.' and '-'"
    return ""


def dumped(slots: Sequence[SharedSlot]) -> bytes:
    """Slots with their values, for a file that nobody else reads."""
    return json.dumps([_document(each) for each in slots], indent=1).encode()


def parsed(content: bytes) -> list[SharedSlot]:
    """What `dumped` made. Raises ValueError for anything else."""
    try:
        return [_slot(each) for each in json.loads(content)]
    except (KeyError, TypeError, AttributeError):
        raise ValueError("no slots") from None


def _document(slot: SharedSlot) -> dict[str, Any]:
    keys = [
        {
            "version": key.version,
            "ppk_id": key.ppk_id,
            "value": base64.b64encode(key.value.reveal()).decode(),
        }
        for key in slot.keys
    ]
    return {**vars(slot), "keys": keys}


def _slot(document: dict[str, Any]) -> SharedSlot:
    keys = tuple(
        SharedKey(each["version"], Secret(base64.b64decode(each["value"])), each["ppk_id"])
        for each in document["keys"]
    )
    return SharedSlot(**{**document, "keys": keys})
