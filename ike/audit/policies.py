"""What an audit judges by, read from a TOML file."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from core.errors import InvalidInput
from ike.audit.published import PublishedKeys
from ike.audit.settings_file import load
from ike.audit.values import Policy

BASELINES: Final = ("rfc", "nist", "cnsa1", "cnsa2", "bsi")
_NAMES: Final = frozenset({"groups", "users"})
_SWITCHES: Final = frozenset({"encrypted_keys", "certificates_only"})
_NUMBERS: Final = {"expiring_days": (0, 36_500), "psk_bits": (1, 512)}
_LISTS: Final = "published_keys"


class PolicyInvalid(InvalidInput):
    """The policy of an audit cannot be used."""

    code = "audit_policy_invalid"
    next_step = (
        "These may stand in it: baseline, groups, users, encrypted_keys, certificates_only, expiring_days, psk_bits,"
        " paths, published_keys."
    )


def read(path: Path) -> tuple[Policy, tuple[str, ...]]:
    """The policy, and `paths`: files and folders to look at beside those that are found. Strict.

    Raises OSError, PolicyInvalid and PublishedKeysInvalid.
    """
    document = load(path, PolicyInvalid)
    paths = _texts("paths", document.pop("paths", []))
    if not all(each.startswith("/") for each in paths):
        raise PolicyInvalid("paths: each is to begin with a slash.")
    lists = _texts(_LISTS, document.pop(_LISTS, []))
    if not all(each.startswith("/") for each in lists):
        raise PolicyInvalid(f"{_LISTS}: each is to begin with a slash.")
    known = {each.name for each in fields(Policy)} - {"published"}
    unknown = sorted(document.keys() - known)
    if unknown:
        raise PolicyInvalid(f"{unknown[0]} is no setting of a policy.")
    given = {name: _value(name, value) for name, value in document.items()}
    published = tuple(PublishedKeys(Path(each)) for each in lists)
    return replace(Policy(), published=published, **given), paths


def _value(name: str, value: object) -> Any:
    if name in _NAMES:
        return frozenset(_texts(name, value))
    if name in _SWITCHES:
        if isinstance(value, bool):
            return value
        raise PolicyInvalid(f"{name}: true or false.")
    if name in _NUMBERS:
        least, most = _NUMBERS[name]
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        raise PolicyInvalid(f"{name}: a whole number from {least} to {most}.")
    if value in BASELINES:
        return value
    raise PolicyInvalid(f"{name}: one of {', '.join(BASELINES)}.")


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(each, str) and each for each in value):
        return tuple(value)
    raise PolicyInvalid(f"{name}: a list of texts.")
