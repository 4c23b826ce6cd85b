"""One broken file, or one that nobody foresaw, and all the others are still judged."""

import os
import sqlite3
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ike.audit import host, nss, rules
from ike.audit.ground import Ground
from ike.audit.keyfiles import parse
from ike.audit.values import Policy, Seen
from ike.audit.windows import look
from ike.secrets.stumbling import stumbling
from ike.secrets.tree import MAX_OCTETS, File, Tree
from ike.secrets.values import Place, Problem
from tests.fixtures.needs import left_out
from tests.ike.audit.conftest import KEY, NOW, PSK, SWANCTL, Files
from tests.ike.audit.windows.machine import certificate, clean, octets
from tests.x509 import workshop


def of_no_version() -> bytes:
    """A certificate in DER whose version is 4, which nobody has defined."""
    der = workshop.end_entity().public_bytes(Encoding.DER)
    return der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020103"), 1)


def test_a_certificate_of_no_version_is_told() -> None:
    contents = parse("/x", of_no_version())
    assert contents.certificates == []
    assert [each.message for each in contents.problems] == ["no key or certificate of a known form"]


def test_a_certificate_of_no_version_hides_nothing_else(files: Files) -> None:
    files.put("/etc/swanctl/x509/a.pem", of_no_version(), 0o644)
    files.put("/etc/swanctl/private/b.pem", KEY, 0o644)
    assert ("critical", "key-file-open-to-others", "/etc/swanctl/private/b.pem") in files.told()
    assert [each.place.path for each in files.seen().problems if "form" in each.message] == [
        "/etc/swanctl/x509/a.pem"
    ]


def test_a_certificate_of_no_version_in_a_database(tmp_path: Path) -> None:
    made = sqlite3.connect(tmp_path / "made")
    made.execute("CREATE TABLE nssPublic (a0, a11, a3)")
    rows = [(b"\0\0\0\1", der, b"gw") for der in (of_no_version(), good())]
    made.executemany("INSERT INTO nssPublic VALUES (?, ?, ?)", rows)
    made.commit()
    made.close()
    contents = nss.parse("/x", (tmp_path / "made").read_bytes())
    assert len(contents.certificates) == 1
    assert [each.message for each in contents.problems] == ["a certificate in it cannot be read"]


def good() -> bytes:
    return workshop.end_entity().public_bytes(Encoding.DER)


def test_a_certificate_of_no_version_on_windows() -> None:
    given = [certificate(of_no_version()), certificate()]
    facts = look(octets(clean(certificates=given)))
    assert len(facts.collected.certificates) == 1
    assert [each.message for each in facts.problems] == ["the certificate is malformed"]


class Pitted(Ground):
    """A host with a file at which the audit fails as nobody has foreseen."""

    def __init__(self, root: Path, pit: str) -> None:
        super().__init__(root)
        self.pit = pit

    def read(self, path: str, limit: int = MAX_OCTETS) -> File:
        """As of any host, but for that file."""
        if path == self.pit:
            raise ZeroDivisionError("canary-of-a-secret")
        return super().read(path, limit)


@pytest.mark.parametrize(
    "pit",
    [
        "/etc/swanctl/private/a.pem",
        "/etc/racoon/psk.txt",
        "/etc/strongswan.conf",
        "/etc/ipsec.secrets",
        "/etc/racoon/racoon.conf",
        "/etc/NetworkManager/system-connections/a.nmconnection",
    ],
)
def test_what_nobody_foresaw_is_a_problem_of_the_file(files: Files, pit: str) -> None:
    files.put("/etc/swanctl/private/a.pem", KEY)
    files.put("/etc/swanctl/private/b.pem", KEY, 0o644)
    files.put("/etc/swanctl/swanctl.conf", SWANCTL)
    files.put("/etc/racoon/psk.txt", "192.0.2.1 a key of these tests\n")
    files.put("/etc/racoon/racoon.conf", 'path pre_shared_key "/etc/racoon/psk.txt";\n')
    files.put("/etc/strongswan.conf", "charon {\n}\n")
    files.put("/etc/ipsec.secrets", PSK)
    connection = "[vpn]\nservice-type=org.freedesktop.NetworkManager.strongswan\n"
    files.put("/etc/NetworkManager/system-connections/a.nmconnection", connection)
    seen = host.look(Pitted(files.root, pit), host.Wanted(), NOW)
    said = {each.message for each in seen.problems if each.place.path in (pit, "/")}
    assert any("a fault of ikewarden" in each and "ZeroDivisionError" in each for each in said)
    assert "canary" not in repr(seen)
    found = {(each.rule.id, each.place.path) for each in rules.judged(seen, Policy(), NOW)}
    assert ("key-file-open-to-others", "/etc/swanctl/private/b.pem") in found


class _Failing:
    def judge(self, _policy: Policy, _now: object):
        yield from ()
        raise LookupError("canary-of-a-secret")


def test_an_area_that_fails_is_told_and_the_others_are_judged(files: Files) -> None:
    files.put("/etc/swanctl/private/b.pem", KEY, 0o644)
    seen = files.seen()
    stumbles: list = []
    with_one = Seen((_Failing(), *seen.facts), seen.problems)
    found = rules.judged(with_one, Policy(), NOW, stumbles)
    assert "key-file-open-to-others" in {each.rule.id for each in found}
    [told] = stumbles
    assert "LookupError in test_stumbling.py" in told.message
    assert "canary" not in told.message


class Draughty(Ground):
    """A host where a file is gone as soon as its first octets were read."""

    def beginning(self, path: str, octets: int) -> bytes:
        """As of any host."""
        found = super().beginning(path, octets)
        if path.endswith("/gone.pem"):
            os.unlink(self.root / path.lstrip("/"))
        return found


def test_a_file_that_vanishes_ends_nothing(files: Files) -> None:
    files.put("/etc/swanctl/private/gone.pem", "# nothing yet\n")
    files.put("/etc/swanctl/private/there.pem", KEY, 0o644)
    files.put("/etc/swanctl/swanctl.conf", SWANCTL)
    seen = host.look(Draughty(files.root), host.Wanted(), NOW)
    found = {(each.rule.id, each.place.path) for each in rules.judged(seen, Policy(), NOW)}
    assert ("key-file-open-to-others", "/etc/swanctl/private/there.pem") in found
    assert not any("fault" in each.message for each in seen.problems)


def test_a_time_that_no_calendar_has() -> None:
    memory = "/dev/shm"
    if not os.access(memory, os.W_OK):
        left_out("no file system in memory")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        file = Path(folder) / "psk"
        file.write_text("x")
        os.utime(file, (2**50, 2**50))
        assert Tree(Path(folder)).read("/psk").content == b"x"


class PanicException(BaseException):
    """As pyo3's, which is in no module and which no key known today makes cryptography raise."""


def test_a_panic_of_a_library_is_a_problem_of_one_file() -> None:
    problems: list[Problem] = []
    with stumbling(Place("/x", 0), problems):
        raise PanicException("a secret")
    assert problems[0].place.path == "/x"
    assert "PanicException in test_stumbling.py" in problems[0].message
    assert "a secret" not in problems[0].message


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_who_is_to_end_ends(end: type[BaseException]) -> None:
    with pytest.raises(end), stumbling(Place("/x", 0), []):
        raise end
