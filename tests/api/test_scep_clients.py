"""SCEP with clients that others wrote: strongSwan's `pki`, certmonger, and micromdm's, which is to be refused."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from pki import decisions
from pki.actors import Actor, Role
from pki.certificates import find
from pki.decisions import ApprovalQuery
from pki.guarded import Step
from pki.x509 import serials
from tests.api.plain import Listener, until
from tests.api.scepping import open_doors, token
from tests.api.site import Site
from tests.fixtures.another_year import of_certmonger, of_go
from tests.fixtures.needs import needs, needs_program

APPROVER = Actor("ann", Role.APPROVER)
CERTMONGER = Path("/usr/lib/certmonger/certmonger-session")
pytestmark = needs_program("pki", "strongswan-pki")


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


def test_pki_speaks_as_old_devices_do(listener: Listener, tmp_path: Path) -> None:
    old = ("--cipher", "des3", "--digest", "sha1")
    for endpoint, words in (("old", b""), ("devices", b"badAlg")):
        home = tmp_path / endpoint
        home.mkdir()
        client = Pki(listener, home, endpoint)
        word = token(listener, "old.example")
        asking = client.asking(client.key("old"), "old.example", "--password", word, *old)
        done = subprocess.run([*map(str, asking)], capture_output=True, check=False, timeout=60)
        assert (done.returncode == 0) == (endpoint == "old"), done.stderr.decode()
        assert words in done.stderr


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


@of_certmonger
@needs(CERTMONGER.exists(), "needs certmonger (Debian: certmonger)")
def test_certmonger_enrolls_renews_and_takes_a_new_key(listener: Listener, tmp_path: Path) -> None:
    """It checks answers with OpenSSL's PKCS #7 code, and writes BER; renewals are PKCSReqs with the old password."""
    client, name = Pki(listener, tmp_path, "devices"), "monger.example"
    place = f"-s -c ours -f {tmp_path}/cert.pem"
    steps = (
        f"getcert add-scep-ca -s -c ours -u {client.url} "
        f"-N {tmp_path}/ca.pem -I {tmp_path}/ca-1.pem -r {tmp_path}/ra.pem",
        f"getcert request {place} -k {tmp_path}/key.pem -N CN={name} -D {name} "
        f"-L {token(listener, name)} -w -v",
        f"getcert resubmit {place} -w -v",
        f"getcert rekey {place} -w -v",
    )
    script, home = tmp_path / "steps.sh", tmp_path / "home"
    keep = f"cp {tmp_path}/cert.pem {tmp_path}/cert-$((++n)).pem 2>/dev/null"
    script.write_text("\n".join(["n=0", *(f"{step} && {keep}" for step in steps)]))
    home.mkdir()
    done = subprocess.run(
        ["dbus-run-session", "--", CERTMONGER, "-n", "-c", f"bash {script}"],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    files = sorted(tmp_path.glob("cert-*.pem"))
    assert len(files) == 3, (done.stdout[-3000:], done.stderr[-3000:])
    made = [x509.load_pem_x509_certificate(each.read_bytes()) for each in files]
    first, again, rekeyed = (serials.to_hex(each.serial_number) for each in made)
    assert find(listener.site.desk, again).renewed_from == first
    assert find(listener.site.desk, rekeyed).renewed_from == again
    keys = [each.public_key() for each in made]
    assert keys[0] == keys[1] != keys[2]


@of_go
@needs_program("scepclient", "scep")
@pytest.mark.parametrize("endpoint", ["devices", "old"])
def test_a_client_of_single_des_is_refused(
    listener: Listener, tmp_path: Path, endpoint: str
) -> None:
    client, name = Pki(listener, tmp_path, endpoint), "micro.example"
    ra = x509.load_pem_x509_certificate((tmp_path / "ra.pem").read_bytes())
    done = subprocess.run(
        ["scepclient", "-server-url", client.url, "-ca-fingerprint", ra.fingerprint(hashes.SHA256()).hex(),
         "-challenge", token(listener, name), "-private-key", "key", "-certificate", "cert", "-cn", name],
        cwd=tmp_path, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert b"badAlg" in done.stdout + done.stderr
