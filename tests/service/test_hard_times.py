"""A full disk and a locked database, seen through the door: clear codes, nothing signed, nothing lost."""

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fixtures.needs import left_out
from tests.lab.errors import LabError
from tests.lab.story import Warden, enroll, on_crl, served, wait_until


def _body(name: str = "gw.hard.example") -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {"csr": pem.decode(), "profile": "gateway"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    if os.geteuid() != 0:
        left_out("mounting a small file system needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", str(place)]
    subprocess.run(mount, check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _signed(database: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as records:
        query = "select count(*) from certificates where der is not null and profile = 'gateway'"
        return int(records.execute(query).fetchone()[0])


def test_a_full_disk_refuses_clearly_and_everything_works_when_there_is_room_again(
    small_disk: Path,
) -> None:
    directory = small_disk / "instance"
    with served(directory, "ec-p256", in_lab=False) as warden:
        before = enroll(warden, "gw-before.hard.example")
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        # What the write-ahead log still has room for may pass.
        refusals = [words for _ in range(50) if (words := _refusal(warden))]
        assert refusals
        assert all(": 503 " in words and '"store_full"' in words for words in refusals)
        filler.unlink()
        signed = _signed(directory / "ikewarden.db")
        assert warden.call("POST", "/v1/certificates", _body())["serial"]
        assert _signed(directory / "ikewarden.db") == signed + 1
        warden.call("POST", f"/v1/certificates/{before.serial}/revoke", {"reason": "superseded"})
        wait_until(lambda: on_crl(warden, before), "the serial on the CRL")


def _refusal(warden: Warden) -> str:
    try:
        warden.call("POST", "/v1/certificates", _body())
    except LabError as problem:
        return str(problem)
    return ""


def test_a_locked_database_is_told_and_waited_out(tmp_path: Path) -> None:
    directory = tmp_path / "instance"
    with served(directory, "ec-p256", in_lab=False) as warden:
        _with_short_patience(warden)
        signed = _signed(directory / "ikewarden.db")
        with contextlib.closing(sqlite3.connect(directory / "ikewarden.db")) as other:
            other.isolation_level = None
            other.execute("begin immediate")
            with pytest.raises(LabError, match=r": 503 .*\"store_busy\""):
                warden.call("POST", "/v1/certificates", _body())
            assert warden.call("GET", "/v1/whoami")["role"] == "admin"  # reading goes on
            other.execute("rollback")
        assert _signed(directory / "ikewarden.db") == signed
        assert warden.call("POST", "/v1/certificates", _body())["serial"]


def _with_short_patience(warden: Warden) -> None:
    settings = warden.instance.directory / "ikewarden.toml"
    text = settings.read_text()
    settings.write_text(text.replace("[database]\n", "[database]\nlock_timeout_seconds = 0.5\n"))
    warden.stop()
    warden.start()
    warden.wait_until_ready()
