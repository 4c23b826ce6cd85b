"""The shared secrets' part of a round: values fetched, every slot given to the daemon, what it holds looked at.

A slot whose list cannot be had whole goes on with the keys that it has: nothing is withdrawn from a daemon because
the service is away. What is wrong with one slot is told of that slot and keeps no other from being done.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from core.errors import IkewardenError
from ike.agent import report
from ike.agent.channel import ServerUnreachable
from ike.agent.circumstances import Circumstances
from ike.agent.desired import DesiredKey, DesiredSlot, DesiredState
from ike.agent.keyring import HeldSecret, SecretUnavailable
from ike.daemons.port import (
    Abilities,
    DaemonRefused,
    DaemonUnreachable,
    ForeignSecret,
    IkeSa,
    Shared,
    SharedKey,
    SharedSlot,
)

_EMPTY: Mapping[str, Any] = {
    "versions": [],
    "held": [],
    "foreign": [],
    "authenticated": None,
    "order": None,
    "error_code": "",
    "error": "",
}


def share(here: Circumstances, desired: DesiredState) -> None:
    """Make the daemon's shared secrets those of the desired state, as far as their values are to be had."""
    wanted = desired.secrets
    if wanted is None:
        return
    here.slot_errors = {}
    here.step(partial(_fetch_missing, here, wanted), needs_daemon=False)
    here.step(partial(_give, here, wanted))


def _fetch_missing(here: Circumstances, wanted: Sequence[DesiredSlot]) -> None:
    held = _by_id(here.home.keyring.all())
    for slot in wanted:
        for key in slot.keys:
            if not _is_held(held, slot, key):
                _fetch(here, slot, key)


def _fetch(here: Circumstances, slot: DesiredSlot, key: DesiredKey) -> None:
    here.alive()
    why = "The service is not reached."
    try:
        if here.reached is not None:
            here.home.keyring.fetch(here.reached, slot, key)
            return
    except ServerUnreachable as error:
        here.service_gone = True
        why = error.message
    except IkewardenError as error:
        _blame(here, slot, error)
        return
    _blame(here, slot, SecretUnavailable(f"Version {key.version} is not here. {why}"))


def _blame(here: Circumstances, slot: DesiredSlot, error: IkewardenError) -> None:
    if here.slot_errors is not None:
        here.slot_errors.setdefault(slot.name, report.error_entry(error))
    here.write_down(error.code, f"{slot.name}: {error.message}", error.next_step)


def _give(here: Circumstances, wanted: Sequence[DesiredSlot]) -> None:
    held = here.home.keyring.all()
    try:
        here.daemon.share(_given(here, wanted, held))
    except DaemonUnreachable:
        raise
    except IkewardenError as error:
        # Which slots it is about shows when the daemon is looked at: those that are not as they should be.
        here.refusal = report.error_entry(error)
        here.write_down(**here.refusal)
        here.may_sweep = isinstance(error, DaemonRefused)
    else:
        here.may_sweep = True


def _given(
    here: Circumstances, wanted: Sequence[DesiredSlot], held: Sequence[HeldSecret]
) -> list[SharedSlot]:
    """Every slot with its list, or with what the daemon has of it where the list is not whole."""
    by_id = _by_id(held)
    slots = [_slot(each, _desired_keys(each, by_id)) for each in wanted]
    lacking = [i for i, each in enumerate(wanted) if len(slots[i].keys) != len(each.keys)]
    if not lacking:
        return slots
    loaded = {each.name: each.versions for each in here.daemon.shared(slots).slots}
    for i in lacking:
        slot = wanted[i]
        mine = _by_version(slot, held)
        versions = loaded.get(slot.name, ())
        if not all(version in mine for version in versions):
            raise SecretUnavailable(
                f"{slot.name}: the daemon has a version whose value is not here; no slot is changed, so that it is not "
                "withdrawn."
            )
        slots[i] = _slot(slot, [mine[each] for each in versions or _last_known(slot, mine)])
    return slots


def _last_known(slot: DesiredSlot, mine: Mapping[int, SharedKey]) -> list[int]:
    """What a daemon that has forgotten a slot had of it, as far as the disk tells: what is wanted, then the newest.

    Where the first that is wanted is not here, none that came after it: the other end may never have heard of that.
    """
    named = [version for version in slot.versions if version in mine]
    known = named + sorted(set(mine) - set(named), reverse=True)
    first = slot.versions[0] if slot.versions else None
    if first is None or first in mine:
        return known
    return [version for version in known if version < first]


