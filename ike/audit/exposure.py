"""Where keys and secrets get to beside their own files: copies, repositories, core dumps, files that lie about."""

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ike.audit import copies, dumps, rights, system, work_trees
from ike.audit.copies import Copy
from ike.audit.discovery import Discovered
from ike.audit.dumps import Dumps
from ike.audit.ground import Ground
from ike.audit.rights import READ
from ike.audit.shapes import Shape
from ike.audit.sweep import Stray, Sweep
from ike.audit.values import Accounts, Area, Finding, Item, Policy, Rule, Severity
from ike.audit.work_trees import Kept
from ike.secrets.values import Place, Problem

_SHARED_FOLDERS: Final = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - looked at, never written


def _rule(rule_id: str, severity: Severity, title: str, why: str, fix: str, reference: str) -> Rule:
    return Rule(rule_id, Area.EXPOSURE, severity, title, why, fix, (reference,))


COPY_OPEN: Final = _rule(
    "copy-of-secrets-open",
    Severity.CRITICAL,
    "A copy of a key or file of secrets is open to others",
    "Whoever may read the copy need not get at the original.",
    "Remove the copy; if others have had the time to read it, change the keys.",
    "CWE-530",
)
COPY: Final = _rule(
    "copy-of-secrets",
    Severity.LOW,
    "A copy of a key or file of secrets is left beside it",
    "Keys that were changed or removed live on in it, and nobody thinks of it when they are.",
    "Remove the copy.",
    "CWE-530",
)
REPOSITORY: Final = _rule(
    "secret-in-repository",
    Severity.HIGH,
    "A version control system keeps a key or file of secrets",
    "Its history keeps every value that the file ever had, and goes wherever the repository is copied to.",
    "Take the file out of the repository and its history, have it ignored, and change the keys that were in it.",
    "CWE-540",
)
WORK_TREE: Final = _rule(
    "secret-in-work-tree",
    Severity.LOW,
    "A key or file of secrets is in the work tree of a version control system",
    "One careless command adds it to the history.",
    "Have the file ignored, or move the repository.",
    "CWE-540",
)
DUMPS_WANTED: Final = _rule(
    "core-dumps-wanted",
    Severity.MEDIUM,
    "The daemon is set to write its memory to the disk when it crashes",
    "All keys and passwords that it holds are in that file; crashes can be brought about from outside.",
    "Set LimitCORE=0 in the daemon's unit.",
    "CWE-528",
)
DUMPS_KEPT: Final = _rule(
    "core-dumps-kept",
    Severity.LOW,
    "Memory of a daemon that crashes is kept on the disk",
    "All keys and passwords that it holds are in that file.",
    "Set LimitCORE=0 in the daemon's unit, or Storage=none in coredump.conf.",
    "CWE-528",
)
CORE_LIMIT: Final = _rule(
    "core-limit-raised",
    Severity.LOW,
    "Programs that root starts may write their memory to the disk",
    "A daemon that is started from a shell, or by a script that is, leaves its keys there when it crashes.",
    "Set `* hard core 0` in limits.conf.",
    "CWE-528",
)
STRAY_OPEN: Final = _rule(
    "stray-key-open",
    Severity.HIGH,
    "A private key that no daemon's configuration names is open to everyone",
    "Keys that are made, sent or saved in such places are in use elsewhere, or soon will be.",
    "Remove it where it is not needed, else give it mode 0600; if it is in use, replace the key.",
    "NIST SP 800-57 part 1 rev. 5 §6.2.2",
)
STRAY: Final = _rule(
    "stray-key",
    Severity.LOW,
    "A private key lies outside of the folders for keys",
    "Nobody thinks of it when keys are changed or a host is given away, and it goes into backups.",
    "Remove it where it is not needed, else move it to where the daemon reads it.",
    "NIST SP 800-57 part 1 rev. 5 §8.3.4",
)
STRAY_SECRETS: Final = _rule(
    "stray-secrets",
    Severity.MEDIUM,
    "A file with pre-shared keys or passwords that no daemon's configuration names",
    "It holds keys that are in use, or were, and nobody guards it.",
    "Remove it where it is not needed; if others have had the time to read it, change the keys.",
    "NIST SP 800-57 part 1 rev. 5 §8.3.4",
)
ARCHIVE: Final = _rule(
    "archive-open",
    Severity.MEDIUM,
    "An archive that by its name holds configuration is open to everyone",
    "Secrets keep no mode of their own for whoever may read the archive.",
    "Give it mode 0600, or remove it.",
    "CWE-530",
)

