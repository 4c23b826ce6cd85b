"""Two ends with a tunnel between them that can be broken in one way at a time, and what the doctor says of it."""

import contextlib
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from ikewarden import main
from ikewarden.cli.session import Session
from tests.lab import namespaces
from tests.lab.charon import Gateway
from tests.lab.errors import LabError, Refused
from tests.lab.handmade import HOUR, NOW, Authority, Leaf, _start, _usage, new_key
from tests.lab.lab import Lab
from tests.lab.settings import Section, merged, render

SECRET: Final = "lab-secret-"
TRANSLATED: Final = "192.0.2.77"
_FOLDERS: Final = ("conf.d", "private", "x509", "x509ca", "x509crl")
# A peer that does not answer is given up within a second.
_QUICK: Final = {"retransmit_timeout": 0.2, "retransmit_tries": 2, "retransmit_base": 1.2}


@dataclass(frozen=True)
class Said:
    """What the doctor printed, and how it ended."""

    code: int
    document: dict[str, Any]
    text: str

    @property
    def next(self) -> str:
        """The check that the one next thing to do is of."""
        return str((self.document["next"] or {}).get("check", ""))

    @property
    def brief(self) -> str:
        """What was found, for people who look at a failure."""
        return "\n".join(
            f"{each['verdict']} {each['check']}: {each['evidence']}"
            for each in self.document["checks"]
            if each["verdict"] != "ok"
        )

    @property
    def wrong(self) -> set[str]:
        """The checks that found something."""
        return {each["check"] for each in self.document["checks"] if each["verdict"] == "wrong"}


