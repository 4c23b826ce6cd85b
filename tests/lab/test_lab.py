"""The lab works: tunnels, traffic, revocation, services, side by side, nothing left behind."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.x509 import ReasonFlags

from tests.lab import (
    Gateway,
    Lab,
    LabError,
    Refused,
    carried,
    connect,
    ownership,
    ping,
    ping_through,
    sweep,
)
from tests.lab.handmade import Authority, Leaf
from tests.lab.lab import missing
from tests.lab.ownership import Claim, ProcessId
from tests.lab.site import Site

ROOT_OF_TREE = Path(__file__).parents[2]
LEFT, RIGHT = 0xA1, 0xB0


class Fleet:
    """Two gateways under one handmade CA whose CRLs the lab's site serves."""

    def __init__(self, lab: Lab, algorithm: str = "ec-p256") -> None:
        self.site: Site = lab.site()
        self.root = Authority("Lab Root")
        root_crl = self.site.put("/root.crl", self.root.crl(1))
        # charon 5.9 with `revocation = strict` wants the intermediate's status too.
        self.ca = Authority("Lab Issuing", self.root, crl_url=root_crl, serial=2)
        self.crl_url = self.site.put("/ca.crl", self.ca.crl(1))
        self.left, self.right = lab.gateway("left"), lab.gateway("right")
        for gateway, serial in ((self.left, LEFT), (self.right, RIGHT)):
            leaf = self.issue(f"{gateway.name}.lab.test", serial, algorithm)
            gateway.install(leaf.key_pem, leaf.pem, self.ca.chain)

    def issue(self, dns: str, serial: int, algorithm: str = "ec-p256") -> Leaf:
        return self.ca.leaf(dns, serial=serial, algorithm=algorithm, crl_urls=[self.crl_url])

    def revoke(self, serial: int, *, number: int) -> None:
        revoked = [(serial, ReasonFlags.key_compromise)]
        self.site.put("/ca.crl", self.ca.crl(number, revoked))


@pytest.mark.parametrize("algorithm", ["ec-p256", "ec-p384", "rsa-3072", "ed25519"])
def test_a_tunnel_comes_up_and_carries_traffic(lab: Lab, algorithm: str) -> None:
    fleet = Fleet(lab, algorithm)
    assert ping(fleet.left, fleet.right, 1, wait=0.2).received == 0, "reachable without a tunnel"
    connect(fleet.left, fleet.right)

    words = fleet.left.initiate()

    assert any("authentication of 'right.lab.test' with" in each for each in words)
    result = ping_through(fleet.left, fleet.right, 100, interval=0.002)
    assert (result.sent, result.received) == (100, 100)
    ends = [gateway.established() for gateway in (fleet.left, fleet.right)]
    assert [sa.remote_id for sa in ends if sa] == ["right.lab.test", "left.lab.test"]
    assert "certificate status is good" in fleet.right.log.words("status", 0)
    assert fleet.left.terminate() == 1
    fleet.right.wait_until(up=False)
    with pytest.raises(LabError, match="no established tunnel"):
        carried(fleet.left)


def test_a_revoked_gateway_is_refused_with_the_daemons_words(lab: Lab) -> None:
    fleet = Fleet(lab)
    connect(fleet.left, fleet.right)
    fleet.left.initiate()
    fleet.revoke(LEFT, number=2)
    fleet.right.flush_certs("x509_crl")
    mark = fleet.right.log.mark()

    fleet.left.reauthenticate()

    said = fleet.right.log.wait_for("certificate was revoked", since=mark)
    assert said.endswith("reason: key compromise")
    fleet.right.log.wait_for("no trusted ECDSA public key found for 'left.lab.test'", since=mark)
    fleet.left.log.wait_for("received AUTHENTICATION_FAILED notify error")
    for gateway in (fleet.left, fleet.right):
        gateway.wait_until(up=False)
    assert ping(fleet.left, fleet.right, 3, wait=0.2).received == 0
    with pytest.raises(Refused) as refused:
        fleet.left.initiate()
    assert "received AUTHENTICATION_FAILED notify error" in refused.value.words


def test_a_renewed_certificate_is_used_at_the_next_authentication(lab: Lab) -> None:
    fleet = Fleet(lab)
    connect(fleet.left, fleet.right)
    fleet.left.initiate()
    fleet.left.terminate()
    renewed = fleet.issue("left.lab.test", 0xA2)
    fleet.left.install(renewed.key_pem, renewed.pem, [])
    fleet.revoke(LEFT, number=2)  # the old one would be refused
    fleet.right.flush_certs()

    fleet.left.initiate()

    assert fleet.right.established() is not None


def test_a_gateway_comes_back_after_a_power_cut(lab: Lab) -> None:
    fleet = Fleet(lab)
    connect(fleet.left, fleet.right)
    fleet.left.initiate()
    fleet.left.kill()
    assert not fleet.left.running

    fleet.left.start()
    fleet.left.load_all()
    fleet.left.initiate()

    ping_through(fleet.left, fleet.right, 3)


