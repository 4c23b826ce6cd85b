"""Enrollment endpoints: by which doors devices ask for certificates, what proves who they are, and what they get.

An endpoint is a value of the settings: one profile, one authority, and the doors that are open. Its name is what the
protocols call a label, a profile or a path. Pure values; that an endpoint is obeyed is the work of `pki.enrollments`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from core.errors import NotFound

#: What can prove who asks: an enroller's token as the password, or a certificate of this service.
Way = Literal["token", "certificate"]
#: Where no label is given.
DEFAULT: Final = "gateway"


class EndpointNotFound(NotFound):
    """No endpoint of this name, or not through this door."""

    code = "endpoint_not_found"
    next_step = "`ikewarden enroll-endpoint list` shows them, and the URL of each."


@dataclass(frozen=True)
class EstDoor:
    """EST (RFC 7030). `server_keys`: the service may make the key, and hand it out (§4.4)."""

    ways: tuple[Way, ...] = ("token", "certificate")
    server_keys: bool = False


#: How a client can prove that it controls a name (RFC 8555 §8, RFC 8737).
Challenge = Literal["http-01", "dns-01", "tls-alpn-01"]
CHALLENGES: Final[tuple[Challenge, ...]] = ("http-01", "dns-01", "tls-alpn-01")


@dataclass(frozen=True)
class AcmeDoor:
    """ACME (RFC 8555). `external_account`: who registers must bind the account to an enroller's token.

    Names are looked up at `resolvers` (address or address:port; none: those of this system). Without `networks` only
    public addresses are connected to; networks in CIDR form are added to them, on purpose: for every account but as far
    as its token is limited, or with `networks_by_token` for none that its token does not name. The ports are those of
    the RFCs but in tests. The limits are of one account, and for new ones of the endpoint, within an hour.
    """

    external_account: bool = True
    challenges: tuple[Challenge, ...] = CHALLENGES
    networks: tuple[str, ...] = ()
    networks_by_token: bool = False
    resolvers: tuple[str, ...] = ()
    http_port: int = 80
    tls_port: int = 443
    orders_per_hour: int = 300
    failures_per_hour: int = 100
    accounts_per_hour: int = 300


@dataclass(frozen=True)
class ScepDoor:
    """SCEP (RFC 8894). `legacy`: old devices may use 3DES and SHA-1 here, and their certificates' records say so."""

    ways: tuple[Way, ...] = ("token", "certificate")
    legacy: bool = False


@dataclass(frozen=True)
class CmpDoor:
    """CMP (RFC 9810, profiled by RFC 9483). `token`: messages with a MAC by the secret of an enroller's token;
    `certificate`: messages that the key of a certificate has signed.
    """

    ways: tuple[Way, ...] = ("token", "certificate")


@dataclass(frozen=True)
class Endpoint:
    """One endpoint. `manual`: a first certificate waits until a person has approved exactly that request.

    Without an `authority`, the one that issues where none is named. A door that is None is shut.
    """

    name: str
    profile: str
    authority: str | None = None
    manual: bool = False
    est: EstDoor | None = None
    scep: ScepDoor | None = None
    acme: AcmeDoor | None = None
    cmp: CmpDoor | None = None


def builtin_endpoints() -> Mapping[str, Endpoint]:
    """What is there without any settings: gateways come in by a token that was made for them."""
    return MappingProxyType(
        {DEFAULT: Endpoint(DEFAULT, profile="gateway", est=EstDoor(), acme=AcmeDoor())}
    )
