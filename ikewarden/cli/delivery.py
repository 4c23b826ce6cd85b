"""Where an issued certificate is put: its key, itself, its chain and its root, in files of one directory."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from core.errors import IkewardenError
from ikewarden.cli.files import PUBLIC, FileExists, move, write_new, write_over
from pki.x509.serials import to_hex

_PLAIN: Final = re.compile(r"[A-Za-z0-9.:@_-]+")


class NotDelivered(IkewardenError):
    """The certificate was issued, and could not be written."""

    code = "certificate_not_written"


@dataclass(frozen=True)
class Delivery:
    """File names for one certificate. With `force`, files of these names are replaced."""

    directory: Path
    stem: str
    force: bool = False
    replaces: str | None = None
    """Serial number of a certificate whose file may be replaced without `force`: the predecessor."""

    @property
    def key(self) -> Path:
        """The private key."""
        return self.directory / f"{self.stem}.key"

    @property
    def pending(self) -> Path:
        """The private key until its certificate is there."""
        return self.directory / f"{self.stem}.key.new"

    @property
    def certificate(self) -> Path:
        """The certificate."""
        return self.directory / f"{self.stem}.pem"

    @property
    def chain(self) -> Path:
        """The authorities between certificate and root, the issuer first."""
        return self.directory / f"{self.stem}-chain.pem"

    def check(self, *, with_key: bool) -> None:
        """Make the directory, and see that nothing is in the way. Raises FileExists, OSError."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.force:
            return
        if with_key and os.path.lexists(self.key):
            raise FileExists(self.key, forcible=True)
        if self._certificate_in_the_way():
            raise FileExists(self.certificate, forcible=True)

    def save(self, issued: Mapping[str, Any], *, with_key: bool) -> dict[str, str]:
        """Write what the service answered, the key's name first; give the paths by role.

        Raises NotDelivered, which names the serial number to ask for.
        """
        try:
            return dict(self._save(issued, with_key=with_key))
        except (OSError, FileExists) as error:
            what = (
                error.message
                if isinstance(error, FileExists)
                else f"{error.filename}: {error.strerror}."
            )
            kept = f" Its key is in {self.pending}." if with_key and self.pending.exists() else ""
            serial = issued.get("serial")
            raise NotDelivered(
                f"The certificate {serial} was issued and could not be written: {what}{kept}",
                next_step=f"`ikewarden cert show {serial} --format pem` gives it again.",
            ) from None

    def _save(self, issued: Mapping[str, Any], *, with_key: bool) -> Iterator[tuple[str, str]]:
        *between, root = issued["chain"]
        if with_key:
            move(self.pending, self.key, over=self.force)
            yield "key", str(self.key)
        write = write_over if self.force or self.replaces else write_new
        write(self.certificate, issued["certificate"].encode(), PUBLIC)
        yield "certificate", str(self.certificate)
        if between:
            # Follows from the certificate, so that it may always be written anew.
            write_over(self.chain, "".join(between).encode(), PUBLIC)
            yield "chain", str(self.chain)
        yield "root", str(self._save_root(root.encode()))

    def _save_root(self, content: bytes) -> Path:
        """Certificates of one directory share `ca.pem`, unless their roots differ."""
        path = self.directory / "ca.pem"
        if path.exists():
            if path.read_bytes() == content:
                return path
            path = self.directory / f"{self.stem}-ca.pem"
        write_over(path, content, PUBLIC)
        return path

    def _certificate_in_the_way(self) -> bool:
        if not os.path.lexists(self.certificate):
            return False
        if self.replaces is None:
            return True
        try:
            found = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        except (OSError, ValueError):
            return True
        return to_hex(found.serial_number) != self.replaces


def swanctl_advice(files: Mapping[str, str], identity: str) -> list[str]:
    """Lines that tell how strongSwan is given these files."""
    paths = {role: shlex.quote(path) for role, path in files.items()}
    lines = ["With strongSwan (as root):"]
    if "key" in files:
        lines.append(f"  install -m 600 {paths['key']} /etc/swanctl/private/")
    name = Path(files["certificate"]).name
    authorities = " ".join(paths[role] for role in ("chain", "root") if role in paths)
    lines += [
        f"  install -m 644 {paths['certificate']} /etc/swanctl/x509/",
        f"  install -m 644 {authorities} /etc/swanctl/x509ca/",
        f"  and in swanctl.conf: local {{ auth = pubkey  certs = {_value(name)}  id = {_value(identity)} }}",
        "  swanctl --load-creds --noprompt",
    ]
    # strongSwan #3072: of a PEM file, only the first certificate is read
    if "chain" in files and Path(files["chain"]).read_text().count("BEGIN CERTIFICATE") > 1:
        lines.append(
            "  (swanctl reads one certificate of a file: split the chain into one file each)"
        )
    return lines


def _value(text: str) -> str:
    """Text as a value of swanctl.conf, where blanks, braces and signs mean something unless quoted."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
