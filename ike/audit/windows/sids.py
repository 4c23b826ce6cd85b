"""Who a SID is, and what an ACL lets him do. Pure.

Well-known SIDs: [MS-DTYP] §2.4.2.4; access masks: [MS-DTYP] §2.4.3 and those of files.
"""

import re
from collections.abc import Iterable
from typing import Final

from ike.audit.windows.values import Access

_EVERYONE: Final = "S-1-1-0"
_CROWDS: Final = {
    _EVERYONE: "Everyone",
    "S-1-2-0": "Local",
    "S-1-5-2": "Network",
    "S-1-5-3": "Batch",
    "S-1-5-4": "Interactive",
    "S-1-5-7": "Anonymous Logon",
    "S-1-5-11": "Authenticated Users",
    "S-1-5-13": "Terminal Server Users",
    "S-1-5-14": "Remote Interactive Logon",
    "S-1-5-15": "This Organization",
    "S-1-5-113": "local accounts",
    "S-1-5-32-545": "Users",
    "S-1-5-32-546": "Guests",
    "S-1-5-32-547": "Power Users",
    "S-1-5-32-554": "Pre-Windows 2000 Compatible Access",
    "S-1-5-32-555": "Remote Desktop Users",
    "S-1-15-2-1": "all application packages",
    "S-1-15-2-2": "all restricted application packages",
}
# The last part of the SID of a domain's own groups.
_DOMAIN_CROWDS: Final = {513: "Domain Users", 514: "Domain Guests", 515: "Domain Computers"}
_DOMAIN: Final = re.compile(r"S-1-5-21-\d{1,10}-\d{1,10}-\d{1,10}-(\d{1,10})\Z")
_TRUSTED: Final = frozenset(
    {
        "S-1-5-18",  # the system
        "S-1-5-19",  # its service accounts
        "S-1-5-20",
        "S-1-5-32-544",  # Administrators
        "S-1-3-4",  # OWNER RIGHTS: limits an owner
    }
)
_SERVICES: Final = "S-1-5-80-"  # NT SERVICE\…, TrustedInstaller among them

_READS: Final = 0x1 | 0x80000000 | 0x10000000  # data; generic read, generic all
_WRITES: Final = 0x2 | 0x4 | 0x10000 | 0x40000000 | 0x10000000  # data, append, delete, generic
_RULES: Final = 0x40000 | 0x80000  # WRITE_DAC, WRITE_OWNER: whoever may, can give himself the rest


def crowd(sid: str) -> str:
    """What a group is called that more or less anybody belongs to; empty for others."""
    match = _DOMAIN.match(sid)
    if match:
        return _DOMAIN_CROWDS.get(int(match[1]), "")
    return _CROWDS.get(sid, "")


def is_trusted(sid: str) -> bool:
    """Whether it is the system itself, its services or its administrators."""
    match = _DOMAIN.match(sid)
    administrators = match is not None and int(match[1]) in (500, 512, 519)
    return sid in _TRUSTED or sid.startswith(_SERVICES) or administrators


def readers(access: Access) -> list[str]:
    """The crowds that can read a file, or let themselves: `Users`, `Everyone`."""
    return _those(access, _READS | _RULES)


def writers(access: Access) -> list[str]:
    """The crowds that can change or replace a file."""
    return _those(access, _WRITES | _RULES)


def named(sids: Iterable[str]) -> str:
    """Some crowds in words."""
    return ", ".join(sids)


def _those(access: Access, wanted: int) -> list[str]:
    found: dict[str, None] = {}
    for sid in dict.fromkeys(entry.sid for entry in access.entries):
        name = crowd(sid)
        if name and _granted(access, sid) & wanted:
            found[name] = None
    owner = crowd(access.owner)
    if owner:
        found[owner] = None  # an owner may always change the ACL
    return list(found)


def _granted(access: Access, sid: str) -> int:
    """The rights of somebody who is in this group alone, and in Everyone; the first entry for a right decides."""
    granted = denied = 0
    for entry in access.entries:
        if entry.sid in (sid, _EVERYONE):
            if entry.allow:
                granted |= entry.rights & ~denied
            else:
                denied |= entry.rights & ~granted
    return granted
