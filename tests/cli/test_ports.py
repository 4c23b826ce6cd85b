"""Ports that are in use: told before a CA is made, and told in full when the service is started."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.ports import free_ports
from tests.fixtures.served import Served, run


@pytest.fixture
def busy() -> Iterator[int]:
    """A port that another program listens at."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize("option", ["--port", "--validation-port"])
@pytest.mark.parametrize("more", [(), ("--if-missing",)], ids=["init", "make run"])
def test_nothing_is_made_where_a_port_is_in_use(
    tmp_path: Path, busy: int, option: str, more: tuple[str, ...]
) -> None:
    other = "--validation-port" if option == "--port" else "--port"
    ports = (option, str(busy), other, str(free_ports(1)[0]))
    done = run("init", "--dir", tmp_path / "home", *ports, *more)
    assert (done.code, "(listen_failed)" in done.err) == (1, True)
    assert f"{option} PORT" in done.err
    assert str(busy) in done.err
    assert list(tmp_path.iterdir()) == []


def test_an_instance_that_is_there_is_not_looked_at(tmp_path: Path, busy: int) -> None:
    ports = ("--port", str(busy), "--validation-port", str(free_ports(1)[0]))
    assert run("init", "--dir", tmp_path / "home", *ports, "--busy-ok").code == 0
    assert run("init", "--dir", tmp_path / "home", *ports, "--if-missing").code == 0


def test_serve_names_the_file_and_the_keys(tmp_path: Path, busy: int) -> None:
    api, validation = free_ports(2)
    ports = ("--port", str(api), "--validation-port", str(validation))
    assert run("init", "--dir", tmp_path / "home", *ports).code == 0
    moved = {"IKEWARDEN_VALIDATION__PORT": str(busy)}
    done = run("serve", "--dir", tmp_path / "home", environ=moved)
    assert (done.code, "(listen_failed)" in done.err) == (1, True)
    for told in ("ikewarden.toml", "[api] port", "[validation] port", "url", f":{validation}"):
        assert told in done.err
    assert "runs already" not in done.err


def test_a_second_serve_says_that_the_first_runs(own_served: Served) -> None:
    done = own_served.run("serve", "--dir", own_served.directory)
    assert (done.code, "(listen_failed)" in done.err) == (1, True)
    assert "runs already" in done.err
    assert own_served.url in done.err
    assert own_served.run("whoami").code == 0


def test_a_url_that_leads_elsewhere_is_told(own_served: Served) -> None:
    own_served.stop()
    [other] = free_ports(1)
    own_served.environ = {"IKEWARDEN_VALIDATION__PORT": str(other)}
    own_served.start(ready=False)
    reply = own_served.troubles()
    assert "validation_url_misdirected" in {each["code"] for each in reply}
    assert "does not listen" in own_served.log
