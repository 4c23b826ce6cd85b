"""The users and groups of a host, from its own files. Pure."""

from collections.abc import Iterator
from typing import Final

from ike.audit.values import Accounts

_PEOPLE: Final = range(1000, 65534)  # login.defs(5): UID_MIN; below are the system's own
_NOBODYS: Final = ("/", "/nonexistent", "/bin", "/sbin", "/dev", "/usr", "/var", "/etc", "/root")


def parse(passwd: str, group: str) -> Accounts:
    """passwd(5) and group(5). A group's members include those whose own group it is; homes are those of people."""
    users: dict[int, str] = {}
    homes: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    groups: dict[int, str] = {}
    for name, number, fields in _lines(group, 4):
        groups.setdefault(number, name)
        members.setdefault(name, []).extend(each for each in fields[3].split(",") if each)
    for name, number, fields in _lines(passwd, 7):
        users.setdefault(number, name)
        home = fields[5].rstrip("/")
        if number in _PEOPLE and home and home not in _NOBODYS:
            homes.setdefault(home, name)
        if fields[3].isascii() and fields[3].isdigit():
            own = members.setdefault(groups.get(int(fields[3][:10]), fields[3]), [])
            own.extend([name] if name not in own else [])
    return Accounts(users, groups, {name: tuple(each) for name, each in members.items()}, homes)


def _lines(text: str, count: int) -> Iterator[tuple[str, int, list[str]]]:
    for line in text.split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= count and fields[2].isascii() and fields[2][:10].isdigit() and fields[0]:
            yield fields[0], int(fields[2][:10]), fields
