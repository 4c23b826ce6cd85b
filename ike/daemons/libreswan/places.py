"""Where Libreswan's programs and files are: defaults of Debian and Fedora."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Programs by name (looked up in PATH) or path; folders and files by path.

    `connections` is a folder whose `*.conf` files `configuration` includes, and whose `*.secrets` files the file of
    secrets does; one file of ours of each kind is written there.
    `state` holds revocation lists for pluto to read; `password` is the database's, where it has one
    (`NSS Certificate DB:…`, as pluto reads it). `pid` stands beside the control socket.
    """

    certutil: str = "certutil"
    pk12util: str = "pk12util"
    crlutil: str = "crlutil"
    whack: str = "/usr/libexec/ipsec/whack"
    addconn: str = "/usr/libexec/ipsec/addconn"
    nss: Path = Path("/var/lib/ipsec/nss")
    control: Path = Path("/run/pluto/pluto.ctl")
    configuration: Path = Path("/etc/ipsec.conf")
    connections: Path = Path("/etc/ipsec.d")
    state: Path = Path("/etc/ipsec.d/ikewarden")

    @property
    def managed(self) -> Path:
        """The file with the managed connections."""
        return self.connections / "ikewarden.conf"

    @property
    def secrets(self) -> Path:
        """The file with the shared secrets."""
        return self.connections / "ikewarden.secrets"

    @property
    def lists(self) -> Path:
        """The folder of the revocation lists."""
        return self.state / "crls"

    @property
    def password(self) -> Path:
        """The database's password, where there is one."""
        return self.nss / "nsspassword"

    @property
    def pid(self) -> Path:
        """pluto's process id."""
        return self.control.with_suffix(".pid")
