"""Signing keys in a real OpenBao: what they may do, what keeps them from it, and what they outlive."""

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from core.errors import IkewardenError
from hsm.errors import BadKeyName, KeyAlgorithmUnknown, KeyExists, SignerUnavailable
from hsm.ports import KeyAlgorithm, KeyStore, PrivateKey
from hsm.transiterrors import KeyVersionGone, SignerRefused
from hsm.transitstore import TransitKeyStore
from hsm.vaultlogin import AppRoleLogin, CertLogin, TokenLogin
from hsm.vaultpolicy import as_hcl, make_key_policy
from hsm.vaultwire import Address
from tests.fixtures.openbao import OpenBao, make_identity
from tests.fixtures.ports import free_ports
from tests.hsm.contract import KeyStoreContract, certificate, spki
from tests.hsm.secretcontract import in_children, told
from tests.hsm.vaults import (
    between,
    given,
    hurried,
    open_keys,
    open_keys_with_role,
    our_key_policy,
)

SHA256 = ec.ECDSA(hashes.SHA256())
MESSAGE = b"to be signed"
# The connection is closed, and says so: a request on one that is closed without a word is not sent again.
CLOSE = b"Connection: close\r\n"
HTML = b"HTTP/1.1 %d X\r\n" + CLOSE + b"Content-Length: 13\r\n\r\n<html></html>"
# What a session of OpenBao under load meets: sealed, not there, there and not yet active.
AWAY = {"signer_sealed", "signer_unavailable", "signer_failing", "signer_slow", "signer_elsewhere"}


@pytest.fixture
def openbao(lasting_openbao: OpenBao) -> OpenBao:
    return lasting_openbao


@pytest.fixture
def mount(openbao: OpenBao) -> str:
    return openbao.transit()


@pytest.fixture
def keys(openbao: OpenBao, mount: str) -> TransitKeyStore:
    return open_keys(openbao, mount)


def sign(key: PrivateKey, message: bytes = MESSAGE) -> bytes:
    """By a P-256 key."""
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.sign(message, SHA256)


def code(act: Callable[[], object]) -> str:
    """What became of it: the code of its error, which must also say what to do."""
    try:
        act()
    except IkewardenError as error:
        return error.code if error.next_step else "no next step"
    return "done"


class TestContract(KeyStoreContract):
    algorithms: ClassVar[tuple[KeyAlgorithm, ...]] = (
        "ec-p256",
        "ec-p384",
        "ec-p521",
        "rsa-2048",
        "rsa-3072",
        "rsa-4096",
        "ed25519",
    )
    elsewhere = True

    @pytest.fixture
    def keys(self, openbao: OpenBao, mount: str) -> KeyStore:
        # As root: our own policy deletes no keys of other names than those of OCSP signers.
        return TransitKeyStore(Address(openbao.url), given(openbao.token), mount=mount)


# ----------------------------------------------------------------- the keys


def test_a_key_can_be_neither_exported_nor_backed_up(
    openbao: OpenBao, mount: str, keys: TransitKeyStore
) -> None:
    keys.generate("ca-root", "ec-p256")
    known = openbao.call("GET", f"{mount}/keys/ca-root")["data"]
    assert known["exportable"] is False
    assert known["allow_plaintext_backup"] is False
    assert known["deletion_allowed"] is False
    for path in (f"{mount}/export/signing-key/ca-root", f"{mount}/backup/ca-root"):
        status, answer = openbao.ask("GET", path)
        assert (status >= 400, set(answer)) == (True, {"errors"})


def test_a_version_is_pinned(openbao: OpenBao, mount: str, keys: TransitKeyStore) -> None:
    uri = keys.generate("ca-root", "ec-p256")
    assert uri == f"transit:{mount}/ca-root?version=1"
    openbao.call("POST", f"{mount}/keys/ca-root/rotate")
    first, second = keys.open(uri), keys.open(uri.replace("=1", "=2"))
    assert spki(first) != spki(second)
    for key in (first, second):
        sign(key)
        made = certificate(key)
        made.verify_directly_issued_by(made)
    with pytest.raises(KeyVersionGone):
        keys.open(uri.replace("=1", "=3"))


