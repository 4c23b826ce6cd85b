"""Vault's and OpenBao's bad days: sealed, gone, slow, refusing, over its quota, not what it should be."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core.secret import Secret
from hsm.secretstore import (
    SecretNotFound,
    SecretStore,
    SecretStoreRefused,
    SecretStoreUnavailable,
)
from hsm.vaultlogin import AppRoleLogin, TokenLogin
from hsm.vaultpolicy import as_document, as_hcl, make_policy
from hsm.vaultstore import VaultSecretStore
from hsm.vaultwire import Address
from tests.fixtures.openbao import OpenBao
from tests.fixtures.ports import free_ports
from tests.hsm.secretcontract import CANARY, OTHER, PATH, put, states, told, value_of
from tests.hsm.vaults import (
    TEMPLATE,
    Between,
    between,
    given,
    hurried,
    open_with_role,
    open_with_token,
    our_policy,
)

HTML = b"HTTP/1.1 %d X\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"


@pytest.fixture
def mount(openbao: OpenBao) -> str:
    return openbao.engine()


@pytest.fixture
def store(openbao: OpenBao, mount: str) -> VaultSecretStore:
    return open_with_token(openbao, mount)


def acts(store: SecretStore) -> list[Callable[[], object]]:
    """Everything that can be asked of a store."""
    return [
        store.check,
        lambda: put(store, after=1),
        lambda: store.get(PATH),
        lambda: store.versions(PATH),
        lambda: store.delete(PATH, 1),
        lambda: store.undelete(PATH, 1),
        lambda: store.destroy(PATH, 1),
        lambda: store.forget(PATH),
    ]


def all_raise(
    store: SecretStore, wanted: type[SecretStoreUnavailable | SecretStoreRefused], words: str
) -> None:
    for act in acts(store):
        with pytest.raises(wanted, match=words) as refusal:
            act()
        assert refusal.value.next_step
        assert CANARY.decode() not in told(refusal.value)


# ----------------------------------------------------------------- the policy


def test_the_policy_is_enough_and_not_more(openbao: OpenBao, mount: str) -> None:
    token = openbao.new_token(our_policy(openbao, mount))
    store = VaultSecretStore(Address(openbao.url), given(token), mount=mount)
    put(store)
    for act in acts(store):
        act()
    root = VaultSecretStore(Address(openbao.url), given(openbao.token), mount=mount)
    other_mount = openbao.engine()
    for path in ("ikewarden/a/key", "ikewarden/psk", "ikewarden/a/b/psk", "elsewhere/a/psk", "x"):
        put(root, path=path)
        for act in (lambda p=path: store.get(p), lambda p=path: put(store, after=1, path=p)):
            with pytest.raises(SecretStoreRefused):
                act()
    for method, place in (
        ("LIST", f"{mount}/metadata"),
        ("LIST", f"{mount}/metadata/ikewarden"),
        ("POST", f"{mount}/metadata/{PATH}"),
        ("DELETE", f"{mount}/data/{PATH}"),
        ("GET", f"{mount}/metadata/ikewarden/fingerprint-key"),
        ("DELETE", f"{mount}/metadata/ikewarden/fingerprint-key"),
        ("GET", f"{mount}/config"),
        ("POST", f"{mount}/config"),
        ("GET", f"{other_mount}/data/{PATH}"),
        ("GET", "sys/mounts"),
        ("GET", "sys/policies/acl"),
        ("GET", "sys/auth"),
        ("POST", "auth/token/create"),
    ):
        status, _ = openbao.ask(method, place, {} if method == "POST" else None, token=token)
        assert status == 403, place


def test_every_line_of_the_policy_is_needed(openbao: OpenBao, mount: str) -> None:
    whole = make_policy(mount, TEMPLATE, ["psk"])
    root = VaultSecretStore(Address(openbao.url), given(openbao.token), mount=mount)
    for path, can in whole.items():
        for gone in can:
            less = dict(whole) | {path: tuple(each for each in can if each != gone)}
            token = openbao.new_token(openbao.policy(as_hcl(less)))
            store = VaultSecretStore(Address(openbao.url), given(token), mount=mount)
            root.forget(PATH)
            refused = 0
            for act in (lambda: put(store), *acts(store)):  # noqa: B023 - called at once
                try:
                    act()
                except SecretStoreRefused:
                    refused += 1
                except SecretNotFound:
                    pass
            if "fingerprint-key" not in path or gone == "read":
                assert refused, (path, gone)


def test_the_policy_knows_templates_of_other_shapes() -> None:
    made = make_policy("kv/team", "x-{tunnel}.{kind}", ["psk"])
    assert set(as_document(made)["path"]) == {  # type: ignore[call-overload]
        *(f"kv/team/{route}/+" for route in ("data", "metadata", "delete", "undelete", "destroy")),
        "kv/team/data/ikewarden/fingerprint-key",
    }


# ----------------------------------------------------------------- away


def test_a_sealed_server_is_unavailable_and_then_goes_on(
    openbao: OpenBao, store: VaultSecretStore
) -> None:
    put(store)
    with openbao.sealed():
        all_raise(store, SecretStoreUnavailable, "sealed")
        with pytest.raises(SecretStoreUnavailable, match="sealed"):
            VaultSecretStore(Address(openbao.url), given("s.t0ken"), mount="kv1").check()
    assert value_of(store) == CANARY


def test_nobody_listens() -> None:
    [port] = free_ports(1)
    store = VaultSecretStore(Address(f"http://127.0.0.1:{port}"), given("s.t0ken"), mount="secret")
    all_raise(store, SecretStoreUnavailable, "cannot be reached")


def test_an_answer_that_takes_too_long(openbao: OpenBao, mount: str) -> None:
    token = openbao.new_token(our_policy(openbao, mount))
    with between(openbao.url) as proxy:
        store = VaultSecretStore(Address(proxy.url), given(token), mount=mount)
        put(store)
        proxy.delay = 1.5
        for act in acts(store)[:3]:
            before = proxy.asked
            with hurried(store), pytest.raises(SecretStoreUnavailable, match="in time"):
                act()
            assert proxy.asked - before == 1
        proxy.delay = 0.0
        assert value_of(store) == CANARY


@pytest.mark.parametrize("how", ["slow", "cut"])
def test_a_write_that_was_not_answered_may_have_been_done(
    openbao: OpenBao, mount: str, how: str
) -> None:
    token = openbao.new_token(our_policy(openbao, mount))
    with between(openbao.url) as proxy:
        store = VaultSecretStore(Address(proxy.url), given(token), mount=mount)
        store.check()
        proxy.delay, proxy.lost = (1.0, False) if how == "slow" else (0.0, True)
        with hurried(store), pytest.raises(SecretStoreUnavailable) as refusal:
            store.put(PATH, Secret(CANARY), after=0, tags={"rotation": "42"})
        assert CANARY.decode() not in told(refusal.value)
        assert token not in told(refusal.value)
        proxy.delay, proxy.lost = 0.0, False
        assert dict(store.get(PATH).tags) == {"rotation": "42"}  # by which the caller knows its own
        assert len(store.versions(PATH)) == 1  # it was not written twice


def test_a_read_whose_connection_breaks_is_asked_again(openbao: OpenBao, mount: str) -> None:
    token = openbao.new_token(our_policy(openbao, mount))
    with between(openbao.url) as proxy:
        store = VaultSecretStore(Address(proxy.url), given(token), mount=mount)
        put(store)
        proxy.lost = True
        asked = proxy.asked
        with pytest.raises(SecretStoreUnavailable):
            store.get(PATH)
        assert proxy.asked - asked == 2
        with pytest.raises(SecretStoreUnavailable):
            store.destroy(PATH, 1)
        assert proxy.asked - asked == 3


@pytest.mark.parametrize(
    ("canned", "wanted", "words"),
    [
        (HTML % 502, SecretStoreUnavailable, "status 502"),
        (HTML % 500, SecretStoreUnavailable, "status 500"),
        (HTML % 503, SecretStoreUnavailable, "out of service"),
        (HTML % 501, SecretStoreUnavailable, "not initialized"),
        (HTML % 473, SecretStoreUnavailable, "standby"),
        (HTML % 412, SecretStoreUnavailable, "status 412"),
        (HTML % 429, SecretStoreUnavailable, "quota"),
        (
            b"HTTP/1.1 307 X\r\nLocation: http://192.0.2.1/v1/\r\nContent-Length: 0\r\n\r\n",
            SecretStoreUnavailable,
            "standby",
        ),
        (HTML % 200, SecretStoreRefused, "version 2"),
        (HTML % 405, SecretStoreRefused, "status 405"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", SecretStoreUnavailable, "cannot be reached"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", SecretStoreUnavailable, "reached"),
    ],
)
def test_answers_of_other_kinds(
    openbao: OpenBao, mount: str, canned: bytes, wanted: type[SecretStoreUnavailable], words: str
) -> None:
    with between(openbao.url) as proxy:
        proxy.canned = canned
        store = VaultSecretStore(Address(proxy.url), given("s.t0ken"), mount=mount)
        with pytest.raises(wanted, match=words):
            put(store)


def test_a_quota_is_honoured(openbao: OpenBao, mount: str, store: VaultSecretStore) -> None:
    put(store)
    with openbao.quota(f"{mount}/", 2):
        found = [outcome(lambda: store.get(PATH)) for _ in range(6)]
    assert found.count("done") == 2
    assert found.count("secret_store_unavailable") == 4
    with between(openbao.url) as proxy:
        proxy.canned = b"HTTP/1.1 429 X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
        asking = VaultSecretStore(Address(proxy.url), given("s.t0ken"), mount=mount)
        with pytest.raises(SecretStoreUnavailable) as refusal:
            asking.get(PATH)
        assert refusal.value.details == {"status": 429, "retry_after": 7}


def outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except SecretStoreUnavailable as error:
        return error.code
    return "done"


# ----------------------------------------------------------------- not what it should be


def test_version_1_of_the_engine_is_told_and_gets_nothing(openbao: OpenBao) -> None:
    old = openbao.engine(version=1)
    store = VaultSecretStore(Address(openbao.url), given(openbao.token), mount=old)
    for act in (store.check, lambda: put(store)):
        with pytest.raises(SecretStoreRefused, match="no KV engine of version 2") as refusal:
            act()
        assert f"enable-versioning {old}" in refusal.value.next_step
    assert openbao.ask("LIST", old)[0] == 404


@pytest.mark.parametrize("mount", ["nowhere", "sys", "cubbyhole"])
def test_a_mount_that_is_none_is_told(openbao: OpenBao, mount: str) -> None:
    store = VaultSecretStore(Address(openbao.url), given(openbao.token), mount=mount)
    for act in (store.check, lambda: put(store)):
        with pytest.raises(SecretStoreRefused):
            act()


def test_what_somebody_else_did_is_told(openbao: OpenBao, mount: str) -> None:
    store = open_with_token(openbao, mount)
    put(store)
    openbao.call("POST", f"{mount}/destroy/{PATH}", {"versions": [1]})
    with pytest.raises(SecretNotFound) as refusal:
        store.get(PATH, 1)
    assert refusal.value.code == "secret_lost"
    for number, data in enumerate(
        ({"psk": "by hand"}, {"value": "not base64!", "tags": {}}, {"value": "eA==", "tags": 1}), 2
    ):
        openbao.call("POST", f"{mount}/data/{PATH}", {"data": data})
        with pytest.raises(SecretNotFound, match="not written by this service"):
            store.get(PATH, number)
    openbao.call("DELETE", f"{mount}/metadata/{PATH}")
    with pytest.raises(SecretNotFound):
        store.get(PATH)


def test_versions_that_the_engine_dropped_are_not_told(openbao: OpenBao, mount: str) -> None:
    openbao.call("POST", f"{mount}/config", {"max_versions": 2})
    store = open_with_token(openbao, mount)
    for after in range(4):
        put(store, after=after)
    assert [info.number for info in store.versions(PATH)] == [3, 4]
    with pytest.raises(SecretNotFound):
        store.get(PATH, 1)
    assert put(store, after=4) == 5


def test_a_version_that_will_be_deleted_later_is_there_now(openbao: OpenBao, mount: str) -> None:
    openbao.call("POST", f"{mount}/config", {"delete_version_after": "1h"})
    store = open_with_token(openbao, mount)
    put(store)
    assert [state.value for state in states(store)] == ["live"]
    store.delete(PATH, 1)
    assert [state.value for state in states(store)] == ["deleted"]


# ----------------------------------------------------------------- threads, logs


def test_many_threads_log_in_once(openbao: OpenBao, mount: str) -> None:
    with between(openbao.url) as proxy:
        made, role = open_with_role(openbao, mount)
        login = AppRoleLogin(role.role_id, role.secret_id_file, _mount_of(made))
        store = VaultSecretStore(Address(proxy.url), login, mount=mount)
        start = threading.Barrier(8)

        def work(number: int) -> None:
            start.wait()
            put(store, path=f"ikewarden/t{number}/psk")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        # One login, a look at the mount for each thread that was quick, a write each.
        assert proxy.asked <= 1 + 8 + 8
        assert len(store.versions("ikewarden/t7/psk")) == 1


def _mount_of(store: VaultSecretStore) -> str:
    login = store.session.login
    assert isinstance(login, AppRoleLogin)
    return login.mount


def test_nothing_secret_is_logged_or_told(
    openbao: OpenBao, mount: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = openbao.new_token(our_policy(openbao, mount))
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(token + "\n")
    caplog.set_level(logging.DEBUG)
    errors: list[BaseException] = []
    with between(openbao.url) as proxy:
        login = TokenLogin(file, "VAULT_TOKEN", {"VAULT_TOKEN": token})
        store = VaultSecretStore(Address(proxy.url), login, mount=mount)

        def bad_day() -> None:
            for act in (*acts(store), lambda: put(store, path=OTHER), lambda: put(store, path="x")):
                try:
                    with hurried(store):
                        act()
                except Exception as error:  # noqa: BLE001 - all of them are looked at
                    errors.append(error)

        put(store)
        bad_day()
        for proxy.canned in (
            HTML % 500,
            HTML % 200,
            HTML % 403,
            b"nonsense\r\n\r\n",
            _echo(200, token),
            _echo(400, token),
            _echo(403, token),
        ):
            bad_day()
        proxy.canned, proxy.lost = b"", True
        bad_day()
        proxy.lost, proxy.delay = False, 0.8
        bad_day()
        shown = [repr(store), repr(login), repr(vars(store)), *map(told, errors)]
        shown += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert len(errors) > 60
    for text in shown:
        assert token not in text
        assert CANARY.decode() not in text
        assert "Y2FuYXJ5LWMwZmZlZS12YWx1ZQ" not in text  # the canary in Base64


def _echo(status: int, token: str) -> bytes:
    """An answer of somebody who throws everything back at us."""
    body = f'{{"errors": ["{CANARY.decode()} {token}"], "data": "{CANARY.decode()}"}}'.encode()
    head = f"HTTP/1.1 {status} {token}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_the_proxy_of_these_tests_is_transparent(openbao: OpenBao, mount: str) -> None:
    proxy: Between
    with between(openbao.url) as proxy:
        token = openbao.new_token(our_policy(openbao, mount))
        put(VaultSecretStore(Address(proxy.url), given(token), mount=mount), bytes(4096))
        assert proxy.asked == 3  # a look at the token and at the mount, and the write