@pytest.fixture
def local_service() -> Iterator[tuple[str, int]]:
    """A service of the root namespace, on loopback, that echoes the length of what is posted."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = str(len(body)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield "127.0.0.1", server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_gateways_reach_a_service_of_the_root_namespace(
    lab: Lab, local_service: tuple[str, int]
) -> None:
    address = lab.publish(local_service, port=8443)
    host = lab.namespace("host")
    post = "import sys, urllib.request as r; "
    post += "print(r.urlopen(sys.argv[1], data=b'x' * 3_000_000).read().decode())"

    done = host.run([sys.executable, "-c", post, f"http://{address}/"])

    assert (address, done.stdout.strip()) == ("192.0.2.254:8443", "3000000")


def test_a_dead_service_closes_the_connection(lab: Lab) -> None:
    address = lab.publish(("127.0.0.1", 1), port=8080)
    host = lab.namespace("host")
    get = "import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=5)"
    done = host.run([sys.executable, "-c", get, f"http://{address}/"], check=False)
    assert "closed connection" in done.stderr or "reset by peer" in done.stderr


def test_labs_side_by_side_do_not_see_each_other(lab: Lab) -> None:
    with Lab() as other:
        first, second = lab.namespace("host"), other.namespace("host")
        alone = other.namespace("second")
        assert (first.address, second.address) == ("192.0.2.1", "192.0.2.1")
        sites = lab.site(), other.site()
        sites[0].put("/who", b"first")
        sites[1].put("/who", b"second")
        get = "import urllib.request as r; "
        get += "print(r.urlopen('http://192.0.2.254/who').read().decode())"
        heard = [host.run([sys.executable, "-c", get]).stdout.strip() for host in (first, second)]
        assert heard == ["first", "second"]
        lost = first.run(["ping", "-c", "1", "-W", "0.3", alone.address], check=False)
        assert lost.returncode != 0


@pytest.mark.usefixtures("needs_lab")
def test_nothing_is_left_after_the_lab() -> None:
    with Lab() as lab:
        gateway: Gateway = lab.gateway("gw")
        sleeper = lab.service.start(["sleep", "600"], output=lab.directory / "sleep")
        names = [gateway.namespace.name, lab.service.name]
        assert all((ownership.NAMESPACES / name).exists() for name in names)
    assert not any((ownership.NAMESPACES / name).exists() for name in names)
    assert not gateway.running
    assert not sleeper.running
    assert not lab.directory.exists()
    assert not (ownership.CLAIMS / f"{lab.id}.json").exists()


def test_a_daemon_that_does_not_start_says_why(lab: Lab) -> None:
    gateway = lab.gateway("gw", settings={"load": "nonce"}, start=False)
    with pytest.raises(LabError, match="did not come up"):
        gateway.start(timeout=2)


def test_a_word_that_never_comes_shows_the_log(lab: Lab) -> None:
    gateway = lab.gateway("gw")
    with pytest.raises(LabError, match=r"(?s)no 'never said'.*loaded plugins"):
        gateway.log.wait_for("never said", timeout=0.1)


CRASHING_OWNER = """
import json, sys, time
from tests.lab import Lab
lab = Lab()
lab.start()
gateway = lab.gateway("gw")
# one process whose start was never written down: the owner died right after it
gateway.namespace.start(["sleep", "600"], output=lab.directory / "sleep")
lab._claim.processes.pop()
lab._claim.write()
print(json.dumps({"id": lab.id, "directory": str(lab.directory)}), flush=True)
time.sleep(600)
"""


def _in_lab(lab_id: str) -> list[ProcessId]:
    return ownership._marked(lab_id)


@pytest.mark.usefixtures("needs_lab")
def test_the_next_start_removes_what_a_killed_owner_left() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CRASHING_OWNER],
        cwd=ROOT_OF_TREE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        left = json.loads(owner.stdout.readline())
        claim = ownership.CLAIMS / f"{left['id']}.json"
        sweep()
        assert claim.exists(), "a lab whose owner lives was swept"
        assert len(_in_lab(left["id"])) == 2
        names = Claim.read(claim).namespaces
        owner.send_signal(signal.SIGKILL)
    # A lab of another test that starts now may sweep it first, or be at it.
    survivors = _in_lab(left["id"])
    assert len(survivors) == 2 or _is_swept(claim), "charon and sleep should have survived"

    with Lab():
        pass

    assert _is_swept(claim)
    assert _in_lab(left["id"]) == []
    assert not Path(left["directory"]).exists()
    assert not any((ownership.NAMESPACES / name).exists() for name in names)


def _is_swept(claim: Path) -> bool:
    """Whether a claim is gone, or goes within seconds."""
    for _ in range(100):
        if not claim.exists():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.usefixtures("needs_lab")
def test_a_process_that_only_has_the_same_id_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as bystander:
        now = ProcessId.of(bystander.pid)
        assert now is not None
        earlier = ProcessId(now.pid, now.started - 1)
        dead = ProcessId(os.getpid(), 1)
        Claim("0bad1d", dead, tmp_path, [], [earlier]).write()

        assert "0bad1d" in [*sweep(), *_swept_by_others("0bad1d")]

        time.sleep(0.1)
        assert bystander.poll() is None
        bystander.kill()
    assert tmp_path.exists(), "a directory that no lab made was removed"


def _swept_by_others(lab_id: str) -> list[str]:
    """The id again if a lab that started just now in another test process was quicker than we."""
    return [] if (ownership.CLAIMS / f"{lab_id}.json").exists() else [lab_id]


@pytest.mark.parametrize(
    ("uid", "absent", "reason"),
    [
        (1000, "", "needs root"),
        (0, "swanctl", "needs swanctl: apt-get install"),
        (0, "/dev/net/tun", "needs /dev/net/tun"),
        (0, "", ""),
    ],
)
def test_the_reason_for_leaving_the_lab_out_is_said(uid: int, absent: str, reason: str) -> None:
    said = missing(
        uid=uid,
        which=lambda name: None if name == absent else f"/usr/bin/{name}",
        exists=lambda path: path != absent,
    )
    assert reason in said
    assert bool(said) == bool(reason)
