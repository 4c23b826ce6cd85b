"""Settings of the receiver of syslog."""

from pathlib import Path

import pytest

from ikewarden.settings import SettingsInvalid
from tests.program.test_settings import load


def test_it_is_off_and_turned_on_by_a_port(tmp_path: Path) -> None:
    assert not load(tmp_path).syslog.is_on
    found = load(tmp_path, '[syslog]\nudp_port = 514\nsenders = ["192.0.2.1 = gw1"]').syslog
    assert (found.is_on, found.senders) == (True, ("192.0.2.1 = gw1",))
    # Whoever comes with a certificate needs no line.
    assert load(tmp_path, "[syslog]\ntls_port = 6514").syslog.is_on


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("udp_port = 514", "senders must name who may send"),
        ("tcp_port = 514", "senders must name who may send"),
        ("tcp_port = 601\ntls_port = 601\nsenders = ['192.0.2.1=a']", "must not listen"),
        ("senders = ['192.0.2.1']", "RELAY HOST = GATEWAY"),
        ("senders = ['192.0.2.1/24 = a']", "RELAY HOST = GATEWAY"),
        ("senders = ['192.0.2.1 = a', '192.0.2.1/32 = b']", "each source once"),
        ("senders = ['192.0.2.1 fw = a', '192.0.2.1 FW = b']", "each source once"),
        ("udp_port = 0", "from 1 to 65535"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said):
        load(tmp_path, f"[syslog]\n{text}")


def test_ports_are_not_those_of_the_service(tmp_path: Path) -> None:
    for port in ("tcp_port = 8443", "tls_port = 8443"):
        with pytest.raises(SettingsInvalid, match="must not listen on the same"):
            load(tmp_path, f"[syslog]\n{port}\nsenders = ['192.0.2.1 = a']")