def test_a_version_that_is_gone_is_told(
    openbao: OpenBao, mount: str, keys: TransitKeyStore
) -> None:
    uri = keys.generate("ca-root", "ec-p256")
    key = keys.open(uri)
    openbao.call("POST", f"{mount}/keys/ca-root/rotate")
    openbao.call("POST", f"{mount}/keys/ca-root/config", {"min_encryption_version": 2})
    assert code(lambda: sign(key)) == "key_version_gone"
    openbao.call("POST", f"{mount}/keys/ca-root/config", {"min_decryption_version": 2})
    assert code(lambda: sign(key)) == "key_version_gone"
    assert code(lambda: open_keys(openbao, mount).open(uri)) == "key_version_gone"
    openbao.call("POST", f"{mount}/keys/ca-root/trim", {"min_available_version": 2})
    assert code(lambda: sign(key)) == "key_version_gone"
    assert code(lambda: open_keys(openbao, mount).open(uri)) == "key_version_gone"


def test_a_key_that_is_gone_is_told(openbao: OpenBao, mount: str, keys: TransitKeyStore) -> None:
    uri = keys.generate("ocsp-1", "ec-p256")
    key = keys.open(uri)
    open_keys(openbao, mount).destroy(uri)
    assert code(lambda: sign(key)) == "key_not_found"
    # Before anything is put on record for it.
    assert code(lambda: keys.open(uri)) == "key_not_found"
    assert code(lambda: keys.destroy(uri)) == "key_not_found"


def test_a_key_that_is_marked_as_deleted_is_told_and_can_come_back(
    openbao: OpenBao, mount: str, keys: TransitKeyStore
) -> None:
    uri = keys.generate("ca-root", "ec-p256")
    key = keys.open(uri)
    openbao.call("DELETE", f"{mount}/keys/ca-root/soft-delete")
    assert code(lambda: sign(key)) == "key_deleted"
    assert code(lambda: open_keys(openbao, mount).open(uri)) == "key_deleted"
    assert code(lambda: keys.generate("ca-root", "ec-p256")) == "key_exists"
    openbao.call("POST", f"{mount}/keys/ca-root/soft-delete-restore")
    sign(key)


def test_a_key_that_was_made_anew_gives_no_signature(
    openbao: OpenBao, mount: str, keys: TransitKeyStore
) -> None:
    uri = keys.generate("ocsp-1", "ec-p256")
    key = keys.open(uri)
    other = open_keys(openbao, mount)
    other.destroy(uri)
    assert other.generate("ocsp-1", "ec-p256") == uri
    assert code(lambda: sign(key)) == "signature_wrong"


def test_a_key_that_somebody_made_first_is_not_taken(
    openbao: OpenBao, mount: str, keys: TransitKeyStore
) -> None:
    openbao.call("POST", f"{mount}/keys/ca-root", {"type": "ecdsa-p256", "exportable": True})
    with pytest.raises(KeyExists):
        keys.generate("ca-root", "ec-p256")


def test_a_key_of_another_kind_is_told(openbao: OpenBao, mount: str, keys: TransitKeyStore) -> None:
    openbao.call("POST", f"{mount}/keys/ca-root", {"type": "aes256-gcm96"})
    with pytest.raises(IkewardenError) as refusal:
        keys.open(f"transit:{mount}/ca-root?version=1")
    assert refusal.value.next_step


def test_the_uri_says_where_a_key_is_and_not_the_settings(openbao: OpenBao, mount: str) -> None:
    uri = open_keys(openbao, mount).generate("ca-root", "ec-p256")
    elsewhere = openbao.transit()
    moved = TransitKeyStore(Address(openbao.url), given(openbao.token), mount=elsewhere)
    sign(moved.open(uri))
    assert moved.generate("ca-root", "ec-p256") == f"transit:{elsewhere}/ca-root?version=1"


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "transit:",
            "transit:m",
            "transit:m/a",
            "transit:m/a?version=0",
            "transit:m/a?version=01",
        ),
        *("transit:/a?version=1", "transit:m/?version=1", "transit:../sys/a?version=1"),
        *("transit:m/../a?version=1", "transit:m//a?version=1", "transit:m/A?version=1"),
        *("transit:m/a?version=1&x=2", "transit:m/a?version=1\n", "transit:m/a%2fb?version=1"),
    ],
)
def test_uris_that_are_none(uri: str) -> None:
    [port] = free_ports(1)
    nobody = TransitKeyStore(Address(f"http://127.0.0.1:{port}"), given("s.t0ken"), mount="m")
    for act in (nobody.open, nobody.destroy):
        with pytest.raises(BadKeyName):
            act(uri)


