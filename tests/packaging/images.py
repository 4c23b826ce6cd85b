"""The images, built and run: `make soak`, as root. They are made of Debian's packages and those that pip fetches.

No base is pulled: mmdebstrap makes one of the same release. Neither buildah nor runc needs a daemon.
IKEWARDEN_IMAGE_OPTIONS has more options for `buildah build`: a mirror's certificate, say.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fixtures.ports import free_ports
from tests.packaging.containers import ROOT, Builder, Container, Image, run_once, running

_INSTANCE = "/var/lib/ikewarden"
_VICI = ("--uri", "unix:///run/charon/charon.vici")
_SIDES = (("gw1", "172.31.79.11/24", "10.1.0.1/24"), ("gw2", "172.31.79.12/24", "10.2.0.1/24"))


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, Image]]:
    """All three. Some gigabytes: on disk, and not in memory, where other tests write."""
    builder = Builder(Path(tempfile.mkdtemp(prefix="ikewarden-images-", dir="/var/tmp")))
    try:
        builder.make_base()
        yield {name: builder.image(name) for name in ("service", "agent", "gateway")}
    finally:
        builder.remove()


def _volume(path: Path, uid: int = 0, mode: int = 0o755) -> Path:
    path.mkdir()
    os.chown(path, uid, uid)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("name", "user"), [("service", "10001"), ("agent", "10002")])
def test_what_an_image_says_of_itself(images: dict[str, Image], name: str, user: str) -> None:
    image = images[name]
    assert image.configuration["User"] == f"{user}:{user}"
    assert image.configuration["Healthcheck"]["Test"][:2] == ["CMD", "ikewarden"]
    assert image.configuration["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    # What built it stayed behind.
    assert not (image.files / "src").exists()
    assert not list(image.files.glob("opt/ikewarden/lib/python3*/site-packages/pip"))


def test_the_service_in_its_image(images: dict[str, Image], tmp_path: Path) -> None:
    port, validation_port = map(str, free_ports(2))
    image = images["service"]
    volumes = {_INSTANCE: _volume(tmp_path / "state", 10001, 0o700)}
    ports = ("init", "--port", port, "--validation-port", validation_port)
    run_once("init", Container(image, ports, volumes=volumes), tmp_path)
    with running("serve", Container(image, ("serve",), volumes=volumes), tmp_path) as service:
        assert service.until(*image.configuration["Healthcheck"]["Test"][1:]) == "ok\n"
        code, said = service.asked("sh", "-c", "id -u; touch /opt/x /usr/x /etc/x")
        assert code != 0
        assert said.splitlines()[0] == "10001"
        assert said.count("Read-only file system") == 3
        _, status = service.asked("grep", "-E", "^Cap(Eff|Bnd)|^NoNewPrivs", "/proc/self/status")
        assert [line.split()[1] for line in status.splitlines()] == ["0" * 16, "0" * 16, "1"]
        pdf = "import weasyprint; weasyprint.HTML(string='<p>报告</p>').write_pdf('/tmp/x.pdf')"
        assert service.asked("python", "-c", pdf)[0] == 0


@pytest.fixture
def network(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Two network namespaces with a cable between them, by the gateway in each; names in a file for /etc/hosts."""
    names = {gateway: f"ikw-{os.getpid()}-{gateway}" for gateway, _, _ in _SIDES}
    with ExitStack() as stack:
        for name in names.values():
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
        left, right = names.values()
        cable = ("type", "veth", "peer", "name", "wan", "netns", right)
        _ip("link", "add", "wan", "netns", left, *cable)
        for gateway, address, _ in _SIDES:
            _ip("-n", names[gateway], "address", "add", address, "dev", "wan")
            for device in ("wan", "lo"):
                _ip("-n", names[gateway], "link", "set", device, "up")
        (tmp_path / "hosts").write_text("127.0.0.1 localhost\n172.31.79.11 api validation\n")
        yield names


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def test_a_fleet_of_them(images: dict[str, Image], network: dict[str, str], tmp_path: Path) -> None:
    """compose.yaml's scripts in compose.yaml's containers: two gateways enroll, and prove themselves to each other by
    certificates and a key that the service made. Packets need a kernel with ESP, and are left to other tests.
    """
    hosts = {"/etc/hosts": tmp_path / "hosts"}
    state = _volume(tmp_path / "state", 10001, 0o700)
    enrollments = {name: _volume(tmp_path / f"line-{name}", 10001) for name in network}
    watching = _volume(tmp_path / "watching", 10001)
    service = Container(
        images["service"],
        volumes={_INSTANCE: state, **hosts},
        network=network["gw1"],
    )
    plan = ("--host=0.0.0.0", "--name=api", "--name=localhost", "--validation-host=0.0.0.0")
    init = ("init", "--busy-ok", *plan, "--validation-url=http://validation:8080")
    with ExitStack() as stack:
        run_once("init", _like(service, init), tmp_path)
        serve = stack.enter_context(running("serve", _like(service, ("serve",)), tmp_path))
        serve.until("ikewarden", "health")
        fleet = Container(
            images["service"],
            program=("sh", "/opt/fleet.sh"),
            volumes={
                **service.volumes,
                "/enrollment/gw1": enrollments["gw1"],
                "/enrollment/gw2": enrollments["gw2"],
                "/watching": watching,
                "/opt/fleet.sh": ROOT / "docker/fleet.sh",
            },
            network=network["gw1"],
        )
        run_once("fleet", fleet, tmp_path)
        gateways, agents = [], []
        for name, _, inside in _SIDES:
            shared = {
                "/run/charon": _volume(tmp_path / f"vici-{name}", mode=0o700),
                "/etc/swanctl": tmp_path / f"swanctl-{name}",
            }
            shutil.copytree(images["gateway"].files / "etc/swanctl", shared["/etc/swanctl"])
            gateway = Container(
                images["gateway"],
                volumes={**shared, **hosts},
                environ={"GATEWAY_INSIDE": inside},
                capabilities=("CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE"),
                network=network[name],
            )
            gateways.append(stack.enter_context(running(name, gateway, tmp_path)))
            gateways[-1].until("swanctl", "--stats", *_VICI)
            agent = Container(
                images["agent"],
                program=("sh", "/opt/agent.sh"),
                volumes={
                    **shared,
                    **hosts,
                    "/enrollment": enrollments[name],
                    "/var/lib/agent": _volume(tmp_path / f"home-{name}"),
                    "/opt/agent.sh": ROOT / "docker/agent.sh",
                },
                environ={"IKEWARDEN_AGENT_HOME": "/var/lib/agent/home"},
                uid=0,
                network=network[name],
            )
            agents.append(stack.enter_context(running(f"agent-{name}", agent, tmp_path)))
        said = gateways[0].until("swanctl", "--list-sas", *_VICI, says="ESTABLISHED")
        assert "gw2.example.com" in said
        gateways[0].until("swanctl", "--list-sas", *_VICI, says="PPK")
        for each in agents:
            assert "working" in each.until("ikewarden", "agent", "status")
        said = serve.until("ikewarden", "tunnel", "list")
        assert "site" in said


def _like(container: Container, arguments: tuple[str, ...]) -> Container:
    return Container(
        container.image, arguments, volumes=container.volumes, network=container.network
    )
