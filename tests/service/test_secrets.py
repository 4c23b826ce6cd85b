"""What must not be written down is not: tokens, passphrase and private keys, after a full round of work."""

from pathlib import Path

from tests.lab.story import enroll, on_crl, served, wait_until


def _secrets(directory: Path) -> list[bytes]:
    return [
        (directory / "admin-token").read_bytes().strip(),
        (directory / "passphrase").read_bytes().strip(),
    ]


def test_no_secret_is_in_the_log_the_records_or_the_process_list(tmp_path: Path) -> None:
    directory = tmp_path / "instance"
    with served(directory, "ec-p256", in_lab=False) as warden:
        secrets = _secrets(directory)
        made = warden.call(
            "POST",
            "/v1/tokens",
            {"name": "t", "role": "enroller", "profiles": ["gateway"], "uses": 3},
        )
        secrets.append(made["token"].encode())
        enrolled = enroll(warden, "gw1.secrets.example")
        secrets.append(enrolled.key_pem.splitlines()[1])
        warden.call("POST", f"/v1/certificates/{enrolled.serial}/revoke", {"reason": "superseded"})
        wait_until(lambda: on_crl(warden, enrolled), "the serial on the CRL")
        lines = b"".join(
            path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
        )
        written = [path for path in directory.rglob("*") if path.is_file()]
        kept = {directory / "admin-token", directory / "passphrase"}
        for secret in secrets:
            assert secret not in lines
            for path in written:
                if path not in kept:
                    assert secret not in path.read_bytes(), path
        assert b"PRIVATE KEY" not in b"".join(
            path.read_bytes() for path in written if path not in kept
        )
