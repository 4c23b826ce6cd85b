"""Settings of the web console: how long people stay signed in, and by what they sign in beside a token."""

from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ikewarden.settings_section import Section
from ikewarden.settings_values import RelativePath, Words, is_loopback, split_url
from pki.actors import PEOPLE, Role
from pki.x509.names import GeneralName, InvalidName

_ROLES: Final = ", ".join(sorted(PEOPLE))
_PEOPLE_WORDS: Final = (
    "tables [[console.people]], each with a name (email:alice@example.com, once) and a role out of "
    f"{_ROLES}; in the environment ROLE=NAME, separated by commas"
)
_ROLES_WORDS: Final = f"texts VALUE=ROLE, each value once, with roles out of {_ROLES}"
_ISSUER_WORDS: Final = (
    "a URL https://HOST[:PORT][/PATH], exactly as the provider writes it; http:// for this machine"
)
_WORD_WORDS: Final = "1 to 200 characters without control characters"
_SCOPES_WORDS: Final = "words without blanks, openid among them"


def _person(given: object) -> str:
    """A person as `ROLE=NAME`, which is how the environment writes it."""
    if isinstance(given, dict) and given.keys() == {"name", "role"}:
        role, name = given["role"], given["name"]
    elif isinstance(given, str):
        role, _, name = given.partition("=")
    else:
        raise ValueError(f"must be {_PEOPLE_WORDS}")
    try:
        known = GeneralName.parse(str(name))
    except InvalidName:
        raise ValueError(f"must be {_PEOPLE_WORDS}") from None
    if role not in PEOPLE or str(known) != name:
        raise ValueError(f"must be {_PEOPLE_WORDS}")
    return f"{role}={name}"


def _people(given: object) -> object:
    if not isinstance(given, tuple):
        return given
    found = tuple(map(_person, given))
    if len({each.partition("=")[2] for each in found}) < len(found):
        raise ValueError(f"must be {_PEOPLE_WORDS}")
    return found


def _roles(given: tuple[str, ...]) -> tuple[str, ...]:
    pairs = [each.rpartition("=") for each in given]
    values = [value for value, _, _ in pairs]
    if not all(values) or len(set(values)) < len(values) or any(r not in PEOPLE for *_, r in pairs):
        raise ValueError(f"must be {_ROLES_WORDS}")
    return given


def _issuer(text: str) -> str:
    parts = split_url(text, _ISSUER_WORDS)
    host = parts.hostname or ""
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    # OpenID Connect Discovery §3: no query, no fragment.
    if not safe or not host or "@" in parts.netloc or parts.query or parts.fragment or " " in text:
        raise ValueError(f"must be {_ISSUER_WORDS}")
    return text


def _word(text: str) -> str:
    if not 0 < len(text) <= 200 or not text.isprintable():
        raise ValueError(f"must be {_WORD_WORDS}")
    return text


def _scopes(given: tuple[str, ...]) -> tuple[str, ...]:
    if "openid" not in given or any(not each or " " in each for each in given):
        raise ValueError(f"must be {_SCOPES_WORDS}")
    return given


Word = Annotated[str, AfterValidator(_word), Words(_WORD_WORDS)]


class OidcSettings(Section):
    """Signing in to the console through an OpenID provider: the code flow with PKCE. With an issuer it is on.

    The provider is told one address to come back to: `[fleet] url`, or `https://NAME:PORT` of `[api]`, and behind it
    `/sign-in/oidc/callback`.
    """

    issuer: Annotated[str, AfterValidator(_issuer), Words(_ISSUER_WORDS)] | None = Field(
        default=None, description="The provider, as the `iss` of its tokens says it."
    )
    client_id: Word | None = Field(
        default=None, description="What the provider calls this service."
    )
    client_secret_file: RelativePath | None = Field(
        default=None,
        description="A file (mode 0600) with the secret of this client. Default: a public client, by PKCE alone.",
    )
    ca_file: RelativePath | None = Field(
        default=None,
        description="The root that the provider must prove itself by, PEM. Default: those of this system.",
    )
    scopes: Annotated[tuple[str, ...], AfterValidator(_scopes), Words(_SCOPES_WORDS)] = Field(
        default=("openid", "email", "profile"), description="What is asked for."
    )
    claim: Word = Field(
        default="groups",
        description="The claim of the ID token that `roles` looks at: a text or a list of texts. Dots lead into nested "
        "ones: `realm_access.roles`.",
    )
    roles: Annotated[tuple[str, ...], AfterValidator(_roles), Words(_ROLES_WORDS)] = Field(
        default=(),
        description="Which values of the claim give which role; the first that fits counts. Whoever has none of them "
        "is refused.",
    )
    name: Word = Field(
        default="email",
        description="The claim by which a person is called in the audit log and in approvals. It must be one that the "
        "provider proves: who can choose it himself passes for another. An `email` that is not verified is refused.",
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.issuer is None:
            if self.client_id or self.client_secret_file or self.roles:
                raise ValueError("needs an issuer beside its other settings")
        elif self.client_id is None or not self.roles:
            raise ValueError("needs client_id and roles where there is an issuer")
        return self


class ConsoleSettings(Section):
    """The web console: how long people stay signed in, and who signs in with a client certificate."""

    idle_minutes: int = Field(
        default=30,
        ge=1,
        le=1440,
        description="After so long without doing anything somebody is signed out. A page that looks by itself is "
        "nothing done.",
    )
    hours: int = Field(
        default=12, ge=1, le=168, description="How long somebody stays signed in at the most."
    )
    tries: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="How many tries to sign in may fail from one address (of IPv6: one /64) in a quarter of an hour.",
    )
    people: Annotated[tuple[str, ...], BeforeValidator(_people), Words(_PEOPLE_WORDS)] = Field(
        default=(),
        description="Who signs in with a client certificate: one of this service, valid, with exactly this name and no "
        "other. From then on only an admin gets a certificate for such a name. In the file each person is a table "
        "`[[console.people]]` with `name` and `role`.",
    )
    oidc: OidcSettings = OidcSettings()

    @property
    def roles_by_name(self) -> dict[str, Role]:
        """`people`: the role by the name."""
        pairs = (each.partition("=") for each in self.people)
        return {name: Role(role) for role, _, name in pairs}