RULES: Final[tuple[Rule, ...]] = (
    COPY_OPEN,
    COPY,
    REPOSITORY,
    WORK_TREE,
    DUMPS_WANTED,
    DUMPS_KEPT,
    CORE_LIMIT,
    STRAY_OPEN,
    STRAY,
    STRAY_SECRETS,
    ARCHIVE,
)


@dataclass(frozen=True)
class Exposure:
    """All that was seen of it. `files` were gone through."""

    accounts: Accounts
    copies: tuple[Copy, ...]
    kept: tuple[Kept, ...]
    dumps: Dumps
    strays: tuple[Stray, ...]
    files: int = 0

    def judge(self, policy: Policy, _now: datetime) -> Iterator[Finding]:
        """See `Facts`."""
        for copy in self.copies:
            yield self._copy(copy, policy)
        for kept in self.kept:
            yield self._kept(kept)
        for stray in self.strays:
            yield from self._stray(stray, policy)
        yield from _dumped(self.dumps)

    def _copy(self, copy: Copy, policy: Policy) -> Finding:
        item = copy.item
        fix = rights.command("rm", item.real)
        read = rights.then_anew(fix)
        told = f"It looks like a copy of {copy.of.path}; {rights.told(item.status, self.accounts)}"
        if rights.others(item.status) & READ and not rights.barrier_to_others(item):
            return _found(COPY_OPEN, item, f"{told}: everyone on this host may read it", read)
        number = item.status.gid
        members = rights.members(number, self.accounts, policy)
        trusted = self.accounts.group(number) in policy.groups or not members.anyone
        if system.is_vyos(copy.of, self.accounts) and copy.of.status.gid == number:
            trusted = True  # they have the original too
        if rights.group(item.status, item.grants) & READ and not trusted:
            if not rights.barrier_to_group(item, number):
                evidence = f"{told}: {members.phrase} may read it"
                return _found(COPY_OPEN, item, evidence, read, Severity.HIGH)
        if any(grant.bits & READ for grant in rights.named(item.grants)):
            evidence = f"{told}: an access control list lets others read it"
            return _found(COPY_OPEN, item, evidence, read, Severity.HIGH)
        return _found(COPY, item, told, fix)

    def _kept(self, kept: Kept) -> Finding:
        repository = kept.repository
        mode = rights.told(repository.status, self.accounts)
        if not kept.tracked:
            doubt = (
                "whether it is tracked cannot be seen" if kept.tracked is None else "not tracked"
            )
            return _found(WORK_TREE, kept.item, f"{repository.path} is above it; {doubt}")
        told = f"{repository.path} ({mode}) tracks it"
        if repository.shared:
            told += ", and is connected to another repository"
        is_open = repository.shared or repository.status.mode & 0o007
        return _found(REPOSITORY, kept.item, told, "", None if is_open else Severity.MEDIUM)

    def _stray(self, stray: Stray, policy: Policy) -> Iterator[Finding]:
        item, told = stray.item, rights.told(stray.item.status, self.accounts)
        told = told[0].upper() + told[1:]
        close = rights.command("chmod", "600", item.real)
        barrier = rights.barrier_to_others(item)
        is_open = bool(rights.others(item.status) & READ) and barrier is None
        if stray.shape is Shape.OTHER:
            if is_open:
                evidence = f"{told}: everyone on this host may read it"
                yield _found(ARCHIVE, item, evidence, rights.then_anew(close))
        elif is_open:
            evidence = f"{told}: everyone on this host may read it ({stray.shape})"
            close = rights.then_anew(close)
            if stray.shape is Shape.SECRETS:
                yield _found(STRAY_SECRETS, item, evidence, close, Severity.CRITICAL)
            else:
                locked = stray.shape is not Shape.KEY
                yield _found(STRAY_OPEN, item, evidence, close, Severity.MEDIUM if locked else None)
        elif stray.shape is Shape.SECRETS:
            removed = rights.command("rm", item.real)
            fix = f"Look whether anything needs it; if not, `{removed}`."
            yield _found(STRAY_SECRETS, item, told, fix)
        else:
            yield from self._closed(stray, f"{told} ({stray.shape})", policy)

    def _closed(self, stray: Stray, told: str, policy: Policy) -> Iterator[Finding]:
        """A key that not everybody may read: told where keys have no business."""
        item = stray.item
        number = item.status.gid
        members = rights.members(number, self.accounts, policy)
        in_group = rights.group(item.status, item.grants) & READ and members.anyone
        if in_group and not rights.is_system_user(number):
            if not rights.barrier_to_group(item, number):
                close = rights.then_anew(rights.command("chmod", "600", item.real))
                evidence = f"{told}: {members.phrase} may read it"
                yield _found(STRAY_OPEN, item, evidence, close, Severity.MEDIUM)
                return
        folder, user = rights.home(item.real, self.accounts)
        if not folder and rights.is_above("/root", item.real):
            folder, user = "/root", "root"
        if folder:
            # Programs keep keys of their own in hidden folders, as SSH does.
            if "/." not in item.real[len(folder) :]:
                yield _found(STRAY, item, f"{told}: it is in the home folder of {user}")
        elif any(rights.is_above(each, item.real) for each in (*_SHARED_FOLDERS, "/var/backups")):
            yield _found(STRAY, item, f"{told}: it is in {posixpath.dirname(item.real)}")


