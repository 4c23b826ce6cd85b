"""People with certificates, and sites at which they may sign in with them."""

from copy import copy
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pki import authorities, issuance
from pki.actors import Actor, Role
from pki.desk import ApprovalRules, Desk, OidcRules
from pki.issuance import IssueRequest
from tests.api.site import CONSOLE, ClientCertificate, Site


def with_people(site: Site, *, oidc: OidcRules | None = None, **people: Role) -> Site:
    """The same records, where these sign in by `email:NAME@example.com`."""
    names = {f"email:{name}@example.com": role for name, role in people.items()}
    sessions = replace(site.desk.rules.sessions, people=names, oidc=oidc)
    other = copy(site)
    other.desk = replace(site.desk, rules=replace(site.desk.rules, sessions=sessions))
    return other


def strict(desk: Desk, *required: str) -> Desk:
    """The same desk under the two-person rule."""
    rules = replace(desk.rules, approvals=ApprovalRules(frozenset(required)))
    return replace(desk, rules=rules)


def request_for(*mails: str) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A key, and a request in PEM with these mail addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.RFC822Name(mail) for mail in mails])
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, csr.public_bytes(Encoding.PEM)


def certificate_for(
    site: Site, *mails: str, desk: Desk | None = None, actor: Actor = CONSOLE
) -> ClientCertificate:
    """A certificate of the profile `user` with these mail addresses, and its key."""
    key, csr = request_for(*mails)
    wanted = IssueRequest(csr=csr, profile="user")
    issued = issuance.issue(desk or site.desk, actor, wanted, now=site.clock())
    pem = key.private_bytes(
        Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = [authorities.pem(each) for each in issued.authority.chain[:-1]]
    file = site.directory / f"person-{issued.serial}.pem"
    file.write_bytes(pem + "".join([issued.pem, *chain]).encode())
    return ClientCertificate(issued, file)
