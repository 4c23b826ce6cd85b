"""Work in the store of secrets: values made exactly once whatever breaks off, and destroyed for good."""

from collections.abc import Callable
from dataclasses import dataclass

from core.secret import Secret
from fleet.rotation.allotment import store_of
from fleet.rotation.machine import Work
from hsm.fingerprint import Fingerprints
from hsm.secretstore import SecretConflict, SecretNotFound, SecretStore, Stored, VersionState
from pki.desk import Desk

_OCTETS = 32
# Each conflict is somebody else's write; whoever writes that often is no accident.
_TRIES = 4


@dataclass(frozen=True)
class Job:
    """Work for a rotation. `after`: the newest number that the records know of its path (0: none). `old`, `new`: the
    numbers of its versions in the store, None where they are not known.
    """

    rotation_id: int
    slot_id: int
    work: Work
    path: str
    version: int
    after: int
    old: int | None
    new: int | None


@dataclass(frozen=True)
class Made:
    """A value in the store. `intruded`: somebody else had written to the path meanwhile."""

    number: int
    fingerprint: str
    intruded: bool


def do(desk: Desk, job: Job, is_wanted: Callable[[Job], bool]) -> Made | None:
    """Do the work; it may be done again, by anybody. Gives what was made. Raises what the store raises.

    `is_wanted` tells whether the records still wait for the job's value. It is asked when somebody else has written.
    """
    if job.work is Work.MAKE:
        return _make(desk, job, is_wanted)
    if job.work is Work.DESTROY_OLD:
        if job.old is not None:
            store_of(desk).destroy(job.path, job.old)
        return None
    if job.new is not None:
        store_of(desk).destroy(job.path, job.new)
        return None
    # Nobody knows whether it was ever made, or whether a request is still on its way to do so. The number that follows
    # is taken by making it now; then nothing can come later, and what is there is known.
    made = _make(desk, job, is_wanted)
    store_of(desk).destroy(job.path, made.number)
    return made


def _make(desk: Desk, job: Job, is_wanted: Callable[[Job], bool]) -> Made:
    store = store_of(desk)
    tags = {"rotation": str(job.rotation_id), "version": str(job.version)}
    value = Secret(desk.entropy(_OCTETS))
    after, intruded = job.after, False
    for _ in range(_TRIES):
        try:
            number = store.put(job.path, value, after=after, tags=tags)
            return Made(number, Fingerprints(store).of(value), intruded)
        except SecretConflict:
            newest, mine = _look(store, job, tags)
            if mine is not None:
                return Made(mine.number, Fingerprints(store).of(mine.value), intruded)
            # Whoever took over may have made it and destroyed it since: that bears no tags any more.
            if not is_wanted(job):
                raise SecretConflict(f"Another worker made the value of {job.path}.") from None
            after, intruded = newest, True
    raise SecretConflict(f"Others keep writing to {job.path}.")


def _look(store: SecretStore, job: Job, tags: dict[str, str]) -> tuple[int, Stored | None]:
    """The newest number, and what this rotation wrote before somebody lost sight of it."""
    versions = store.versions(job.path)
    newest = versions[-1].number if versions else 0
    # Where the path was removed and begun anew the records know numbers that are no more.
    known = job.after if newest > job.after else 0
    for each in reversed(versions):
        if each.number > known and each.state is VersionState.LIVE:
            try:
                found = store.get(job.path, each.number)
            except SecretNotFound:
                continue
            if dict(found.tags) == tags:
                return newest, found
    return newest, None
