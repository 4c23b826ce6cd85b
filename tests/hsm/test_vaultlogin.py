"""Ways into Vault and OpenBao, and what happens when the token ends, is taken away, or was never good."""

import base64
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from hsm.secretstore import CredentialUnusable, SecretStoreRefused, SecretStoreUnavailable
from hsm.transitstore import TransitKeyStore
from hsm.vaultlogin import (
    AppRoleLogin,
    CertLogin,
    KubernetesLogin,
    Login,
    TokenLogin,
)
from hsm.vaultpolicy import as_hcl, make_policy
from hsm.vaultstore import VaultSecretStore
from hsm.vaultwire import Address
from tests.fixtures.openbao import Identity, OpenBao, make_identity
from tests.hsm.secretcontract import CANARY, PATH, in_children, put, told, value_of
from tests.hsm.vaults import (
    TEMPLATE,
    between,
    given,
    open_with_role,
    open_with_token,
    our_key_policy,
    our_policy,
)


@pytest.fixture
def mount(openbao: OpenBao) -> str:
    return openbao.engine()


def private(path: Path, content: str, mode: int = 0o600) -> Path:
    path.touch(mode)
    path.chmod(mode)
    path.write_text(content)
    return path


# ----------------------------------------------------------------- a token


def test_a_token_from_a_file_or_a_variable(openbao: OpenBao, mount: str, tmp_path: Path) -> None:
    token = openbao.new_token(our_policy(openbao, mount))
    file = private(tmp_path / "token", f"{token}\n")
    for login in (
        TokenLogin(file, "VAULT_TOKEN", {"VAULT_TOKEN": "not looked at"}),
        TokenLogin(None, "VAULT_TOKEN", {"VAULT_TOKEN": token}),
    ):
        VaultSecretStore(Address(openbao.url), login, mount=mount).check()
        assert token not in repr(login)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_credential_that_others_can_read_is_refused(
    openbao: OpenBao, tmp_path: Path, mode: int
) -> None:
    file = private(tmp_path / "credential", "s.t0ken", mode)
    for login in (TokenLogin(file, "X", {}), AppRoleLogin("role", file), CertLogin(file)):
        with pytest.raises(CredentialUnusable) as refusal:
            VaultSecretStore(Address(openbao.url), login, mount="secret").check()
        assert refusal.value.next_step == f"Run: chmod 0600 '{file}'"


@pytest.mark.parametrize("content", ["", "\n", "two\nlines", "tokén", "x\0"])
def test_what_is_no_token_is_refused(openbao: OpenBao, tmp_path: Path, content: str) -> None:
    file = private(tmp_path / "token", content)
    with pytest.raises(CredentialUnusable):
        VaultSecretStore(Address(openbao.url), TokenLogin(file, "X", {}), mount="kv").check()


def test_a_missing_credential_is_told_with_its_place(openbao: OpenBao, tmp_path: Path) -> None:
    file = tmp_path / "nowhere"
    for login in (
        TokenLogin(file, "X", {}),
        AppRoleLogin("role", file),
        KubernetesLogin("role", file),
    ):
        with pytest.raises(CredentialUnusable, match=str(file)):
            VaultSecretStore(Address(openbao.url), login, mount="secret").check()
    with pytest.raises(CredentialUnusable):
        VaultSecretStore(Address(openbao.url), TokenLogin(None, "X", {}), mount="secret").check()


def test_a_token_that_somebody_replaces_in_its_file(
    openbao: OpenBao, mount: str, tmp_path: Path
) -> None:
    policy = our_policy(openbao, mount)
    first, second = openbao.new_token(policy), openbao.new_token(policy)
    file = private(tmp_path / "token", first)
    store = VaultSecretStore(Address(openbao.url), TokenLogin(file, "X", {}), mount=mount)
    put(store)
    openbao.call("POST", "auth/token/revoke", {"token": first})
    with pytest.raises(SecretStoreRefused):
        store.get(PATH)
    file.write_text(second)
    assert value_of(store) == CANARY


def test_a_token_that_may_not_look_at_itself_is_used_as_it_is(openbao: OpenBao, mount: str) -> None:
    token = openbao.new_token(our_policy(openbao, mount), no_default_policy=True)
    store = VaultSecretStore(Address(openbao.url), given(token), mount=mount)
    put(store)
    with pytest.raises(SecretStoreRefused):
        store.get("elsewhere")
    assert value_of(store) == CANARY