def test_kinds_that_the_engine_has_not(keys: TransitKeyStore) -> None:
    with pytest.raises(KeyAlgorithmUnknown) as refusal:
        keys.generate("ca-root", "ml-dsa-65")
    assert "ec-p384" in refusal.value.next_step


def test_large_lists_are_signed(keys: TransitKeyStore) -> None:
    """Ed25519 sends the whole message; the others send its digest."""
    key = keys.open(keys.generate("ca-ed", "ed25519"))
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    message = bytes(4 * 2**20)
    key.public_key().verify(key.sign(message), message)
    sign(keys.open(keys.generate("ca-ec", "ec-p256")), message)


# ----------------------------------------------------------------- the policy


def test_the_policy_is_enough_and_not_more(openbao: OpenBao, mount: str) -> None:
    policy = our_key_policy(openbao, mount)
    token = openbao.new_token(policy)
    keys = TransitKeyStore(Address(openbao.url), given(token), mount=mount)
    keys.check()
    root, responder = keys.generate("ca-root", "ec-p256"), keys.generate("ocsp-1", "ec-p256")
    for uri in (root, responder):
        sign(keys.open(uri))
    assert keys.names() == ["ca-root", "ocsp-1"]
    keys.destroy(responder)
    assert code(lambda: keys.destroy(root)) == "signer_refused"
    for method, place in (
        ("DELETE", f"{mount}/keys/ca-root"),
        ("POST", f"{mount}/keys/ca-root/config"),
        ("POST", f"{mount}/keys/ca-root/rotate"),
        ("POST", f"{mount}/keys/ca-root/trim"),
        ("GET", f"{mount}/export/signing-key/ca-root"),
        ("GET", f"{mount}/backup/ca-root"),
        ("POST", f"{mount}/encrypt/ca-root"),
        ("GET", f"{openbao.transit()}/keys/ca-root"),
        ("GET", "sys/mounts"),
        ("GET", "sys/policies/acl"),
    ):
        status, _ = openbao.ask(method, place, {} if method == "POST" else None, token=token)
        assert status == 403, place


def test_every_line_of_the_policy_is_needed(openbao: OpenBao, mount: str) -> None:
    whole = make_key_policy(mount)
    root = TransitKeyStore(Address(openbao.url), given(openbao.token), mount=mount)
    for path, can in whole.items():
        for gone in can:
            less = dict(whole) | {path: tuple(each for each in can if each != gone)}
            token = openbao.new_token(openbao.policy(as_hcl(less)))
            keys = TransitKeyStore(Address(openbao.url), given(token), mount=mount)
            found: list[str] = []
            for name in ("ca-root", "ocsp-1", "check-1"):
                uri = f"transit:{mount}/{name}?version=1"
                found.append(code(lambda: keys.generate(name, "ec-p256")))  # noqa: B023 - called at once
                found.append(code(lambda: sign(keys.open(uri))))  # noqa: B023 - called at once
                if name != "ca-root":
                    found.append(code(lambda: keys.destroy(uri)))  # noqa: B023 - called at once
            found.append(code(keys.names))
            assert "signer_refused" in found, (path, gone)
            for name in root.names():
                root.destroy(f"transit:{mount}/{name}?version=1")


# ----------------------------------------------------------------- away


def test_a_sealed_server_is_told_and_then_signs_again(
    openbao: OpenBao, mount: str, keys: TransitKeyStore
) -> None:
    uri = keys.generate("ca-root", "ec-p256")
    key = keys.open(uri)
    with openbao.sealed():
        for act in (
            keys.check,
            lambda: sign(key),
            lambda: keys.generate("ca-other", "ec-p256"),
            lambda: keys.destroy(uri),
            keys.names,
            lambda: TransitKeyStore(Address(openbao.url), given("s.t0ken"), mount=mount).open(uri),
        ):
            with pytest.raises(SignerUnavailable, match="sealed") as refusal:
                act()
            assert refusal.value.code == "signer_sealed"
            assert "Unseal" in refusal.value.next_step
    sign(key)
    assert keys.names() == ["ca-root"]


