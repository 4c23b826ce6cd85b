"""What Vault or OpenBao must permit this service, and nothing more: a policy, as data and as HCL."""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from hsm.fingerprint import PATH as FINGERPRINT_PATH

Policy = Mapping[str, tuple[str, ...]]
# An engine's routes. A write of a new path needs `create`, one of a path that is there `update`.
_SECRETS: Final[Policy] = {
    "data": ("create", "read", "update"),
    "metadata": ("read", "delete"),
    "delete": ("update",),
    "undelete": ("update",),
    "destroy": ("update",),
}
_FINGERPRINT_KEY: Final[Policy] = {"data": _SECRETS["data"]}
# Of a Transit engine, where making a key is an `update`. Keys of authorities can be made and used, and neither changed
# nor deleted; those of OCSP signers are deleted when their time is over, and so are those of `ikewarden vault check`.
# Before a deletion a key's `config` must allow it, and that is below the same wildcard.
TRIAL_KEY: Final = "check-"
_KEYS: Final[Policy] = {
    "keys": ("list",),
    "keys/+": ("read", "update"),
    "keys/ocsp-*": ("read", "update", "delete"),
    f"keys/{TRIAL_KEY}*": ("read", "update", "delete"),
    "sign/+": ("update",),
}


def make_policy(mount: str, template: str, kinds: Iterable[str]) -> Policy:
    """Capabilities by path, for a KV engine at `mount`, secrets of `kinds` at `template`, and the fingerprint key.

    `{tunnel}` may be any name. Policies know wildcards for whole segments only, so that a segment that has it in its
    midst is free as a whole.
    """
    places = (template.replace("{kind}", kind) for kind in kinds)
    wild = [
        "/".join("+" if "{tunnel}" in part else part for part in place.split("/"))
        for place in places
    ]
    policy = {f"{mount}/{route}/{place}": can for place in wild for route, can in _SECRETS.items()}
    for route, can in _FINGERPRINT_KEY.items():
        policy[f"{mount}/{route}/{FINGERPRINT_PATH}"] = can
    return policy


def make_key_policy(mount: str) -> Policy:
    """Capabilities by path, for signing keys in a Transit engine at `mount`."""
    return {f"{mount}/{route}": can for route, can in _KEYS.items()}


def as_document(policy: Policy) -> dict[str, object]:
    """As the server reads it in JSON."""
    return {"path": {path: {"capabilities": list(can)} for path, can in policy.items()}}


def as_hcl(policy: Policy) -> str:
    """As the server reads it in its own language."""
    blocks = (
        f'path "{path}" {{\n  capabilities = {json.dumps(can)}\n}}\n'
        for path, can in policy.items()
    )
    return "\n".join(blocks)
