"""Certificate profiles: added, listed, shown."""

from typing import Literal

from pydantic import Field

from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import Word
from pki import profiles
from pki.actors import Action
from pki.x509.profile import Authenticates, CrlScope, Dialect, HashChoice, LintLevel, to_document
from pki.x509.profile import Profile as KnownProfile

_PATH = "/v1/profiles"
_TAG = "Profiles"
NameKind = Literal["dns", "ip", "email", "uri", "dn"]


class Distribution(Sent):
    """Where relying parties are told to look."""

    crl: CrlScope = "full"
    ocsp: bool = True
    ca_issuers: bool = True


class CreateProfile(Sent):
    """A profile. Durations are a number and a unit: `90d`, `12h`, `10m`."""

    name: Word
    description: Word
    lifetime: Word
    max_lifetime: Word
    key_usage: list[Word] = Field(max_length=20)
    key_algorithms: list[Word] = Field(
        max_length=20, description="Accepted keys; an RSA size means at least that."
    )
    backdate: Word = "10m"
    hash: HashChoice = "auto"
    key_usage_critical: bool = True
    extended_key_usage: list[Word] = Field(default_factory=list, max_length=20)
    names: list[NameKind] = Field(
        default_factory=list, max_length=10, description="Kinds of names a request may carry."
    )
    names_required: list[NameKind] = Field(
        default_factory=list, max_length=10, description="At least one name of these kinds."
    )
    subject: list[Word] = Field(
        default_factory=list, max_length=20, description="Attributes taken from the request."
    )
    cn_from_san: bool = False
    san_from_cn: bool = False
    ip_as_dns: bool = False
    distribution: Distribution = Distribution()
    ocsp_no_check: bool = False
    policies: list[Word] = Field(default_factory=list, max_length=20)
    authenticates_as: Authenticates = "none"
    lint: dict[Dialect, LintLevel] = Field(default_factory=dict)


class Profile(Shown):
    """A profile with every field."""

    name: str
    description: str
    lifetime: str
    max_lifetime: str
    key_usage: list[str]
    key_algorithms: list[str]
    backdate: str
    hash: str
    key_usage_critical: bool
    extended_key_usage: list[str]
    names: list[str]
    names_required: list[str]
    subject: list[str]
    cn_from_san: bool
    san_from_cn: bool
    ip_as_dns: bool
    distribution: Distribution
    ocsp_no_check: bool
    policies: list[str]
    authenticates_as: str
    internal: bool
    lint: dict[str, str]


class ProfileList(Shown):
    """All profiles, by name."""

    items: list[Profile]


def _shown(known: KnownProfile) -> Profile:
    return Profile.model_validate(to_document(known))


def create(call: Call[CreateProfile, Nothing]) -> Reply:
    """Add a profile."""
    document = call.body.model_dump(mode="json", exclude_unset=True)
    made = profiles.create(call.desk, call.actor, document, now=call.now)
    location = (("Location", f"{_PATH}/{made.name}"),)
    return Reply(_shown(made), status=201, headers=location)


def list_(call: Call[None, Nothing]) -> Reply:
    """List profiles."""
    found = profiles.list_(call.desk, call.actor)
    return Reply(ProfileList(items=[_shown(known) for known in found]))


def show(call: Call[None, Nothing]) -> Reply:
    """Look at one profile."""
    return Reply(_shown(profiles.get(call.desk, call.actor, call.path["name"])))


ROUTES = (
    Route(
        method="POST",
        path=_PATH,
        view=create,
        summary="Add a profile; a profile never changes afterwards",
        tag=_TAG,
        action=Action.PROFILE_CREATE,
        body=CreateProfile,
        answer=Profile,
        status=201,
        example={
            "name": "branch-gateway",
            "description": "Gateways of branch offices",
            "lifetime": "30d",
            "max_lifetime": "90d",
            "key_usage": ["digitalSignature"],
            "key_algorithms": ["ec-p256", "rsa-3072"],
            "extended_key_usage": ["server_auth", "client_auth", "ipsec_ike"],
            "names": ["dns", "ip"],
            "names_required": ["dns"],
            "authenticates_as": "gateway",
            "lint": {"strongswan": "block"},
        },
        refusals=(409, 422),
    ),
    Route(
        method="GET",
        path=_PATH,
        view=list_,
        summary="List profiles",
        tag=_TAG,
        action=Action.PROFILE_READ,
        answer=ProfileList,
    ),
    Route(
        method="GET",
        path=_PATH + "/{name}",
        view=show,
        summary="Look at one profile",
        tag=_TAG,
        action=Action.PROFILE_READ,
        answer=Profile,
        refusals=(404,),
    ),
)
