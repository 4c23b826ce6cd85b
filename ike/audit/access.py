"""Who gets at the files that matter: modes, owners, ACLs, hard links, sockets, capabilities. Pure."""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ike.audit import access_rules as rules
from ike.audit import rights, system
from ike.audit.rights import READ, WRITE
from ike.audit.values import Accounts, Finding, Item, Policy, Role, Rule, Severity, Sort, Step
from ike.secrets.values import Place

_OWN_USER: Final = "ikewarden"
_STRONG: Final = frozenset(
    "cap_" + name
    for name in (
        "chown dac_override dac_read_search fowner setuid setgid setfcap setpcap sys_admin sys_module sys_ptrace "
        "sys_rawio bpf mac_admin mac_override"
    ).split()
)


@dataclass(frozen=True)
class Access:
    """The files themselves; what is on the way to them is judged by `ike.audit.parents`."""

    items: tuple[Item, ...]
    accounts: Accounts

    def judge(self, policy: Policy, _now: datetime) -> Iterator[Finding]:
        """See `Facts`."""
        full = {posixpath.dirname(item.real) for item in self.items}
        for item in self.items:
            if item.status.sort is Sort.FOLDER:
                yield from self._folder(item, full)
            elif item.role is Role.SOCKET:
                yield from self._socket(item, policy)
            elif rights.is_secret(item):
                yield from self._secret(item, policy)
            else:
                yield from self._written(item, policy)
            if item.role is Role.PROGRAM:
                yield from self._program(item)

    def _secret(self, item: Item, policy: Policy) -> Iterator[Finding]:
        status = item.status
        bits = rights.others(status) & (READ | WRITE)
        closed = rights.command("chmod", f"{_closed(item, self.accounts, policy):o}", item.real)
        if bits:
            barrier = rights.barrier_to_others(item)
            yield self._found(
                rules.OPEN_TO_OTHERS[item.role],
                item,
                f"everyone on this host may {rights.verbs(bits)} it{_but(barrier)}",
                _close(closed, was_read=bool(bits & READ) and barrier is None),
                Severity.LOW if barrier else None,
            )
        yield from self._secret_in_group(item, policy, closed)
        yield from self._named(item, policy, READ | WRITE)
        if not self._is_owner(item, policy):
            yield self._owner(rules.SECRET_OWNER, item)
        if status.links > 1:
            yield self._found(
                rules.HARD_LINK,
                item,
                f"{status.links} names lead to it",
                rights.command("find", "/", "-xdev", "-samefile", item.real),
            )

    def _secret_in_group(self, item: Item, policy: Policy, fix: str) -> Iterator[Finding]:
        bits = rights.group(item.status, item.grants) & (READ | WRITE)
        number = item.status.gid
        trusted = self.accounts.group(number) in policy.groups
        if not bits or (bits == READ and trusted):
            return
        if system.is_vyos(item, self.accounts):
            return
        barrier = rights.barrier_to_group(item, number)
        if not bits & ~rights.others(item.status):
            # No more than everyone may do, who has been told of.
            if barrier is not None or rights.barrier_to_others(item) is None:
                return
        members = rights.members(number, self.accounts, policy)
        severity = Severity.LOW if barrier or not members.anyone else None
        was_read = bits & READ and members.anyone and barrier is None and not trusted
        if number == 0 and not members.anyone:
            severity = Severity.INFO
        yield self._found(
            rules.OPEN_TO_GROUP[item.role],
            item,
            f"{members.phrase} may {rights.verbs(bits)} it{_but(barrier)}",
            _close(fix, was_read=bool(was_read)),
            severity,
        )

    def _written(self, item: Item, policy: Policy) -> Iterator[Finding]:
        if item.role not in rules.WRITABLE:
            return
        rule, status = rules.WRITABLE[item.role], item.status
        less = Severity.LOW if item.role in rules.LESS else Severity.HIGH
        fix = rights.command("chmod", f"{status.mode & ~0o022:o}", item.real)
        if rights.others(status) & WRITE:
            barrier = rights.barrier_to_others(item)
            severity = Severity.LOW if barrier else None
            told = f"everyone on this host may write it{_but(barrier)}"
            yield self._found(rule, item, told, fix, severity)
        elif rights.group(status, item.grants) & WRITE:
            members = rights.members(status.gid, self.accounts, policy)
            trusted = self.accounts.group(status.gid) in policy.groups
            trusted = trusted or system.is_vyos(item, self.accounts)
            barrier = rights.barrier_to_group(item, status.gid)
            if members.anyone and not trusted:
                told = f"{members.phrase} may write it{_but(barrier)}"
                yield self._found(rule, item, told, fix, Severity.LOW if barrier else less)
        yield from self._named(item, policy, WRITE)
        if item.role not in rules.LESS and not self._is_owner(item, policy):
            yield self._owner(rules.WRITTEN_OWNER, item)

    def _named(self, item: Item, policy: Policy, wanted: int) -> Iterator[Finding]:
        for grant in rights.named(item.grants):
            number = grant.number or 0
            bits = grant.bits & wanted
            if grant.who == "user":
                trusted = rights.is_trusted_user(number, self.accounts, policy)
                phrase = f"the user {self.accounts.user(number)}"
                barrier = rights.barrier_to_user(item, number)
            else:
                trusted = number == 0 or self.accounts.group(number) in policy.groups
                phrase = rights.members(number, self.accounts, policy).phrase
                barrier = rights.barrier_to_group(item, number)
            if bits and not (trusted and bits == READ) and not (trusted and grant.who == "user"):
                yield self._found(
                    rules.ACL,
                    item,
                    f"its access control list lets {phrase} {rights.verbs(bits)} it{_but(barrier)}",
                    _close(
                        rights.command("setfacl", "-b", item.real),
                        was_read=bool(bits & wanted & READ) and not trusted and barrier is None,
                    ),
                    Severity.LOW if barrier else None,
                    subject=f"{grant.who} {number}",
                )

    def _is_owner(self, item: Item, policy: Policy) -> bool:
        number = item.status.uid
        if item.role is Role.OWN and self.accounts.user(number) == _OWN_USER:
            return True
        return rights.is_trusted_user(number, self.accounts, policy)

    def _owner(self, rule: Rule, item: Item) -> Finding:
        number = item.status.uid
        user = self.accounts.user(number)
        is_secret, is_system = rule is rules.SECRET_OWNER, rights.is_system_user(number)
        can = "read it and replace it" if is_secret else "rewrite it"
        given = rights.command("chown", "root", item.real)
        return self._found(
            rule,
            item,
            f"the user {user} may {can}",
            _close(given, was_read=is_secret and not is_system),
            Severity.MEDIUM if is_system else None,
        )

    def _folder(self, item: Item, full: set[str]) -> Iterator[Finding]:
        bits = rights.others(item.status) & (READ | rights.PASS)
        if bits and item.real in full and not rights.barrier_to_others(item):
            mode = item.status.mode & 0o750
            fix = rights.command("chmod", f"{mode:o}", item.real)
            if system.is_folder_of(item.real, self.accounts):
                fix = "Move the keys to a folder of their own, mode 0700; this one is the system's."
            yield self._found(
                rules.FOLDER,
                item,
                "everyone on this host may look into it" if bits & READ else "everyone may pass it",
                fix,
                Severity.MEDIUM if item.role is Role.OWN else None,
            )

    def _socket(self, item: Item, policy: Policy) -> Iterator[Finding]:
        status, fix = item.status, ""
        if rights.others(status) & WRITE:
            barrier = rights.barrier_to_others(item)
            fix = rights.command("chmod", f"{status.mode & 0o770:o}", item.real)
            told = f"everyone on this host may connect to it{_but(barrier)}"
            yield self._found(
                rules.SOCKET_TO_OTHERS, item, told, fix, Severity.LOW if barrier else None
            )
        elif rights.group(status, item.grants) & WRITE:
            members = rights.members(status.gid, self.accounts, policy)
            trusted = self.accounts.group(status.gid) in policy.groups
            barrier = rights.barrier_to_group(item, status.gid)
            if members.anyone and not trusted:
                told = f"{members.phrase} may connect to it{_but(barrier)}"
                fix = rights.command("chgrp", "root", item.real)
                yield self._found(
                    rules.SOCKET_TO_GROUP, item, told, fix, Severity.LOW if barrier else None
                )
        yield from self._named(item, policy, WRITE)

    def _program(self, item: Item) -> Iterator[Finding]:
        if item.capabilities:
            strong = not _STRONG.isdisjoint(item.capabilities.split(","))
            closed = not rights.others(item.status) & rights.PASS or rights.barrier_to_others(item)
            yield self._found(
                rules.CAPABILITIES,
                item,
                f"whoever may start it gets {item.capabilities}",
                rights.command("setcap", "-r", item.real),
                Severity.HIGH if strong and not closed else None,
            )
        if item.status.mode & 0o6000 and item.status.mode & 0o111:
            yield self._found(
                rules.SETUID,
                item,
                "its set-user-ID or set-group-ID bit is set",
                rights.command("chmod", f"{item.status.mode & 0o1777:o}", item.real),
            )

    def _found(
        self,
        rule: Rule,
        item: Item,
        told: str,
        fix: str,
        severity: Severity | None = None,
        subject: str = "",
    ) -> Finding:
        evidence = f"{rights.told(item.status, self.accounts)}: {told}."
        evidence = evidence[0].upper() + evidence[1:]
        return Finding(rule, Place(item.path, 0), evidence, subject, fix, severity)


def _closed(item: Item, accounts: Accounts, policy: Policy) -> int:
    """The mode that it is to have: no more than the owner has now, and a group's reading where the policy allows it."""
    mode = item.status.mode & 0o600 or 0o600
    if accounts.group(item.status.gid) in policy.groups:
        mode |= item.status.mode & 0o040
    if system.is_vyos(item, accounts):
        mode |= item.status.mode & 0o060
    return mode


def _close(command: str, *, was_read: bool) -> str:
    return rights.then_anew(command) if was_read else command


def _but(barrier: Step | None) -> str:
    if barrier is None:
        return ""
    return f", were it not for the folder {barrier.path} (mode {barrier.status.mode:04o})"