@dataclass
class Scene:
    """`left` initiates, `right` answers. `restore` brings both back to nothing."""

    lab: Lab
    left: Gateway = field(init=False)
    right: Gateway = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.lab.gateway("left", settings=_QUICK)
        self.right = self.lab.gateway("right", settings=_QUICK)
        # What NAT changes its address to.
        namespaces.ip_batch(self.left.namespace.name, f"addr add {TRANSLATED}/32 dev eth0")
        self._marks: dict[str, int] = {}

    @property
    def ends(self) -> tuple[Gateway, Gateway]:
        return self.left, self.right

    def restore(self) -> None:
        """No rule, no SA, no file; both daemons run."""
        for gateway in self.ends:
            gateway.namespace.run(["nft", "flush", "ruleset"])
            if not gateway.running:
                gateway.start()
            for folder in _FOLDERS:
                for file in (gateway.swanctl_folder / folder).iterdir():
                    file.unlink()
            for sa in gateway.list_sas():
                gateway.terminate(sa.name, force=True)
            gateway.swanctl("--load-all", "--clear", "--noprompt")
            gateway.flush_certs()
            self._marks[gateway.name] = gateway.log.mark()

    # what the ends are told

    def shared(
        self,
        *,
        both: Section | None = None,
        at_left: Section | None = None,
        at_right: Section | None = None,
        keys: tuple[str, str] = ("one", "one"),
    ) -> None:
        """A connection `site` by pre-shared key, and load it."""
        for here, there, more, key in (
            (self.left, self.right, at_left, keys[0]),
            (self.right, self.left, at_right, keys[1]),
        ):
            secret = {"id-1": _name(self.left), "id-2": _name(self.right)}
            self.tell(
                here,
                merged(merged(_section(here, there, "psk"), both or {}), more or {}),
                {"ike-site": {**secret, "secret": f"{SECRET}{key}"}},
            )

    def certified(
        self,
        leaves: tuple[Leaf, Leaf],
        roots: tuple[Authority, Authority],
        *,
        both: Section | None = None,
        at_left: Section | None = None,
        at_right: Section | None = None,
    ) -> None:
        """A connection `site` by certificates: each end has its leaf, and trusts its root."""
        for here, there, leaf, root, more in (
            (self.left, self.right, leaves[0], roots[0], at_left),
            (self.right, self.left, leaves[1], roots[1], at_right),
        ):
            here.install(leaf.key_pem, leaf.pem, [root.pem])
            section = merged(_section(here, there, "pubkey"), {"send_cert": "always"})
            self.tell(here, merged(merged(section, both or {}), more or {}))

    def tell(self, gateway: Gateway, section: Section, secrets: Section | None = None) -> None:
        """Write the connection and its secrets, and load all."""
        tree: dict[str, Any] = {"connections": {"site": section}}
        if secrets is not None:
            tree["secrets"] = secrets
        (gateway.swanctl_folder / "conf.d/site.conf").write_text(render(tree))
        gateway.load_all()

    def rules(
        self, gateway: Gateway, *lines: str, hook: str = "filter hook input priority 0"
    ) -> None:
        """Lay rules of nft into a gateway's namespace."""
        content = "\n".join(lines)
        text = f"table inet broken {{ chain one {{ type {hook};\n{content}\n}}\n}}\n"
        file = gateway.directory / "rules"
        file.write_text(text)
        gateway.namespace.run(["nft", "-f", str(file)])

    def attempt(self) -> None:
        """Try to bring the tunnel up; whether it comes up is what is looked for."""
        with contextlib.suppress(Refused, LabError):
            self.left.initiate("net", timeout=10)

    # what is said

    def examine(
        self, gateway: Gateway, *options: str, peer: bool = True, peers_log: bool = False
    ) -> Said:
        """Run the doctor in a gateway's namespace, over a copy of its files."""
        there = self.right if gateway is self.left else self.left
        arguments = ["doctor", "site", *options, "--format", "json"]
        arguments += ["--root", str(self._copy(gateway)), "--vici", str(gateway.vici_socket)]
        if peer:
            arguments += ["--peer-root", str(self._copy(there))]
        for end in (gateway, there) if peers_log else (gateway,):
            file = end.directory / "since.log"
            file.write_text(end.log.text(self._marks[end.name]))
            arguments += ["--log", str(file)]
        out, err = io.StringIO(), io.StringIO()
        session = Session(environ={}, clock=lambda: datetime.now(UTC), out=out, err=err)
        code = gateway.namespace.within(lambda: main.run(arguments, session))
        assert not err.getvalue(), err.getvalue()
        return Said(code, json.loads(out.getvalue()), out.getvalue())

    def _copy(self, gateway: Gateway) -> Path:
        root = self.lab.directory / f"root-{gateway.name}"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(gateway.swanctl_folder, root / "etc/swanctl")
        return root


def _name(gateway: Gateway) -> str:
    return f"{gateway.name}.example.net"


def _section(here: Gateway, there: Gateway, auth: str) -> dict[str, Any]:
    return {
        "version": 2,
        "local_addrs": here.outside,
        "remote_addrs": there.outside,
        "local": {"auth": auth, "id": _name(here)},
        "remote": {"auth": auth, "id": _name(there)},
        "children": {"net": {"local_ts": here.inside.network, "remote_ts": there.inside.network}},
    }


def leaf(
    root: Authority,
    name: str,
    *,
    serial: int,
    valid: tuple[timedelta, timedelta] = (-HOUR, 24 * HOUR),
    purposes: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.SERVER_AUTH,),
    more: Sequence[str] = (),
    crl_url: str = "",
) -> Leaf:
    """A certificate, `valid` from and until as seen from now, with `more` names."""
    key = new_key()
    builder = _start(name, serial, NOW + valid[1], key, root.key).issuer_name(root.subject)
    builder = _from(builder, NOW + valid[0])
    builder = builder.add_extension(_usage(ca=False), critical=True)
    names = x509.SubjectAlternativeName([x509.DNSName(each) for each in (name, *more)])
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if crl_url:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    return Leaf(key, builder.sign(root.key, hashes.SHA256()))


def _from(builder: x509.CertificateBuilder, moment: datetime) -> x509.CertificateBuilder:
    """The builder with another beginning, which can be set only once."""
    builder._not_valid_before = moment.replace(tzinfo=None)
    return builder
