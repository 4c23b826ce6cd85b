"""Who acts, and what each role may do. Everything not granted here is refused (DESIGN §4.3)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from core.errors import NotPermitted
from pki.x509.names import GeneralName


class Role(StrEnum):
    """What a person or program is here."""

    ADMIN = "admin"
    OPERATOR = "operator"
    APPROVER = "approver"
    AUDITOR = "auditor"
    ENROLLER = "enroller"
    GATEWAY = "gateway"
    SCHEDULER = "scheduler"


#: The roles of people, who may sign in to the console.
PEOPLE: Final = frozenset({Role.ADMIN, Role.OPERATOR, Role.APPROVER, Role.AUDITOR})


class Action(StrEnum):
    """What an operation does; each operation requires exactly one of these in its first line."""

    CERTIFICATE_ISSUE = "certificate.issue"
    CERTIFICATE_RENEW = "certificate.renew"
    CERTIFICATE_READ = "certificate.read"
    CERTIFICATE_REVOKE = "certificate.revoke"
    AUTHORITY_CREATE = "authority.create"
    AUTHORITY_READ = "authority.read"
    PROFILE_CREATE = "profile.create"
    PROFILE_READ = "profile.read"
    ENDPOINT_READ = "endpoint.read"
    TOKEN_CREATE = "token.create"  # noqa: S105 - the name of an action
    TOKEN_READ = "token.read"  # noqa: S105 - the name of an action
    TOKEN_REVOKE = "token.revoke"  # noqa: S105 - the name of an action
    SESSION_READ = "session.read"
    SESSION_END = "session.end"
    JOB_READ = "job.read"
    JOB_RETRY = "job.retry"
    JOB_RUN = "job.run"
    AUDIT_READ = "audit.read"
    AUDIT_ACCEPT = "audit.accept"
    BACKUP_EXPORT = "backup.export"
    BACKUP_RESTORE = "backup.restore"
    METRICS_READ = "metrics.read"
    SETTINGS_READ = "settings.read"
    SERVICE_CREDENTIAL = "service.credential"
    CRL_READ = "crl.read"
    GATEWAY_CREATE = "gateway.create"
    GATEWAY_READ = "gateway.read"
    GATEWAY_REMOVE = "gateway.remove"
    GATEWAY_ENROLL = "gateway.enroll"
    GATEWAY_COMMAND = "gateway.command"
    GATEWAY_SELF = "gateway.self"
    TUNNEL_CREATE = "tunnel.create"
    TUNNEL_READ = "tunnel.read"
    TUNNEL_REMOVE = "tunnel.remove"
    SA_READ = "sa.read"
    SECRET_CREATE = "secret.create"  # noqa: S105 - the name of an action
    SECRET_READ = "secret.read"  # noqa: S105 - the name of an action; never of a value
    SECRET_CHANGE = "secret.change"  # noqa: S105 - the name of an action
    SECRET_REMOVE = "secret.remove"  # noqa: S105 - the name of an action
    SECRET_HANDOVER = "secret.handover"  # noqa: S105 - the name of an action
    ROTATION_ORDER = "rotation.order"
    ROTATION_CONFIRM = "rotation.confirm"
    FINDING_READ = "finding.read"
    FINDING_ACCEPT = "finding.accept"
    ALERT_READ = "alert.read"
    ALERT_SILENCE = "alert.silence"
    APPROVAL_READ = "approval.read"
    APPROVAL_DECIDE = "approval.decide"
    APPROVAL_WITHDRAW = "approval.withdraw"


_READ = frozenset(
    {
        Action.CERTIFICATE_READ,
        Action.AUTHORITY_READ,
        Action.PROFILE_READ,
        Action.ENDPOINT_READ,
        Action.JOB_READ,
        Action.METRICS_READ,
        Action.SETTINGS_READ,
        Action.CRL_READ,
        Action.GATEWAY_READ,
        Action.TUNNEL_READ,
        Action.SECRET_READ,
        Action.FINDING_READ,
        Action.ALERT_READ,
    }
)
GRANTS: dict[Role, frozenset[Action]] = {
    Role.ADMIN: frozenset(Action)
    # The second person is another one than who may do everything else.
    - {
        Action.JOB_RUN,
        Action.SERVICE_CREDENTIAL,
        Action.GATEWAY_SELF,
        Action.APPROVAL_DECIDE,
    },
    Role.OPERATOR: _READ
    | {
        Action.CERTIFICATE_ISSUE,
        Action.CERTIFICATE_RENEW,
        Action.CERTIFICATE_REVOKE,
        Action.TOKEN_CREATE,
        Action.TOKEN_READ,
        Action.TOKEN_REVOKE,
        Action.GATEWAY_CREATE,
        Action.GATEWAY_REMOVE,
        Action.GATEWAY_ENROLL,
        Action.GATEWAY_COMMAND,
        Action.TUNNEL_CREATE,
        Action.TUNNEL_REMOVE,
        Action.SA_READ,
        Action.SECRET_CREATE,
        Action.SECRET_CHANGE,
        Action.SECRET_REMOVE,
        Action.SECRET_HANDOVER,
        Action.ROTATION_ORDER,
        Action.ROTATION_CONFIRM,
        Action.FINDING_ACCEPT,
        Action.ALERT_SILENCE,
        Action.JOB_RETRY,
        Action.APPROVAL_READ,
        Action.APPROVAL_WITHDRAW,
    },
    Role.APPROVER: _READ | {Action.AUDIT_READ, Action.APPROVAL_READ, Action.APPROVAL_DECIDE},
    Role.AUDITOR: _READ
    | {Action.AUDIT_READ, Action.TOKEN_READ, Action.SA_READ, Action.APPROVAL_READ},
    Role.ENROLLER: frozenset({Action.CERTIFICATE_ISSUE, Action.AUTHORITY_READ, Action.CRL_READ}),
    Role.GATEWAY: frozenset(
        {
            Action.CERTIFICATE_RENEW,
            Action.CERTIFICATE_READ,
            Action.AUTHORITY_READ,
            Action.CRL_READ,
            Action.GATEWAY_SELF,
        }
    ),
    Role.SCHEDULER: frozenset(
        {
            Action.CERTIFICATE_ISSUE,
            Action.CERTIFICATE_READ,
            Action.AUTHORITY_READ,
            Action.PROFILE_READ,
            Action.JOB_READ,
            Action.JOB_RUN,
            Action.METRICS_READ,
            Action.SERVICE_CREDENTIAL,
            Action.CRL_READ,
            Action.GATEWAY_READ,
            Action.TUNNEL_READ,
            Action.SECRET_READ,
        }
    ),
}


class RoleMayNot(NotPermitted):
    """The caller's role does not include this action."""

    code = "role_not_permitted"
    next_step = "Use a token of a role that may do this, or ask an admin for one."