def outlives(opened: Callable[[], VaultSecretStore]) -> None:
    """A store is used for longer than its token of three seconds lives. If the machine stands still for longer than
    is left from renewal to the end, that shows nothing, and is done again.
    """
    for _ in range(10):
        last, stood_still = time.monotonic(), False
        store = opened()
        try:
            for _ in range(12):
                time.sleep(0.5)
                stood_still = stood_still or time.monotonic() - last > 0.9
                assert value_of(store) == CANARY
                stood_still = stood_still or time.monotonic() - last > 0.9
                last = time.monotonic()
        except SecretStoreRefused:
            if not stood_still and time.monotonic() - last < 0.9:
                raise
        else:
            return
    pytest.fail("the machine stood still again and again")


def test_a_token_is_renewed_before_it_ends(openbao: OpenBao, mount: str) -> None:
    policy = our_policy(openbao, mount)

    def opened() -> VaultSecretStore:
        token = openbao.new_token(policy, ttl="3s", renewable=True)
        return VaultSecretStore(Address(openbao.url), given(token), mount=mount)

    put(opened())
    outlives(opened)


# ----------------------------------------------------------------- AppRole


def test_an_approle_logs_in_once_and_renews(openbao: OpenBao, mount: str) -> None:
    put(open_with_token(openbao, mount))

    def opened() -> VaultSecretStore:
        store, role = open_with_role(openbao, mount, token_ttl="3s", secret_id_num_uses=1)
        assert value_of(store) == CANARY
        role.secret_id_file.unlink()  # from here on there is only renewal
        return store

    outlives(opened)


def test_where_renewal_ends_a_new_login_begins(openbao: OpenBao, mount: str) -> None:
    store, _ = open_with_role(openbao, mount, token_ttl="2s", token_max_ttl="4s")
    put(store)
    for _ in range(20):
        time.sleep(0.3)
        assert value_of(store) == CANARY


def test_a_token_that_cannot_be_renewed_is_replaced(openbao: OpenBao, mount: str) -> None:
    store, _ = open_with_role(openbao, mount, token_ttl="2s", token_type="batch")
    put(store)
    for _ in range(10):
        time.sleep(0.3)
        assert value_of(store) == CANARY


def test_a_token_that_was_not_used_until_its_end_is_replaced(openbao: OpenBao, mount: str) -> None:
    store, _ = open_with_role(openbao, mount, token_ttl="1s")
    put(store)
    time.sleep(1.5)
    assert value_of(store) == CANARY


def test_a_token_revoked_in_the_midst_of_work_is_replaced(openbao: OpenBao, mount: str) -> None:
    store, role = open_with_role(openbao, mount)
    method = role_mount(store)
    put(store)
    for number in range(1, 4):
        openbao.call("POST", f"sys/leases/revoke-prefix/auth/{method}/login", {"sync": True})
        assert put(store, after=number) == number + 1  # and not twice
    assert len(store.versions(PATH)) == 4
    role.secret_id_file.write_text("somebody took it away")
    openbao.call("POST", f"sys/leases/revoke-prefix/auth/{method}/login", {"sync": True})
    with pytest.raises(SecretStoreRefused, match="refuses our login") as refusal:
        store.get(PATH)
    assert "auth_mount" in refusal.value.next_step


def role_mount(store: VaultSecretStore) -> str:
    login = store.session.login
    assert isinstance(login, AppRoleLogin)
    return login.mount


def test_a_path_that_is_not_ours_costs_no_login(openbao: OpenBao, mount: str) -> None:
    store, _ = open_with_role(openbao, mount, secret_id_num_uses=1)
    put(store)
    for _ in range(5):
        with pytest.raises(SecretStoreRefused, match="does not let us read"):
            store.get("elsewhere/a/psk")
    assert value_of(store) == CANARY


