"""The files under swanctl's folder: whole or not at all, by several threads, on odd file systems."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ike.daemons.strongswan.files import SwanctlFiles
from tests.ike.daemons.contract import Pki, key_of


def test_threads_do_not_take_each_others_files_for_left_overs(tmp_path: Path) -> None:
    files = SwanctlFiles(tmp_path)

    def write(number: int) -> None:
        for turn in range(50):
            path = tmp_path / ("x509" if number % 2 else "ikewarden") / f"file-{number}"
            files.write(path, f"{number} {turn}".encode())
            if turn % 10 == 9:
                files.remove(path)
                files.write(path, b"end")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in written] == [b"end"] * 4


def test_what_lies_aside_comes_back_with_its_key(tmp_path: Path) -> None:
    files, pki = SwanctlFiles(tmp_path), Pki()
    made = pki.credential()
    files.write_certificate(files.certificate_path(made.certificate), made.certificate)
    key = key_of(made.certificate)
    files.write(files.key_path(key), made.key.reveal())
    assert files.key_ids() == {key}
    files.put_aside(made.certificate)
    files.put_aside(made.certificate)
    assert (files.key_ids(), files.certificates()) == (set(), [])
    files.put_back(made.certificate)
    assert (files.key_ids(), files.certificates()) == ({key}, [made.certificate])


def test_what_is_no_certificate_is_passed_over(tmp_path: Path) -> None:
    files = SwanctlFiles(tmp_path)
    (tmp_path / "x509").mkdir()
    (tmp_path / "x509" / "ikewarden-0.pem").write_bytes(b"no certificate")
    assert files.certificates() == []
