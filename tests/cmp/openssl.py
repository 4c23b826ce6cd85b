"""Requests as `openssl cmp` makes them, without a server: it writes what it would send, and finds no answer."""

import subprocess
from pathlib import Path

SECRET, REFERENCE = "a secret of a device", "device-7"


class Requester:
    """A directory with a key, a certificate by that key, and a PKCS #10 request."""

    def __init__(self, home: Path, *key_options: str) -> None:
        self.home = home
        options = key_options or ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        self._run("genpkey", *options, "-out", "key.pem")
        self._run("req", "-x509", "-new", "-key", "key.pem", "-subj", "/CN=old", "-out", "old.pem")
        names = ("-addext", "subjectAltName=DNS:gw1.example")
        self._run("req", "-new", "-key", "key.pem", "-subj", "/CN=gw1", *names, "-out", "gw1.csr")

    def made(self, kind: str, *options: str, signed: bool = False) -> bytes:
        """The message (DER) of a command with its options, protected by the secret or else by the old certificate."""
        out = self.home / "request.der"
        out.unlink(missing_ok=True)
        (self.home / "nothing").write_bytes(b"")
        proof = (
            ("-cert", "old.pem", "-key", "key.pem", "-trusted", "old.pem")
            if signed
            else ("-ref", REFERENCE, "-secret", f"pass:{SECRET}")
        )
        where = ("-config", "", "-server", "127.0.0.1:1", "-recipient", "/CN=ca")
        files = ("-rspin", "nothing", "-reqout", out.name)
        saved = () if kind in ("rr", "genm") else ("-certout", "new.pem")
        self._run("cmp", "-cmd", kind, *where, *files, *saved, *proof, *options, may_fail=True)
        return out.read_bytes()

    def _run(self, *words: str, may_fail: bool = False) -> None:
        subprocess.run(
            ["openssl", *words], cwd=self.home, check=not may_fail, capture_output=True, timeout=60
        )