def test_nobody_listens() -> None:
    [port] = free_ports(1)
    keys = TransitKeyStore(Address(f"http://127.0.0.1:{port}"), given("s.t0ken"), mount="transit")
    assert code(keys.check) == "signer_unavailable"


@pytest.mark.parametrize(
    ("canned", "wanted"),
    [
        (HTML % 500, "signer_failing"),
        (HTML % 502, "signer_failing"),
        (HTML % 503, "signer_unavailable"),
        (HTML % 501, "signer_unavailable"),
        (HTML % 429, "signer_unavailable"),
        (HTML % 473, "signer_elsewhere"),
        (HTML % 403, "signer_refused"),
        (HTML % 405, "signer_refused"),
        (
            b"HTTP/1.1 307 X\r\nLocation: http://192.0.2.1/v1/\r\n"
            + CLOSE
            + b"Content-Length: 0\r\n\r\n",
            "signer_elsewhere",
        ),
        (HTML % 200, "signature_wrong"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", "signer_unavailable"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "signer_unavailable"),
    ],
)
def test_answers_of_other_kinds(openbao: OpenBao, mount: str, canned: bytes, wanted: str) -> None:
    with between(openbao.url) as proxy:
        keys = open_keys(openbao, mount, proxy.url)
        key = keys.open(keys.generate("ca-root", "ec-p256"))
        proxy.canned = canned
        assert code(lambda: sign(key)) == wanted
        proxy.canned = b""
        sign(key)


def test_an_answer_without_a_signature_of_the_key_is_thrown_away(
    openbao: OpenBao, mount: str
) -> None:
    with between(openbao.url) as proxy:
        keys = open_keys(openbao, mount, proxy.url)
        key = keys.open(keys.generate("ca-root", "ec-p256"))
        by_another = base64.b64encode(ec.generate_private_key(ec.SECP256R1()).sign(MESSAGE, SHA256))
        good = base64.b64encode(sign(key))
        for text in (
            f"vault:v1:{by_another.decode()}",
            f"vault:v2:{good.decode()}",
            f"vault:{good.decode()}",
            "vault:v1:",
            "vault:v1:*",
            good.decode(),
            "",
            7,
            None,
        ):
            body = json.dumps({"data": {"signature": text}}).encode()
            head = b"HTTP/1.1 200 OK\r\n" + CLOSE + b"Content-Length: %d\r\n\r\n"
            proxy.canned = head % len(body) + body
            assert code(lambda: sign(key)) == "signature_wrong", text


@pytest.mark.parametrize("how", ["slow", "cut"])
def test_a_signature_that_was_not_answered_is_not_asked_for_again(
    openbao: OpenBao, mount: str, how: str
) -> None:
    with between(openbao.url) as proxy:
        keys = open_keys(openbao, mount, proxy.url)
        key = keys.open(keys.generate("ca-root", "ec-p256"))
        proxy.delay, proxy.lost = (2.0, False) if how == "slow" else (0.0, True)
        asked = proxy.asked
        with hurried(keys, 1.0):
            found = code(lambda: sign(key))
        assert found == ("signer_slow" if how == "slow" else "signer_unavailable")
        assert proxy.asked - asked == 1
        proxy.delay, proxy.lost = 0.0, False
        sign(key)
        made = openbao.signed(mount)
        assert len(made) == 2  # the one that nobody got, and the next, which was asked for anew


def test_a_mount_that_is_not_there(openbao: OpenBao) -> None:
    keys = TransitKeyStore(Address(openbao.url), given(openbao.token), mount="nowhere")
    for act in (
        keys.names,
        lambda: keys.generate("ca-root", "ec-p256"),
        lambda: keys.open("transit:nowhere/ca-root?version=1"),
    ):
        assert code(act) == "signer_mount_missing"
    # Here the server makes no difference between what is not there and what we may not see.
    assert code(keys.check) == "signer_refused"
    other = TransitKeyStore(Address(openbao.url), given(openbao.token), mount=openbao.engine())
    assert code(other.check) == "signer_mount_missing"


def test_the_next_step_names_the_section_that_has_the_server(openbao: OpenBao) -> None:
    for section in ("[secrets]", "[keys.transit]"):
        address, login = Address(openbao.url), given("s.wrong")
        keys = TransitKeyStore(address, login, mount="transit", server=section)
        with pytest.raises(SignerRefused) as refusal:
            keys.open("transit:transit/ca-root?version=1")
        assert refusal.value.next_step
        missing = TransitKeyStore(
            address, TokenLogin(None, "X", {}), mount="transit", server=section
        )
        with pytest.raises(SignerRefused) as refusal:
            missing.check()
        assert refusal.value.code == "signer_credential"
        assert section in refusal.value.next_step


# ----------------------------------------------------------------- logins


def test_a_role_logs_in_again_when_its_token_is_gone(openbao: OpenBao, mount: str) -> None:
    keys, method = open_keys_with_role(openbao, mount, token_ttl="30s")
    key = keys.open(keys.generate("ca-root", "ec-p256"))
    openbao.call("POST", f"sys/leases/revoke-prefix/auth/{method}/login", {"sync": True})
    sign(key)
    assert keys.session.here().admission.current(keys.session.here().wire()).number == 2


def test_a_token_that_ended_in_an_outage_is_got_anew(openbao: OpenBao, mount: str) -> None:
    keys, _ = open_keys_with_role(openbao, mount, token_ttl="2s", token_max_ttl="2s")
    key = keys.open(keys.generate("ca-root", "ec-p256"))
    with openbao.sealed():
        time.sleep(2.5)
        assert code(lambda: sign(key)) == "signer_sealed"
    sign(key)


def test_a_namespace(openbao: OpenBao) -> None:
    openbao.call("POST", "sys/namespaces/signing")
    mount = openbao.transit(namespace="signing")
    method = openbao.method("approle", namespace="signing")
    policy = our_key_policy(openbao, mount, namespace="signing")
    role = openbao.role(method, namespace="signing", token_policies=[policy])
    login = AppRoleLogin(role.role_id, role.secret_id_file, method)
    keys = TransitKeyStore(Address(openbao.url, namespace="signing"), login, mount=mount)
    keys.check()
    sign(keys.open(keys.generate("ca-root", "ec-p256")))
    outside = TransitKeyStore(Address(openbao.url), login, mount=mount)
    assert code(outside.check) == "signer_refused"


def test_a_client_certificate(openbao: OpenBao, mount: str, tmp_path: Path) -> None:
    client, method = make_identity(tmp_path, "client"), openbao.method("cert")
    fields = {
        "certificate": client.certificate.read_text(),
        "token_policies": [our_key_policy(openbao, mount)],
    }
    openbao.call("POST", f"auth/{method}/certs/ikewarden", fields)
    address = Address(
        openbao.tls_url,
        ca_file=openbao.identity.certificate,
        certificate=client.certificate,
        key=client.key,
    )
    keys = TransitKeyStore(address, CertLogin(client.key, "", method), mount=mount)
    sign(keys.open(keys.generate("ca-root", "ec-p256")))
    nobody = TransitKeyStore(
        Address(openbao.tls_url, ca_file=client.certificate), given("s.t0ken"), mount=mount
    )
    with pytest.raises(SignerUnavailable, match="trust") as refusal:
        nobody.check()
    assert "[keys.transit] ca_file" in refusal.value.next_step


def test_each_process_logs_in_for_itself(openbao: OpenBao, mount: str, tmp_path: Path) -> None:
    keys, _ = open_keys_with_role(openbao, mount)
    key = keys.open(keys.generate("ca-root", "ec-p256"))
    with keys.session.here().admission._lock:  # as if another thread had been at it when we forked
        found = in_children(2, lambda number: sign(key, b"%d" % number).hex(), tmp_path / "results")
    for number, made in enumerate(found):
        key.public_key().verify(bytes.fromhex(made), b"%d" % number, SHA256)  # type: ignore[call-arg,union-attr]  # P-256


def test_many_threads_wait_for_one_login_that_fails(openbao: OpenBao, mount: str) -> None:
    uri = open_keys(openbao, mount).generate("ca-root", "ec-p256")
    method = openbao.method("approle")
    role = openbao.role(method, token_policies=[our_key_policy(openbao, mount)])
    with between(openbao.url) as proxy:
        proxy.delay = 5.0
        login = AppRoleLogin(role.role_id, role.secret_id_file, method)
        keys = TransitKeyStore(Address(proxy.url, timeout=2.0), login, mount=mount)
        start, found = threading.Barrier(8), list[str]()

        def work() -> None:
            start.wait()
            found.append(code(lambda: keys.open(uri)))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == ["signer_slow"] * 8
        assert proxy.asked < 8  # a thread that came late asks for itself
        proxy.delay = 0.0
        with hurried(keys, 60.0):
            sign(keys.open(uri))


# ----------------------------------------------------------------- under load


class Load:
    """Threads that sign messages of their own with one key, and what became of each."""

    def __init__(self, key: PrivateKey, threads: int = 6) -> None:
        self.key = key
        self.made: list[tuple[bytes, bytes]] = []
        self.refused: list[IkewardenError] = []
        self.broken: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, what: Callable[[], int], more: int) -> None:
        end, wanted = time.monotonic() + 60, what() + more
        while what() < wanted:
            assert time.monotonic() < end, "the load does not get on"
            time.sleep(0.01)

    def signatures(self) -> int:
        return len(self.made)

    def refusals(self) -> int:
        return len(self.refused)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            message = b"%d-%d" % (number, turn)
            try:
                self.made.append((message, sign(self.key, message)))
            except IkewardenError as error:
                self.refused.append(error)
                time.sleep(0.02)
            except BaseException as error:  # noqa: BLE001 - looked at by the test
                self.broken.append(error)
                return


