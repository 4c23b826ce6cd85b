"""Stores of secrets and keys on the tests' OpenBao: each under the policy that `ikewarden vault policy` prints."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from hsm.transitstore import TransitKeyStore
from hsm.vaultlogin import AppRoleLogin, Login, TokenLogin
from hsm.vaultpolicy import as_hcl, make_key_policy, make_policy
from hsm.vaultstore import VaultSecretStore
from hsm.vaultwire import Address
from tests.fixtures.openbao import OpenBao, Role

TEMPLATE = "ikewarden/{tunnel}/{kind}"


def our_policy(openbao: OpenBao, mount: str, namespace: str | None = None) -> str:
    """Load it; gives its name."""
    text = as_hcl(make_policy(mount, TEMPLATE, ["psk", "ppk"]))
    return openbao.policy(text, namespace)


def our_key_policy(openbao: OpenBao, mount: str, namespace: str | None = None) -> str:
    """The same for signing keys."""
    return openbao.policy(as_hcl(make_key_policy(mount)), namespace)


def given(token: str) -> TokenLogin:
    """A login by a token out of the environment."""
    return TokenLogin(None, "VAULT_TOKEN", {"VAULT_TOKEN": token})


@contextlib.contextmanager
def hurried(store: TransitKeyStore | VaultSecretStore, seconds: float = 0.5) -> Iterator[None]:
    """This thread waits no longer than that for an answer; what is done before and after has time."""
    how = store.session.here().wire()._kwargs
    before, how["timeout"] = how["timeout"], seconds
    try:
        yield
    finally:
        how["timeout"] = before


def open_with_token(openbao: OpenBao, mount: str) -> VaultSecretStore:
    """A store that uses a token of its own, with our policy."""
    token = openbao.new_token(our_policy(openbao, mount))
    return VaultSecretStore(Address(openbao.url, timeout=60.0), given(token), mount=mount)


def open_with_role(openbao: OpenBao, mount: str, **fields: object) -> tuple[VaultSecretStore, Role]:
    """A store that logs in by a role of its own, with our policy; and the role."""
    method = openbao.method("approle")
    role = openbao.role(method, token_policies=[our_policy(openbao, mount)], **fields)
    login: Login = AppRoleLogin(role.role_id, role.secret_id_file, method)
    return VaultSecretStore(Address(openbao.url, timeout=60.0), login, mount=mount), role


def open_keys(
    openbao: OpenBao, mount: str, url: str = "", timeout: float = 60.0
) -> TransitKeyStore:
    """A key store that uses a token of its own, with our policy; through a proxy at `url`, if there is one."""
    token = openbao.new_token(our_key_policy(openbao, mount))
    return TransitKeyStore(Address(url or openbao.url, timeout=timeout), given(token), mount=mount)


def open_keys_with_role(
    openbao: OpenBao, mount: str, **fields: object
) -> tuple[TransitKeyStore, str]:
    """A key store that logs in by a role of its own, with our policy; and where the role is."""
    method = openbao.method("approle")
    role = openbao.role(method, token_policies=[our_key_policy(openbao, mount)], **fields)
    login: Login = AppRoleLogin(role.role_id, role.secret_id_file, method)
    return TransitKeyStore(Address(openbao.url, timeout=60.0), login, mount=mount), method


def key_settings(openbao: OpenBao, mount: str, **role: object) -> str:
    """The table [keys.transit] of a service that logs in by a role of its own, with our policy."""
    method = openbao.method("approle")
    made = openbao.role(method, token_policies=[our_key_policy(openbao, mount)], **role)
    return f"""
[keys.transit]
url = "{openbao.url}"
mount = "{mount}"
auth_mount = "{method}"
role_id = "{made.role_id}"
secret_id_file = "{made.secret_id_file}"
"""


class Between:
    """A proxy of ours between a store and its server: it can hold answers back, drop them, or lie.

    `delay` seconds pass before an answer goes on; `lost`: the connection is cut in its place; `canned` is sent
    instead of asking anybody. `asked` counts requests (one packet each, as they are small).
    """

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._server = (host, int(port))
        self.delay = 0.0
        self.lost = False
        self.canned = b""
        self.asked = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            with socket.create_connection(self._server) as server:
                while request := _message(client):
                    self.asked += 1
                    if self.canned:
                        client.sendall(self.canned)
                        return
                    server.sendall(request)
                    answer = _message(server)
                    time.sleep(self.delay)
                    if self.lost:
                        return
                    client.sendall(answer)


def _message(source: socket.socket) -> bytes:
    """One request or answer: a head, and a body of the length that the head says."""
    got = b""
    while b"\r\n\r\n" not in got:
        more = source.recv(65536)
        if not more:
            return b""
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = (int(lengths[0].split(b":")[1]) if lengths else 0) - len(body)
    while missing > 0:
        more = source.recv(missing)
        got, missing = got + more, missing - len(more)
    return got


@contextlib.contextmanager
def between(url: str) -> Iterator[Between]:
    """Such a proxy, while the body runs."""
    made = Between(url)
    try:
        yield made
    finally:
        made.close()
