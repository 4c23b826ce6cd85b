"""Settings of a Vault or OpenBao server: where it is, and how the service logs in."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from ikewarden.settings_section import Section
from ikewarden.settings_values import RelativePath, Variable, Words, is_host, is_loopback, split_url

_SEGMENTS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_URL_WORDS: Final = "a URL https://HOST[:PORT] (http:// for this machine only)"
SEGMENTS_WORDS: Final = "segments of letters, digits, `.`, `_`, `-`, with a slash between two"


def _url(text: str) -> str:
    parts = split_url(text, _URL_WORDS)
    unwanted = parts.query or parts.fragment or "@" in parts.netloc or parts.path.strip("/")
    host = parts.hostname or ""
    plain = parts.scheme == "http" and is_loopback(host)
    if not is_host(host) or unwanted or " " in text or not (plain or parts.scheme == "https"):
        raise ValueError(f"must be {_URL_WORDS}")
    return text.rstrip("/")


def _segments(text: str) -> str:
    stripped = text.strip("/")
    if not _SEGMENTS.fullmatch(stripped):
        raise ValueError(f"must be {SEGMENTS_WORDS}")
    return stripped


StoreUrl = Annotated[str, AfterValidator(_url), Words(_URL_WORDS)]
Segments = Annotated[str, AfterValidator(_segments), Words(SEGMENTS_WORDS)]
Text = Annotated[str, Field(min_length=1, max_length=256), Words("1 to 256 characters")]


class VaultServer(Section):
    """A server and a way to log in: what every section that names one has."""

    url: StoreUrl | None = Field(default=None, description="The server.")
    namespace: Segments | None = Field(
        default=None, description="The namespace of login and engine, where the server has them."
    )
    auth: Literal["approle", "token", "kubernetes", "cert"] = Field(
        default="approle", description="How the service logs in."
    )
    auth_mount: Segments | None = Field(
        default=None, description="Where that is mounted. Default: its name."
    )
    role_id: Text | None = Field(default=None, description="approle: the role's id.")
    secret_id_file: RelativePath | None = Field(
        default=None, description="approle: a file (mode 0600) with the secret id."
    )
    role: Text | None = Field(
        default=None, description="kubernetes: the role. cert: the role, if not any will do."
    )
    jwt_file: RelativePath = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        description="kubernetes: the token of the service account.",
    )
    token_file: RelativePath | None = Field(
        default=None,
        description="token: a file (mode 0600) with the token. It comes before the variable, and may be replaced at "
        "any time.",
    )
    token_env: Variable = Field(
        default="VAULT_TOKEN", description="token: the environment variable that holds it."
    )
    certificate_file: RelativePath | None = Field(
        default=None, description="cert: the client certificate, PEM."
    )
    key_file: RelativePath | None = Field(
        default=None, description="cert: its private key (mode 0600), PEM."
    )
    ca_file: RelativePath | None = Field(
        default=None,
        description="The root that the server must prove itself by, PEM. Default: those of this system.",
    )
    timeout_seconds: float = Field(
        default=10.0, ge=0.5, le=120, description="How long the server may take for an answer."
    )

    def check_complete(self, condition: str = "") -> None:
        """Raise ValueError where something is missing that the login needs. `condition` completes "needs … where …"."""
        needed = {
            "approle": ("role_id", "secret_id_file"),
            "token": (),
            "kubernetes": ("role",),
            "cert": ("certificate_file", "key_file"),
        }
        missing = [name for name in ("url", *needed[self.auth]) if getattr(self, name) is None]
        if missing:
            raise ValueError(
                f'needs {" and ".join(missing)} where {condition}auth is "{self.auth}"'
            )
        if self.auth == "cert" and urlsplit(self.url or "").scheme != "https":
            raise ValueError('needs a url https:// where auth is "cert"')


class TransitSettings(VaultServer):
    """The Transit engine of Vault or OpenBao in which keys are made and sign. Without a `url` of its own it is on the
    server of [secrets], under the same login.

    `ikewarden vault policy` prints what the service needs there, `ikewarden vault check` tries it out.
    """

    mount: Segments = Field(
        default="transit", description="Where the Transit engine is mounted. For keys made later."
    )

    @property
    def is_own_server(self) -> bool:
        """Whether it names a server, or anything of a login."""
        given = self.model_fields_set - {"mount"}
        return any(getattr(self, name) is not None for name in given)

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.is_own_server:
            self.check_complete()
        return self