def look(here: Circumstances, desired: DesiredState | None) -> list[dict[str, str]]:
    """Find out what the daemon holds and put it into the notes; gives the differences.

    After a round's `share`, values that neither the desired state nor the daemon has any more are destroyed.
    """
    wanted = desired.secrets if desired is not None else None
    if wanted is None:
        return []
    held: list[HeldSecret] = []
    found: list[tuple[Abilities, Shared]] = []
    here.step(lambda: held.extend(here.home.keyring.all()), needs_daemon=False)
    here.step(lambda: found.append(_ask(here, wanted, held)))
    abilities, shared = found[0] if found else (None, None)
    if abilities is not None:
        here.notes.abilities = asdict(abilities)
    drift = differences(wanted, shared, abilities) if shared and abilities else []
    _blame_refused(here, {slot for slot, _ in drift})
    if here.may_sweep and shared is not None:
        here.step(partial(_sweep, here, wanted, held, shared), needs_daemon=False)
    _record(here, wanted, held, shared)
    return [entry for _, entry in drift]


def _ask(
    here: Circumstances, wanted: Sequence[DesiredSlot], held: Sequence[HeldSecret]
) -> tuple[Abilities, Shared]:
    by_id = _by_id(held)
    slots = [_slot(each, _desired_keys(each, by_id)) for each in wanted]
    return here.daemon.abilities(), here.daemon.shared(slots)


def _blame_refused(here: Circumstances, differing: Iterable[str]) -> None:
    if here.refusal is not None and here.slot_errors is not None:
        for name in differing:
            here.slot_errors.setdefault(name, here.refusal)


def observe(here: Circumstances, desired: DesiredState | None, sas: Sequence[IkeSa]) -> None:
    """Have it known which IKE_SAs were there after the daemon was looked at."""
    if desired is not None and desired.secrets is not None:
        here.proofs.observe(here.notes, desired.secrets, sas, here.clock.wall())


def _sweep(
    here: Circumstances, wanted: Sequence[DesiredSlot], held: list[HeldSecret], shared: Shared
) -> None:
    named = {each.name: each for each in wanted}
    loaded = {each.name: each.versions for each in shared.slots}

    def keep(each: HeldSecret) -> bool:
        slot, version = named.get(each.slot), each.key.version
        if slot is not None and any(each.serves(slot, key) for key in slot.keys):
            return True
        if slot is not None and each.slot in (here.slot_errors or {}):
            return True
        anew = slot is not None and version in slot.versions
        return version in loaded.get(each.slot, ()) and not anew

    here.home.keyring.sweep(keep)
    held[:] = here.home.keyring.all()


def _record(
    here: Circumstances,
    wanted: Sequence[DesiredSlot],
    held: Sequence[HeldSecret],
    shared: Shared | None,
) -> None:
    """Put into the notes what was found of each slot; what is noted of it otherwise stays."""
    loaded = {each.name: list(each.versions) for each in shared.slots} if shared else {}
    # That the daemon does not answer is told of the daemon: a slot is not refused because it is restarted.
    unknown = here.errors[-1] if shared is None and here.errors and not here.daemon_gone else None
    foreign: dict[str, list[dict[str, Any]]] = {}
    for each in shared.foreign if shared else ():
        document = {"where": each.where, "same_as": each.same_as, "shadows": each.shadows}
        foreign.setdefault(each.slot, []).append(document)
    records = {}
    for slot in wanted:
        before = here.notes.secrets.get(slot.name, _EMPTY)
        records[slot.name] = {
            "versions": loaded.get(slot.name, []),
            "held": _versions_of(slot, held),
            "foreign": foreign.get(slot.name, []),
            "authenticated": _still_known(slot, before["authenticated"]),
            "order": before["order"],
            **_error(here, slot, before, unknown),
        }
    here.notes.secrets = records


def _error(
    here: Circumstances,
    slot: DesiredSlot,
    before: Mapping[str, Any],
    unknown: Mapping[str, str] | None,
) -> dict[str, str]:
    if (
        here.slot_errors is None
    ):  # a look between rounds: what was wrong is wrong until it was tried again
        return {name: before[name] for name in ("error_code", "error")}
    entry = here.slot_errors.get(slot.name) or unknown or here.proofs.trouble(slot) or {}
    return {"error_code": entry.get("code", ""), "error": entry.get("message", "")}


