"""A process that issues, revokes and publishes from several threads until it is killed; run by test_kill.py.

Every line on standard output is an acknowledgement: `ready`, `issued SERIAL`, `enrolled SERIAL TOKEN`,
`revoked SERIAL REASON`, `published AUTHORITY NUMBER`, `signed SIZE` (a head of the audit log). A line is one write, so
it is there whole or not at all, and it is written only after the operation has returned.
"""

import os
import random
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.secret import Secret
from hsm.seal import Seal
from hsm.sealedfiles import SealedFileKeyStore
from pki import identity, issuance, publication, revocation, sequencing, tokens
from pki.actors import Actor, Role, Scope
from pki.desk import Desk, Rules
from pki.proven import Proven
from pki.tokens import TokenRequest
from scheduler.jobs import SCHEDULER
from scheduler.outbox import Drain
from store.engine import open_store
from tests.pki.requests import issue_request

PASSPHRASE = Secret("kill me if you can")
URL = "http://pki.example"
THREADS = 4
OPERATOR = Actor("operator", Role.OPERATOR)
ADMIN = Actor("admin", Role.ADMIN)
ENROLLER = TokenRequest("one", Role.ENROLLER, Scope(profiles=("gateway",)), uses=1)


def open_desk(database: str, keys: Path) -> Desk:
    """The desk of a process: records and sealed keys from disk."""
    seal = Seal.open(keys, PASSPHRASE)
    rules = Rules(validation_url=URL, default_authority="issuing")
    return Desk(open_store(database), SealedFileKeyStore(keys, seal), rules)


def tell(line: str) -> None:
    """One acknowledgement, in one write."""
    os.write(1, f"{line}\n".encode())


def work(desk: Desk, clock: Callable[[], datetime], choice: random.Random) -> None:
    """Issue, enroll and revoke for ever."""
    mine: list[str] = []
    while True:
        dice = choice.random()
        if dice < 0.5 or not mine:
            made = issuance.issue(desk, OPERATOR, issue_request(), now=clock())
            tell(f"issued {made.serial}")
            mine.append(made.serial)
        elif dice < 0.6:
            token = tokens.create(desk, ADMIN, ENROLLER, now=clock())
            actor = identity.actor_from_token(desk, token.secret, now=clock(), request_id="")
            made = issuance.issue(desk, actor, issue_request(), now=clock())
            tell(f"enrolled {made.serial} {token.view.id}")
        else:
            serial = mine.pop(choice.randrange(len(mine)))
            reason = choice.choice(("superseded", "keyCompromise"))
            revocation.revoke(desk, OPERATOR, serial, reason, now=clock())
            tell(f"revoked {serial} {reason}")


def publish(desk: Desk, clock: Callable[[], datetime]) -> None:
    """Carry out what is queued, for ever, and make a list of its own now and then."""
    drain = Drain(desk, f"worker {os.getpid()}", clock)
    while True:
        drain.run(clock())
        made = publication.publish_full(desk, SCHEDULER, "issuing", now=clock())
        tell(f"published issuing {made.number}")


def keep_log(desk: Desk, clock: Callable[[], datetime]) -> None:
    """Sequence the audit log for ever."""
    assert isinstance(desk.keys, SealedFileKeyStore)
    proven = Proven()
    while True:
        done = sequencing.sequence(desk, SCHEDULER, desk.keys, now=clock(), proven=proven)
        tell(f"signed {done.size}")


def main(database: str, keys: str, ahead: float) -> None:
    """Run until killed; `ahead` are seconds to add to the clock."""
    desk = open_desk(database, Path(keys))

    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=ahead)

    threads = [
        threading.Thread(target=work, args=(desk, clock, random.Random(number)))
        for number in range(THREADS)
    ]
    threads += [threading.Thread(target=act, args=(desk, clock)) for act in (publish, keep_log)]
    tell("ready")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
