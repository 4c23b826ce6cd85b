"""Settings of shared secrets: where they are kept, and how they are rotated."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from hsm.secretstore import PATH
from ikewarden.settings_section import Section
from ikewarden.settings_values import RelativePath, Words
from ikewarden.settings_vault import SEGMENTS_WORDS, Segments, VaultServer

_TEMPLATE_WORDS: Final = f"{SEGMENTS_WORDS}, with {{tunnel}} and {{kind}} in them"
# What stands for a placeholder when the template is looked at: as long as the longest name of a tunnel.
_LONGEST_NAME: Final = "x" * 63


def _template(text: str) -> str:
    filled = text.replace("{tunnel}", _LONGEST_NAME).replace("{kind}", "psk")
    if "{tunnel}" not in text or "{kind}" not in text or not PATH.fullmatch(filled):
        raise ValueError(f"must be {_TEMPLATE_WORDS}")
    return text


Template = Annotated[str, AfterValidator(_template), Words(_TEMPLATE_WORDS)]


class SecretsSettings(VaultServer):
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
    mount: Segments = Field(
        default="secret", description="Where the KV engine of version 2 is mounted."
    )
    path: Template = Field(
        default="ikewarden/{tunnel}/{kind}",
        description="Where in the store a tunnel's secret is; the kind is psk or ppk. For secrets made later.",
    )

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.store == "vault":
            self.check_complete('store is "vault" and ')
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