def _still_known(slot: DesiredSlot, seen: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What was seen under a key that the slot has; versions of a slot made anew may be the same."""
    keys = [(each.id, each.version) for each in slot.keys]
    return seen if seen is not None and (seen["id"], seen["version"]) in keys else None


def differences(
    wanted: Sequence[DesiredSlot], shared: Shared, abilities: Abilities
) -> list[tuple[str, dict[str, str]]]:
    """What a daemon holds that it should not and the other way round: slot, and `{code, message}`."""
    loaded = {each.name: each.versions for each in shared.slots}
    found = []
    for slot in wanted:
        overlap = abilities.overlap and slot.ike_version == 2
        versions = slot.versions if overlap else slot.versions[:1]
        found += _differences(slot.name, versions, loaded.pop(slot.name, ()))
    for name, others in loaded.items():
        found += _differences(name, [], others)
    return found + [_foreign(each) for each in shared.foreign]


def _differences(
    name: str, wanted: Sequence[int], loaded: Sequence[int]
) -> list[tuple[str, dict[str, str]]]:
    said = [
        *(
            ("secret_not_loaded", f"Version {version} of {name} is not loaded.")
            for version in wanted
            if version not in loaded
        ),
        *(
            ("secret_not_desired", f"Version {version} of {name} is still loaded.")
            for version in loaded
            if version not in wanted
        ),
    ]
    if not said and list(loaded[:1]) != list(wanted[:1]):
        said.append(
            ("secret_not_first", f"Version {wanted[0]} of {name} is loaded, and another is used.")
        )
    return [(name, {"code": code, "message": message}) for code, message in said]


def _foreign(found: ForeignSecret) -> tuple[str, dict[str, str]]:
    same = f", which has the value of version {found.same_as}," if found.same_as else ""
    if found.shadows:
        message = f"A secret that is not the agent's{same} is used in the place of {found.slot}: {found.where}."
        return found.slot, {"code": "secret_shadowed", "message": message}
    message = f"A secret that is not the agent's{same} answers for the peer of {found.slot}: {found.where}."
    return found.slot, {"code": "secret_foreign", "message": message}


def sound(records: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those of kept records that can be gone on with."""
    return {
        name: {**_EMPTY, **each}
        for name, each in records.items()
        if isinstance(each, dict)
        and _holds(each.get("order"), version=int, met=bool)
        and _holds(each.get("authenticated"), version=int, id=int)
    }


def _holds(part: object, **kinds: type) -> bool:
    """Whether it is nothing, or an object with these members."""
    if not isinstance(part, dict):
        return part is None
    return all(isinstance(part.get(name), kind) for name, kind in kinds.items())


def _slot(wanted: DesiredSlot, keys: Iterable[SharedKey]) -> SharedSlot:
    return SharedSlot(
        name=wanted.name,
        kind=wanted.kind,
        connection=wanted.connection,
        local_id=wanted.local_id,
        remote_id=wanted.remote_id,
        keys=tuple(keys),
        ike_version=wanted.ike_version,
    )


def _by_id(held: Iterable[HeldSecret]) -> dict[int, HeldSecret]:
    return {each.id: each for each in held}


def _is_held(held: Mapping[int, HeldSecret], slot: DesiredSlot, key: DesiredKey) -> bool:
    return key.id in held and held[key.id].serves(slot, key)


def _desired_keys(slot: DesiredSlot, held: Mapping[int, HeldSecret]) -> list[SharedKey]:
    return [held[key.id].key for key in slot.keys if _is_held(held, slot, key)]


def _by_version(slot: DesiredSlot, held: Iterable[HeldSecret]) -> dict[int, SharedKey]:
    """All that is on disk of a slot, also what is not wanted any more; what is wanted goes before its like."""
    mine = [each for each in held if (each.slot, each.kind) == (slot.name, slot.kind)]
    wanted = {each.version: each for each in _desired_keys(slot, _by_id(mine))}
    return {each.key.version: each.key for each in mine} | wanted


def _versions_of(slot: DesiredSlot, held: Iterable[HeldSecret]) -> list[int]:
    """Versions on disk, in the order that is wanted, then the others."""
    mine = _by_version(slot, held)
    return _last_known(slot, mine)
