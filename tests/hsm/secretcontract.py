"""What any store of shared secrets must do.

A test class inherits `SecretStoreContract` and gives the fixtures `secrets` and `operator`.
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from core.errors import IkewardenError
from core.secret import Secret
from hsm import fingerprint
from hsm.fingerprint import Fingerprints
from hsm.secretstore import (
    VALUE_LIMIT,
    BadSecretPath,
    SecretConflict,
    SecretNotFound,
    SecretStore,
    VersionState,
)
from hsm.secrettrial import try_out

PATH = "ikewarden/gw1-gw2/psk"
OTHER = "ikewarden/gw1-gw3/psk"
CANARY = b"canary-c0ffee-value"
LIVE, DELETED, DESTROYED = VersionState.LIVE, VersionState.DELETED, VersionState.DESTROYED
BAD_PATHS = [
    *("", "/", "a/", "/a", "a//b", "../a", "a/../b", "a/.", "-a", "a b", "a%2fb", "a?version=1"),
    *("a#b", "a\n", "a\0", "ä", "a/" * 8 + "a", "x" * 129),
]
FORK = multiprocessing.get_context("fork")


def put(store: SecretStore, value: bytes = CANARY, *, after: int = 0, path: str = PATH) -> int:
    return store.put(path, Secret(value), after=after, tags={"rotation": "7", "version": "2"})


def states(store: SecretStore, path: str = PATH) -> list[VersionState]:
    found = store.versions(path)
    assert [info.number for info in found] == list(range(1, len(found) + 1))
    return [info.state for info in found]


def value_of(store: SecretStore, number: int | None = None) -> bytes:
    return store.get(PATH, number).value.reveal()


def in_children(count: int, work: Callable[[int], str], directory: Path) -> list[str]:
    """What `work` gives in each of `count` forked processes, which run at the same time."""
    directory.mkdir(exist_ok=True)

    def run(number: int) -> None:
        (directory / str(number)).write_text(work(number))

    children = [FORK.Process(target=run, args=(number,)) for number in range(count)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * count
    return [(directory / str(number)).read_text() for number in range(count)]


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, what it came from, and what was being handled, suppressed or not."""
    todo, seen = [error], set[int]()
    while todo:
        current = todo.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            yield current
            todo += [current.__cause__, current.__context__]


def told(error: BaseException) -> str:
    """Everything that an exception could show of itself to somebody who is curious."""
    parts: list[Any] = []
    for each in chain(error):
        parts += [str(each), repr(each), each.args, vars(each)]
        parts += traceback.format_exception(each)
    return " ".join(map(repr, parts)) + " ".join(map(str, parts))


def attempt(act: Callable[[], object]) -> str:
    try:
        return f"done {act()}"
    except IkewardenError as error:
        return error.code


