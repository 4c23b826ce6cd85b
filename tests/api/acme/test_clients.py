"""ACME with other people's clients: lego and certbot of Debian, and the library `acme`."""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pki import authorities
from pki.certificates import find
from pki.x509 import serials
from tests.api.acme.client import csr, external
from tests.api.acme.conftest import World
from tests.fixtures.another_year import of_go
from tests.fixtures.needs import needs_program

needs_lego = needs_program("lego", "lego")
needs_certbot = needs_program("certbot", "certbot")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


@pytest.fixture
def looking(world: World) -> Iterator[World]:
    """Proofs are looked for all the time, at a port of the client's own."""
    before = world.serving.site.desk.rules.endpoints["gateway"].acme
    assert before is not None
    world.door(http_port=free_port(), tls_port=free_port())
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.1):
            world.proofs.run(world.serving.site.clock())

    thread = threading.Thread(target=run)
    thread.start()
    yield world
    stop.set()
    thread.join()
    world.door(http_port=before.http_port, tls_port=before.tls_port)


def door_of(world: World) -> Any:
    return world.serving.site.desk.rules.endpoints["gateway"].acme


def directory(world: World) -> str:
    return f"{world.serving.site.desk.rules.service_url}/acme/gateway/directory"


def root_of(world: World, path: Path) -> Path:
    file = path / "root.pem"
    root = authorities.load(world.serving.site.desk, "root").certificate
    file.write_text(authorities.pem(root))
    return file