def test_a_renewal_that_fails_for_a_while_stops_nobody(openbao: OpenBao, mount: str) -> None:
    made, role = open_with_role(openbao, mount, token_ttl="30s")
    with between(openbao.url) as proxy:
        login = AppRoleLogin(role.role_id, role.secret_id_file, role_mount(made))
        store = VaultSecretStore(Address(proxy.url), login, mount=mount)
        put(store)
        admission = store.session.here().admission
        wire = store.session.here().wire()
        held = admission.current(wire)
        object.__setattr__(held, "renew_at", 0.0)  # as if 20 seconds had passed
        proxy.canned = b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"
        later = admission.current(wire)
        assert later.grant.token is held.grant.token
        assert later.renew_at > time.monotonic()
        proxy.canned = b""
        assert value_of(store) == CANARY


@pytest.mark.parametrize("what", ["role", "secret", "mount"])
def test_a_login_that_fails_is_told(
    openbao: OpenBao, mount: str, tmp_path: Path, what: str
) -> None:
    made, role = open_with_role(openbao, mount)
    wrong = private(tmp_path / "wrong", "wr0ng-s3cret")
    login = AppRoleLogin(
        "wrong" if what == "role" else role.role_id,
        wrong if what == "secret" else role.secret_id_file,
        "nowhere" if what == "mount" else role_mount(made),
    )
    store = VaultSecretStore(Address(openbao.url), login, mount=mount)
    with pytest.raises(SecretStoreRefused) as refusal:
        store.check()
    assert refusal.value.next_step
    assert "wr0ng-s3cret" not in told(refusal.value)
    assert role.secret_id_file.read_text().strip() not in told(refusal.value)


def test_each_process_logs_in_for_itself(openbao: OpenBao, mount: str, tmp_path: Path) -> None:
    store, _ = open_with_role(openbao, mount)
    put(store)
    lock = store.session.here().admission._lock
    with lock:  # as if another thread had been at it when we forked
        found = in_children(2, lambda _: value_of(store).decode(), tmp_path / "results")
    assert found == [CANARY.decode()] * 2
    assert value_of(store) == CANARY


# ----------------------------------------------------------------- namespaces, TLS


def test_a_namespace(openbao: OpenBao) -> None:
    openbao.call("POST", "sys/namespaces/team")
    mount = openbao.engine(namespace="team")
    method = openbao.method("approle", namespace="team")
    policy = our_policy(openbao, mount, namespace="team")
    role = openbao.role(method, namespace="team", token_policies=[policy])
    login = AppRoleLogin(role.role_id, role.secret_id_file, method)
    store = VaultSecretStore(Address(openbao.url, namespace="team"), login, mount=mount)
    put(store)
    store.check()
    assert value_of(store) == CANARY
    with pytest.raises(SecretStoreRefused):
        VaultSecretStore(Address(openbao.url), login, mount=mount).check()


@pytest.fixture
def client(tmp_path: Path) -> Identity:
    return make_identity(tmp_path, "client")


def with_certificate(openbao: OpenBao, client: Identity, mount: str) -> tuple[Address, Login]:
    method = openbao.method("cert")
    fields = {
        "certificate": client.certificate.read_text(),
        "token_policies": [our_policy(openbao, mount)],
    }
    openbao.call("POST", f"auth/{method}/certs/ikewarden", fields)
    address = Address(
        openbao.tls_url,
        ca_file=openbao.identity.certificate,
        certificate=client.certificate,
        key=client.key,
    )
    return address, CertLogin(client.key, "ikewarden", method)


def test_a_client_certificate(openbao: OpenBao, client: Identity, mount: str) -> None:
    address, login = with_certificate(openbao, client, mount)
    store = VaultSecretStore(address, login, mount=mount)
    put(store)
    assert value_of(store) == CANARY
    assert isinstance(login, CertLogin)
    any_role = VaultSecretStore(address, CertLogin(client.key, "", login.mount), mount=mount)
    assert value_of(any_role) == CANARY


def test_a_client_certificate_that_was_renewed_is_used_at_the_next_login(
    openbao: OpenBao, client: Identity, mount: str, tmp_path: Path
) -> None:
    address, login = with_certificate(openbao, client, mount)
    store = VaultSecretStore(address, login, mount=mount)
    put(store)
    assert isinstance(login, CertLogin)
    make_identity(tmp_path, "client")  # into the same files
    fields = {
        "certificate": client.certificate.read_text(),
        "token_policies": [our_policy(openbao, mount)],
    }
    openbao.call("POST", f"auth/{login.mount}/certs/ikewarden", fields)
    openbao.call("POST", f"sys/leases/revoke-prefix/auth/{login.mount}/login", {"sync": True})
    assert value_of(store) == CANARY