class SecretStoreContract:
    """Inherit this, and give two fixtures: `secrets`, an empty store, and `operator`."""

    @pytest.fixture
    def secrets(self) -> SecretStore:
        raise NotImplementedError

    @pytest.fixture
    def operator(self) -> SecretStore:
        """The same store in the hands of somebody who may do more, as if in another process."""
        raise NotImplementedError

    def test_of_a_path_that_was_never_written_there_is_nothing(self, secrets: SecretStore) -> None:
        secrets.check()
        assert secrets.versions(PATH) == ()
        for number in (None, 1):
            with pytest.raises(SecretNotFound):
                secrets.get(PATH, number)
        with pytest.raises(SecretNotFound):
            secrets.undelete(PATH, 1)
        secrets.delete(PATH, 1)
        secrets.destroy(PATH, 1)
        secrets.forget(PATH)
        assert secrets.versions(PATH) == ()

    def test_versions_are_numbered_and_kept(self, secrets: SecretStore) -> None:
        assert [put(secrets, b"one"), put(secrets, b"two", after=1)] == [1, 2]
        newest = secrets.get(PATH)
        assert (newest.number, newest.value.reveal()) == (2, b"two")
        assert dict(newest.tags) == {"rotation": "7", "version": "2"}
        assert value_of(secrets, 1) == b"one"
        assert states(secrets) == [LIVE, LIVE]
        made = [info.created_at for info in secrets.versions(PATH)]
        assert all(moment.utcoffset() == timedelta(0) for moment in made)
        assert all(earlier <= later for earlier, later in pairwise(made))

    def test_a_write_after_another_version_is_refused(self, secrets: SecretStore) -> None:
        with pytest.raises(SecretConflict):
            put(secrets, after=1)
        assert secrets.versions(PATH) == ()
        put(secrets, b"one")
        for after in (0, 2, 7):
            with pytest.raises(SecretConflict):
                put(secrets, after=after)
        assert states(secrets) == [LIVE]
        assert value_of(secrets) == b"one"

    @pytest.mark.parametrize("how", ["delete", "destroy"])
    def test_numbers_go_on_whatever_became_of_the_newest(
        self, secrets: SecretStore, how: str
    ) -> None:
        put(secrets, b"one")
        put(secrets, b"two", after=1)
        getattr(secrets, how)(PATH, 2)
        for number in (None, 2, 3):
            with pytest.raises(SecretNotFound):
                secrets.get(PATH, number)
        assert value_of(secrets, 1) == b"one"
        with pytest.raises(SecretConflict):
            put(secrets, after=1)
        assert put(secrets, b"three", after=2) == 3
        assert value_of(secrets) == b"three"

    def test_a_deleted_version_can_be_brought_back(self, secrets: SecretStore) -> None:
        put(secrets, b"one")
        put(secrets, b"two", after=1)
        for _ in range(2):
            secrets.delete(PATH, 1)
            assert states(secrets) == [DELETED, LIVE]
        with pytest.raises(SecretNotFound):
            secrets.get(PATH, 1)
        for _ in range(2):
            secrets.undelete(PATH, 1)
            assert states(secrets) == [LIVE, LIVE]
        assert value_of(secrets, 1) == b"one"

    def test_a_destroyed_version_is_gone_for_good(self, secrets: SecretStore) -> None:
        for number, how in enumerate(["delete", "destroy"]):
            put(secrets, after=number)
            getattr(secrets, how)(PATH, number + 1)
        for number in (1, 2):
            for _ in range(2):
                secrets.destroy(PATH, number)
            secrets.delete(PATH, number)
            with pytest.raises(SecretNotFound):
                secrets.undelete(PATH, number)
            with pytest.raises(SecretNotFound):
                secrets.get(PATH, number)
        assert states(secrets) == [DESTROYED, DESTROYED]
        secrets.destroy(PATH, 9)
        secrets.delete(PATH, 9)
        assert put(secrets, after=2) == 3

    def test_a_forgotten_path_begins_anew(self, secrets: SecretStore) -> None:
        put(secrets, b"one")
        put(secrets, b"other", path=OTHER)
        secrets.forget(PATH)
        secrets.forget(PATH)
        assert secrets.versions(PATH) == ()
        with pytest.raises(SecretNotFound):
            secrets.get(PATH)
        assert put(secrets, b"new") == 1
        assert value_of(secrets) == b"new"
        assert secrets.get(OTHER).value.reveal() == b"other"

    @pytest.mark.parametrize("value", [b"x", bytes(range(256)), b"\0" * VALUE_LIMIT])
    def test_any_octets_can_be_kept(self, secrets: SecretStore, value: bytes) -> None:
        put(secrets, value)
        assert value_of(secrets) == value

    @pytest.mark.parametrize("value", [b"", b"x" * (VALUE_LIMIT + 1)])
    def test_no_value_and_too_much_of_it_are_refused(
        self, secrets: SecretStore, value: bytes
    ) -> None:
        with pytest.raises(BadSecretPath):
            put(secrets, value)
        assert secrets.versions(PATH) == ()

    @pytest.mark.parametrize("path", BAD_PATHS)
    def test_bad_paths_are_refused_everywhere(self, secrets: SecretStore, path: str) -> None:
        for act in (
            lambda: put(secrets, path=path),
            lambda: secrets.get(path),
            lambda: secrets.versions(path),
            lambda: secrets.delete(path, 1),
            lambda: secrets.undelete(path, 1),
            lambda: secrets.destroy(path, 1),
            lambda: secrets.forget(path),
        ):
            with pytest.raises(BadSecretPath) as refusal:
                act()
            assert refusal.value.next_step

    def test_of_many_threads_one_writes(self, secrets: SecretStore) -> None:
        with ThreadPoolExecutor(8) as pool:
            tries = [
                pool.submit(attempt, lambda: put(secrets, b"%d" % os.getpid())) for _ in range(16)
            ]
        assert sorted(each.result() for each in tries) == ["done 1", *["secret_conflict"] * 15]
        assert states(secrets) == [LIVE]

    def test_of_many_processes_one_writes(self, secrets: SecretStore, tmp_path: Path) -> None:
        put(secrets, b"one")  # whatever is opened by that is inherited by the children
        results = in_children(
            4,
            lambda number: attempt(lambda: put(secrets, b"%d" % number, after=1)),
            tmp_path / "results",
        )
        assert sorted(results) == ["done 2", *["secret_conflict"] * 3]
        assert value_of(secrets) == b"%d" % results.index("done 2")

    def test_many_processes_write_each_its_own(self, secrets: SecretStore, tmp_path: Path) -> None:
        def work(number: int) -> str:
            path = f"ikewarden/gw{number}/psk"
            for after in range(5):
                put(secrets, b"%d-%d" % (number, after + 1), after=after, path=path)
                if after:
                    secrets.destroy(path, after)
            return secrets.get(path).value.reveal().decode()

        assert in_children(4, work, tmp_path / "results") == [f"{number}-5" for number in range(4)]
        secrets.check()
        assert states(secrets, "ikewarden/gw3/psk") == [*[DESTROYED] * 4, LIVE]

    def test_the_fingerprint_key_is_made_once(
        self, secrets: SecretStore, operator: SecretStore, tmp_path: Path
    ) -> None:
        made = in_children(
            4, lambda _: Fingerprints(secrets).of(Secret(CANARY)), tmp_path / "results"
        )
        assert len(set(made)) == 1
        assert made[0] == Fingerprints(secrets).of(Secret(CANARY))
        assert len(bytes.fromhex(made[0])) == 16
        assert made[0] != Fingerprints(secrets).of(Secret(b"another"))
        assert len(operator.versions(fingerprint.PATH)) == 1

    def test_a_lost_fingerprint_key_is_not_replaced(
        self, secrets: SecretStore, operator: SecretStore
    ) -> None:
        known = Fingerprints(secrets).of(Secret(CANARY))
        operator.delete(fingerprint.PATH, 1)
        with pytest.raises(SecretNotFound):
            Fingerprints(operator).of(Secret(CANARY))
        assert Fingerprints(secrets).of(Secret(CANARY)) == known  # read once
        operator.undelete(fingerprint.PATH, 1)
        assert Fingerprints(operator).of(Secret(CANARY)) == known

    def test_can_be_tried_out_and_nothing_is_left(self, secrets: SecretStore) -> None:
        steps: list[str] = []
        try_out(secrets, PATH, steps.append)
        assert len(steps) == 7
        assert secrets.versions(PATH) == ()

    def test_no_error_shows_a_value(self, secrets: SecretStore) -> None:
        put(secrets)
        assert CANARY.decode() not in repr(secrets) + str(secrets) + repr(secrets.get(PATH))
        secrets.destroy(PATH, 1)
        for act in (
            lambda: put(secrets),
            lambda: put(secrets, path="../up"),
            lambda: put(secrets, CANARY * 1000, after=1),
            lambda: secrets.get(PATH, 1),
        ):
            with pytest.raises(IkewardenError) as refusal:
                act()
            assert CANARY.decode() not in told(refusal.value)
            assert refusal.value.code != IkewardenError.code
            assert refusal.value.message.endswith(".")
            assert refusal.value.next_step
