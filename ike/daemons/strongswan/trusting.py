"""CA certificates in charon, as authorities of our own names: unlike what lies in x509ca/, they can be unloaded."""

from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ike.daemons.port import fingerprint
from ike.daemons.strongswan.files import PREFIX, SwanctlFiles
from ike.daemons.strongswan.session import Endpoint, Session
from ike.daemons.strongswan.settings import HEAD, render


class Trusting:
    """The CA set of one charon: folder `ikewarden/`, conf.d/ikewarden.conf, and what is loaded."""

    def __init__(self, endpoint: Endpoint, files: SwanctlFiles) -> None:
        self._endpoint = endpoint
        self._files = files

    def trust(self, authorities: Sequence[x509.Certificate]) -> None:
        """Load the new ones, then unload those no longer named."""
        wanted = {authority_name(each): each for each in authorities}
        had = {authority_name(each): each for each in self._files.authorities()}
        for each in wanted.values():
            self._files.write_certificate(self._files.authority_path(each), each)
        self._write({**had, **wanted})
        with self._endpoint.session() as session:
            self.load(session, list(wanted.values()))
            self._write(wanted)
            for name in session.ask("get-authorities").get("authorities", []):
                if name.startswith(PREFIX) and name not in wanted:
                    session.ask("unload-authority", {"name": name})
        for name, gone in had.items():
            if name not in wanted:
                self._files.remove(self._files.authority_path(gone))
                self._files.remove(self._files.large_crl_path(crl_name(gone)))

    def load(self, session: Session, authorities: Sequence[x509.Certificate]) -> None:
        """Load those that are not loaded, each with the file of its revocation list where there is one."""
        told = session.stream("list-authorities", "list-authority")
        loaded = {name: each for entry in told for name, each in entry.items()}
        for authority in authorities:
            name, uris = authority_name(authority), self._crl_uris(authority)
            if name not in loaded or loaded[name].get("crl_uris", []) != uris:
                message: dict[str, Any] = {"cacert": authority.public_bytes(Encoding.DER)}
                if uris:
                    message["crl_uris"] = uris
                session.ask("load-authority", {name: message})

    def write(self) -> None:
        """Write down for a restart what is trusted, and where large lists are."""
        self._write({authority_name(each): each for each in self._files.authorities()})

    def _write(self, authorities: dict[str, x509.Certificate]) -> None:
        sections: dict[str, dict[str, Any]] = {}
        for name, each in sorted(authorities.items()):
            sections[name] = {"cacert": str(self._files.authority_path(each).absolute())}
            if uris := self._crl_uris(each):
                sections[name]["crl_uris"] = uris
        text = HEAD + render({"authorities": sections})
        self._files.write(self._files.authorities_conf, text.encode())

    def _crl_uris(self, authority: x509.Certificate) -> list[str]:
        path = self._files.large_crl_path(crl_name(authority)).absolute()
        return [path.as_uri()] if path.exists() else []


def authority_name(authority: x509.Certificate) -> str:
    """The name under which charon knows a CA certificate of ours."""
    return f"{PREFIX}{fingerprint(authority)[:32]}"


def crl_name(authority: x509.Certificate) -> str:
    """Names the revocation list of a CA in our files: CA certificates for one key share it."""
    return x509.SubjectKeyIdentifier.from_public_key(authority.public_key()).digest.hex()
