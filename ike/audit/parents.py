"""What is on the way to the files that matter: whoever may write a folder there may replace all below it. Pure."""

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from ike.audit import rights, system
from ike.audit.rights import WRITE
from ike.audit.values import Accounts, Area, Finding, Item, Policy, Role, Rule, Severity, Sort, Step
from ike.secrets.values import Place

_STICKY: Final = 0o1000
_LESS: Final = frozenset({Role.CERTIFICATE, Role.REVOCATION})
_REPLACE: Final = (
    "Whoever may write a folder may put another file, or a link, in the place of each one in it."
)
_PARENTS: Final = ("NIST SP 800-53 rev. 5 AC-6", "CWE-732")


def _rule(rule_id: str, severity: Severity, title: str, why: str, fix: str, reference: str) -> Rule:
    return Rule(rule_id, Area.ACCESS, severity, title, why, fix, (_PARENTS[0], reference))


WRITABLE: Final = _rule(
    "folder-writable-by-others",
    Severity.CRITICAL,
    "Everyone on the host may replace what is in a folder on the way to keys",
    _REPLACE,
    "Take the right to write from others (chmod o-w).",
    "CWE-732",
)
IN_GROUP: Final = _rule(
    "folder-writable-by-group",
    Severity.HIGH,
    "A group of users may replace what is in a folder on the way to keys",
    _REPLACE,
    "Take the right to write from the group (chmod g-w), or name the group in the policy.",
    "CWE-732",
)
BY_ACL: Final = _rule(
    "folder-writable-by-acl",
    Severity.HIGH,
    "An access control list lets others replace what is in a folder on the way to keys",
    _REPLACE + " The mode of the folder does not show it.",
    "Remove the list (setfacl -b), then set the mode.",
    "CWE-732",
)
OWNED: Final = _rule(
    "folder-owned-by-another",
    Severity.HIGH,
    "A folder on the way to keys belongs to another user than root",
    "Its owner may replace each file in it, whoever those belong to.",
    "Make root its owner (chown root), or name the daemon's user in the policy.",
    "CWE-282",
)
SHARED: Final = _rule(
    "file-in-shared-folder",
    Severity.MEDIUM,
    "A file that matters is in a folder where everybody may make files",
    "The sticky bit keeps others from replacing it, but not from taking its name first when it is written anew.",
    "Move the file to a folder of root's.",
    "CWE-379",
)
IN_HOME: Final = _rule(
    "file-in-home",
    Severity.HIGH,
    "A file that matters is in a person's home folder",
    "The person owns the folder and may replace the file; it goes into their backups, and leaves with them.",
    "Move the file to the daemon's own folder, and name it there.",
    "CWE-282",
)
LINK_INTO_HOME: Final = _rule(
    "link-into-home",
    Severity.HIGH,
    "A link leads from the daemon's files into a person's home folder",
    "What looks like root's own file is one that the person may replace at any time.",
    "Put the file itself in the place of the link.",
    "CWE-59",
)
LINK_OWNER: Final = _rule(
    "link-owned-by-another",
    Severity.LOW,
    "A link on the way to keys belongs to another user than root",
    "Where its folder lets them, its owner may have it lead to another file.",
    "Make the link anew as root.",
    "CWE-59",
)

RULES: Final[tuple[Rule, ...]] = (
    WRITABLE,
    IN_GROUP,
    BY_ACL,
    OWNED,
    SHARED,
    IN_HOME,
    LINK_INTO_HOME,
    LINK_OWNER,
)


@dataclass
class _Below:
    """What is reached through a folder or link."""

    step: Step
    items: list[Item] = field(default_factory=list)

    @property
    def phrase(self) -> str:
        more = f" and {len(self.items) - 1} more" if len(self.items) > 1 else ""
        return f"{self.items[0].path} ({self.items[0].role}){more}"

    @property
    def is_closed(self) -> bool:
        """Whether a folder before it lets none of the others pass."""
        return any(
            not step.status.mode & rights.PASS
            for step in self.items[0].steps
            if step.status.sort is Sort.FOLDER
            and step.path != self.step.path
            and rights.is_above(step.path, self.step.path)
        )

    @property
    def matters_less(self) -> bool:
        return all(item.role in _LESS for item in self.items)


