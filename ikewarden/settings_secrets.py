"""Settings of shared secrets: where they are kept, and how they are rotated."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from hsm.secretstore import PATH
from ikewarden.settings_section import Section
from ikewarden.settings_values import RelativePath, Variable, Words, is_host, is_loopback, split_url

_SEGMENTS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_URL_WORDS: Final = "a URL https://HOST[:PORT] (http:// for this machine only)"
_SEGMENTS_WORDS: Final = "segments of letters, digits, `.`, `_`, `-`, with a slash between two"
_TEMPLATE_WORDS: Final = f"{_SEGMENTS_WORDS}, with {{tunnel}} and {{kind}} in them"
# What stands for a placeholder when the template is looked at: as long as the longest name of a tunnel.
_LONGEST_NAME: Final = "x" * 63


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
        raise ValueError(f"must be {_SEGMENTS_WORDS}")
    return stripped


def _template(text: str) -> str:
    filled = text.replace("{tunnel}", _LONGEST_NAME).replace("{kind}", "psk")
    if "{tunnel}" not in text or "{kind}" not in text or not PATH.fullmatch(filled):
        raise ValueError(f"must be {_TEMPLATE_WORDS}")
    return text


StoreUrl = Annotated[str, AfterValidator(_url), Words(_URL_WORDS)]
Segments = Annotated[str, AfterValidator(_segments), Words(_SEGMENTS_WORDS)]
Template = Annotated[str, AfterValidator(_template), Words(_TEMPLATE_WORDS)]
Text = Annotated[str, Field(min_length=1, max_length=256), Words("1 to 256 characters")]


class SecretsSettings(Section):
    """Where the shared secrets of tunnels are kept: in sealed files, or in Vault or OpenBao (KV version 2).

    `ikewarden vault policy` prints what the service needs there, `ikewarden vault check` tries it out.
    """

    store: Literal["files", "vault"] = Field(
        default="files",
        description="files: sealed with the passphrase of [keys]. vault: a server, Vault or OpenBao.",
    )
    directory: RelativePath = Field(
        default=Path("secrets"),
        description="The sealed files (mode 0700, owned by the service). Back them up with the keys.",
    )
    url: StoreUrl | None = Field(default=None, description="The server.")
    namespace: Segments | None = Field(
        default=None, description="The namespace of login and engine, where the server has them."
    )
    mount: Segments = Field(
        default="secret", description="Where the KV engine of version 2 is mounted."
    )
    path: Template = Field(
        default="ikewarden/{tunnel}/{kind}",
        description="Where in the store a tunnel's secret is; the kind is psk or ppk. For secrets made later.",
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

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.store == "files":
            return self
        needed = {
            "approle": ("role_id", "secret_id_file"),
            "token": (),
            "kubernetes": ("role",),
            "cert": ("certificate_file", "key_file"),
        }
        missing = [name for name in ("url", *needed[self.auth]) if getattr(self, name) is None]
        if missing:
            raise ValueError(
                f'needs {" and ".join(missing)} where store is "vault" and auth is "{self.auth}"'
            )
        if self.auth == "cert" and urlsplit(self.url or "").scheme != "https":
            raise ValueError('needs a url https:// where auth is "cert"')
        return self


class RotationSettings(Section):
    """How shared secrets are rotated; when, each tunnel's own policy says."""

    at_once: int = Field(
        default=500, ge=1, le=100_000, description="How many rotations may be under way together."
    )
    per_second: float = Field(
        default=50.0,
        ge=0.1,
        le=10_000,
        description="How many may begin in a second, on all replicas together: so much the store is asked.",
    )
    per_gateway: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="How many tunnels of one gateway may be in rotation at the same time.",
    )
    step_minutes: float = Field(
        default=10.0,
        ge=0.1,
        le=1440,
        description="How long an end may take for a step; then the rotation is undone.",
    )
    proof_minutes: float = Field(
        default=3.0,
        ge=0.1,
        le=1440,
        description="How long a fresh authentication under the new key may take; then the rotation is undone.",
    )
