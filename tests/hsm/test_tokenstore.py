"""A key store in a token: SoftHSM2, and SoftHSM2 with faults."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from hsm.errors import (
    BadKeyName,
    HsmAbsent,
    KeyAmbiguous,
    KeyKindUnusable,
    KeyMechanismMissing,
    KeyNotFound,
    KeyStoreError,
    KeyStoreFull,
    ModuleUnusable,
    PinLocked,
    PinRefused,
    PinUnusable,
    SignerUnavailable,
)
from hsm.folder import PrivateFolder
from hsm.ports import KeyAlgorithm, KeyStore, PrivateKey
from hsm.sealedfiles import SealedFileKeyStore
from hsm.token.pin import PinGuard, find_pin
from hsm.token.process import TokenPlace, TokenProcess
from hsm.token.store import TokenKeyStore
from hsm.token.uri import KeyUri, parse
from tests.fixtures.needs import left_out
from tests.fixtures.softhsm import MODULE, FaultyModule, SoftToken
from tests.hsm.contract import KeyStoreContract, certificate, spki

Open = Callable[..., TokenKeyStore]
_WAIT = 120.0


@pytest.fixture
def open_token(hsm_token: SoftToken, store: SealedFileKeyStore) -> Iterator[Open]:
    """Opens the token as a process of the service does; arguments change the place."""
    opened: list[TokenKeyStore] = []

    def make(**changes: Any) -> TokenKeyStore:
        place = {"module": MODULE, "label": hsm_token.label, "sessions": 4, "seconds": 60.0}
        source = find_pin(file=hsm_token.pin_file, variable="", environ={})
        guard = PinGuard(changes.pop("source", source), store)
        process = TokenProcess(TokenPlace(**(place | changes)), guard)
        opened.append(TokenKeyStore(process, PrivateFolder(store.directory)))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def keys(open_token: Open) -> TokenKeyStore:
    return open_token()


@contextlib.contextmanager
def hurried(keys: TokenKeyStore, seconds: float) -> Iterator[None]:
    """The token has no more than that for an answer; before and after it has time."""
    process = keys._process
    patient, process.place = process.place, replace(process.place, seconds=seconds)
    try:
        yield
    finally:
        process.place = patient


def verify(key: PrivateKey) -> None:
    made = certificate(key)
    made.verify_directly_issued_by(made)


def until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _WAIT
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def signs(key: PrivateKey) -> bool:
    try:
        verify(key)
    except SignerUnavailable:
        return False
    return True


def worker_of(keys: TokenKeyStore) -> int:
    running = keys._process._running
    assert running is not None
    return running._process.pid


class TestToken(KeyStoreContract):
    # The long RSA keys take SoftHSM2 seconds: they are tried once, below. ML-DSA is not for tokens yet.
    algorithms = ("ec-p256", "ec-p384", "ec-p521", "rsa-2048", "ed25519")
    elsewhere = True

    @pytest.fixture
    def keys(self, open_token: Open) -> KeyStore:
        return open_token()


# ----------------------------------------------------------------- keys


@pytest.mark.parametrize("algorithm", ["rsa-3072", "rsa-4096"])
def test_long_rsa_keys_sign_in_both_ways_with_every_hash(
    keys: TokenKeyStore, algorithm: KeyAlgorithm
) -> None:
    key = keys.open(keys.generate("long", algorithm))
    assert isinstance(key, rsa.RSAPrivateKey)
    public = key.public_key()
    for digest in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        for how in (
            padding.PKCS1v15(),
            padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH),
            padding.PSS(padding.MGF1(digest), padding.PSS.MAX_LENGTH),
            padding.PSS(padding.MGF1(digest), 20),
        ):
            public.verify(key.sign(b"words", how, digest), b"words", how, digest)
    hashed = hashes.Hash(hashes.SHA256())
    hashed.update(b"words")
    known = utils.Prehashed(hashes.SHA256())
    signature = key.sign(hashed.finalize(), padding.PKCS1v15(), known)
    public.verify(signature, b"words", padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(KeyMechanismMissing):
        key.sign(b"words", padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - to be refused


def test_a_hash_longer_than_the_curve_is_cut(keys: TokenKeyStore) -> None:
    key = keys.open(keys.generate("a", "ec-p256"))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    how = ec.ECDSA(hashes.SHA512())
    key.public_key().verify(key.sign(b"words", how), b"words", how)


def test_a_key_does_not_leave_the_token(keys: TokenKeyStore, hsm_token: SoftToken) -> None:
    for algorithm in ("ec-p384", "rsa-2048"):
        keys.generate(algorithm, algorithm)
    names = ("SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "PRIVATE", "LOCAL", "SIGN")
    held = hsm_token.look(
        "found = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})\n"
        f"told = [[bool(each[getattr(Attribute, name)]) for name in {names}] for each in found]"
    )
    assert held == [[True] * len(names)] * 2
    assert hsm_token.look(
        "found = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})\n"
        "told = [bool(each[Attribute.EXTRACTABLE]) for each in found]"
    ) == [False, False]


def test_keys_are_found_by_the_uri_of_rfc_7512(keys: TokenKeyStore, hsm_token: SoftToken) -> None:
    uri = keys.generate("a", "ec-p256")
    found = parse(uri)
    assert (found.token, found.object, len(found.id)) == (hsm_token.label, "a", 16)
    assert uri.startswith("pkcs11:token=ikewarden%20ca;object=a;id=%")
    assert uri.endswith(";type=private")
    wanted = spki(keys.open(uri))
    for other in (
        "pkcs11:object=a",
        "pkcs11:type=private;object=%61;token=ikewarden%20ca",
        str(KeyUri(id=found.id)),
    ):
        assert spki(keys.open(other)) == wanted
    for bad in (
        "pkcs11:token=another;object=a",
        "pkcs11:token=ikewarden%20ca",
        "pkcs11:object=a;object=b",
        "pkcs11:object=a;type=public",
        "pkcs11:object=a?pin-value=1234",
        "pkcs11:object=%zz",
        "pkcs11:object=%ff",
    ):
        with pytest.raises(BadKeyName) as refusal:
            keys.open(bad)
        assert "1234" not in refusal.value.message


def test_two_keys_under_one_label_are_told_and_not_used(
    keys: TokenKeyStore, hsm_token: SoftToken
) -> None:
    uri = keys.generate("twin", "ec-p256")
    hsm_token.look(_MAKE.format(curve="secp256r1", label="twin"))
    with pytest.raises(KeyAmbiguous, match="2 keys 'twin'"):
        keys.open("pkcs11:object=twin")
    with pytest.raises(KeyAmbiguous):
        keys.destroy("pkcs11:object=twin")
    verify(keys.open(uri))  # its id tells it from the other


def test_keys_that_are_of_no_use_are_told(keys: TokenKeyStore, hsm_token: SoftToken) -> None:
    hsm_token.look(_MAKE.format(curve="secp256k1", label="k1"))
    hsm_token.look(
        "session.generate_keypair(pkcs11.KeyType.RSA, 2048, label='mute', store=True, "
        "private_template={Attribute.SIGN: False})\ntold = 0"
    )
    with pytest.raises(KeyKindUnusable):
        keys.open("pkcs11:object=k1")
    with pytest.raises(KeyKindUnusable, match="may not sign"):
        keys.open("pkcs11:object=mute").sign(b"", padding.PKCS1v15(), hashes.SHA256())  # type: ignore[call-arg, arg-type]
    assert keys.names() == ["k1", "mute"]


_MAKE = (
    "from pkcs11.util.ec import encode_named_curve_parameters as named\n"
    "made = session.create_domain_parameters(pkcs11.KeyType.EC, "
    "{{Attribute.EC_PARAMS: named({curve!r})}}, local=True)\n"
    "made.generate_keypair(label={label!r}, store=True)\ntold = 0"
)


def test_a_key_that_another_process_destroyed_is_not_found(open_token: Open) -> None:
    mine, others = open_token(), open_token()
    uri = mine.generate("a", "ec-p256")
    key = mine.open(uri)
    verify(key)
    others.destroy(uri)
    with pytest.raises(KeyNotFound):
        verify(key)
    # Before anything is put on record for it.
    with pytest.raises(KeyNotFound):
        mine.open(uri)
    verify(mine.open(mine.generate("a", "ec-p256")))


# ----------------------------------------------------------------- processes


def test_every_process_has_its_own_after_a_fork(keys: TokenKeyStore) -> None:
    key = keys.open(keys.generate("a", "ec-p256"))
    verify(key)
    before = worker_of(keys)
    children = [_fork(lambda: _signs_by_another(keys, key, before)) for _ in range(4)]
    for each in children:
        assert os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) == 0
    verify(key)
    assert worker_of(keys) == before


def _fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def _signs_by_another(keys: TokenKeyStore, key: PrivateKey, before: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: verify(key), range(20)))
    assert worker_of(keys) != before
    keys.close()


def test_the_process_ends_with_its_starter(open_token: Open) -> None:
    keys = open_token()
    read, write = os.pipe()

    def work() -> None:
        keys.names()
        os.write(write, str(worker_of(keys)).encode())
        os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(_fork(work), 0)
    worker = int(os.read(read, 20))
    os.close(read)
    os.close(write)
    until(lambda: not _is_running(worker), "the process of the token has ended")


def _is_running(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_neither_pin_nor_passphrase_is_seen_from_outside(
    open_token: Open, hsm_token: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("IKEWARDEN_PASSPHRASE", "OUR_WORDS", "VAULT_TOKEN", "PGPASSWORD"):
        monkeypatch.setenv(each, "correct horse")
    keys = open_token(withheld=frozenset({"OUR_WORDS", "VAULT_TOKEN"}))
    keys.names()
    shown = Path(f"/proc/{worker_of(keys)}")
    for each in ("cmdline", "environ"):
        content = (shown / each).read_bytes()
        assert hsm_token.pin.encode() not in content
        assert b"correct horse" not in content
    assert hsm_token.pin not in repr(keys)


def test_a_process_that_died_is_replaced_unseen(keys: TokenKeyStore) -> None:
    key = keys.open(keys.generate("a", "ec-p256"))
    before = worker_of(keys)
    running = keys._process._running
    assert running is not None
    os.kill(before, signal.SIGKILL)
    until(lambda: running.ended, "it is dead")
    verify(key)
    assert worker_of(keys) != before


def test_a_process_that_hangs_is_given_up(open_token: Open) -> None:
    keys = open_token()
    key = keys.open(keys.generate("a", "ec-p256"))
    worker = worker_of(keys)
    os.kill(worker, signal.SIGSTOP)
    # On a busy machine its other threads go on until one of them has taken the signal.
    stat = Path(f"/proc/{worker}/stat")
    until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it has stopped")
    with hurried(keys, 1.0), pytest.raises(SignerUnavailable, match="did not answer within 1 s"):
        verify(key)
    until(lambda: signs(key), "it signs again")


def test_one_session_serves_many_threads(open_token: Open, faulty: FaultyModule) -> None:
    keys = open_token(module=faulty.path, sessions=1)
    key = keys.open(keys.generate("a", "ec-p256"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: verify(key), range(40)))
    assert faulty.calls["open 0"] == 2  # one holds the login
    assert faulty.calls["login 0"] == 1


# ----------------------------------------------------------------- the PIN


def test_a_wrong_pin_is_tried_once_by_all_processes_together(
    open_token: Open, faulty: FaultyModule, hsm_token: SoftToken
) -> None:
    right = hsm_token.pin
    hsm_token.write_pin("00000000x")
    stores = [open_token(module=faulty.path) for _ in range(4)]

    def code(keys: TokenKeyStore) -> str:
        with pytest.raises(PinRefused) as refusal:
            keys.check()
        assert "00000000x" not in str(refusal.value)
        return refusal.value.code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(code, stores)) == {"pin_refused"}
    code(stores[0])
    code(open_token(module=faulty.path))  # as after a restart
    assert [call for call in faulty.calls if call.startswith("login")] == ["login a0"]
    assert faulty.calls["login a0"] == 1
    hsm_token.write_pin(right)
    for each in stores:
        until(lambda each=each: _works(each), "the right PIN is taken")
    assert faulty.calls["login a0"] == 1


def _works(keys: TokenKeyStore) -> bool:
    try:
        keys.check()
    except KeyStoreError:
        return False
    return True


def test_a_refused_pin_can_be_tried_again_by_order(
    keys: TokenKeyStore, hsm_token: SoftToken
) -> None:
    hsm_token.write_pin("87651234")
    with pytest.raises(PinRefused):
        keys.check()
    hsm_token.change_pin("87651234")
    with pytest.raises(PinRefused, match="it was not tried again"):
        keys.check()
    keys.retry_pin()
    assert keys.check()["label"] == hsm_token.label


@pytest.fixture
def read_only(store: SealedFileKeyStore) -> Iterator[None]:
    """The sealed keys on a mount that cannot be written, as a container may have them."""
    if os.geteuid() != 0:
        left_out("mounting needs root")
    place = str(store.directory)
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.usefixtures("read_only")
def test_where_nothing_can_be_written_each_process_tries_once(
    open_token: Open, faulty: FaultyModule, hsm_token: SoftToken
) -> None:
    keys = open_token(module=faulty.path)
    verify(keys.open(keys.generate("a", "ec-p256")))
    hsm_token.write_pin("00000000x")
    keys.close()
    for _ in range(3):
        with pytest.raises(PinRefused):
            keys.check()
    assert faulty.calls["login a0"] == 1


def test_a_token_that_would_lock_itself_is_not_tried(
    open_token: Open, faulty: FaultyModule
) -> None:
    keys = open_token(module=faulty.path)
    faulty.fail(flags="20000")  # CKF_USER_PIN_FINAL_TRY
    for _ in range(2):
        with pytest.raises(PinLocked):
            keys.check()
    assert not [call for call in faulty.calls if call.startswith("login")]
    faulty.fail()  # somebody has logged in with the right PIN
    until(lambda: _works(keys), "it is well again")


def test_a_locked_token_is_tried_once(open_token: Open, faulty: FaultyModule) -> None:
    keys = open_token(module=faulty.path)
    faulty.fail(login="a4")  # CKR_PIN_LOCKED
    for _ in range(2):
        with pytest.raises(PinRefused):
            keys.check()
    assert faulty.calls["login a4"] == 1


@pytest.mark.parametrize("content", ["", "\n", "a\nb\n", "x" * 300, "\x00\n"])
def test_a_pin_file_that_holds_no_pin_is_told(
    keys: TokenKeyStore, hsm_token: SoftToken, content: str
) -> None:
    hsm_token.pin_file.write_text(content)
    with pytest.raises(PinUnusable):
        keys.check()


def test_sources_of_the_pin(tmp_path: Path) -> None:
    found = find_pin(file=None, variable="A_PIN", environ={"A_PIN": "1234"})
    assert found().reveal() == b"1234"
    asked = find_pin(file=None, variable="A_PIN", environ={}, prompt=lambda: "5678")
    assert asked().reveal() == b"5678"
    with pytest.raises(PinUnusable, match="no PIN"):
        find_pin(file=None, variable="A_PIN", environ={})
    with pytest.raises(PinUnusable, match="cannot be read"):
        find_pin(file=tmp_path / "none", variable="A_PIN", environ={})()


# ----------------------------------------------------------------- what can be wrong


def test_modules_that_are_none_are_told(open_token: Open, tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    text.write_text("no module\n")
    for path in (tmp_path / "none.so", text, Path("/lib/x86_64-linux-gnu/libc.so.6")):
        with pytest.raises(ModuleUnusable) as refusal:
            open_token(module=path).check()
        assert str(path) in refusal.value.message


def test_a_token_of_another_name_is_absent(open_token: Open) -> None:
    with pytest.raises(HsmAbsent, match="nobody"):
        open_token(label="nobody").check()
    with pytest.raises(HsmAbsent):
        open_token(serial="0000").check()


def test_the_serial_alone_names_a_token(open_token: Open) -> None:
    serial = open_token().check()["serial"]
    keys = open_token(label="", serial=serial)
    uri = keys.generate("a", "ec-p256")
    assert parse(uri).serial == serial
    verify(keys.open(uri))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"pair": "31"}, KeyStoreFull),  # CKR_DEVICE_MEMORY
        ({"pair": "70"}, KeyMechanismMissing),  # CKR_MECHANISM_INVALID
        ({"pair": "30"}, SignerUnavailable),  # CKR_DEVICE_ERROR
        ({"pair": "crash"}, SignerUnavailable),
        ({"login": "30"}, SignerUnavailable),
        ({"login": "crash"}, SignerUnavailable),
        ({"open": "b1"}, SignerUnavailable),  # CKR_SESSION_COUNT
    ],
)
def test_a_key_that_cannot_be_made_is_told_and_is_not_there(
    open_token: Open,
    faulty: FaultyModule,
    hsm_token: SoftToken,
    fault: dict[str, str],
    kind: type[KeyStoreError],
) -> None:
    keys = open_token(module=faulty.path)
    faulty.fail(**fault)
    with pytest.raises(kind) as refusal:
        keys.generate("a", "ec-p256")
    assert refusal.value.next_step
    faulty.fail()
    assert hsm_token.labels() == []
    until(lambda: _works(keys), "it works again")
    verify(keys.open(keys.generate("a", "ec-p256")))


# ----------------------------------------------------------------- away and back


@pytest.mark.parametrize(
    "fault",
    [
        {"sign": "30"},  # CKR_DEVICE_ERROR
        {"sign": "32", "open": "32"},  # CKR_DEVICE_REMOVED
        {"sign_init": "b3", "open": "e0"},  # CKR_SESSION_HANDLE_INVALID, CKR_TOKEN_NOT_PRESENT
        {"sign_init": "101"},  # CKR_USER_NOT_LOGGED_IN
        {"sign": "5"},  # CKR_GENERAL_ERROR
        {"sign": "crash"},
        {"sign": "hang"},
    ],
)
def test_a_token_that_fails_is_told_and_is_well_again_by_itself(
    open_token: Open, faulty: FaultyModule, fault: dict[str, str]
) -> None:
    keys = open_token(module=faulty.path)
    key = keys.open(keys.generate("a", "ec-p256"))
    verify(key)
    faulty.fail(**fault)
    for _ in range(2):
        short = hurried(keys, 2.0) if "hang" in fault.values() else contextlib.nullcontext()
        with short, pytest.raises(SignerUnavailable) as refusal:
            verify(key)
        assert refusal.value.next_step
    faulty.fail()
    until(lambda: signs(key), "it signs again")
    assert faulty.calls["sign 0"] == 2


def test_sessions_that_the_device_threw_out_are_opened_again_unseen(
    hsm_token: SoftToken, keys: TokenKeyStore
) -> None:
    keys.generate("a", "ec-p256")
    asked = {
        "module": str(MODULE),
        "token": hsm_token.label,
        "serial": "",
        "pin": hsm_token.pin,
        "sessions": 2,
        "patience": 5.0,
    }
    script = (
        "from hsm.token.letters import Work\n"
        "from hsm.token.worker import HeldToken\n"
        f"held = HeldToken({asked!r})\n"
        "work = Work('sign', label='a', mechanism='ecdsa', data=bytes(32))\n"
        "assert held.answer(work)['signature']\n"
        "held._idle[0].close()\n"  # behind its back: the handle is of no session now
        "assert held.answer(work)['signature']\n"
        "held._idle[0].close()\n"
        "held._login.close()\n"  # the last one: nobody is logged in any more
        "assert held.answer(work)['final']\n"
        "import os\nos._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_as_many_sessions_as_the_token_gives(open_token: Open, faulty: FaultyModule) -> None:
    keys = open_token(module=faulty.path)
    key = keys.open(keys.generate("a", "ec-p256"))
    faulty.fail(open="b1")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: verify(key), range(40)))
    assert faulty.calls["sign 0"] == 40


def test_a_token_taken_out_under_load_and_put_back(
    open_token: Open, hsm_token: SoftToken, store: SealedFileKeyStore
) -> None:
    keys = open_token()
    uri = keys.generate("a", "ec-p256")
    key = keys.open(uri)
    verify(key)
    away, stop = threading.Event(), threading.Event()
    told: list[KeyStoreError] = []
    good = [0, 0]

    def work() -> None:
        while not stop.is_set():
            phase = int(away.is_set())
            try:
                verify(key)
                good[phase] += 1
            except KeyStoreError as error:
                told.append(error)
                time.sleep(0.02)

    with ThreadPoolExecutor(4) as pool:
        try:
            running = [pool.submit(work) for _ in range(4)]
            until(lambda: good[0] > 50, "it signs")
            hsm_token.take_out()
            until(lambda: len(told) > 20, "it is away")
            hsm_token.put_back()
            away.set()
            until(lambda: good[1] > 50, "it signs again")
        finally:
            stop.set()
        for each in running:
            each.result()
    assert {type(each) for each in told} <= {SignerUnavailable, HsmAbsent}
    assert spki(keys.open(uri)) == spki(key)
