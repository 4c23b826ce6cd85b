"""Two plutos with a tunnel between them that can be broken in one way at a time, and what the doctor says of it."""

import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ike.daemons.libreswan import status
from ikewarden import main
from ikewarden.cli.session import Session
from tests.lab.broken import SECRET, Said
from tests.lab.errors import LabError, Refused
from tests.lab.lab import Lab
from tests.lab.pluto import Pluto


@dataclass
class PlutoScene:
    """`left` initiates, `right` answers. `restore` brings both back to nothing but their databases."""

    lab: Lab
    left: Pluto = field(init=False)
    right: Pluto = field(init=False)

    def __post_init__(self) -> None:
        self.left, self.right = self.lab.pluto("left"), self.lab.pluto("right")
        self._marks: dict[str, int] = {}

    @property
    def ends(self) -> tuple[Pluto, Pluto]:
        return self.left, self.right

    def restore(self) -> None:
        """No SA, no connection, no secret; both daemons run."""
        for end in self.ends:
            if not end.running:
                end.start()
            for name in status.parse(end.whack("--status").text).names:
                end.whack("--delete", "--name", name)
            for file in end.connections.glob("*.conf"):
                file.unlink()
            end.write_secrets()
            end.whack("--rereadsecrets")
            self._marks[end.name] = end.log.mark()

    def tell(
        self,
        *,
        both: Mapping[str, object] | None = None,
        at_left: Mapping[str, object] | None = None,
        at_right: Mapping[str, object] | None = None,
        keys: tuple[str, str] = ("one", "one"),
    ) -> None:
        """A connection `site`, by pre-shared key where nothing else is said, and load it."""
        for here, there, more, key in (
            (self.left, self.right, at_left, keys[0]),
            (self.right, self.left, at_right, keys[1]),
        ):
            here.write_secrets(f'@{_name(self.left)} @{_name(self.right)} : PSK "{SECRET}{key}"')
            here.whack("--rereadsecrets")
            section = {
                "left": here.outside,
                "right": there.outside,
                "leftid": f"@{_name(here)}",
                "rightid": f"@{_name(there)}",
                "leftsubnet": here.inside.network,
                "rightsubnet": there.inside.network,
                "authby": "secret",
                "ikev2": "insist",
                "keyingtries": 1,
                "retransmit-timeout": "2s",
                "auto": "add",
                **(both or {}),
                **(more or {}),
            }
            given = {name: value for name, value in section.items() if value is not None}
            here.add_connection("site", given)
            here.childless()

    def attempt(self) -> None:
        """Let `left` initiate, however it ends."""
        with contextlib.suppress(Refused, LabError):
            self.left.initiate("site", timeout=6)

    def examine(self, end: Pluto, *options: str) -> Said:
        """Run the doctor in an end's namespace, over copies of both ends' files."""
        there = self.right if end is self.left else self.left
        log = end.directory / "since.log"
        log.write_text(end.log.text(self._marks[end.name]))
        arguments = ["doctor", "site", *options, "--format", "json", "--log", str(log)]
        arguments += ["--root", str(self._copy(end)), "--peer-root", str(self._copy(there))]
        arguments += ["--pluto", str(end.control)]
        out, err = io.StringIO(), io.StringIO()
        session = Session(environ={}, clock=lambda: datetime.now(UTC), out=out, err=err)
        code = end.namespace.within(lambda: main.run(arguments, session))
        assert not err.getvalue(), err.getvalue()
        return Said(code, json.loads(out.getvalue()), out.getvalue())

    def _copy(self, end: Pluto) -> Path:
        """Its files where a packaged Libreswan has them."""
        root = self.lab.directory / f"root-{end.name}"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(end.nss, root / "var/lib/ipsec/nss")
        shutil.copytree(end.connections, root / "etc/ipsec.d")
        shutil.copy(end.directory / "ipsec.secrets", root / "etc/ipsec.secrets")
        text = end.configuration.read_text().replace(str(end.directory), "/etc")
        (root / "etc/ipsec.conf").write_text(text)
        return root


def _name(end: Pluto) -> str:
    return f"{end.name}.lab.test"