def run(command: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a client: as somebody whose environment names no proxies."""
    clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return subprocess.run(
        command,
        env={**clean, **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def did(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def on_record(world: World, pem: Path) -> Any:
    made = x509.load_pem_x509_certificates(pem.read_bytes())[0]
    return find(world.serving.site.desk, serials.to_hex(made.serial_number))


@of_go
@needs_lego
@pytest.mark.parametrize("way", ["http", "tls"])
def test_lego_fetches_renews_and_revokes(looking: World, tmp_path: Path, way: str) -> None:
    name = f"lego-{way}.example"
    looking.names.point(name, "127.0.0.1")
    kid, key = external(looking.serving)
    door = door_of(looking)
    port = door.http_port if way == "http" else door.tls_port
    given = ["--server", directory(looking), "--accept-tos", "--email", "ops@example.com"]
    given += ["--path", str(tmp_path / "lego"), "--domains", name]
    bound = ["--eab", "--kid", kid, "--hmac", key]
    proof = [f"--{way}", f"--{way}.port", f"127.0.0.1:{port}"]
    trust = {"LEGO_CA_CERTIFICATES": str(root_of(looking, tmp_path))}
    refused = run(["lego", *given, *proof, "run"], **trust)
    assert refused.returncode != 0
    assert "external account" in (refused.stdout + refused.stderr).lower()
    shutil.rmtree(tmp_path / "lego")
    did(run(["lego", *given, *bound, *proof, "run"], **trust))
    pem = tmp_path / "lego" / "certificates" / f"{name}.crt"
    first = on_record(looking, pem)
    assert (first.status, first.names) == ("valid", (f"dns:{name}",))
    did(
        run(
            ["lego", *given, *bound, *proof, "renew", "--days", "9999", "--no-random-sleep"],
            **trust,
        )
    )
    second = on_record(looking, pem)
    assert second.serial != first.serial
    did(run(["lego", *given, *bound, "revoke", "--reason", "4"], **trust))
    ended = find(looking.serving.site.desk, second.serial)
    assert (ended.status, ended.reason) == ("revoked", "superseded")


@of_go
@needs_lego
def test_lego_sends_a_request_of_its_own(looking: World, tmp_path: Path) -> None:
    looking.names.point("csr.example", "127.0.0.1")
    kid, key = external(looking.serving)
    file = tmp_path / "csr.pem"
    made = x509.load_der_x509_csr(csr(["csr.example"], common="csr.example"))
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    given = ["--server", directory(looking), "--accept-tos", "--email", "ops@example.com"]
    given += ["--path", str(tmp_path / "lego"), "--csr", str(file)]
    given += ["--eab", "--kid", kid, "--hmac", key]
    given += ["--http", "--http.port", f"127.0.0.1:{door_of(looking).http_port}"]
    did(run(["lego", *given, "run"], LEGO_CA_CERTIFICATES=str(root_of(looking, tmp_path))))
    assert on_record(looking, tmp_path / "lego/certificates/csr.example.crt").status == "valid"


@needs_certbot
def test_certbot_fetches_renews_revokes_and_leaves(looking: World, tmp_path: Path) -> None:
    looking.names.point("certbot.example", "127.0.0.1")
    kid, key = external(looking.serving)
    places = [
        *("--config-dir", str(tmp_path / "etc"), "--work-dir", str(tmp_path / "work")),
        *("--logs-dir", str(tmp_path / "logs"), "--server", directory(looking), "-n"),
    ]
    trust = {"REQUESTS_CA_BUNDLE": str(root_of(looking, tmp_path))}
    proof = ["--standalone", "--http-01-port", str(door_of(looking).http_port)]
    proof += ["--http-01-address", "127.0.0.1", "--key-type", "ecdsa", "-d", "certbot.example"]
    bound = ["--eab-kid", kid, "--eab-hmac-key", key, "-m", "ops@example.com", "--agree-tos"]
    did(run(["certbot", "certonly", *places, *bound, "--no-eff-email", *proof], **trust))
    pem = tmp_path / "etc/live/certbot.example/cert.pem"
    first = on_record(looking, pem)
    assert first.status == "valid"
    did(
        run(["certbot", "renew", *places, "--force-renewal", "--no-random-sleep-on-renew"], **trust)
    )
    second = on_record(looking, pem)
    assert second.serial != first.serial
    did(run(["certbot", "update_account", *places, "-m", "new@example.com"], **trust))
    name = ["--cert-name", "certbot.example", "--reason", "keycompromise"]
    did(run(["certbot", "revoke", *places, *name, "--no-delete-after-revoke"], **trust))
    ended = find(looking.serving.site.desk, second.serial)
    assert (ended.status, ended.reason) == ("revoked", "keyCompromise")
    did(run(["certbot", "unregister", *places], **trust))


def test_the_library_does_what_the_others_do_not(looking: World, tmp_path: Path) -> None:
    """dns-01, a change of keys, deactivation."""
    import josepy
    from acme import challenges, client, messages
    from acme import crypto_util as _  # noqa: F401 - it must be importable with ours

    looking.names.point("library.example", "127.0.0.1")
    kid, key = external(looking.serving)
    account = josepy.JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    network = client.ClientNetwork(
        account, alg=josepy.ES256, verify_ssl=str(root_of(looking, tmp_path))
    )
    network.session.trust_env = False
    found = client.ClientV2.get_directory(directory(looking), network)
    acme = client.ClientV2(found, network)
    bound = messages.ExternalAccountBinding.from_data(
        account_public_key=account.public_key(),
        kid=kid,
        hmac_key=key,
        directory=found,
        hmac_alg="HS256",
    )
    registered = acme.new_account(
        messages.NewRegistration.from_data(
            email="ops@example.com", terms_of_service_agreed=True, external_account_binding=bound
        )
    )
    private = ec.generate_private_key(ec.SECP256R1())
    request = x509.load_der_x509_csr(csr(["library.example"], key=private))
    order = acme.new_order(request.public_bytes(serialization.Encoding.PEM))
    for each in order.authorizations:
        body = next(one for one in each.body.challenges if isinstance(one.chall, challenges.DNS01))
        response, validation = body.response_and_validation(account)
        at = f"_acme-challenge.{each.body.identifier.value}"
        looking.names.records[at, "TXT"] = [f'"{validation}"']
        acme.answer_challenge(body, response)
    done = acme.poll_and_finalize(order)
    assert done.fullchain_pem.count("BEGIN CERTIFICATE") == 2
    made = x509.load_pem_x509_certificate(done.fullchain_pem.encode())
    assert made.public_key() == private.public_key()
    window, _again = acme.renewal_time(done.fullchain_pem.encode())
    assert window is not None
    acme.revoke(made, 0)
    assert find(looking.serving.site.desk, serials.to_hex(made.serial_number)).status == "revoked"
    acme.deactivate_registration(registered)
    network.session.close()
