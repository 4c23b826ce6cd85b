"""SCEP with clients that others wrote: strongSwan's `pki`."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from pki import decisions
from pki.actors import Actor, Role
from pki.certificates import find
from pki.decisions import ApprovalQuery
from pki.guarded import Step
from pki.x509 import serials
from tests.api.plain import Listener, until
from tests.api.scepping import open_doors, token
from tests.api.site import Site

APPROVER = Actor("ann", Role.APPROVER)
pytestmark = pytest.mark.skipif(not shutil.which("pki"), reason="needs strongSwan's pki")


@pytest.fixture(scope="module")
def listener(site: Site) -> Iterator[Listener]:
    """Two processes that answer for an installation with several endpoints."""
    with open_doors(site) as running:
        yield running


def run(*command: str | Path) -> bytes:
    done = subprocess.run([*map(str, command)], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Pki:
    """strongSwan's `pki` in a directory of its own."""

    def __init__(self, listener: Listener, home: Path, endpoint: str) -> None:
        self.url = f"http://127.0.0.1:{listener.port}/scep/{endpoint}"
        self.home = home
        files = ("--caout", home / "ca.pem", "--raout", home / "ra.pem", "--outform", "pem")
        run("pki", "--scepca", "--url", self.url, *files)

    def key(self, name: str) -> Path:
        file = self.home / f"{name}.key"
        file.write_bytes(run("pki", "--gen", "--type", "rsa", "--size", "2048", "--outform", "pem"))
        return file

    def asking(self, key: Path, name: str, *how: str | Path) -> tuple[str | Path, ...]:
        ra, ca = self.home / "ra.pem", sorted(self.home.glob("ca*.pem"))
        trust = [word for each in ca for word in ("--cacert", each)]
        return (
            "pki", "--scep", "--url", self.url, "--in", key, "--dn", f"CN={name}", "--san", name,
            "--cacert-enc", ra, "--cacert-sig", ra, *trust, "--outform", "pem", *how,
        )  # fmt: skip

    def ask(self, key: Path, name: str, *how: str | Path) -> x509.Certificate:
        made = run(*self.asking(key, name, *how))
        (self.home / f"{name}.pem").write_bytes(made)
        return x509.load_pem_x509_certificate(made)


def test_pki_enrolls_and_renews(listener: Listener, tmp_path: Path) -> None:
    client = Pki(listener, tmp_path, "devices")
    first = client.key("first")
    given = token(listener, "swan.example")
    made = client.ask(first, "swan.example", "--password", given)
    old = tmp_path / "old.pem"
    shutil.copy(tmp_path / "swan.example.pem", old)
    proof = ("--cert", old, "--key", first)
    renewed = client.ask(client.key("second"), "swan.example", *proof)
    assert renewed.public_key() != made.public_key()
    found = find(listener.site.desk, serials.to_hex(renewed.serial_number))
    assert found.renewed_from == serials.to_hex(made.serial_number)


def test_pki_waits_for_a_person(listener: Listener, tmp_path: Path) -> None:
    client, name = Pki(listener, tmp_path, "watched"), "waits.example"
    asking = client.asking(
        client.key("only"), name, "--password", token(listener, name), "--interval", "1"
    )
    with subprocess.Popen(
        [*map(str, asking)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        until(lambda: waiting(listener, name) != [] or running.poll() is not None)
        [number] = waiting(listener, name)
        now = listener.site.clock()
        decisions.decide(listener.site.desk, APPROVER, number, Step.APPROVE, "it is ours", now=now)
        made, words = running.communicate(timeout=60)
    assert running.returncode == 0, words.decode()
    assert x509.load_pem_x509_certificate(made).subject.rfc4514_string() == f"CN={name}"


def waiting(listener: Listener, name: str) -> list[int]:
    desk, now = listener.site.desk, listener.site.clock()
    found = decisions.list_(desk, APPROVER, ApprovalQuery(state="pending"), now=now)
    return [each.id for each in found if each.parameters.get("names") == [f"dns:{name}"]]


def test_pki_is_told_no(listener: Listener, tmp_path: Path) -> None:
    client = Pki(listener, tmp_path, "devices")
    asking = client.asking(client.key("no"), "no.example", "--password", "iw_nobody")
    done = subprocess.run([*map(str, asking)], capture_output=True, check=False, timeout=60)
    assert done.returncode != 0
    assert b"badRequest" in done.stderr or b"transaction not permitted" in done.stderr, done.stderr