class OutsideScope(NotPermitted):
    """The role may, but this credential is limited to other profiles, authorities, names or gateways."""

    code = "outside_scope"
    next_step = "Ask for a token whose scope covers this, or stay within yours."


@dataclass(frozen=True)
class Scope:
    """Limits of one credential. None means no limit beyond the role's.

    `names` are patterns as `pki.x509.names` reads them (`dns:*.gw.example`); `gateway` ties the credential to one
    gateway. `networks`, in CIDR form, are of what an ACME endpoint opens the part in which the names of an account with
    this credential are looked for (`pki.acme.reach`). `endpoints` are the only ones through which an enroller's token
    fetches certificates; not over REST then.
    """

    profiles: tuple[str, ...] | None = None
    authorities: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    gateway: str | None = None
    networks: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Actor:
    """Whoever acts: a person, a program, a gateway, the scheduler.

    `credential` says what proved it: `token:ID`, `certificate:AUTHORITY:SERIAL`, or `local` for someone at the
    server's own console. `one_time` credentials are used up by the operation they allow, in its transaction.
    `approval` is the number of the approval that he says he has for what he asks (`pki.approvals`).
    """

    name: str
    role: Role
    credential: str = "local"
    scope: Scope = field(default_factory=Scope)
    request_id: str = ""
    one_time: bool = False
    approval: int | None = None

    @property
    def token_id(self) -> str | None:
        """The id of the token that proved this actor, if it was one."""
        kind, _, rest = self.credential.partition(":")
        return rest if kind == "token" else None


def require(actor: Actor, action: Action) -> None:
    """Raise RoleMayNot unless the actor's role grants the action."""
    if action not in GRANTS[actor.role]:
        raise RoleMayNot(f"The role {actor.role} may not do {action}.")


def require_profile(actor: Actor, profile: str) -> None:
    """Raise OutsideScope unless the credential's scope allows this profile."""
    if actor.scope.profiles is not None and profile not in actor.scope.profiles:
        raise OutsideScope(f"This credential may not use the profile {profile!r}.")


def require_endpoint(actor: Actor, endpoint: str | None) -> None:
    """Raise OutsideScope unless the credential's scope allows this enrollment endpoint; None is REST."""
    if actor.scope.endpoints is not None and endpoint not in actor.scope.endpoints:
        where = "REST" if endpoint is None else f"the endpoint {endpoint!r}"
        raise OutsideScope(f"This credential fetches no certificates through {where}.")


def require_authority(actor: Actor, authority: str) -> None:
    """Raise OutsideScope unless the credential's scope allows this authority."""
    if actor.scope.authorities is not None and authority not in actor.scope.authorities:
        raise OutsideScope(f"This credential may not use the authority {authority!r}.")


def require_names(actor: Actor, names: Iterable[GeneralName]) -> None:
    """Raise OutsideScope for the first name that no pattern of the scope permits."""
    if actor.scope.names is None:
        return
    for name in names:
        if not any(name.matches(pattern) for pattern in actor.scope.names):
            raise OutsideScope(f"This credential may not ask for the name {name}.")


def covers(
    scope: Scope, authority: str, profile: str, gateway: str | None, names: Iterable[str]
) -> bool:
    """Whether a certificate on record lies within a credential's scope; `names` are as `GeneralName` writes them."""
    if scope.authorities is not None and authority not in scope.authorities:
        return False
    if scope.profiles is not None and profile not in scope.profiles:
        return False
    if scope.gateway is not None and gateway != scope.gateway:
        return False
    patterns = scope.names
    if patterns is None:
        return True
    known = [GeneralName.parse(name) for name in names]
    fits = [any(name.matches(pattern) for pattern in patterns) for name in known]
    return bool(fits) and all(fits)


def require_gateway(actor: Actor, gateway: str | None) -> None:
    """Raise OutsideScope unless the credential is free of a gateway or tied to this one. A gateway's never is free."""
    tied = actor.role is Role.GATEWAY or actor.scope.gateway is not None
    if tied and (gateway is None or actor.scope.gateway != gateway):
        whose = "one gateway, and this is about all" if gateway is None else "another gateway"
        raise OutsideScope(f"This credential belongs to {whose}.")


def require_whole(actor: Actor) -> None:
    """Raise OutsideScope for a credential that is limited in gateway, names or profiles: an authority has a part in all
    of them.
    """
    require_gateway(actor, None)
    if actor.scope.names is not None or actor.scope.profiles is not None:
        raise OutsideScope("This credential is limited in names or profiles; this is about all.")