def _dumped(seen: Dumps) -> Iterator[Finding]:
    open_units = []
    for unit in seen.units:
        if unit.value and not unit.forbids:
            yield Finding(DUMPS_WANTED, unit.place, "LimitCORE= is not 0 there.")
        elif not unit.value:
            open_units.append(unit)
    general = seen.general
    if general is not None and not general.forbids and open_units:
        told = "DefaultLimitCORE= is not 0, and the daemon's unit sets no limit of its own."
        yield Finding(DUMPS_WANTED, general.place, told)
    elif seen.collected and open_units and general is None:
        for unit in open_units:
            told = f"{seen.collector} keeps core dumps, and the unit sets no LimitCORE=."
            yield Finding(DUMPS_KEPT, unit.place, told)
    for limit in seen.limits:
        if not limit.forbids and seen.units:
            told = f"The limit of core dumps is raised for {limit.who}."
            yield Finding(CORE_LIMIT, limit.place, told, subject=limit.who)


def _found(
    rule: Rule, item: Item, told: str, fix: str = "", severity: Severity | None = None
) -> Finding:
    return Finding(rule, Place(item.path, 0), told + ".", "", fix, severity)


def look(
    ground: Ground, discovered: Discovered, paths: Sequence[str] = (), *, known: bool = True
) -> tuple[Exposure, list[Problem]]:
    """Look for all of it; with `known` unset, only beside what was discovered and below `paths`."""
    found, problems = copies.look(ground, discovered.items)
    taken = frozenset(
        path
        for item in (*discovered.items, *(copy.item for copy in found))
        for path in (item.path, item.real)
    )
    sweep = Sweep(ground)
    strays = tuple(sweep.strays(paths, taken)) if known else ()
    exposure = Exposure(
        ground.accounts,
        tuple(found),
        tuple(work_trees.look(ground, discovered.items)),
        dumps.look(ground),
        strays,
        sweep.files,
    )
    return exposure, [*problems, *sweep.problems]
