"""The systemd unit of the agent. It runs as root, because the daemons' sockets and folders are root's, and may do
little else.
"""

import sys
from pathlib import Path
from typing import Final

from ike.agent.home import DEFAULT
from ike.agent.settings import AgentSettings

# What ProtectHome= hides (systemd.exec(5)).
_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))
_UNIT = """\
# Written by `ikewarden agent unit`. Put your changes into a drop-in: systemctl edit ikewarden-agent
[Unit]
Description=ikewarden agent: keys and certificates for the IKE daemon
Documentation=man:systemd.exec(5)
Wants=network-online.target
After=network-online.target strongswan.service strongswan-starter.service ipsec.service
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} agent run --home {home} --log-format json
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=5
WatchdogSec=120
TimeoutStopSec=15
{state}RuntimeDirectory=ikewarden-agent
RuntimeDirectoryMode=0755
UMask=0077

# What it may write: its home, and the folders of the daemon it feeds.
ProtectSystem=strict
ReadWritePaths={writes}
ProtectHome={homes}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
AmbientCapabilities=
RestrictAddressFamilies={families}
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @mount @debug
SystemCallErrorNumber=EPERM
KeyringMode=private
RemoveIPC=yes

[Install]
WantedBy=multi-user.target
"""


def unit(
    program: str,
    home: Path,
    settings: AgentSettings | None,
    *,
    python: Path = Path(sys.base_prefix),
) -> str:
    """The unit's text; `program` is the absolute path of ikewarden. Without settings all daemons' folders are named.

    Homes are hidden from it, unless the program or its Python is in one: then it may read them, or it would not start.
    """
    state = "StateDirectory=ikewarden-agent\nStateDirectoryMode=0700\n" if home == DEFAULT else ""
    writes = " ".join(f"-{path}" for path in _folders(settings))
    if home != DEFAULT:
        writes += f" {home}"
    needed = (Path(program), python)
    inside = any(path.is_relative_to(place) for path in needed for place in _HOMES)
    homes = "read-only" if inside else "yes"
    kernel = settings is not None and settings.watch.hears_kernel
    return _UNIT.format(
        program=program,
        home=home,
        state=state,
        writes=writes,
        homes=homes,
        # The kernel tells of its SAs to nobody else.
        capabilities="CAP_NET_ADMIN" if kernel else "",
        families="AF_UNIX AF_INET AF_INET6" + (" AF_NETLINK" if kernel else ""),
    )


def _folders(settings: AgentSettings | None) -> list[str]:
    """Where the daemon's adapter writes; a minus sign before it: it need not exist."""
    strongswan, libreswan = ["/etc/swanctl"], ["/etc/ipsec.d", "/var/lib/ipsec", "/run/pluto"]
    if settings is None:
        return strongswan + libreswan
    if settings.daemon == "files":
        return [settings.files.out]
    if settings.daemon == "strongswan":
        return [settings.strongswan.swanctl or strongswan[0]]
    own = settings.libreswan
    named = [own.nss, own.connections, own.state]
    return sorted({*libreswan, *filter(None, named)})
