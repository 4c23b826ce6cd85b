"""A small installation to talk to: two authorities, a token for each role, a gateway with its certificate."""

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from api.tls import Credential
from core.secret import Secret
from pki import authorities, founding, issuance, tokens
from pki.actors import Actor, Role, Scope
from pki.desk import Desk, Rules
from pki.founding import AuthorityRequest
from pki.issuance import IssuedCertificate, IssueRequest
from pki.tokens import TokenRequest
from store.engine import Store
from tests.fakes import FakeKeyStore, FakeSecretStore
from tests.fixtures.desk import NOW

CONSOLE = Actor(name="console", role=Role.ADMIN)
CLOCKWORK = Actor(name="clock", role=Role.SCHEDULER)
ROLES_WITH_TOKENS = (Role.ADMIN, Role.OPERATOR, Role.APPROVER, Role.AUDITOR, Role.ENROLLER)


class Clock:
    """The time, which a test may move."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def new_csr(name: str, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """A PEM request for a DNS name, with a key of its own."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return request.public_bytes(Encoding.PEM).decode()


@dataclass(frozen=True)
class ClientCertificate:
    """A gateway's certificate and key on disk, as `ssl` wants them."""

    issued: IssuedCertificate
    file: Path


@dataclass
class Site:
    """The installation and its secrets."""

    desk: Desk
    keys: FakeKeyStore
    clock: Clock
    directory: Path
    url: str = ""
    tokens: dict[Role, str] = field(default_factory=dict)

    def issue(self, name: str, *, profile: str = "gateway") -> IssuedCertificate:
        """Issue a certificate from the server's own console."""
        wanted = IssueRequest(csr=new_csr(name).encode(), profile=profile)
        return issuance.issue(self.desk, CONSOLE, wanted, now=self.clock())

    def client_certificate(self, name: str) -> ClientCertificate:
        """Give a gateway its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        wanted = IssueRequest(csr=new_csr(name, key).encode(), profile="gateway")
        issued = issuance.issue(self.desk, CONSOLE, wanted, now=self.clock())
        file = self.directory / f"{name}-{issued.serial}.pem"
        chain = [authorities.pem(each) for each in issued.authority.chain[:-1]]
        file.write_bytes(_private(key) + "".join([issued.pem, *chain]).encode())
        return ClientCertificate(issued, file)

    def token(
        self, role: Role, *, name: str = "", uses: int | None = None, scope: Scope | None = None
    ) -> str:
        """Make a token."""
        if role is Role.ENROLLER:
            uses = uses or 1000
            scope = scope or Scope(profiles=("gateway", "host"))
        wanted = TokenRequest(
            name=name or f"a {role}", role=role, uses=uses, scope=scope or Scope()
        )
        return tokens.create(self.desk, CONSOLE, wanted, now=self.clock()).secret.reveal().decode()

    def credential(self, desk: Desk | None = None) -> Credential:
        """What the listener shows and trusts: a fresh service certificate, the present authorities."""
        known = [authorities.load(self.desk, name) for name in authorities.all_names(self.desk)]
        return Credential(
            self._service_pem, [each.certificate.public_bytes(Encoding.DER) for each in known]
        )

    def renew_service(self) -> None:
        """Get the listener a new certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        wanted = IssueRequest(csr=request.public_bytes(Encoding.DER), profile="service-tls")
        issued = issuance.issue(self.desk, CLOCKWORK, wanted, now=self.clock())
        chain = [authorities.pem(each) for each in issued.authority.chain[:-1]]
        self._service_pem = Secret(_private(key) + "".join([issued.pem, *chain]).encode())

    _service_pem: Secret = field(init=False, repr=False)

    def trust(self, certificate: ClientCertificate | None = None) -> ssl.SSLContext:
        """A client's TLS context that knows our root and, with a certificate, who it is."""
        root = authorities.pem(authorities.load(self.desk, "root").certificate)
        context = ssl.create_default_context(cadata=root)
        if certificate is not None:
            context.load_cert_chain(certificate.file)
        return context


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def found_site(store: Store, directory: Path, url: str = "") -> Site:
    """Make the installation in a migrated, empty store.

    Its authorities begin with the base of all tests, however long ago that was: some act by it, others by the clock.
    """
    keys = FakeKeyStore()
    rules = Rules(validation_url="http://127.0.0.1:8080", default_authority="issuing")
    desk = Desk(store=store, keys=keys, rules=rules, secrets=FakeSecretStore())
    site = Site(desk, keys, Clock(), directory, url)
    founding.create(
        site.desk,
        CONSOLE,
        AuthorityRequest(name="root", kind="root", subject="CN=Test Root", path_length=None),
        now=NOW,
    )
    founding.create(
        site.desk,
        CONSOLE,
        AuthorityRequest(name="issuing", kind="issuing", parent="root", subject="CN=Test Issuing"),
        now=NOW,
    )
    for role in ROLES_WITH_TOKENS:
        site.tokens[role] = site.token(role)
    site.renew_service()
    return site
