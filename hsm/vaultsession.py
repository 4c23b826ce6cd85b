"""A process's dealings with a Vault or OpenBao server: connections, the token, and what may not cross a fork."""

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from hsm.vaultlogin import Admission, Login
from hsm.vaultuse import Trouble, Use
from hsm.vaultwire import Address, Answer, Wire, require

_HIDDEN: Final = frozenset({400, 403, 404})


class Process:
    """What may not cross a fork: connections, locks, the token. Each thread has a wire of its own."""

    def __init__(self, address: Address, login: Login, use: Use) -> None:
        self.pid = os.getpid()
        self.admission = Admission(login)
        self.is_looked_at = False
        self.making = threading.Lock()  # held by who makes something that must not be there yet
        self._address = address
        self._use = use
        self._local = threading.local()

    def wire(self) -> Wire:
        """The calling thread's wire."""
        found: Wire | None = getattr(self._local, "wire", None)
        if found is None:
            found = self._local.wire = Wire(self._address, self._use)
        return found


class VaultSession:
    """Requests to one server under one login, from any thread and any process. Making one neither connects nor logs in.

    Raises the errors of `use`.
    """

    def __init__(self, address: Address, login: Login, use: Use) -> None:
        self.address = address
        self.login = login
        self.use = use
        self._process = Process(address, login, use)

    def here(self) -> Process:
        """What this process has; made anew after a fork."""
        process = self._process
        if process.pid != os.getpid():
            process = self._process = Process(self.address, self.login, self.use)
        return process

    def ask(self, request: Callable[[Wire], Answer]) -> Answer:
        """Ask with a token; with another one where the first is not taken any more."""
        process = self.here()
        wire, admission = process.wire(), process.admission
        held = admission.current(wire)
        answer = request(wire)
        if answer.status == 403 and admission.is_gone(wire, held):
            admission.renew(wire, held)
            answer = request(wire)  # nothing was done the first time
        return answer

    def look_at_mount(self, mount: str) -> Mapping[str, Any]:
        """What engine is mounted there: `type`, `options`. Needs no policy but one for a path below it."""
        answer = self.ask(lambda wire: wire.get(f"/v1/sys/internal/ui/mounts/{mount}"))
        if answer.status in _HIDDEN:
            # A 403 is also what it says of a mount that is not there.
            trouble = Trouble.NOT_SHOWN if answer.status == 403 else Trouble.NO_MOUNT
            said = f"The store shows us no mount {mount}."
            raise self.use.error(trouble, said, {"status": answer.status})
        return require(answer, f"tell of the mount {mount}").part("data")
