"""Extended attributes that give rights beside the mode: POSIX ACLs and file capabilities. Pure."""

import struct
from typing import Final

from ike.audit.values import Grant

ACL: Final = "system.posix_acl_access"
CAPABILITIES: Final = "security.capability"

# include/uapi/linux/posix_acl_xattr.h: a version, then entries of tag, permissions, number; little endian.
_VERSION: Final = 2
_ENTRY: Final = struct.Struct("<HHI")
_NAMED: Final = {0x02: "user", 0x08: "group"}
_GROUP: Final = 0x04
_MASK: Final = 0x10

# include/uapi/linux/capability.h, in their order.
_NAMES: Final = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin "
    "sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override "
    "mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
).split()
_REVISIONS: Final = {1: 1, 2: 2, 3: 2}  # how many words of 32 bits each set has


def acl(content: bytes) -> tuple[Grant, ...]:
    """What an access ACL grants; nothing where it says no more than the mode does, or cannot be understood."""
    if len(content) < 4 or struct.unpack_from("<I", content)[0] != _VERSION:
        return ()
    found = []
    for tag, bits, number in _ENTRY.iter_unpack(content[4 : 4 + (len(content) - 4) // 8 * 8]):
        if tag in _NAMED:
            found.append(Grant(_NAMED[tag], number, bits & 7))
        elif tag == _GROUP:
            found.append(Grant("group", None, bits & 7))
        elif tag == _MASK:
            found.append(Grant("mask", None, bits & 7))
    # Without a mask there is no entry but the three that the mode shows.
    return tuple(found) if any(grant.who == "mask" for grant in found) else ()


def capabilities(content: bytes) -> str:
    """The capabilities that a program gets when it is started, as `cap_net_admin,cap_net_raw`."""
    if len(content) < 4:
        return ""
    words = _REVISIONS.get(struct.unpack_from("<I", content)[0] >> 24, 0)
    if not words or len(content) < 4 + 8 * words:
        return ""
    fields = struct.unpack_from(f"<{2 * words}I", content, 4)  # permitted, inheritable, permitted …
    held = sum((low | high) << (32 * at) for at, (low, high) in enumerate(_pairs(fields)))
    return ",".join(
        f"cap_{_NAMES[bit] if bit < len(_NAMES) else bit}"
        for bit in range(held.bit_length())
        if held >> bit & 1
    )


def _pairs(fields: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(zip(fields[::2], fields[1::2], strict=True))
