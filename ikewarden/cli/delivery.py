"""Where an issued certificate is put: its key, itself, its chain and its root, in files of one directory."""

import os
import re
import shlex
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from core.errors import IkewardenError, InvalidInput
from ikewarden.cli.files import PUBLIC, FileExists, move, write_new, write_over
from pki.x509.serials import to_hex

_PLAIN: Final = re.compile(r"[A-Za-z0-9.:@_-]+")


class NotDelivered(IkewardenError):
    """The certificate was issued, and could not be written."""

    code = "certificate_not_written"


class NoDirectory(InvalidInput):
    """Something else than a directory is where the files should go."""

    code = "out_no_directory"
    next_step = "Give a directory with --out; it is made where there is none."


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

    @contextmanager
    def place(self, *, with_key: bool) -> Iterator[None]:
        """Do as `check` does; if the block fails, take away the directory that it made, as long as nothing is in it.

        Raises what `check` raises.
        """
        made = not self.directory.exists()
        self.check(with_key=with_key)
        try:
            yield
        except BaseException:
            if made:
                with suppress(OSError):
                    self.directory.rmdir()
            raise

    def check(self, *, with_key: bool) -> None:
        """Make the directory, and see that nothing is in the way. Raises NoDirectory, FileExists, OSError."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise NoDirectory(f"{self.directory} is not a directory.") from None
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


# What these profiles are for is no strongSwan, which must not use those of sharded CRLs.
_FOR_OTHERS: Final = frozenset({"network-device", "gateway-sharded"})
_SHARD: Final = re.compile(rb"/crl/[a-z0-9-]+/[0-9]+\.crl")


def advice(files: Mapping[str, str], issued: Mapping[str, Any]) -> list[str]:
    """Lines that tell how an IKE daemon is given the files of a certificate; none where that is not known."""
    usable = issued["names"] and issued["lint"].get("strongswan") != "fail"
    if not usable or issued["profile"] in _FOR_OTHERS or _sharded(issued["certificate"]):
        return []
    lines = swanctl_advice(files, issued["names"][0].partition(":")[2])
    if issued["profile"] == "windows-gateway":
        lines.insert(0, "With Windows Server: docs/how-to/windows.md.")
    return lines


def _sharded(pem: str) -> bool:
    """Whether a certificate points at a part of its authority's CRL: charon would take that for the whole."""
    try:
        return bool(_SHARD.search(ssl.PEM_cert_to_DER_cert(pem)))
    except ValueError:
        return False


def swanctl_advice(files: Mapping[str, str], identity: str) -> list[str]:
    """Lines that tell how strongSwan is given these files."""
    paths = {role: shlex.quote(path) for role, path in files.items()}
    lines = ["With strongSwan (as root):"]
    key = paths.get("key", "KEY")
    lines.append(f"  install -m 600 {key} /etc/swanctl/private/")
    if "key" not in files:
        lines[-1] += "   (KEY: the private key that this certificate is for)"
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
