"""A store of secrets tried out: everything that a rotation asks of it, on a path of its own that is gone afterwards."""

from collections.abc import Callable
from contextlib import suppress
from secrets import token_bytes

from core.secret import Secret
from hsm.errors import KeyStoreError
from hsm.fingerprint import Fingerprints
from hsm.secretstore import SecretStore, SecretStoreUnavailable


def try_out(store: SecretStore, path: str, report: Callable[[str], None]) -> None:
    """Write, read, delete, undelete and destroy a random value at `path`, which nobody uses, and forget it; make the
    fingerprint key if there is none yet. `report` hears of each step that went well.

    Raises what keeps the store from serving; then something may be left at `path`.
    """
    store.check()
    report("logged in; the engine keeps versions")
    value = Secret(token_bytes(32))
    number = store.put(path, value, after=0, tags={"purpose": "check"})
    try:
        report(f"wrote {path}")
        _compare(store, path, value)
        report("read it back")
        store.delete(path, number)
        store.undelete(path, number)
        _compare(store, path, value)
        report("deleted and undeleted it")
        store.destroy(path, number)
        report("destroyed it")
    except KeyStoreError:
        with suppress(KeyStoreError):
            store.forget(path)
        raise
    store.forget(path)
    report("removed what was left of it")
    Fingerprints(store).of(value)
    report("the fingerprint key is there")


def _compare(store: SecretStore, path: str, value: Secret) -> None:
    if store.get(path).value.reveal() != value.reveal():
        raise SecretStoreUnavailable(
            f"What the store gives for {path} is not what was put there.",
            next_step="Look what stands between this service and the store.",
        )