@dataclass(frozen=True)
class Parents:
    """The folders and links on the way to the items. Each of them is told once, with what is below."""

    items: tuple[Item, ...]
    accounts: Accounts

    def judge(self, policy: Policy, _now: datetime) -> Iterator[Finding]:
        """See `Facts`."""
        for item in self.items:
            yield from self._home(item, policy)
        vyos = system.vyos_folders(self.items)
        for below in _passed(self.items):
            if below.step.status.sort is Sort.LINK:
                yield from self._link(below, policy)
            else:
                yield from self._writers(below, policy, vyos)
                yield from self._owner(below, policy)

    def _home(self, item: Item, policy: Policy) -> Iterator[Finding]:
        folder, user = rights.home(item.real, self.accounts)
        if not folder or user in policy.users or item.role in _LESS:
            return
        if item.status.sort is Sort.FOLDER:
            return  # its files are told
        linked = not rights.is_above(folder, item.path)
        named = f"; {item.named_by} names it" if item.named_by else ""
        told = f"It leads to {item.real}" if linked else "It is"
        evidence = f"{told} in the home folder of {user} ({item.role}){named}."
        fix = ""
        if linked and not item.named_by:
            fix = rights.command(
                "cp", "--remove-destination", "--preserve=mode", item.real, item.path
            )
        yield Finding(LINK_INTO_HOME if linked else IN_HOME, Place(item.path, 0), evidence, fix=fix)

    def _writers(self, below: _Below, policy: Policy, vyos: frozenset[str]) -> Iterator[Finding]:
        """`vyos`: the folders of VyOS's configuration."""
        step, status = below.step, below.step.status
        own = system.is_vyos_folder(step.path, status.gid, vyos, self.accounts)
        if rights.others(status) & WRITE:
            sticky = status.mode & _STICKY
            closed = status.mode & ~(0o002 if own else 0o022)
            yield self._found(
                SHARED if sticky else WRITABLE,
                below,
                "everybody may make files in it" if sticky else "everybody may write it",
                "" if sticky else rights.command("chmod", f"{closed:o}", step.path),
                Severity.LOW if below.is_closed else None,
            )
        elif rights.group(status, step.grants) & WRITE:
            members = rights.members(status.gid, self.accounts, policy)
            trusted = own or self.accounts.group(status.gid) in policy.groups
            if members.anyone and not trusted:
                yield self._found(
                    IN_GROUP,
                    below,
                    f"{members.phrase} may write it",
                    rights.command("chmod", f"{status.mode & ~0o020:o}", step.path),
                )
        yield from self._listed(below, policy)

    def _listed(self, below: _Below, policy: Policy) -> Iterator[Finding]:
        step = below.step
        for grant in rights.named(step.grants):
            number = grant.number or 0
            is_user = grant.who == "user"
            trusted = (
                rights.is_trusted_user(number, self.accounts, policy)
                if is_user
                else number == 0 or self.accounts.group(number) in policy.groups
            )
            if grant.bits & WRITE and not trusted:
                name = self.accounts.user(number) if is_user else self.accounts.group(number)
                yield self._found(
                    BY_ACL,
                    below,
                    f"its access control list lets the {grant.who} {name} write it",
                    rights.command("setfacl", "-b", step.path),
                    subject=f"{grant.who} {number}",
                )

    def _owner(self, below: _Below, policy: Policy) -> Iterator[Finding]:
        step, number = below.step, below.step.status.uid
        if rights.is_trusted_user(number, self.accounts, policy):
            return
        user = self.accounts.user(number)
        if rights.home(step.path + "/", self.accounts)[0] and not rights.is_system_user(number):
            return  # the files in it are told to be in a home
        if all(item.role is Role.OWN and user == "ikewarden" for item in below.items):
            return
        severity = Severity.MEDIUM if rights.is_system_user(number) else None
        fix = rights.command("chown", "root", step.path)
        yield self._found(OWNED, below, f"{user} may write it", fix, severity)

    def _link(self, below: _Below, policy: Policy) -> Iterator[Finding]:
        number = below.step.status.uid
        if rights.is_trusted_user(number, self.accounts, policy):
            return
        folder = posixpath.dirname(below.step.path)
        shared = any(
            step.path == folder and step.status.mode & 0o002
            for item in below.items
            for step in item.steps
        )
        user, target = self.accounts.user(number), below.step.target
        yield Finding(
            LINK_OWNER,
            Place(below.step.path, 0),
            f"The link belongs to {user}; by it one gets to {below.phrase}.",
            fix=rights.command("ln", "-sfn", target, below.step.path),
            severity=Severity.HIGH if shared else None,
        )

    def _found(
        self,
        rule: Rule,
        below: _Below,
        told: str,
        fix: str,
        severity: Severity | None = None,
        subject: str = "",
    ) -> Finding:
        step = below.step
        status = rights.told(step.status, self.accounts)
        evidence = f"{status[0].upper()}{status[1:]}: {told}; below it is {below.phrase}."
        if below.matters_less:
            severity = severity or Severity.MEDIUM
        return Finding(rule, Place(step.path, 0), evidence, subject, fix, severity)


def _passed(items: Iterable[Item]) -> list[_Below]:
    """Each folder and link once, in the order in which they are passed, a folder that is an item itself included."""
    found: dict[str, _Below] = {}
    for item in items:
        steps = item.steps
        if item.status.sort is Sort.FOLDER:
            steps = (*steps, Step(item.real, item.status, item.grants))
        for step in steps:
            found.setdefault(step.path, _Below(step)).items.append(item)
    return list(found.values())
