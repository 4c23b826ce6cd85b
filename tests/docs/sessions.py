"""On what the commands of each page are run: which hosts there are, and what was done on them before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# The serial number that the list before it showed.
_SERIAL = '$({list} --format json | sed -n \'s/.*"serial": "\\(.*\\)",/\\1/p\' | head -n 1)'
# The steps 1 to 3 of the tutorial of the first tunnel, without the tunnel.
_TWO_GATEWAYS = (
    (
        "pki",
        "ikewarden init --dir ./pki --host 0.0.0.0 --name pki.example.com --name localhost "
        "--validation-host 0.0.0.0 --validation-url http://pki.example.com:8080",
    ),
    ("pki", "ikewarden serve --dir ./pki"),
    ("pki", "export IKEWARDEN_DIR=./pki"),
    *(
        step
        for name in ("gw-a", "gw-b")
        for step in (
            ("pki", f"ikewarden gateway add {name}.example.com --out {name}.enrollment"),
            (name, f"ikewarden agent enroll --enrollment-file {name}.enrollment"),
            (name, "ikewarden agent unit > /etc/systemd/system/ikewarden-agent.service"),
            (name, "systemctl enable --now ikewarden-agent"),
        )
    ),
)
_TUNNEL = (
    (
        "pki",
        "ikewarden tunnel add site gw-a.example.com gw-b.example.com --managed --start "
        "--left-address 192.0.2.1 --left-network 10.1.0.0/24 "
        "--right-address 192.0.2.2 --right-network 10.2.0.0/24",
    ),
    ("gw-a", "until swanctl --list-sas | grep INSTALLED; do sleep 1; done"),
)


@dataclass(frozen=True)
class Session:
    """`hosts` and `charons` are the machines, `before` what was done on them, `words` what a reader would put in the
    place of a word in capitals.
    """

    hosts: Sequence[str] = ()
    charons: Sequence[str] = ()
    before: Sequence[tuple[str, str]] = ()
    words: Mapping[str, str] = field(default_factory=dict)


def _instance(*before: str, first: Sequence[str] = (), **words: str) -> Session:
    """An instance in ./var that is served; `first` is done before it is started, `before` after that."""
    steps = ("ikewarden init --dir var", *first, "ikewarden serve --dir var", *before)
    return Session(
        hosts=("instance",), before=tuple(("instance", step) for step in steps), words=words
    )


# A new enroller's token for the names on the page.
_TOKEN = (
    "$(ikewarden token create branch7 --role enroller --profile {profile} --allow dns:branch7.example.com "
    '--expires 24h --format json | sed -n \'s/.*"token": "\\(.*\\)".*/\\1/p\')'
)

_ENDPOINTS = (
    """printf '\\n[enrollment]\\nendpoints_directory = "endpoints"\\n' >> var/ikewarden.toml""",
    "mkdir var/endpoints",
)

SESSIONS: dict[str, Session] = {
    # README.zh.md has the same commands: test_readme.py.
    "README.md": _instance(SERIAL=_SERIAL.format(list=".venv/bin/ikewarden cert list gw1")),
    "docs/tutorials/first-certificate.md": _instance(
        SERIAL=_SERIAL.format(list="ikewarden cert list gw1.example.com")
    ),
    "docs/tutorials/first-tunnel.md": Session(
        hosts=("pki",),
        charons=("gw-a", "gw-b"),
        words={"SERIAL": _SERIAL.format(list="ikewarden cert list gw-b.example.com")},
    ),
    "docs/tutorials/rotate-a-psk.md": Session(
        hosts=("pki",), charons=("gw-a", "gw-b"), before=_TWO_GATEWAYS
    ),
    "docs/tutorials/watch-a-tunnel.md": Session(
        hosts=("pki", "clone"), charons=("gw-a", "gw-b"), before=(*_TWO_GATEWAYS, *_TUNNEL)
    ),
    "docs/tutorials/audit-a-host.md": Session(hosts=("clone",)),
    "docs/how-to/acme.md": _instance(),
    "docs/how-to/agent.md": _instance(),
    "docs/how-to/approvals.md": _instance(
        first=(
            """printf '\\n[approvals]\\nrequired = ["authority.create", "role.change"]\\n' >> var/ikewarden.toml""",
        ),
        **{"17": "1"},
    ),
    "docs/how-to/audit.md": Session(hosts=("clone",)),
    "docs/how-to/audit-log.md": _instance(
        "until ikewarden audit-log head > head-2026-11-28; do sleep 1; done",
        **{"head-2026-11-29": "head-$(date +%F)"},
    ),
    "docs/how-to/console-sign-in.md": _instance(),
    "docs/how-to/cmp.md": _instance(
        "cp var/root-ca.pem .",
        "ikewarden token create branch7 --role enroller --profile gateway "
        "--allow dns:branch7.example.com --expires 24h --cmp --format json > made",
        """sed -n 's/.*"cmp_secret": "\\(.*\\)".*/\\1/p' made > secret""",
        first=(
            *_ENDPOINTS,
            """printf 'name = "branches"\\nprofile = "gateway"\\n[cmp]\\n' > var/endpoints/branches.toml""",
        ),
        **{"020e9ff2524ec2be": """$(sed -n 's/.*"id": "\\(.*\\)",/\\1/p' made)"""},
    ),
    "docs/how-to/disaster-recovery.md": Session(
        hosts=("pki",),
        before=(
            ("pki", "ikewarden init --dir /var/lib/ikewarden"),
            ("pki", "mkdir -p /srv/backup /etc/ikewarden && umask 077"),
            ("pki", "(umask 077; openssl rand -base64 24 > /etc/ikewarden/backup-passphrase)"),
        ),
    ),
    "docs/how-to/est.md": _instance("cp var/root-ca.pem .", TOKEN=_TOKEN.format(profile="gateway")),
    "docs/how-to/post-quantum.md": _instance(),
    "docs/how-to/rollover.md": _instance(),
    "docs/how-to/scep.md": _instance(
        "until pki --scepca --url http://127.0.0.1:8080/scep/routers --caout early.pem; do sleep 1; done",
        first=(
            *_ENDPOINTS,
            """printf 'name = "routers"\\nprofile = "network-device"\\n[scep]\\n' > var/endpoints/routers.toml""",
        ),
        TOKEN=_TOKEN.format(profile="network-device"),
    ),
    "docs/how-to/run.md": Session(hosts=("pki",)),
}
