"""How a process is let in by Vault or OpenBao: ways to log in, and the token that comes of it."""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from hvac.api.auth_methods import AppRole, Cert, Kubernetes, Token

from core.secret import Secret
from hsm.errors import KeyStoreError
from hsm.passphrase import read_private
from hsm.vaultuse import Trouble, Use
from hsm.vaultwire import Answer, Wire, require

_LIMIT: Final = 64 * 1024
# A token is renewed when this part of its life is over, and tried again after this part where that failed.
_RENEW_AFTER: Final = 2 / 3
_AGAIN_AFTER: Final = 1 / 20


@dataclass(frozen=True)
class Grant:
    """A token. It ends after `seconds`; 0: never. `renewable`: it can be prolonged."""

    token: Secret
    seconds: float = 0.0
    renewable: bool = False


class Login(Protocol):
    """A way to get a token, asked again whenever the last one is gone."""

    def enter(self, wire: Wire) -> Grant:
        """Raises the errors of the wire's `use`."""
        ...


@dataclass(frozen=True)
class TokenLogin:
    """A token from a file, which is read again when the token in it is gone, or from a variable of `environ`."""

    file: Path | None
    variable: str
    environ: Mapping[str, str] = field(repr=False)

    def enter(self, wire: Wire) -> Grant:
        """See `Login.enter`."""
        if self.file is not None:
            token = _private(wire.use, "token", self.file)
        else:
            token = Secret(self.environ.get(self.variable, "").strip())
        text = _header(wire.use, token, "token")
        wire.token = text
        known = Token(adapter=wire).lookup_self()
        if not known.ok:
            # Either it is not good, which shows at once, or it may not look at itself: then it is used as it is.
            return Grant(token)
        life = known.part("data")
        return Grant(token, _number(life.get("ttl")), life.get("renewable") is True)


@dataclass(frozen=True)
class AppRoleLogin:
    """A role's public and its secret half."""

    role_id: str
    secret_id_file: Path
    mount: str = "approle"

    def enter(self, wire: Wire) -> Grant:
        """See `Login.enter`."""
        secret = _text(_private(wire.use, "secret id", self.secret_id_file))
        api = AppRole(adapter=wire)
        return _grant(api.login(self.role_id, secret, use_token=False, mount_point=self.mount))


@dataclass(frozen=True)
class KubernetesLogin:
    """The service account's token, which Kubernetes replaces in its file from time to time."""

    role: str
    jwt_file: Path
    mount: str = "kubernetes"

    def enter(self, wire: Wire) -> Grant:
        """See `Login.enter`."""
        try:
            # Kubernetes chooses its mode, and others in the same pod may read it.
            with self.jwt_file.open("rb") as file:
                jwt = Secret(file.read(_LIMIT).strip())
        except OSError as error:
            raise _unreadable(wire.use, "service account's token", self.jwt_file, error) from None
        api = Kubernetes(adapter=wire)
        return _grant(api.login(self.role, _text(jwt), use_token=False, mount_point=self.mount))


@dataclass(frozen=True)
class CertLogin:
    """The client certificate of the wire, whose key is in `key_file`. `role` empty: any role that takes it."""

    key_file: Path
    role: str = ""
    mount: str = "cert"

    def enter(self, wire: Wire) -> Grant:
        """See `Login.enter`."""
        _private(wire.use, "key of the client certificate", self.key_file)
        wire.close()  # a connection keeps the certificate that it was made with; the file may have a newer one
        return _grant(Cert(adapter=wire).login(self.role, use_token=False, mount_point=self.mount))


@dataclass(frozen=True)
class Held:
    """A token in use, with moments of the monotonic clock; `number` counts logins."""

    grant: Grant
    number: int
    renew_at: float = float("inf")
    ends_at: float = float("inf")


