"""Gateways of the lab with Libreswan that are fed by their agents."""

import time

from tests.lab.agents import TUNNEL, Fed, until
from tests.lab.pluto import Pluto
from tests.lab.story import Warden

INCLUDED = "include {folder}/*.secrets"


class FedPluto(Fed):
    """A pluto and its agent. Its ipsec.secrets includes a folder, as a package's does."""

    def __init__(self, warden: Warden, pluto: Pluto) -> None:
        super().__init__(warden, pluto)  # type: ignore[arg-type] - what differs is overridden
        self.pluto = pluto
        pluto.write_secrets(INCLUDED.format(folder=pluto.connections))
        pluto.whack("--rereadsecrets")

    def daemon(self) -> list[str]:
        own = self.pluto
        places = {
            "nss": own.nss,
            "control": own.control,
            "configuration": own.configuration,
            "connections": own.connections,
            "state": own.connections / "ikewarden",
            "whack": own.programs / "whack",
            "addconn": own.programs / "addconn",
        }
        words = ["--daemon", "libreswan"]
        for name, path in places.items():
            words += ["--set", f"libreswan.{name}={path}"]
        return words

    @property
    def environment(self) -> dict[str, str]:
        found = super().environment
        return {**found, "PATH": f"{self.pluto.programs}:{found['PATH']}"}

    def has_tunnel(self) -> bool:
        """Whether pluto has the tunnel's connection."""
        return f'"{TUNNEL}"' in self.pluto.whack("--status").text

    def secret_lines(self) -> list[str]:
        """The lines of the file that the agent writes."""
        path = self.pluto.connections / "ikewarden.secrets"
        text = path.read_text() if path.exists() else ""
        return [line for line in text.splitlines() if line and not line.startswith("#")]

    def authenticate(self) -> None:
        """End the tunnel's SA and make another, unless the agent does that itself, as with all that is down."""
        self.pluto.terminate(TUNNEL)
        until(lambda: self.pluto.established(TUNNEL) is None, "the old SA is gone")
        # The agent looks twice a second, and an SA without CHILD_SAs has nothing else that tells it is a new one.
        time.sleep(1.2)
        if self.pluto.established(TUNNEL) is None:
            self.pluto.initiate(TUNNEL)
