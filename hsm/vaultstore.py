"""The store of shared secrets in Vault or OpenBao: a KV engine of version 2.

A version's data is `{"value": BASE64, "tags": {…}}`: the tags beside the value, so that both are written at once.
"""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from hvac.api.secrets_engines import KvV2

from core.secret import Secret
from hsm.fingerprint import PATH as FINGERPRINT_PATH
from hsm.secretstore import (
    CredentialUnusable,
    SecretConflict,
    SecretNotFound,
    SecretStoreRefused,
    SecretStoreUnavailable,
    Stored,
    VersionInfo,
    VersionState,
    check_path,
    check_value,
)
from hsm.vaultlogin import Login
from hsm.vaultsession import VaultSession
from hsm.vaultuse import Trouble, Use
from hsm.vaultwire import Address, Answer, require

_SECOND: Final = timedelta(seconds=1)
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CAS_WORDS: Final = "check-and-set parameter did not match"


SECRETS: Final = Use(
    server="[secrets]",
    mount="[secrets] mount",
    goes_on="rotations go on by themselves",
    relief="Lower [rotation] per_second, or raise the quota in the store",
    away=SecretStoreUnavailable,
    refused=SecretStoreRefused,
    kinds={Trouble.CREDENTIAL: CredentialUnusable},
)


class VaultSecretStore:
    """A `SecretStore` on a server. Making an instance neither connects nor logs in.

    A `put` that was not answered may have been done: whoever called it looks at the newest version's tags before
    trying again.
    """

    def __init__(self, address: Address, login: Login, *, mount: str) -> None:
        self.session = VaultSession(address, login, SECRETS)
        self._mount = mount

    def __repr__(self) -> str:
        return f"VaultSecretStore({self.session.address.url!r}, mount={self._mount!r})"

    def put(self, path: str, value: Secret, *, after: int, tags: Mapping[str, str]) -> int:
        """See `SecretStore.put`."""
        check_path(path)
        data = {"value": base64.b64encode(check_value(value)).decode(), "tags": dict(tags)}
        self._require_version_2()  # version 1 would take the value and keep it somewhere else
        answer = self._ask(
            lambda kv: kv.create_or_update_secret(path, data, cas=after, mount_point=self._mount)
        )
        if answer.status == 400 and answer.says(_CAS_WORDS):
            raise SecretConflict(f"The newest version of {path} is not {after}.")
        number = require(answer, f"write {path}").part("data").get("version")
        if not isinstance(number, int):
            raise _not_version_2(self._mount)
        return number

    def get(self, path: str, number: int | None = None) -> Stored:
        """See `SecretStore.get`."""
        check_path(path)
        answer = self._ask(
            lambda kv: kv.read_secret_version(
                path, number, mount_point=self._mount, raise_on_deleted_version=True
            )
        )
        named = "newest version" if number is None else f"version {number}"
        if answer.is_absent:
            raise SecretNotFound(f"The {named} of {path} is not there, or no more.")
        stored = _stored(require(answer, f"read {path}"))
        if stored is None:
            raise SecretNotFound(
                f"The {named} of {path} was not written by this service.",
                next_step="Find out who wrote it; then rotate the secret.",
            )
        return stored

    def versions(self, path: str) -> tuple[VersionInfo, ...]:
        """See `SecretStore.versions`. Those that the engine has dropped (`max_versions`) are not among them."""
        check_path(path)
        answer = self._ask(lambda kv: kv.read_secret_metadata(path, mount_point=self._mount))
        if answer.is_absent:
            return ()
        found = require(answer, f"read the metadata of {path}").part("data").get("versions")
        numbered = found.items() if isinstance(found, dict) else ()
        infos = [_info(int(key), entry, answer.date) for key, entry in numbered]
        return tuple(sorted(infos, key=lambda info: info.number))

    def delete(self, path: str, number: int) -> None:
        """See `SecretStore.delete`."""
        self._turn("delete", KvV2.delete_secret_versions, path, number)

    def undelete(self, path: str, number: int) -> None:
        """See `SecretStore.undelete`."""
        self._turn("undelete", KvV2.undelete_secret_versions, path, number)
        # The server answers that all is well for a version that is destroyed or never was.
        states = {info.number: info.state for info in self.versions(path)}
        if states.get(number) is not VersionState.LIVE:
            raise SecretNotFound(f"Version {number} of {path} cannot be brought back.")

    def destroy(self, path: str, number: int) -> None:
        """See `SecretStore.destroy`."""
        self._turn("destroy", KvV2.destroy_secret_versions, path, number)

    def forget(self, path: str) -> None:
        """See `SecretStore.forget`."""
        check_path(path)
        answer = self._ask(
            lambda kv: kv.delete_metadata_and_all_versions(path, mount_point=self._mount)
        )
        if not answer.is_absent:
            require(answer, f"delete {path}")

    def check(self) -> None:
        """See `SecretStore.check`. Logs in, and reads where the fingerprint key is or will be."""
        self.session.here().is_looked_at = False
        self._require_version_2()
        answer = self._ask(
            lambda kv: kv.read_secret_version(
                FINGERPRINT_PATH, mount_point=self._mount, raise_on_deleted_version=True
            )
        )
        if not answer.is_absent:
            require(answer, f"read {FINGERPRINT_PATH}")

    def _turn(self, what: str, how: Callable[..., Answer], path: str, number: int) -> None:
        check_path(path)
        answer = self._ask(lambda kv: how(kv, path, [number], mount_point=self._mount))
        if not answer.is_absent:
            require(answer, f"{what} version {number} of {path}")

    def _require_version_2(self) -> None:
        """Raise unless the mount is of a KV engine of version 2; asked once in each process."""
        process = self.session.here()
        if process.is_looked_at:
            return
        found = self.session.look_at_mount(self._mount)
        options = found.get("options")
        version = options.get("version") if isinstance(options, dict) else None
        if found.get("type") != "kv" or version != "2":
            raise _not_version_2(self._mount)
        process.is_looked_at = True

    def _ask(self, request: Callable[[Any], Answer]) -> Answer:
        return self.session.ask(lambda wire: request(KvV2(adapter=wire)))


def _not_version_2(mount: str) -> SecretStoreRefused:
    return SecretStoreRefused(
        f"The mount {mount} is no KV engine of version 2, which keeps versions.",
        next_step="Name another one in [secrets] mount, or raise it: `bao kv enable-versioning "
        f"{mount}` (Vault: `vault kv …`).",
    )


def _stored(answer: Answer) -> Stored | None:
    """What is in the answer; None if somebody else wrote it."""
    data = answer.part("data")
    content, metadata = data.get("data"), data.get("metadata")
    if not isinstance(content, dict) or not isinstance(metadata, dict):
        return None
    value, tags, number = content.get("value"), content.get("tags"), metadata.get("version")
    if not (isinstance(value, str) and isinstance(tags, dict) and isinstance(number, int)):
        return None
    try:
        octets = base64.b64decode(value, validate=True)
    except ValueError:
        return None
    return Stored(number, Secret(octets), {str(name): str(text) for name, text in tags.items()})


def _info(number: int, entry: Mapping[str, Any], now: datetime | None) -> VersionInfo:
    state = VersionState.LIVE
    if entry.get("destroyed"):
        state = VersionState.DESTROYED
    elif (ends := _moment(entry.get("deletion_time"))) and (now is None or ends < now + _SECOND):
        # `delete_version_after` dates deletions ahead. The server's date has whole seconds.
        state = VersionState.DELETED
    return VersionInfo(number, state, _moment(entry.get("created_time")) or _LONG_AGO)


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str) or not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