def test_a_server_that_cannot_prove_itself_gets_nothing(
    openbao: OpenBao, client: Identity, mount: str, tmp_path: Path
) -> None:
    wrong = make_identity(tmp_path, "other").certificate
    empty = private(tmp_path / "empty.pem", "")
    for ca_file, words in (
        (wrong, "trust"),
        (None, "trust"),
        (tmp_path / "no.pem", "certificate file"),
        (empty, "certificate"),
    ):
        address = Address(openbao.tls_url, ca_file=ca_file)
        with pytest.raises(SecretStoreUnavailable, match=words) as refusal:
            VaultSecretStore(address, given(openbao.token), mount=mount).check()
        assert "ca_file" in refusal.value.next_step
        assert openbao.token not in told(refusal.value)


def test_a_certificate_that_no_role_takes(openbao: OpenBao, mount: str, tmp_path: Path) -> None:
    client = make_identity(tmp_path, "client")
    address, login = with_certificate(openbao, client, mount)
    other = make_identity(tmp_path, "other")
    address = Address(
        address.url, ca_file=address.ca_file, certificate=other.certificate, key=other.key
    )
    with pytest.raises(SecretStoreRefused, match="refuses our login"):
        VaultSecretStore(address, login, mount=mount).check()


# ----------------------------------------------------------------- Kubernetes


@pytest.fixture
def kubernetes() -> Iterator[str]:
    """URL of the one thing that the server asks of a cluster: whether a service account's token is good."""

    class Review(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            good = asked["spec"]["token"].endswith(".good")
            user = {"username": "system:serviceaccount:fleet:ikewarden", "uid": "u-1"}
            status = {"authenticated": good, "user": user if good else {}}
            body = json.dumps(
                {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}
            ).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Review)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def service_account_token(signature: str | None = None) -> str:
    """A service account's token, signed by a key that is made for it; or with another signature."""
    claims = {
        "iss": "kubernetes/serviceaccount",
        "sub": "system:serviceaccount:fleet:ikewarden",
        "kubernetes.io": {
            "namespace": "fleet",
            "serviceaccount": {"name": "ikewarden", "uid": "u-1"},
        },
        "exp": int(time.time()) + 10**9,
        "iat": 1_600_000_000,
        "nbf": 1_600_000_000,
    }
    signed = ".".join(map(_url64, ({"alg": "ES256", "typ": "JWT"}, claims)))
    if signature is not None:
        return f"{signed}.{signature}"
    der = ec.generate_private_key(ec.SECP256R1()).sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
    raw = b"".join(part.to_bytes(32, "big") for part in decode_dss_signature(der))
    return f"{signed}.{base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"


def _url64(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_a_service_account_of_kubernetes(
    openbao: OpenBao, mount: str, kubernetes: str, tmp_path: Path
) -> None:
    method, engine = openbao.method("kubernetes"), openbao.transit()
    openbao.call(
        "POST",
        f"auth/{method}/config",
        {
            "kubernetes_host": kubernetes,
            "kubernetes_ca_cert": openbao.identity.certificate.read_text(),
            "disable_local_ca_jwt": True,
        },
    )
    openbao.call(
        "POST",
        f"auth/{method}/role/ikewarden",
        {
            "bound_service_account_names": ["ikewarden"],
            "bound_service_account_namespaces": ["fleet"],
            "token_policies": [our_policy(openbao, mount), our_key_policy(openbao, engine)],
        },
    )
    file = private(tmp_path / "jwt", service_account_token("good"), 0o644)
    login = KubernetesLogin("ikewarden", file, method)
    store = VaultSecretStore(Address(openbao.url), login, mount=mount)
    put(store)
    assert value_of(store) == CANARY
    keys = TransitKeyStore(Address(openbao.url), login, mount=engine)
    keys.open(keys.generate("ca-root", "ec-p256"))
    file.write_text(service_account_token())
    with pytest.raises(SecretStoreRefused, match="refuses our login") as refusal:
        VaultSecretStore(Address(openbao.url), login, mount=mount).check()
    assert file.read_text() not in told(refusal.value)


def test_the_policy_is_what_the_tests_use() -> None:
    assert 'path "kv1/data/ikewarden/+/psk"' in as_hcl(make_policy("kv1", TEMPLATE, ["psk"]))
