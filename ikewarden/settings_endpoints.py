"""Enrollment endpoints: where their files are, and what stands in one."""

import tomllib
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationError

from core.errors import InvalidInput
from ikewarden.settings_section import Section
from ikewarden.settings_values import Name, RelativePath
from pki.endpoints import (
    CHALLENGES,
    AcmeDoor,
    Challenge,
    CmpDoor,
    Endpoint,
    EstDoor,
    ScepDoor,
    builtin_endpoints,
)

# RFC 7030 §3.2.2: a label is none of the operations.
_OPERATIONS: Final = frozenset(
    {"cacerts", "csrattrs", "fullcmc", "serverkeygen", "simpleenroll", "simplereenroll"}
)
_Ways = Annotated[tuple[Literal["token", "certificate"], ...], Field(min_length=1, max_length=2)]


class InvalidEndpoint(InvalidInput):
    """A file that describes no endpoint."""

    code = "invalid_endpoint"
    next_step = (
        "Correct what is named; docs/how-to/est.md, scep.md, cmp.md and acme.md have examples."
    )


class EnrollmentSettings(Section):
    """Enrollment endpoints: EST, SCEP, CMP, ACME."""

    endpoints_directory: RelativePath | None = Field(
        default=None,
        description="A directory with enrollment endpoints of your own, one TOML file each, beside the built-in "
        "`gateway`, which a file of that name replaces.",
    )


class _Est(Section):
    authentication: _Ways = ("token", "certificate")
    server_keys: bool = False


class _Scep(Section):
    authentication: _Ways = ("token", "certificate")
    legacy: bool = False


class _Cmp(Section):
    authentication: _Ways = ("token", "certificate")


def _network(text: str) -> str:
    return str(ip_network(text))


def _resolver(text: str) -> str:
    address, _, port = text.removeprefix("[").replace("]:", " ").replace("]", " ").partition(" ")
    if not text.startswith("[") and text.count(":") == 1:
        address, _, port = text.partition(":")
    ip_address(address)
    # A colon with nothing behind it is a port that was forgotten.
    forgotten = text.endswith("]:") or (text.endswith(":") and text.count(":") == 1)
    if (port or forgotten) and not (port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{port!r} is no port")
    return text


_Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Field(max_length=100)]
_Resolvers = Annotated[tuple[Annotated[str, AfterValidator(_resolver)], ...], Field(max_length=10)]
_Port = Annotated[int, Field(ge=1, le=65535)]
_Limit = Annotated[int, Field(ge=1, le=1_000_000)]


class _Acme(Section):
    external_account: bool = True
    challenges: Annotated[tuple[Challenge, ...], Field(min_length=1)] = CHALLENGES
    networks: _Networks = ()
    networks_by_token: bool = False
    resolvers: _Resolvers = ()
    http_port: _Port = 80
    tls_port: _Port = 443
    orders_per_hour: _Limit = 300
    failures_per_hour: _Limit = 100
    accounts_per_hour: _Limit = 300


class _File(Section):
    name: Name
    profile: Name
    authority: Name | None = None
    approval: Literal["automatic", "manual"] = "automatic"
    est: _Est | None = None
    scep: _Scep | None = None
    acme: _Acme | None = None
    cmp: _Cmp | None = None


def endpoints_in(directory: Path | None) -> Mapping[str, Endpoint]:
    """The built-in endpoints and those of a directory's files. Raises InvalidEndpoint."""
    found: dict[str, Endpoint] = {}
    if directory is not None:
        if not directory.is_dir():
            raise InvalidEndpoint(f"endpoints_directory: {directory} is not a directory.")
        for file in sorted(directory.glob("*.toml")):
            endpoint = _read(file)
            if endpoint.name in found:
                raise InvalidEndpoint(f"{file}: the name {endpoint.name!r} is taken.")
            found[endpoint.name] = endpoint
    return dict(builtin_endpoints()) | found


def _read(file: Path) -> Endpoint:
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidEndpoint(f"{file} cannot be read: {error}") from None
    for table in filter(lambda each: isinstance(each, dict), document.values()):
        for key, value in table.items():
            if isinstance(value, list):
                table[key] = tuple(value)  # a strict model takes no list where it has a tuple
    try:
        read = _File.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidEndpoint(f"{file}: {place}: {first['msg']}.") from None
    if read.name in _OPERATIONS:
        raise InvalidEndpoint(f"{file}: name: {read.name!r} is an operation of EST.")
    if read.est is not None and read.est.server_keys and read.approval == "manual":
        raise InvalidEndpoint(
            f"{file}: est.server_keys: a key that is made anew at each request cannot be approved."
        )
    return Endpoint(
        name=read.name,
        profile=read.profile,
        authority=read.authority,
        manual=read.approval == "manual",
        est=None
        if read.est is None
        else EstDoor(ways=read.est.authentication, server_keys=read.est.server_keys),
        scep=None
        if read.scep is None
        else ScepDoor(ways=read.scep.authentication, legacy=read.scep.legacy),
        acme=None if read.acme is None else AcmeDoor(**dict(read.acme)),
        cmp=None if read.cmp is None else CmpDoor(ways=read.cmp.authentication),
    )
