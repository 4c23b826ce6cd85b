"""Parts of the service that run by themselves tell what they count."""

import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.metrics import PROCESSES
from tests.fixtures.ports import free_ports
from tests.fixtures.served import PROGRAM, Served, run, serving, surroundings
from tests.prometheus.tools import promtool
from tests.syslog.sending import eventually


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("parts") / "instance") as found:
        yield found


def _fetch(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return bytes(answer.read())


def _answers(address: str) -> bool:
    try:
        return bool(_fetch(address))
    except urllib.error.URLError:
        return False


def test_a_validation_listener_alone_is_counted(served: Served, tmp_path: Path) -> None:
    port, metrics = free_ports(2)
    environ = {
        "IKEWARDEN_VALIDATION__PORT": str(port),
        "IKEWARDEN_VALIDATION__URL": served.validation_url,
        "IKEWARDEN_METRICS__PORT": str(metrics),
    }
    command = ["setpriv", "--pdeathsig=SIGTERM", *PROGRAM, "serve", "--only", "validation"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--dir", served.directory],
            env=surroundings(environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{metrics}/metrics"
    asked = f"http://127.0.0.1:{port}/crl/issuing.crl"
    try:
        eventually(lambda: _answers(address) and _answers(asked))
        # To HTTP an error of OCSP is an answer like any other.
        nonsense = urllib.request.Request(f"http://127.0.0.1:{port}/ocsp/issuing", data=b"x")
        with urllib.request.urlopen(nonsense, timeout=60) as answer:
            assert answer.status == 200
        for labels in ('kind="crl",status="200"', 'kind="ocsp",status="malformedRequest"'):
            counted = f"ikewarden_validation_requests_total{{{labels}}}".encode()
            eventually(lambda counted=counted: counted in _fetch(address))
        scrape = _fetch(address)
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert promtool("check", "metrics", given=scrape).returncode == 0
    names = set(re.findall(r"^# TYPE (\S+)", scrape.decode(), re.MULTILINE))
    # Nothing of the records.
    assert names <= {each.name for each in PROCESSES}
    parts = set(re.findall(r'process_open_fds\{part="(\w+)"', scrape.decode()))
    assert parts == {"validation", "metrics"}


def test_it_listens_nowhere_else(served: Served, tmp_path: Path) -> None:
    settings = tmp_path / "ikewarden.toml"
    settings.write_text("[metrics]\nport = 8443\n")
    done = run("check-config", settings)
    assert done.code == 1
    assert "[api] and [metrics] must not listen on the same host and port" in done.out
