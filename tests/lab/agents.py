"""Gateways of the lab that are fed by their agents, and the service that they are fed from."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.lab.charon import Gateway
from tests.lab.errors import LabError
from tests.lab.lab import SERVICE_ADDRESS, Lab
from tests.lab.namespaces import Process
from tests.lab.settings import Section, merged
from tests.lab.story import API_PORT, VALIDATION_PORT, Warden, served
from tests.lab.traffic import ping_through

TUNNEL = "tunnel"
# charon makes the new IKE_SA before it breaks the old one: what 6.0 does unasked.
CHARON = {"make_before_break": "yes"}
# With these charon logs each packet that `strays` counts.
COUNTED = {"filelog": {"lab": {"esp": 2}}}


class Fed:
    """A charon and its agent. `name` is what the gateway is called at the service, and its IKE identity."""

    def __init__(self, warden: Warden, gateway: Gateway) -> None:
        self.warden = warden
        self.gateway = gateway
        self.name = f"{gateway.name}.example"
        self.home = gateway.directory / "agent"
        self._process: Process | None = None

    def enroll(self, *, proof: str = "loaded", token: str = "", **options: str) -> None:
        """Put the gateway on record, and enroll it with one command, run where the gateway is; `token` is the URI of
        the one that its key is to be in.
        """
        self.warden.call(
            "POST", "/v1/gateways", {"name": self.name, "identities": [f"dns:{self.name}"]}
        )
        self.enroll_again(proof=proof, token=token, **options)

    def enroll_again(
        self, *arguments: str, proof: str = "loaded", token: str = "", **options: str
    ) -> str:
        """Enroll a gateway that is on record."""
        asked = {"key": "token" if token else "file"}
        made = self.warden.call("POST", f"/v1/gateways/{self.name}/enrollment", asked)
        file = self.gateway.directory / "enrollment"
        file.touch(0o600)
        file.write_text(made["enrollment"] + "\n")
        words = ["enroll", "--enrollment-file", str(file), "--proof", proof, *self.daemon()]
        if token:
            words += ["--key", token]
        for name, value in options.items():
            words += ["--set", f"{name}={value}"]
        return self.agent(*words, *arguments)

    def daemon(self) -> list[str]:
        """The words that tell the agent which daemon it feeds, and where that is."""
        return [
            *("--daemon", "strongswan", "--set", f"strongswan.socket={self.gateway.vici_socket}"),
            *("--set", f"strongswan.swanctl={self.gateway.swanctl_folder}"),
            *("--set", "strongswan.make_before_break=yes"),
        ]

    @property
    def environment(self) -> dict[str, str]:
        """What the agent finds in its environment."""
        return dict(os.environ)

    def agent(self, *words: str, check: bool = True) -> str:
        """Run `ikewarden agent …` inside the gateway's namespace, to its end."""
        done = subprocess.run(
            self.gateway.namespace.argv([*_IKEWARDEN, "agent", *words, "--home", str(self.home)]),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            env=self.environment,
        )
        if check and done.returncode:
            raise LabError(f"agent {words[0]} ended with {done.returncode}: {done.stderr}")
        return done.stdout + done.stderr

    def start(self) -> None:
        """Start `ikewarden agent run`."""
        command = [*_IKEWARDEN, "agent", "run", "--home", str(self.home)]
        self._process = self.gateway.namespace.start(command, output=self.log, env=self.environment)

    def stop(self) -> None:
        """End it as systemd would."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.popen.send_signal(signal.SIGKILL)
            self.stop()

    @property
    def log(self) -> Path:
        """What the agent wrote."""
        return self.gateway.directory / "agent.log"

    @property
    def status(self) -> dict[str, Any]:
        """What `agent status` tells."""
        found: dict[str, Any] = json.loads(self.agent("status", "--format", "json", check=False))
        return found

    @property
    def record(self) -> dict[str, Any]:
        """What the service knows of the gateway."""
        found: dict[str, Any] = self.warden.call("GET", f"/v1/gateways/{self.name}")
        return found

    def tell(self, kind: str, **detail: str) -> None:
        """Have the service tell the gateway something: `renew` or `reauthenticate`."""
        self.warden.call("POST", f"/v1/gateways/{self.name}/commands", {"kind": kind, **detail})

    @property
    def in_use(self) -> str | None:
        """The fingerprint of the certificate that the agent last reported as in use."""
        applied = self.record["applied"]
        return None if applied is None else applied["certificate"]

    @property
    def serials(self) -> list[str]:
        """The serial numbers of its valid certificates, newest first."""
        path = f"/v1/certificates?gateway={self.name}&status=valid"
        return [each["serial"] for each in self.warden.call("GET", path)["items"]]


_IKEWARDEN = (sys.executable, "-m", "ikewarden.main")


@contextlib.contextmanager
def fleet(
    lab: Lab,
    directory: Path,
    *names: str,
    proof: str = "loaded",
    tokens: Mapping[str, str] | None = None,
    settings: Section | None = None,
    service: Mapping[str, str] | None = None,
    agent: Mapping[str, str] | None = None,
) -> Iterator[list[Fed]]:
    """A service, and charons enrolled at it by one command each, their agents running.

    `tokens`: URIs of the tokens that keys are to be in, by gateway; `settings` of the charons, `service` of the
    service (environment variables), `agent` of the agents.
    """
    environ = {
        "IKEWARDEN_FLEET__URL": f"https://{SERVICE_ADDRESS}:{API_PORT}",
        **(service or {}),
    }
    with served(directory, "ec-p256", in_lab=True, settings=environ) as warden:
        lab.publish(("127.0.0.1", warden.api_port), port=API_PORT)
        lab.publish(("127.0.0.1", warden.validation_port), port=VALIDATION_PORT)
        fed = [
            Fed(warden, lab.gateway(name, settings=merged(CHARON, settings or {})))
            for name in names
        ]
        try:
            for each in fed:
                token = (tokens or {}).get(each.gateway.name, "")
                each.enroll(proof=proof, token=token, **(agent or {}))
                each.start()
            yield fed
        finally:
            for each in fed:
                each.stop()


def join(left: Fed, right: Fed, *, start_action: str = "none") -> None:
    """Put a managed tunnel on record, and wait until both daemons have it."""
    left.warden.call(
        "POST",
        "/v1/tunnels",
        {
            "name": TUNNEL,
            "left": {"gateway": left.name},
            "right": {"gateway": right.name},
            "managed": True,
            "definition": {
                "left_addresses": [left.gateway.outside],
                "right_addresses": [right.gateway.outside],
                "revocation": "strict",
                "children": [
                    {
                        "name": TUNNEL,
                        "left_networks": [str(left.gateway.inside.network)],
                        "right_networks": [str(right.gateway.inside.network)],
                        "start_action": start_action,
                    }
                ],
            },
        },
    )
    for each in (left, right):
        until(lambda each=each: TUNNEL in connections(each.gateway), f"{each.name} has the tunnel")


def connections(gateway: Gateway) -> list[str]:
    """The names of the connections that charon has."""
    with gateway.session() as session:
        return [name.decode() for name in session.get_conns().get("conns", [])]


def keys(gateway: Gateway) -> list[str]:
    """The key identifiers of the private keys that charon has."""
    with gateway.session() as session:
        return [key.decode() for key in session.get_keys().get("keys", [])]


def passes(left: Fed, right: Fed) -> bool:
    """Whether packets pass."""
    with contextlib.suppress(LabError):
        ping_through(left.gateway, right.gateway, 3, wait=2.0)
        return True
    return False


def until(condition: Callable[[], object], what: str, *, seconds: float = 180.0) -> float:
    """Wait for a condition; returns the seconds it took, raises LabError when it took too long."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise LabError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - start