class Admission:
    """The token of one process, shared by its threads: got when first needed, renewed in good time, replaced."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._lock = threading.Lock()
        self._held: Held | None = None
        self._failure: KeyStoreError | None = None  # of the last login that failed

    def current(self, wire: Wire) -> Held:
        """A token that should be good, put on the wire. Raises as `Login.enter`."""
        held = self._held
        if held is None or time.monotonic() >= held.ends_at:
            held = self._replaced(wire, held)
        elif time.monotonic() >= held.renew_at and self._lock.acquire(blocking=False):
            # The others go on with the old token meanwhile.
            try:
                held = self._renewed(wire, held)
            finally:
                self._lock.release()
        wire.token = _text(held.grant.token)
        return held

    def is_gone(self, wire: Wire, held: Held) -> bool:
        """After a 403: whether the token is at fault, and not the policy."""
        if self._held is not held:
            return True
        wire.token = _text(held.grant.token)
        answer: Answer = Token(adapter=wire).lookup_self()
        return answer.status == 403

    def renew(self, wire: Wire, lost: Held) -> Held:
        """Another token, put on the wire, in the place of one that is not taken any more."""
        held = self._replaced(wire, lost)
        wire.token = _text(held.grant.token)
        return held

    def _replaced(self, wire: Wire, old: Held | None) -> Held:
        before = self._failure
        with self._lock:
            if self._held is not None and self._held is not old:
                return self._held  # another thread was here first
            if self._failure is not None and self._failure is not before:
                # It failed while this one waited. Each trying in turn, the last would wait for all their timeouts.
                raise _copy(self._failure)
            try:
                self._held = self._enter(wire, old)
            except KeyStoreError as error:
                self._failure = _copy(error)
                raise
            return self._held

    def _enter(self, wire: Wire, old: Held | None) -> Held:
        wire.token = None
        return _held(self._login.enter(wire), number=old.number + 1 if old else 1)

    def _renewed(self, wire: Wire, held: Held) -> Held:
        if self._held is not held and self._held is not None:
            return self._held
        try:
            fresh = self._prolonged(wire, held)
        except KeyStoreError as error:
            passes = isinstance(error, wire.use.away)
            fresh = replace(held, renew_at=_later(held, _AGAIN_AFTER)) if passes else None
        if fresh is None:
            try:
                fresh = self._enter(wire, held)
            except KeyStoreError:  # the old one is still good for a while
                fresh = replace(held, renew_at=_later(held, _AGAIN_AFTER))
        self._held = fresh
        return fresh

    def _prolonged(self, wire: Wire, held: Held) -> Held | None:
        """The same token with a longer life; None where its last days have come."""
        if not held.grant.renewable:
            return None
        wire.token = _text(held.grant.token)
        grant = _grant(Token(adapter=wire).renew_self())
        if grant.seconds < held.grant.seconds / 2:  # the most that it may live is near
            return None
        longer = _held(grant, number=held.number)
        return replace(longer, grant=replace(held.grant, seconds=held.grant.seconds))


def _copy(error: KeyStoreError) -> KeyStoreError:
    """The same error without its traceback, which belongs to one thread."""
    return type(error)(error.message, next_step=error.next_step, details=error.details)


def _held(grant: Grant, *, number: int) -> Held:
    if not grant.seconds:
        return Held(grant, number)
    now = time.monotonic()
    return Held(grant, number, now + grant.seconds * _RENEW_AFTER, now + grant.seconds)


def _later(held: Held, part: float) -> float:
    return time.monotonic() + held.grant.seconds * part


def _grant(answer: Answer) -> Grant:
    """The token in an answer to a login or a renewal."""
    if answer.status in {400, 401, 403, 404}:
        said = "The store refuses our login."
        raise answer.use.error(Trouble.LOGIN, said, {"status": answer.status})
    auth = require(answer, "let us log in").part("auth")
    token = auth.get("client_token")
    if not isinstance(token, str) or not token:
        raise answer.use.error(Trouble.LOGIN, "The store lets us in without a token.")
    seconds, renewable = _number(auth.get("lease_duration")), auth.get("renewable") is True
    return Grant(Secret(token), seconds, renewable)


def _private(use: Use, what: str, file: Path) -> Secret:
    try:
        return Secret(read_private(file, _LIMIT).strip())
    except OSError as error:
        raise _unreadable(use, what, file, error) from None
    except KeyStoreError as error:
        raise use.error(
            Trouble.CREDENTIAL,
            f"The {what}: {error.message}",
            error.details,
            next_step=error.next_step,
        ) from None


def _unreadable(use: Use, what: str, file: Path, error: OSError) -> KeyStoreError:
    reason = os.strerror(error.errno or 0)
    return use.error(Trouble.CREDENTIAL, f"The {what} in {file} cannot be read: {reason}.")


def _text(secret: Secret) -> str:
    # Any octets are text in this encoding, so that no error can show them.
    return secret.reveal().decode("latin-1")


def _header(use: Use, token: Secret, what: str) -> str:
    """The token as it goes into a header, which cannot hold everything that a file can."""
    text = _text(token)
    if not text or not text.isascii() or not text.isprintable():
        raise use.error(Trouble.CREDENTIAL, f"The {what} is empty, or none at all.")
    return text


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0
