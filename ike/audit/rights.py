"""Who may do what with a file, as far as modes, owners, ACLs and the folders before it say. Pure."""

import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ike.audit.values import Accounts, Grant, Item, Policy, Role, Sort, Status, Step

READ: Final = 4
WRITE: Final = 2
PASS: Final = 1
_SECRET: Final = frozenset({Role.SECRETS, Role.KEY, Role.PASSWORD, Role.OWN})
_KEY_DATABASES: Final = ("key4.db", "key3.db")
ANEW: Final = "then make its keys and secrets anew: whoever could read it may have."
_SERVICES: Final = 1000  # users below are the system's own


def is_secret(item: Item) -> bool:
    """Whether to read it is to know a key; else who writes it decides whom the daemon trusts."""
    if item.status.sort is Sort.FOLDER:
        return False
    if item.role is Role.DATABASE:
        return posixpath.basename(item.path) in _KEY_DATABASES
    return item.role in _SECRET


def is_system_user(number: int) -> bool:
    """Whether it is a daemon's user rather than a person's."""
    return number < _SERVICES


def is_trusted_user(number: int, accounts: Accounts, policy: Policy) -> bool:
    """Whether this user may do everything with keys: root, and whom the policy names."""
    return number == 0 or accounts.user(number) in policy.users


def others(status: Status) -> int:
    """The bits of everyone else."""
    return status.mode & 7


def group(status: Status, grants: Sequence[Grant]) -> int:
    """The bits of the file's own group; with an ACL, they are not those that the mode shows."""
    for grant in grants:
        if grant.who == "group" and grant.number is None:
            return grant.bits & mask(grants)
    return status.mode >> 3 & 7


def mask(grants: Sequence[Grant]) -> int:
    """What the mask of an ACL lets through."""
    return next((grant.bits for grant in grants if grant.who == "mask"), 7)


def named(grants: Sequence[Grant]) -> list[Grant]:
    """The users and groups that an ACL names, with what is left of their bits."""
    return [
        Grant(grant.who, grant.number, grant.bits & mask(grants))
        for grant in grants
        if grant.number is not None
    ]


@dataclass(frozen=True)
class Members:
    """Those who get in by a group: a phrase for people, and whether there are any."""

    phrase: str
    anyone: bool


def members(number: int, accounts: Accounts, policy: Policy) -> Members:
    """Who is in a group, beside root and those whom the policy trusts."""
    name = accounts.group(number)
    if number in accounts.groups and not accounts.users:
        return Members(f"the group {name}", anyone=True)
    inside = [
        each for each in accounts.members.get(name, ()) if each not in {"root", *policy.users}
    ]
    if not inside:
        known = number in accounts.groups
        nobody = "nobody else is in it" if known else "it has no name here"
        return Members(f"the group {name} ({nobody})", anyone=not known and number != 0)
    shown = ", ".join(inside[:3]) + (f" and {len(inside) - 3} more" if len(inside) > 3 else "")
    return Members(f"the group {name} ({shown})", anyone=True)


def folders(item: Item) -> list[Step]:
    """The folders that must be passed to get at it, whichever link leads there."""
    return [
        step
        for step in item.steps
        if step.status.sort is Sort.FOLDER and is_above(step.path, item.real)
    ]


def is_above(folder: str, path: str) -> bool:
    """Whether a path is in a folder or below it."""
    return folder == "/" or path.startswith(folder.rstrip("/") + "/")


def barrier_to_others(item: Item) -> Step | None:
    """A folder on the way that lets nobody pass who is only one of the others."""
    return next((step for step in folders(item) if not others(step.status) & PASS), None)


def barrier_to_group(item: Item, number: int) -> Step | None:
    """A folder on the way that lets the members of a group not pass."""
    for step in folders(item):
        bits = others(step.status)
        if step.status.gid == number:
            bits = group(step.status, step.grants)
        for grant in named(step.grants):
            if grant.who == "group" and grant.number == number:
                bits |= grant.bits
        if not bits & PASS:
            return step
    return None


def barrier_to_user(item: Item, number: int) -> Step | None:
    """A folder on the way that lets a user not pass."""
    for step in folders(item):
        bits = others(step.status)
        if step.status.uid == number:
            bits = step.status.mode >> 6
        for grant in named(step.grants):
            if grant.who == "user" and grant.number == number:
                bits |= grant.bits
        if not bits & PASS:
            return step
    return None


def home(path: str, accounts: Accounts) -> tuple[str, str]:
    """The home folder that a path is in, and whose it is; two empty strings where it is in none."""
    for folder, user in accounts.homes.items():
        if is_above(folder, path):
            return folder, user
    parts = path.split("/")
    if path.startswith("/home/") and len(parts) > 3:
        return "/".join(parts[:3]), parts[2]
    return "", ""


def verbs(bits: int) -> str:
    """What may be done, as a verb."""
    return {READ: "read", WRITE: "overwrite", READ | WRITE: "read and overwrite"}.get(
        bits & (READ | WRITE), "reach"
    )


def told(status: Status, accounts: Accounts) -> str:
    """Mode and owners, in words."""
    return (
        f"mode {status.mode:04o}, owner {accounts.user(status.uid)}, "
        f"group {accounts.group(status.gid)}"
    )


def then_anew(command: str) -> str:
    """A fix of what others could read: closing it takes back nothing."""
    return f"`{command}`, {ANEW}"


def command(*words: str) -> str:
    """A command line for a shell, to be copied as it is."""
    return shlex.join(words)
