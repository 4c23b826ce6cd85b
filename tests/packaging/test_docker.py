"""Dockerfiles and compose.yaml, judged by hadolint and by Docker Compose itself; what scripts do, by doing it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import another_year
from tests.fixtures.needs import left_out, program
from tests.fixtures.ports import free_ports
from tests.fixtures.served import Served, run, surroundings

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
PROGRAMS = Path(sys.executable).parent
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
SCRIPTS = [*DOCKER.glob("*.sh"), DOCKER / "openbao/setup.sh", DOCKER / "gateway/start"]
_AFTER_ONE_RUN = {"init", "openbao-setup", "fleet", "volumes"}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """What Compose makes of the file."""
    command = [PROGRAMS / "docker-compose", "-f", DOCKER / "compose.yaml", "config"]
    done = subprocess.run(
        [*command, "--format", "json"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)["services"]
    return found


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    command = [PROGRAMS / "hadolint", "--config", ROOT / ".hadolint.yaml", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_base_is_pinned_and_nobody_is_root_unless_it_must_be(path: Path) -> None:
    text = path.read_text()
    assert re.search(r"^ARG BASE=debian:\d+\.\d+-slim$", text, re.M)
    assert "HEALTHCHECK" in text
    assert "curl" not in text
    users = re.findall(r"^USER (\d+):(\d+)$", text, re.M)
    assert len(users) == 1
    assert (users[0] == ("0", "0")) == (path.name == "gateway.Dockerfile")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    done = subprocess.run(
        [program("shellcheck"), path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert os.access(path, os.X_OK)


def test_every_container_is_closed(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        assert service.get("network_mode") in (None, "none"), name
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
        for volume in service.get("volumes", []):
            assert volume["type"] == "volume" or volume.get("read_only") is True, name
            assert "docker.sock" not in volume["source"], name
    rights = {name: each["cap_add"] for name, each in services.items() if each.get("cap_add")}
    assert rights == {
        "gw1": ["NET_ADMIN", "NET_BIND_SERVICE"],
        "gw2": ["NET_ADMIN", "NET_BIND_SERVICE"],
        "volumes": ["CHOWN"],
    }


def test_no_secret_stands_in_an_environment(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASS|SECRET|TOKEN|KEY", variable):
                assert value.startswith(("/run/secrets/", "vault", "https://", "ikewarden")), name


def test_who_waits_for_whom_waits_until_it_is_well(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            once = other in _AFTER_ONE_RUN
            expected = "service_completed_successfully" if once else "service_healthy"
            assert how["condition"] == expected, (name, other)
            has_check = "healthcheck" in services[other] or "build" in services[other]
            assert once or has_check, (name, other)
        if name in _AFTER_ONE_RUN:
            assert service["restart"] == "no", name


def test_every_setting_is_one(services: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """What the service is given in its environment is taken, all of it."""
    (tmp_path / "ikewarden.toml").write_text("")
    for name in ("init", "api", "validation", "scheduler"):
        environ = services[name]["environment"]
        done = run("check-config", tmp_path / "ikewarden.toml", environ=environ)
        assert (done.code, done.out) == (0, "ok\n"), done.err


def test_what_is_mounted_from_here_is_here(services: dict[str, dict[str, Any]]) -> None:
    made_elsewhere = {ROOT / "monitoring" / "grafana", ROOT / "monitoring" / "prometheus"}
    for service in services.values():
        for volume in service.get("volumes", []):
            source = Path(volume["source"])
            assert volume["type"] == "volume" or source.exists() or source in made_elsewhere


def test_what_goes_into_an_image_is_what_the_wheel_needs() -> None:
    """.dockerignore lets through the rooms of the package, and what it is built with."""
    let_through = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.M))
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rooms = document["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {room.rstrip("*") for room in rooms} <= let_through
    assert {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= let_through
    for name in let_through:
        assert (ROOT / name).exists(), name


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A copy of docker/ in which prepare.sh has run."""
    if os.geteuid() != 0:
        left_out("only root gives files away")
    shutil.copytree(DOCKER, tmp_path / "docker", ignore=shutil.ignore_patterns("secrets"))
    for _ in range(2):
        done = subprocess.run(
            [tmp_path / "docker" / "prepare.sh"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return tmp_path / "docker"


def test_prepare_makes_each_secret_for_one_user(
    prepared: Path, services: dict[str, dict[str, Any]]
) -> None:
    made = {path.name: path for path in (prepared / "secrets").iterdir()}
    document = (prepared / "compose.yaml").read_text().partition("\nsecrets:\n")[2]
    assert set(re.findall(r"file: \./secrets/(\S+) }", document)) == set(made)
    files = dict(re.findall(r"^  (\S+): { file: \./secrets/(\S+) }", document, re.M))
    for path in made.values():
        assert path.stat().st_mode & 0o777 == 0o400, path
    uids = {"ikewarden:0.1.0": 10001}
    for name, service in services.items():
        wanted = int(service.get("user", "0:0").partition(":")[0]) or uids.get(service["image"], 0)
        for secret in service.get("secrets", []):
            assert made[files[secret["source"]]].stat().st_uid == wanted, (name, secret)
    before = {name: path.read_bytes() for name, path in made.items()}
    subprocess.run([prepared / "prepare.sh"], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in (prepared / "secrets").iterdir()} == before


@another_year.of_go
def test_openbao_is_set_up_as_the_service_needs_it(prepared: Path, tmp_path: Path) -> None:
    """Its configuration, its set-up and its policy, in the same version as the image, at other paths."""
    port, cluster = free_ports(2)
    secrets, data = prepared / "secrets", tmp_path / "data"
    data.mkdir()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-noenc", "-days", "2", "-subj", "/CN=openbao"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", secrets / "openbao-key"),
            *("-out", secrets / "openbao-certificate.openbao"),
        ],
        check=True,
        capture_output=True,
    )

    def placed(text: str) -> str:
        text = text.replace(
            "/run/secrets/openbao-certificate", f"{secrets}/openbao-certificate.openbao"
        )
        text = text.replace(
            "/run/secrets/openbao-secret-id", f"{secrets}/openbao-secret-id.openbao"
        )
        text = text.replace("/run/secrets/", f"{secrets}/").replace("/openbao/file", str(data))
        text = text.replace("0.0.0.0:8200", f"127.0.0.1:{port}")
        text = text.replace("https://127.0.0.1:8201", f"https://127.0.0.1:{cluster}")
        text = text.replace("https://openbao:8200", f"https://127.0.0.1:{port}")
        return text.replace("/etc/openbao", f"{prepared}/openbao")

    certificate = secrets / "openbao-certificate.openbao"
    configuration = placed((prepared / "openbao/config.hcl").read_text())
    configuration = configuration.replace(
        f'"127.0.0.1:{port}"', f'"127.0.0.1:{port}"\n  cluster_address = "127.0.0.1:{cluster}"'
    )
    (tmp_path / "config.hcl").write_text(configuration)
    (tmp_path / "setup.sh").write_text(placed((prepared / "openbao/setup.sh").read_text()))
    environ = {
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "BAO_ADDR": f"https://127.0.0.1:{port}",
        "BAO_CACERT": str(certificate),
    }
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            ["setpriv", "--pdeathsig=SIGKILL", "bao", "server", f"-config={tmp_path}/config.hcl"],
            env=environ,
            stdout=log,
            stderr=log,
        )
    try:
        while (
            subprocess.run(
                ["bao", "status"], env=environ, capture_output=True, check=False
            ).returncode
            == 1
        ):
            assert server.poll() is None, (tmp_path / "log").read_text()
        for _ in range(2):
            done = subprocess.run(
                ["sh", tmp_path / "setup.sh"],
                env=environ,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        assert not (tmp_path / ".vault-token").exists()
        (tmp_path / "ikewarden.toml").write_text(
            f'[secrets]\nstore = "vault"\nurl = "https://127.0.0.1:{port}"\nrole_id = "ikewarden"\n'
            f'secret_id_file = "{secrets}/secret-id"\nca_file = "{certificate}"\n'
        )
        (secrets / "secret-id").touch(0o600)
        (secrets / "secret-id").write_bytes((secrets / "openbao-secret-id.ikewarden").read_bytes())
        settings = ("--only", "secrets", "--config", tmp_path / "ikewarden.toml")
        checked = run("vault", "check", *settings)
        assert (checked.code, checked.out) == (0, "ok\n"), checked.err
        assert run("vault", "policy", *settings).out == (DOCKER / "openbao/policy.hcl").read_text()
    finally:
        server.kill()
        server.wait()


def test_the_fleet_is_put_on_record_once(own_served: Served, tmp_path: Path) -> None:
    """fleet.sh, run twice against a real service: two enrollment lines, a tunnel, what Prometheus needs."""
    program = tmp_path / "bin" / "ikewarden"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ikewarden.main "$@"\n')
    program.chmod(0o755)
    text = (DOCKER / "fleet.sh").read_text()
    for place in ("enrollment/gw1", "enrollment/gw2", "watching"):
        (tmp_path / place).mkdir(parents=True)
    for place in ("/enrollment/", "/watching"):
        text = text.replace(place, f"{tmp_path}{place}")
    text = text.replace("/var/lib/ikewarden/instance", str(own_served.directory))
    (tmp_path / "fleet.sh").write_text(text)
    environ = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "IKEWARDEN_DIR": str(own_served.directory),
    }
    for _ in range(2):
        done = subprocess.run(
            ["sh", tmp_path / "fleet.sh"],
            env=surroundings(environ),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    names = {each["name"] for each in own_served.json("gateway", "list")["items"]}
    assert names == {"gw1.example.com", "gw2.example.com"}
    (tunnel,) = own_served.json("tunnel", "list")["items"]
    assert tunnel["name"] == "site"
    for line in ("enrollment/gw1/line", "enrollment/gw2/line"):
        assert (tmp_path / line).read_text().startswith("iwe1_")
    token = (tmp_path / "watching/token").read_text().strip()
    answer = own_served.client_with(token).get("/v1/whoami")
    assert answer["role"] == "auditor"
    assert (tmp_path / "watching/root-ca.pem").read_bytes() == own_served.ca_file.read_bytes()


def test_agents_enroll_by_options_that_there_are() -> None:
    said = run("agent", "enroll", "--help").out + run("agent", "run", "--help").out
    for option in re.findall(r"--[a-z-]+", (DOCKER / "agent.sh").read_text()):
        assert option in said, option
