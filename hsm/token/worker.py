"""The process that holds a token: it loads the module, logs in once, and works for as long as its starter lives.

Its arguments are the descriptors of its lines, each of which a thread serves; there are fewer sessions than lines, so
that the next piece of work is here already when a session gets free. The first document, on standard input, says which
token and which PIN. What is not good any more ends the process: its starter starts another.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from typing import Any, Final, NoReturn

from pkcs11 import exceptions as said

from core.errors import IkewardenError
from hsm.errors import HsmAbsent, KeyNotFound, SignerUnavailable
from hsm.token import module
from hsm.token.letters import Work, receive, refusal, send
from hsm.token.session import STALE, Answer, TokenSession

# After these the token is as good as before: it was asked for too much.
_GOOD_STILL: Final = (said.SessionCount, said.DeviceMemory, *module.UNSUPPORTED)
_ABSENT: Final = refusal(HsmAbsent("The token is not there any more."), final=True)


def main() -> NoReturn:
    """See the module."""
    # Of Ctrl-C and of a stop of the whole service our starter hears too, and may still need us.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    lines = [socket.socket(fileno=int(each)) for each in sys.argv[1:]]
    asked = json.loads(sys.stdin.buffer.readline())
    first = lines[0]
    try:
        held = HeldToken(asked)
    except IkewardenError as error:
        send(first, refusal(error, final=True))
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - the starter must hear of it, and not of what a text may quote
        failed = SignerUnavailable(f"The module failed ({type(error).__name__}).")
        send(first, refusal(failed, final=True))
        os._exit(1)
    send(first, {})
    for line in lines:
        threading.Thread(target=_serve, args=(line, held), daemon=True).start()
    # The starter never writes more; when it is gone, so are we, whatever the module is doing.
    sys.stdin.buffer.read()
    # Modules have crashed in what they do at the end of a process.
    os._exit(0)


def _serve(line: socket.socket, held: "HeldToken") -> None:
    with contextlib.suppress(OSError, EOFError):
        while True:
            work = Work.of(receive(line))
            document = held.answer(work)
            send(line, document)
            if document.get("final"):
                os._exit(1)


class HeldToken:
    """A token that is logged in to, and its sessions."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._module = module.Module(asked["module"])
        self._token = module.find(self._module, asked["token"], asked["serial"])
        self._serial = module.serial_of(self._token)
        with module.told():
            # The login counts for all sessions of this process, until the last of them is closed: this one stays open.
            self._login = self._token.open(rw=True, user_pin=asked["pin"])
        self._limit: int = asked["sessions"]
        self._patience: float = asked["patience"]
        self._free = threading.Condition()
        self._idle: list[TokenSession] = []
        self._open = 0

    def answer(self, work: Work) -> dict[str, Any]:
        """Do the work on one of the sessions; an error is an answer too."""
        try:
            with module.told():
                answer = self._describe() if work.do == "describe" else self._do(work)
            # Nobody sees private keys who is not logged in any more.
            return _ABSENT if work.do == "names" and not self._is_there() else answer
        except KeyNotFound as error:
            return refusal(error, final=False) if self._is_there() else _ABSENT
        except IkewardenError as error:
            final = isinstance(error.__cause__, said.PKCS11Error) and not isinstance(
                error.__cause__, _GOOD_STILL
            )
            return refusal(error, final=final)
        except Exception as error:  # noqa: BLE001 - as in `main`
            failed = SignerUnavailable(f"The work in the token failed ({type(error).__name__}).")
            return refusal(failed, final=True)

    def _do(self, work: Work) -> Answer:
        try:
            return self._try(work)
        except STALE:
            # The device was away, or has thrown its sessions out. Nothing was done, so a new session may do it.
            with self._free:
                stale, self._idle = self._idle, []
            for each in stale:
                self._throw_away(each)
            return self._try(work)

    def _try(self, work: Work) -> Answer:
        session = self._take()
        try:
            answer = session.do(work)
        except said.PKCS11Error:
            self._throw_away(session)
            raise
        except IkewardenError:
            self._give_back(session)
            raise
        self._give_back(session)
        return answer

    def _take(self) -> TokenSession:
        with self._free:
            if not self._idle and self._open >= self._limit:
                self._free.wait_for(
                    lambda: bool(self._idle) or self._open < self._limit, self._patience
                )
            if self._idle:
                return self._idle.pop()
            if self._open >= self._limit:
                raise SignerUnavailable("All sessions of the token were in use for too long.")
            self._open += 1
        try:
            return TokenSession(self._token.open(rw=True))
        except said.PKCS11Error as error:
            with self._free:
                self._open -= 1
                # As many as the token gives; if there is one, wait for it.
                limited = isinstance(error, said.SessionCount) and self._open > 0
                if limited and self._free.wait_for(lambda: bool(self._idle), self._patience):
                    return self._idle.pop()
            raise

    def _give_back(self, session: TokenSession) -> None:
        with self._free:
            self._idle.append(session)
            self._free.notify()

    def _throw_away(self, session: TokenSession) -> None:
        with self._free:
            self._open -= 1
            self._free.notify()
        with contextlib.suppress(said.PKCS11Error):
            session.close()

    def _is_there(self) -> bool:
        try:
            now = self._token.slot.get_token()
        except said.PKCS11Error:
            return False
        same = module.serial_of(now) == self._serial
        return same and self._module.is_logged_in(self._login)

    def _describe(self) -> Answer:
        slot = self._token.slot
        token = slot.get_token()
        return {
            "label": token.label,
            "serial": module.serial_of(token),
            "manufacturer": token.manufacturer_id,
            "model": token.model,
            "firmware": ".".join(map(str, token.firmware_version)),
            "slot": slot.slot_description,
            "mechanisms": sorted(
                getattr(each, "name", f"0x{int(each):x}") for each in slot.get_mechanisms()
            ),
        }


if __name__ == "__main__":
    main()
