"""Who speaks for which gateway."""

import pytest

from api.syslog.senders import Sender, Senders, plain

ALL = Senders(
    map(
        Sender.parse,
        (
            "192.0.2.0/24 = net",
            "192.0.2.7=alone",
            "192.0.2.8 FW1.example = fw1",
            "192.0.2.8   fw2 = fw2",
            "192.0.2.9 fw1.example = other-fw1",
            "192.0.2.9 = relay",
            "2001:db8::/32 = six",
        ),
    )
)


def line(host: str) -> bytes:
    return f"<13>1 2026-11-29T12:00:00Z {host} charon 12 - - text".encode()


@pytest.mark.parametrize(
    ("address", "host", "found"),
    [
        ("192.0.2.1", "alone", ("net", None)),
        ("192.0.2.7", "net", ("alone", None)),
        ("::ffff:192.0.2.7", "x", ("alone", None)),
        ("192.0.2.8", "fw1.EXAMPLE", ("fw1", "fw1.example")),
        ("192.0.2.8", "fw2", ("fw2", "fw2")),
        # Not even to the wider network, and to no other relay's device.
        ("192.0.2.8", "fw3", None),
        ("192.0.2.9", "fw1.example", ("other-fw1", "fw1.example")),
        ("192.0.2.9", "fw2", ("relay", None)),
        ("2001:db8:1::1", "x", ("six", None)),
        ("fe80::1%eth0", "x", None),
        ("198.51.100.1", "fw1.example", None),
        ("", "x", None),
    ],
)
def test_the_source_decides(address: str, host: str, found: tuple[str, str | None] | None) -> None:
    assert ALL.find(address, line(host)) == found
    assert ALL.knows(address) == (found is not None or address == "192.0.2.8")


def test_an_old_message_names_its_host_too() -> None:
    said = b"<13>Nov 29 12:00:00 fw2 charon: 05[IKE] x"
    assert ALL.find("192.0.2.8", said) == ("fw2", "fw2")
    for without in (b"", b"<13>text", b"<13>Nov 29 12:00:00 fw2\0 charon: x", b"\xff" * 300):
        assert ALL.find("192.0.2.8", without) is None


_ASA = "%ASA-4-750003: Local:192.0.2.1:500 Remote:203.0.113.9:500 fw1.example: %ASA-4-750003: x"
_IOS = "*Nov 29 12:00:00.123 UTC: %CRYPTO-4-IKMP_NO_SA: fw1.example: x"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (f"<164>Nov 29 2026 12:00:00 fw2: {_ASA}", "fw2"),
        (f"<164>2026-11-29T12:00:00Z FW2 : {_ASA}", "fw2"),
        (f"<164>fw2: {_ASA}", "fw2"),
        (f"<189>fw2: 123: {_IOS}", "fw2"),
        (f"<189>123: fw2: 000123: {_IOS}", "fw2"),
        (f"<189>Nov 29 12:00:01 192.0.2.77 123: fw2: {_IOS}", "fw2"),
        # A name that others write is none: of another device, in a text, of another program.
        (f"<164>Nov 29 2026 12:00:00 fw3: {_ASA}", None),
        (f"<189>123: {_IOS}", None),
        (f"<30>Nov 29 12:00:00 fw3 charon: 05[CFG] id fw2: {_ASA}", None),
        (f"<30>Nov 29 12:00:00 fw3 sshd[2]: fw2: {_ASA}", None),
    ],
)
def test_a_device_that_names_itself_before_its_code(said: str, found: str | None) -> None:
    assert ALL.find("192.0.2.8", said.encode()) == (found and (found, found))


def test_sources_without_number_are_not_remembered_for_ever() -> None:
    for number in range(10_000):
        assert not ALL.knows(f"10.0.{number >> 8}.{number & 255}")
    assert len(ALL._known) <= 4096


@pytest.mark.parametrize(
    "text", ["", "192.0.2.1", "= a", "192.0.2.1/24 = a", "host = a", "192.0.2.1 a b = c", "1.2.3.4 ="]
)  # fmt: skip
def test_lines_that_name_no_sender(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Sender.parse(text)


def test_an_address_in_plain() -> None:
    assert str(plain("::ffff:192.0.2.1")) == "192.0.2.1"
    assert plain("nonsense") is None
