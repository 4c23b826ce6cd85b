"""Drift: where what a daemon holds is not what its gateway should have."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["certificate", "authority", "crl", "connection", "secret"]
Problem = Literal[
    "not_loaded", "not_desired", "outdated", "in_use", "foreign", "shadowed", "reused", "unknown"
]


@dataclass(frozen=True)
class Wanted:
    """What should be loaded: fingerprints of the certificate and of the CA set, numbers of lists by issuer's subject,
    names of the managed connections, versions of shared secrets by slot, and slots whose value another slot has too.
    """

    leaf: str | None
    authorities: frozenset[str]
    crls: Mapping[str, int]
    connections: frozenset[str]
    secrets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    reused: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Drift:
    """One difference. `what` is a fingerprint, an issuer or a connection.

    `not_loaded`: desired and missing; `not_desired`: loaded without being desired; `outdated`: an older list than the
    desired one; `in_use`: the daemon authenticates itself by a certificate that is not the desired one, such as one
    that only its cache has. SAs that came up under an older certificate go on, and are no drift.

    Of shared secrets: `outdated`, a version that should be gone is loaded still; `foreign`, another secret answers for
    the same peer, and `shadowed`, the daemon takes it in the place of ours; `reused`, another slot has the same value;
    `unknown`, the agent keeps a slot that this gateway should not have.
    """

    kind: Kind
    what: str
    problem: Problem


def compare(wanted: Wanted, inventory: Mapping[str, Any]) -> tuple[Drift, ...]:
    """The differences between what is wanted and the inventory that an agent reported.

    Other people's connections and CA certificates are no business of ours and no drift.
    """
    loaded: Sequence[Mapping[str, Any]] = inventory.get("certificates", [])
    return (
        *_certificates(wanted, loaded),
        *_authorities(wanted, loaded),
        *_crls(wanted, inventory.get("crls", [])),
        *(
            Drift("connection", name, "not_loaded")
            for name in sorted(wanted.connections - {*inventory.get("connections", [])})
        ),
        *_secrets(wanted, inventory),
    )


def _certificates(wanted: Wanted, loaded: Sequence[Mapping[str, Any]]) -> Iterator[Drift]:
    own = {each["fingerprint"]: each for each in loaded if each["has_key"]}
    held = {name for name, each in own.items() if not each.get("cached")}
    if wanted.leaf is not None and wanted.leaf not in held:
        yield Drift("certificate", wanted.leaf, "not_loaded")
    for name in sorted(held - {wanted.leaf}):
        yield Drift("certificate", name, "not_desired")
    chosen = {each["fingerprint"] for each in loaded if each.get("in_use")}
    for name in sorted(({*own} - held | chosen) - {wanted.leaf}):
        yield Drift("certificate", name, "in_use")


def _authorities(wanted: Wanted, loaded: Sequence[Mapping[str, Any]]) -> Iterator[Drift]:
    there = {each["fingerprint"] for each in loaded if each["authority"]}
    for name in sorted(wanted.authorities - there):
        yield Drift("authority", name, "not_loaded")


def _crls(wanted: Wanted, loaded: Sequence[Mapping[str, Any]]) -> Iterator[Drift]:
    newest: dict[str, int] = {}
    for each in loaded:
        newest[each["issuer"]] = max(newest.get(each["issuer"], 0), each["number"] or 0)
    for issuer, number in sorted(wanted.crls.items()):
        if issuer not in newest:
            yield Drift("crl", issuer, "not_loaded")
        elif newest[issuer] < number:
            yield Drift("crl", issuer, "outdated")


def _secrets(wanted: Wanted, inventory: Mapping[str, Any]) -> Iterator[Drift]:
    loaded = {each["name"]: each for each in inventory.get("secrets", ())}
    for name, keys in sorted(wanted.secrets.items()):
        if name in wanted.reused:
            yield Drift("secret", name, "reused")
        if "secrets" not in inventory:
            continue  # an agent that does not tell
        said = loaded.get(name, {"versions": (), "foreign": ()})
        versions = said["versions"]
        # A daemon that takes one key has the first of the list only.
        if keys and keys[0] not in versions:
            yield Drift("secret", name, "not_loaded")
        if set(versions) - set(keys):
            yield Drift("secret", name, "outdated")
        for other in said["foreign"]:
            what = f"{name}: {other['where']}"
            yield Drift("secret", what, "shadowed" if other["shadows"] else "foreign")
    for name in inventory.get("unknown_secrets", ()):
        yield Drift("secret", name, "unknown")
