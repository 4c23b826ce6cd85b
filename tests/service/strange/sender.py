"""A process that sends spoiled requests to a running service, and what became of them."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.service.strange.acme import Acme
from tests.service.strange.cmp import Cmp
from tests.service.strange.door import Door, Given
from tests.service.strange.est import Est
from tests.service.strange.scep import Scep
from tests.service.strange.spoil import bent
from tests.service.strange.wire import Wire

DOORS: Mapping[str, Callable[[Given, str], Door]] = {
    "est": lambda given, base: Est(given),
    "scep": lambda given, base: Scep(given),
    "cmp": lambda given, base: Cmp(given),
    "acme": Acme,
}
#: How many of ten requests go to each: a message of SCEP costs both sides the most.
_SHARE = ["est"] * 3 + ["cmp"] * 3 + ["acme"] * 3 + ["scep"]
_MOST = 20


@dataclass(frozen=True)
class Target:
    """The service, and what it must say to nobody."""

    root: Path
    tls_port: int
    plain_port: int
    given: Given
    silent_of: tuple[bytes, ...]

    @property
    def base(self) -> str:
        """Where it says that it is."""
        return f"https://localhost:{self.tls_port}"


@dataclass
class Tally:
    """Answers by door and status, and what should not have been answered: the first of each process."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    server_keys: int = 0

    def add(self, other: "Tally") -> None:
        """Take what another process counted."""
        self.answers.update(other.answers)
        self.wrong.extend(other.wrong)
        self.server_keys += other.server_keys


@dataclass
class _Sender:
    target: Target
    wire: Wire
    doors: dict[str, Door]

    def send(self, dice: random.Random, tally: Tally) -> None:
        """One request."""
        name = dice.choice(_SHARE)
        door = self.doors[name]
        ask = door.ask(dice)
        if dice.random() < 0.02:
            ask = bent(dice, ask)
        reply = None
        try:
            reply = self.wire.send(ask)
            tally.answers[name, reply.status] += 1
            tally.server_keys += reply.status == 200 and "serverkeygen" in ask.path
            assert reply.status < 500
            said = reply.body + repr(reply.headers).encode()
            assert not [each for each in self.target.silent_of if each in said]
            door.fits(ask, reply)
        except Exception as error:  # noqa: BLE001 - the requests after it shall be sent too
            if len(tally.wrong) < _MOST:
                tally.wrong.append(f"{name}: {error!r}\n{ask}\n{reply}")


_KNOWN: dict[Target, _Sender] = {}


def send(target: Target, seed: int, count: int) -> Tally:
    """Send so many. A process goes on with the connections and the account that it had."""
    if target not in _KNOWN:
        wire = Wire(target.root, target.tls_port, target.plain_port)
        doors = {name: make(target.given, target.base) for name, make in DOORS.items()}
        _KNOWN[target] = _Sender(target, wire, doors)
    dice, tally = random.Random(seed), Tally()
    for _ in range(count):
        _KNOWN[target].send(dice, tally)
    return tally