@pytest.fixture
def load(openbao: OpenBao, mount: str) -> Iterator[Load]:
    keys, _ = open_keys_with_role(openbao, mount)
    running = Load(keys.open(keys.generate("ca-root", "ec-p256")))
    yield running
    running.stop()


def test_a_seal_and_a_restart_under_load(openbao: OpenBao, mount: str, load: Load) -> None:
    load.wait_for(load.signatures, 30)
    with openbao.sealed():
        load.wait_for(load.refusals, 30)
    load.wait_for(load.signatures, 30)
    openbao.restart()
    try:
        load.wait_for(load.refusals, 30)
    finally:
        openbao.unseal()
    load.wait_for(load.signatures, 30)
    load.stop()
    assert load.broken == []
    assert {error.code for error in load.refused} <= AWAY
    assert all(isinstance(error, SignerUnavailable) for error in load.refused)
    public = load.key.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    for message, made in load.made:
        public.verify(made, message, SHA256)
    signed = openbao.signed(mount)
    assert len(set(signed)) == len(signed)  # nothing twice: each message is another
    assert {("ca-root", sha256(message).digest()) for message, _ in load.made} <= set(signed)


# ----------------------------------------------------------------- logs


def test_nothing_secret_is_logged_or_told(
    openbao: OpenBao, mount: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = openbao.new_token(our_key_policy(openbao, mount))
    caplog.set_level(logging.DEBUG)
    errors: list[BaseException] = []
    with between(openbao.url) as proxy:
        keys = TransitKeyStore(Address(proxy.url), given(token), mount=mount)
        key = keys.open(keys.generate("ca-root", "ec-p256"))

        def bad_day() -> None:
            for act in (lambda: sign(key), keys.check, keys.names):
                try:
                    with hurried(keys):
                        act()
                except Exception as error:  # noqa: BLE001 - all of them are looked at
                    errors.append(error)

        for proxy.canned in (HTML % 500, HTML % 200, HTML % 403, b"nonsense\r\n\r\n"):
            bad_day()
        proxy.canned, proxy.lost = b"", True
        bad_day()
        shown = [repr(keys), repr(vars(keys)), repr(key), *map(told, errors)]
        shown += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert len(errors) > 10
    for text in shown:
        assert token not in text
