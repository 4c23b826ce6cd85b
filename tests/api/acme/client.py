"""An ACME client that does exactly what it is told, right or wrong."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jws
from joserfc.jwk import ECKey, OctKey
from joserfc.jws import JWSRegistry

from tests.api.serving import Client, Reply, Serving

TYPE = "urn:ietf:params:acme:error:"


class Registry(JWSRegistry):
    max_header_length = 8192

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


REGISTRY = Registry(strict_check_header=False)


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def signed(header: Mapping[str, Any], payload: object, key: Any) -> dict[str, Any]:
    """A request; a payload of None is that of POST-as-GET, bytes are taken as they are."""
    content = b"" if payload is None else payload
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    member: Any = {"protected": dict(header)}
    return dict(jws.serialize_json(member, content, key, registry=REGISTRY))


def other_signature(request: bytes) -> bytes:
    """The request with a signature that is not its key's, whatever its last octet was."""
    return request[:-1] + bytes([request[-1] ^ 1])


def csr(names: list[str], key: Any = None, common: str | None = None) -> bytes:
    """A request (DER) for host names and addresses."""
    import ipaddress

    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = [] if common is None else [x509.NameAttribute(x509.NameOID.COMMON_NAME, common)]
    wanted: list[x509.GeneralName] = []
    for name in names:
        try:
            wanted.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            wanted.append(x509.DNSName(name))
    builder = x509.CertificateSigningRequestBuilder(x509.Name(subject))
    if wanted:
        builder = builder.add_extension(x509.SubjectAlternativeName(wanted), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@dataclass
class Acme:
    """A client of one endpoint with one key."""

    client: Client
    endpoint: str = "gateway"
    key: Any = field(default_factory=lambda: ECKey.generate_key("P-256"))
    algorithm: str = "ES256"
    kid: str | None = None
    _directory: dict[str, Any] | None = None

    @property
    def directory(self) -> dict[str, Any]:
        if self._directory is None:
            self._directory = self.client.get(f"/acme/{self.endpoint}/directory").json
        assert self._directory is not None
        return self._directory

    @property
    def jwk(self) -> dict[str, Any]:
        return dict(self.key.as_dict(private=False))

    @property
    def thumbprint(self) -> str:
        return str(self.key.thumbprint())

    def nonce(self) -> str:
        reply = self.client.send("HEAD", self._path(self.directory["newNonce"]))
        assert reply.status == 200
        assert reply.headers["cache-control"] == "no-store"
        return reply.headers["replay-nonce"]

    def header(self, url: str, **more: Any) -> dict[str, Any]:
        who = {"jwk": self.jwk} if self.kid is None else {"kid": self.kid}
        return {"alg": self.algorithm, "nonce": self.nonce(), "url": url, **who, **more}

    def send(self, url: str, document: object, media_type: str = "application/jose+json") -> Reply:
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.client.send(
            "POST", self._path(url), raw=raw, headers={"Content-Type": media_type}
        )

    def post(self, url: str, payload: object = None, **more: Any) -> Reply:
        header = {k: v for k, v in self.header(url, **more).items() if v is not ...}
        return self.send(url, signed(header, payload, self.key))

    def binding(self, kid: str, hmac_key: str, **more: Any) -> dict[str, Any]:
        header = {"alg": "HS256", "kid": kid, "url": self.directory["newAccount"], **more}
        secret = OctKey.import_key(base64.urlsafe_b64decode(hmac_key + "=="))
        return signed(header, self.jwk, secret)

    def register(self, bound: tuple[str, str] | None = None, **payload: Any) -> Reply:
        if bound is not None:
            payload["externalAccountBinding"] = self.binding(*bound)
        reply = self.post(self.directory["newAccount"], payload)
        if reply.status in {200, 201}:
            self.kid = reply.headers["location"]
        return reply

    def order(self, *names: str, **more: Any) -> Reply:
        kinds = [
            {"type": "ip" if ":" in name or name[-1].isdigit() else "dns", "value": name}
            for name in names
        ]
        return self.post(self.directory["newOrder"], {"identifiers": kinds, **more})

    def authorizations(self, order: Reply) -> list[dict[str, Any]]:
        return [self.post(url).json for url in order.json["authorizations"]]

    def key_authorization(self, challenge: Mapping[str, Any]) -> str:
        return f"{challenge['token']}.{self.thumbprint}"

    def digest(self, challenge: Mapping[str, Any]) -> bytes:
        return hashlib.sha256(self.key_authorization(challenge).encode()).digest()

    def finalize(self, order: Reply, request: bytes) -> Reply:
        return self.post(order.json["finalize"], {"csr": b64(request)})

    def _path(self, url: str) -> str:
        return "/" + url.split("/", 3)[3]


def kind(reply: Reply) -> str:
    """The type of a problem, without its prefix."""
    assert reply.headers["content-type"] == "application/problem+json", reply
    document = reply.json
    assert document["status"] == reply.status
    assert document["type"].startswith(TYPE)
    return str(document["type"].removeprefix(TYPE))


def challenge(authorization: Mapping[str, Any], wanted: str) -> dict[str, Any]:
    return next(each for each in authorization["challenges"] if each["type"] == wanted)


def external(serving: Serving, name: str = "acme", **limits: Any) -> tuple[str, str]:
    """An enroller's token as kid and HMAC key."""
    from pki import tokens
    from pki.actors import Role, Scope
    from pki.tokens import TokenRequest
    from tests.api.site import CONSOLE

    scope = Scope(
        profiles=(limits.get("profile", "gateway"),),
        authorities=limits.get("authorities"),
        names=limits.get("names"),
        networks=limits.get("networks"),
    )
    expires = limits.get("expires_at")
    request = TokenRequest(name, Role.ENROLLER, scope, limits.get("uses", 1), expires)
    site = serving.site
    made = tokens.create(site.desk, CONSOLE, request, now=limits.get("now") or site.clock())
    assert made.binding is not None
    return made.view.id, b64(made.binding.reveal())
