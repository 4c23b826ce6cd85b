"""A replica's scheduler for tests, as a process that can be killed: begins what is due, and runs rotations.

`python -m tests.fleet.rotation_worker URL DIRECTORY NAME`. Values lie in files of the directory; its file `ahead` tells
by how many seconds the time of all workers is ahead.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.secret import Secret
from fleet.rotation import due
from fleet.rotation.runner import Runner
from hsm.secretstore import SecretConflict, SecretNotFound, Stored, VersionInfo, VersionState
from pki.desk import Desk, RotationRules, Rules
from store.engine import open_store
from tests.fixtures.desk import CLOCKWORK


class Folder:
    """A store of secrets that processes share: a file for each version, made by one of them."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def put(self, path: str, value: Secret, *, after: int, tags: Mapping[str, str]) -> int:
        known = self.versions(path)
        if len(known) != after:
            raise SecretConflict("Another was quicker.")
        self._directory(path).mkdir(parents=True, exist_ok=True)
        draft = self._directory(path) / f"draft-{os.getpid()}-{time.monotonic_ns()}"
        draft.write_text(json.dumps({"value": value.reveal().hex(), "tags": dict(tags)}))
        try:
            os.link(draft, self._file(path, after + 1))
        except FileExistsError:
            raise SecretConflict("Another was quicker.") from None
        finally:
            draft.unlink()
        return after + 1

    def get(self, path: str, number: int | None = None) -> Stored:
        wanted = len(self.versions(path)) if number is None else number
        try:
            kept = json.loads(self._file(path, wanted).read_text())
        except FileNotFoundError:
            raise SecretNotFound("There is no such version.") from None
        if not kept:
            raise SecretNotFound("It was destroyed.")
        return Stored(wanted, Secret(bytes.fromhex(kept["value"])), kept["tags"])

    def versions(self, path: str) -> tuple[VersionInfo, ...]:
        files = sorted(self._directory(path).glob("version-*"))
        states = [
            VersionState.LIVE if json.loads(each.read_text()) else VersionState.DESTROYED
            for each in files
        ]
        at = datetime.now(UTC)
        return tuple(VersionInfo(number, state, at) for number, state in enumerate(states, 1))

    def destroy(self, path: str, number: int) -> None:
        if self._file(path, number).exists():
            draft = self._directory(path) / f"draft-{os.getpid()}-{time.monotonic_ns()}"
            draft.write_text("{}")
            draft.replace(self._file(path, number))

    def delete(self, path: str, number: int) -> None:
        raise NotImplementedError

    def undelete(self, path: str, number: int) -> None:
        raise NotImplementedError

    def forget(self, path: str) -> None:
        raise NotImplementedError

    def check(self) -> None:
        """Always well."""

    def _directory(self, path: str) -> Path:
        return self.place / path

    def _file(self, path: str, number: int) -> Path:
        return self._directory(path) / f"version-{number:06}"


def main(url: str, place: Path, name: str) -> None:
    """Work until killed."""
    store = open_store(url)
    rules = Rules("http://pki.example", rotation=RotationRules(per_second=50.0))
    desk = Desk(store, None, rules, secrets=Folder(place))  # type: ignore[arg-type]  # it signs nothing

    def clock() -> datetime:
        ahead = timedelta(seconds=float((place / "ahead").read_text()))
        return datetime.now(UTC) + ahead

    runner = Runner(desk, CLOCKWORK, name, batch=4)
    print("ready", flush=True)  # noqa: T201 - whoever started it waits for this
    while True:
        due.begin_due(desk, CLOCKWORK, now=clock())
        runner.run(clock)
        time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
