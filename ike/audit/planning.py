"""Which findings `--fix` mends, and by what change: what a rule wishes, from what was seen of the file. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ike.audit import system
from ike.audit.fixing import Change, merged, narrowed
from ike.audit.values import Accounts, Area, Finding, Item, Policy, Role, Sort

_GROUP: Final = 0o070
_GROUP_READS: Final = 0o040
_SECRET: Final = frozenset({Role.SECRETS, Role.KEY, Role.PASSWORD, Role.DATABASE, Role.OWN})


@dataclass(frozen=True)
class _Wish:
    """The bits that are to go, and whether root is to own it. `barred` says why it is not done."""

    without: int = 0
    owner: bool = False
    barred: str = ""


# By the rule's id, or by its end where there is one for each role. All other findings are not about modes and owners.
_WISHES: Final[Mapping[str, _Wish]] = {
    "secret-owned-by-another": _Wish(owner=True),
    "configuration-owned-by-another": _Wish(owner=True),
    "acl-grants-access": _Wish(_GROUP),  # the group's bits are the mask of an ACL
    "key-folder-open": _Wish(0o007),
    "folder-writable-by-others": _Wish(0o022),
    "folder-writable-by-group": _Wish(0o020),
    "folder-writable-by-acl": _Wish(0o020),
    "folder-owned-by-another": _Wish(
        owner=True, barred="folders are not handed over: what else is in them may need its owner"
    ),
    "program-setuid": _Wish(0o6000),
}
_ENDS: Final[Mapping[str, _Wish]] = {
    "-open-to-others": _Wish(0o077),
    "-open-to-group": _Wish(_GROUP),
    "-writable": _Wish(0o022),
}
# Of the area of exposure: what lies about can be closed, though it were better gone.
_EXPOSED: Final[Mapping[str, _Wish]] = {
    "copy-of-secrets-open": _Wish(0o077),
    "stray-key-open": _Wish(0o077),
    "stray-secrets": _Wish(0o077),
    "archive-open": _Wish(0o077),
}
_SOCKETS: Final = "control-socket-"
_SYSTEMS: Final = "a folder of the system or of a person: change it by hand, if that is right"


def plan(
    findings: Iterable[Finding], items: Iterable[Item], accounts: Accounts, policy: Policy
) -> list[Change]:
    """The changes that mend the findings, one for each file, folders first; for `carry_out` or `rehearse`.

    A group that the policy names goes on reading. A change of the system's own folders is barred. A finding that no
    change of mode or owner mends gives none.
    """
    seen: dict[str, Item] = {}
    for item in items:
        seen.setdefault(item.path, item)
        for step in item.steps:
            seen.setdefault(step.path, _as_item(item, step.path))
    vyos = system.vyos_folders(seen.values())
    changes = merged(
        change
        for finding in findings
        for change in _changes(finding, seen.get(finding.place.path), accounts, policy)
    )
    return [
        replace(each, mode=each.mode | each.was.mode & _GROUP)
        if each.was.sort is Sort.FOLDER
        and system.is_vyos_folder(each.path, each.was.gid, vyos, accounts)
        else each
        for each in changes
    ]


def is_mended(rule: str) -> bool:
    """Whether a change of mode or owner can mend findings of this rule, by its id."""
    return _wish(rule) is not None or rule in _EXPOSED


def _wish(rule: str) -> _Wish | None:
    if rule.startswith(_SOCKETS):
        return None  # made anew at each start of the daemon, with the mode that it is told
    ends = (wish for end, wish in _ENDS.items() if rule.endswith(end))
    return _WISHES.get(rule) or next(ends, None)


def _changes(
    finding: Finding, item: Item | None, accounts: Accounts, policy: Policy
) -> Iterator[Change]:
    wish = _wish(finding.rule.id) if finding.rule.area is Area.ACCESS else None
    if finding.rule.area is Area.EXPOSURE:
        wish = _EXPOSED.get(finding.rule.id)
    if wish is None or item is None:
        return
    without, barred = wish.without, wish.barred
    is_acl = finding.rule.id == "acl-grants-access"
    if is_acl and item.role not in _SECRET:
        without = 0o020
    if without & _GROUP and accounts.group(item.status.gid) in policy.groups:
        if is_acl:
            barred = "closing it would close the group that the policy names: use setfacl -x"
        without &= ~_GROUP_READS
    if system.is_vyos(item, accounts):
        without &= ~_GROUP
    if item.status.sort is Sort.FOLDER and system.is_folder_of(item.real, accounts):
        barred = _SYSTEMS
    change = narrowed(item, without, owner=wish.owner)
    if change is not None:
        yield replace(change, barred=change.barred or barred, findings=(finding.id,))


def _as_item(item: Item, path: str) -> Item:
    """A folder or link on the way to an item, with what is passed before it."""
    place = next(number for number, step in enumerate(item.steps) if step.path == path)
    step = item.steps[place]
    # A folder is named by where it really is; no link leads there that is not also on its own way.
    before = tuple(each for each in item.steps[:place] if _is_above(each.path, path))
    return Item(path, Role.FOLDER, step.status, path, before, step.grants)


def _is_above(folder: str, path: str) -> bool:
    return folder == "/" or path.startswith(folder + "/")
