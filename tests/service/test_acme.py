"""ACME against the program: several workers, a scheduler of its own, deaths in between."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography import x509

from tests.api.acme.client import Acme, csr
from tests.api.acme.test_clients import did, needs_lego, run
from tests.api.acme.world import Names, name_server
from tests.api.serving import Client
from tests.fixtures.another_year import of_go
from tests.fixtures.ports import free_ports
from tests.fixtures.served import Served, serving

FILE = """\
name = "gateway"
profile = "gateway"
[acme]
networks = ["127.0.0.0/8"]
resolvers = ["127.0.0.1:{names}"]
http_port = {port}
"""


@dataclass
class Running:
    """A service, and where its clients prove their names."""

    service: Served
    names: Names
    port: int

    def binding(self, name: str, pattern: str) -> tuple[str, str]:
        limits = ("--profile", "gateway", "--allow", pattern, "--eab")
        done = self.service.run("token", "create", name, "--role", "enroller", *limits)
        assert done.code == 0, done.err
        kid = re.search(r"The kid is ([0-9a-f]{16})", done.err)
        assert kid is not None
        return kid[1], done.out.strip()

    def client(self) -> Client:
        def trust(_certificate: object) -> Any:
            import ssl

            return ssl.create_default_context(cafile=str(self.service.ca_file))

        like = SimpleNamespace(port=self.service.port, site=SimpleNamespace(trust=trust))
        return Client(cast("Any", like))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    (port,) = free_ports(1)
    with name_server() as names:
        endpoints = tmp_path / "endpoints"
        endpoints.mkdir()
        (endpoints / "gateway.toml").write_text(FILE.format(names=names.port, port=port))
        environ = {
            "IKEWARDEN_ENROLLMENT__ENDPOINTS_DIRECTORY": str(endpoints),
            "IKEWARDEN_API__WORKERS": "2",
        }
        with serving(tmp_path / "instance", environ=environ) as service:
            yield Running(service, names, port)


@of_go
@needs_lego
def test_a_fleet_s_client_comes_in(running: Running, tmp_path: Path) -> None:
    service = running.service
    (listed,) = service.json("enroll-endpoint", "list")["items"]
    url = listed["acme"]["url"]
    assert url == f"{service.url}/acme/gateway/directory"
    assert listed["acme"]["external_account"] is True
    running.names.point("gw1.example", "127.0.0.1")
    kid, key = running.binding("gw1", "dns:gw1.example")
    given = ["--server", url, "--accept-tos", "--email", "ops@example.com"]
    given += ["--path", str(tmp_path / "lego"), "--eab", "--kid", kid, "--hmac", key]
    given += ["--http", "--http.port", f"127.0.0.1:{running.port}"]
    trust = {"LEGO_CA_CERTIFICATES": str(service.ca_file)}
    did(run(["lego", *given, "--domains", "gw1.example", "run"], **trust))
    pem = tmp_path / "lego/certificates/gw1.example.crt"
    made = x509.load_pem_x509_certificates(pem.read_bytes())
    assert len(made) == 2
    other = run(["lego", *given, "--domains", "gw2.example", "run"], **trust)
    assert other.returncode != 0
    assert "rejectedIdentifier" in other.stderr
    assert key not in service.log, "the key stands nowhere"
    assert key.encode() not in (service.directory / "ikewarden.db").read_bytes()
    # Killed and begun again: what was derived from the seal is the same.
    service.kill()
    service.start()
    shutil.rmtree(tmp_path / "lego/certificates")
    did(run(["lego", *given, "--domains", "gw1.example", "run"], **trust))
    assert pem.exists()


def test_a_nonce_of_one_worker_is_good_at_the_other(running: Running) -> None:
    bound = running.binding("many", "dns:*.example")
    with running.client() as first:
        acme = Acme(first)
        assert acme.register(bound).status == 201
        statuses = []
        for _ in range(20):
            nonce = acme.nonce()
            # A connection of its own: whichever worker takes it.
            with running.client() as another:
                there = Acme(another, key=acme.key, kid=acme.kid)
                statuses.append(there.post(acme.kid or "", nonce=nonce).status)
                statuses.append(there.post(acme.kid or "", nonce=nonce).status)
    assert statuses == [200, 400] * 20


def test_a_proof_that_was_asked_for_before_a_death_is_found_after_it(running: Running) -> None:
    import time

    from tests.api.acme.client import challenge
    from tests.api.acme.world import web_server

    service = running.service
    running.names.point("dead.example", "127.0.0.1")
    running.names.silent = True
    with running.client() as held:
        acme = Acme(held)
        assert acme.register(running.binding("dead", "dns:dead.example")).status == 201
        order = acme.order("dead.example")
        wanted = challenge(acme.authorizations(order)[0], "http-01")
        assert acme.post(wanted["url"], {}).status == 200
    deadline = time.monotonic() + 60
    while not running.names.asked:  # the scheduler is at it
        assert time.monotonic() < deadline
        time.sleep(0.01)
    service.kill()
    running.names.silent = False
    with web_server(port=running.port) as web:
        web.show(wanted["token"], acme.key_authorization(wanted))
        service.start()
        with running.client() as held:
            again = Acme(held, key=acme.key, kid=acme.kid)
            url = order.headers["location"]
            deadline = time.monotonic() + 300
            while (now := again.post(url).json["status"]) == "pending":
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert now == "ready"
            assert again.finalize(order, csr(["dead.example"])).json["status"] == "valid"


def test_secrets_of_bindings_are_told_in_the_way_that_was_asked_for(
    running: Running, tmp_path: Path
) -> None:
    service = running.service
    file = tmp_path / "key"
    limits = ("--role", "enroller", "--profile", "gateway", "--eab")
    made = service.json("token", "create", "in-file", *limits, "--out", file)
    assert made["token"] is None
    assert made["eab_hmac_key"] is None
    with running.client() as held:
        assert Acme(held).register((made["id"], file.read_text().strip())).status == 201
    near = ("--network", "10.0.0.0/8", "--network", "fd00:1::/32")
    made = service.json("token", "create", "near", *limits, *near)
    assert made["networks"] == ["10.0.0.0/8", "fd00:1::/32"]
    assert "10.0.0.0/8" in service.run("token", "list").out
    wrong = service.run("token", "create", "far", *limits, "--network", "10.0.0.1/8")
    assert wrong.code != 0
    assert "10.0.0.1/8" in wrong.err
    refused = service.run("token", "create", "carol", "--role", "operator", "--eab")
    assert refused.code == 2
    assert "--eab" in refused.err
