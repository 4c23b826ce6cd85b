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


@dataclass(frozen=True)
class ScepDoor:
    """SCEP (RFC 8894). `legacy`: old devices may use 3DES and SHA-1 here, and their certificates' records say so."""

    ways: tuple[Way, ...] = ("token", "certificate")
    legacy: bool = False


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


def builtin_endpoints() -> Mapping[str, Endpoint]:
    """What is there without any settings: gateways come in by a token that was made for them."""
    return MappingProxyType({DEFAULT: Endpoint(DEFAULT, profile="gateway", est=EstDoor())})
