"""What every operation works with: the records, the keys, and the rules of this installation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from secrets import token_bytes

from core.receivers import Alertmanager, Mail, Syslog
from core.schedules import ReportSchedule
from core.secret import Secret
from hsm.ports import BlobStore, KeyStore
from hsm.seal import Seal
from hsm.secretstore import SecretStore
from pki.actors import Role
from pki.endpoints import Endpoint, builtin_endpoints
from pki.holdings import Holdings
from pki.x509.builtin import builtin_profiles
from pki.x509.profile import Profile
from store.engine import Store


@dataclass(frozen=True)
class RotationRules:
    """Settings of rotations. `at_once`: how many may be under way together, `per_second` how many may begin in a
    second, on all replicas together (so much the store of secrets is asked); `per_gateway`: how many of one gateway's
    tunnels at the same time. `step` is how long an end may take for a step. `path` is the template of a slot's place
    in the store: `{tunnel}` and `{kind}` are replaced.
    """

    at_once: int = 500
    per_second: float = 50.0
    per_gateway: int = 1
    step: timedelta = timedelta(minutes=10)
    proof: timedelta = timedelta(minutes=3)
    path: str = "ikewarden/{tunnel}/{kind}"


@dataclass(frozen=True)
class Retention:
    """How long is kept what gateways report of their SAs: single events, what an hour came to, alerts that ended."""

    events: timedelta = timedelta(days=30)
    counts: timedelta = timedelta(days=400)
    alerts: timedelta = timedelta(days=400)


@dataclass(frozen=True)
class ApprovalRules:
    """The two-person rule: `required` are names of acts (`pki.guarded.Guarded`) that another person must approve.

    `valid` is how long a request waits for a decision, and how long an approval may be used. Up to `mass_revocation`
    certificates in an hour one person ends alone.
    """

    required: frozenset[str] = frozenset()
    valid: timedelta = timedelta(hours=24)
    mass_revocation: int = 20


@dataclass(frozen=True)
class OidcRules:
    """Signing in through OpenID Connect at `issuer`, as the client `client_id`; the issuer is believed by the roots in
    `ca_file`, or those of this system. `claim` of the ID token holds values of which `roles` give a role: the first one
    that fits counts. `name` is the claim by which a person is called. `callback` is the address people come back to.
    """

    issuer: str
    client_id: str
    callback: str
    client_secret: Secret | None = field(default=None, compare=False)
    claim: str = "groups"
    roles: tuple[tuple[str, Role], ...] = ()
    name: str = "email"
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    ca_file: Path | None = None


@dataclass(frozen=True)
class SessionRules:
    """How long somebody stays signed in to the console without doing anything, and at the most. After `tries` that
    failed within `locked`, whoever comes from the same address waits until they are older. `people` sign in with a
    certificate that has exactly this name (`email:alice@example.com`), and have this role.
    """

    idle: timedelta = timedelta(minutes=30)
    longest: timedelta = timedelta(hours=12)
    tries: int = 10
    locked: timedelta = timedelta(minutes=15)
    people: Mapping[str, Role] = field(default_factory=dict)
    oidc: OidcRules | None = None

    @property
    def has_approver(self) -> bool:
        """Whether somebody can sign in as an approver without a token."""
        found = self.oidc.roles if self.oidc is not None else ()
        return Role.APPROVER in {*self.people.values(), *(role for _, role in found)}


@dataclass(frozen=True)
class Setting:
    """A setting as it is in force: `value` and `default` as TOML writes them, never a secret: of one only "set" or "not
    set". `origin`: "default", "file" or "environment".
    """

    section: str
    key: str
    value: str
    default: str
    origin: str
    description: str
    variable: str


@dataclass(frozen=True)
class Rules:
    """Settings that operations obey. Durations are `timedelta`s; `validation_url` and `service_url` (that of the API)
    have no slash at their end; `is_misdirected` says that the first is of this machine and not where it listens.

    A cache may keep an OCSP answer for `ocsp_cache`, which lasts for `ocsp_lifetime`.
    `profiles` and `endpoints` are the built-in ones and those of the installation's files. A revocation that would end
    more than `cut_limit` tunnels must be confirmed; a gateway not heard of for `unreachable_after` counts as
    unreachable; what `webhook` gets is signed with `webhook_key`, where there is one; `alertmanager`, `mail` and
    `syslog` hear of alerts; `reports` are made by the clock;
    `crl_spread` is the time over which the fleet is told of a list that was only refreshed.
    """

    validation_url: str
    is_misdirected: bool = False
    service_url: str = "https://localhost:8443"
    default_authority: str | None = None
    crl_lifetime: timedelta = timedelta(hours=24)
    delta_lifetime: timedelta = timedelta(hours=6)
    ocsp_lifetime: timedelta = timedelta(hours=12)
    ocsp_cache: timedelta = timedelta(minutes=5)
    refresh_before: float = 0.5
    nonces: bool = True
    notice_stages: tuple[int, ...] = (30, 14, 7, 1)
    webhook: str | None = None
    webhook_key: Secret | None = field(default=None, compare=False)
    alertmanager: Alertmanager | None = None
    mail: Mail | None = None
    syslog: Syslog | None = None
    reports: tuple[ReportSchedule, ...] = ()
    cut_limit: int = 10
    unreachable_after: timedelta = timedelta(seconds=120)
    crl_spread: timedelta = timedelta(seconds=60)
    rotation: RotationRules = RotationRules()
    retention: Retention = Retention()
    approvals: ApprovalRules = ApprovalRules()
    sessions: SessionRules = SessionRules()
    profiles: Mapping[str, Profile] = field(default_factory=builtin_profiles)
    endpoints: Mapping[str, Endpoint] = field(default_factory=builtin_endpoints)


def _of_this_process() -> Callable[[str], Secret]:
    return Seal(Secret(token_bytes(32))).derive


@dataclass(frozen=True)
class Desk:
    """The ports an operation needs, put together once per process by the wiring.

    `holdings` keeps what never changes once it is on record (authorities' certificates and opened keys, profiles), so
    that the hot path reads it once. `secrets` keeps the shared secrets of tunnels; `blobs` what the service itself has
    to keep secret. `entropy` is the system's random generator, an argument so that a test can show what happens when a
    serial number repeats. `derive` makes keys for MACs, by their purpose: those of the seal where there is one, the
    same in all processes; else of this process alone. `settings` are all that are in force, for who looks at them.
    """

    store: Store
    keys: KeyStore
    rules: Rules
    secrets: SecretStore | None = None
    blobs: BlobStore | None = None
    holdings: Holdings = field(default_factory=Holdings)
    entropy: Callable[[int], bytes] = token_bytes
    derive: Callable[[str], Secret] = field(default_factory=_of_this_process, repr=False)
    settings: tuple[Setting, ...] = ()
