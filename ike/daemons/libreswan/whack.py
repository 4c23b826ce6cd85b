"""pluto's control program: asked under a time limit, and read, since its exit status says little."""

from collections.abc import Callable
from pathlib import Path

from ike.daemons.libreswan.places import Places
from ike.daemons.libreswan.programs import Ended, run
from ike.daemons.port import DaemonUnreachable

_SECONDS = 5.0
_NOT_RUNNING = 33


class Whack:
    """Speaks to one pluto. Every method raises DaemonUnreachable when it does not run or does not answer."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def ask(self, *arguments: str, seconds: float = _SECONDS) -> str:
        """What pluto answers to a question that it answers at once."""
        done = self.try_for(seconds, *arguments)
        if done.status is None:
            raise DaemonUnreachable(f"pluto did not answer whack within {seconds:g} s.")
        return done.text

    def try_for(
        self, seconds: float, *arguments: str, enough: Callable[[str], bool] | None = None
    ) -> Ended:
        """What pluto says within some seconds: whack waits for exchanges with the peer, maybe for ever."""
        command = [self._places.whack, "--ctlsocket", str(self._places.control), *arguments]
        done = run(command, seconds=seconds, enough=enough)
        if done.status == _NOT_RUNNING or (done.status and "is not running" in done.text):
            raise DaemonUnreachable(f"pluto is not running: {done.last_words}")
        return done

    def load(self, name: str) -> Ended:
        """Have pluto load a connection from the configuration files, in the place of one of that name."""
        command = [self._places.addconn, "--config", str(self._places.configuration)]
        return run([*command, "--ctlsocket", str(self._places.control), name], seconds=2 * _SECONDS)

    def incarnation(self) -> str | None:
        """What names this very process of pluto, None when there is none. Does not disturb it."""
        try:
            if not self._places.control.is_socket():
                return None
            pid = int(self._places.pid.read_text())
            # proc(5): the name in parentheses may hold anything, so count from its last closing one.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            return None
        return None if fields[0] in "ZX" else f"{pid}.{fields[19]}"
