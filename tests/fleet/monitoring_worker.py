"""A replica that takes events, as a process that can be killed.

`python -m tests.fleet.monitoring_worker URL`: takes the batches of lines on its input (JSON: gateway, first, size), and
answers each with what the stream waits for.
"""

import json
import sys
from datetime import timedelta

from fleet.monitoring import intake
from pki.actors import Actor, Role, Scope
from pki.desk import Desk, Rules
from store.engine import open_store
from tests.fixtures.desk import NOW
from tests.fleet.monitoring import START, batch, failures


def main(url: str) -> None:
    """Work until the input ends."""
    desk = Desk(open_store(url), None, Rules("http://pki.example"))  # type: ignore[arg-type]  # it signs nothing
    print("ready", flush=True)  # noqa: T201 - whoever started it waits for this
    for line in sys.stdin:
        asked = json.loads(line)
        name, first, size = asked["gateway"], asked["first"], asked["size"]
        actor = Actor(f"gateway {name}", Role.GATEWAY, scope=Scope(gateway=name))
        events = failures(first + size)[first:]
        until = START + timedelta(seconds=first + size + 9)
        taken = intake.take(desk, actor, batch(events, first, until=until), now=NOW)
        print(json.dumps({"stored": taken.stored, "next": taken.next}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
