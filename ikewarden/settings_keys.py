"""Settings of signing keys: where they are kept, and how to get at them."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ikewarden.settings_section import Section
from ikewarden.settings_values import RelativePath, Variable, Words
from ikewarden.settings_vault import TransitSettings

_LABEL_WORDS: Final = "1 to 32 printable characters"


def _label(text: str) -> str:
    # CK_TOKEN_INFO has 32 octets for it, filled up with blanks (PKCS#11 v2.40 §3.3).
    if not 1 <= len(text.encode()) <= 32 or not text.isprintable() or text != text.strip():
        raise ValueError(f"must be {_LABEL_WORDS}")
    return text


TokenLabel = Annotated[str, AfterValidator(_label), Words(_LABEL_WORDS)]


class Pkcs11Settings(Section):
    """A token over PKCS#11: an HSM, a smart card, SoftHSM2. `ikewarden hsm check` tries it out.

    Set up where `module` is set. Each process of the service that signs starts a process of its own for the module.
    """

    module: RelativePath | None = Field(
        default=None, description="The PKCS#11 module of the device, a shared library."
    )
    token: TokenLabel | None = Field(default=None, description="The token's label.")
    serial: TokenLabel | None = Field(
        default=None,
        description="The token's serial number: beside the label, where several tokens have it, or in its place.",
    )
    pin_file: RelativePath | None = Field(
        default=None,
        description="A file (mode 0600) with the user PIN as its only line. It comes first; then the environment "
        "variable, then a prompt if there is a terminal. It may be replaced at any time.",
    )
    pin_env: Variable = Field(
        default="IKEWARDEN_PIN",
        description="The environment variable that holds the user PIN, if it is set.",
    )
    sessions: int = Field(
        default=8,
        ge=1,
        le=64,
        description="How many sessions one process of the service may use: so many signatures at the same time.",
    )
    timeout_seconds: float = Field(
        default=10.0,
        ge=0.5,
        le=60,
        description="How long the token may take for a signature.",
    )

    @model_validator(mode="after")
    def _names_a_token(self) -> Self:
        if self.module is not None and self.token is None and self.serial is None:
            raise ValueError("needs token or serial where module is set")
        return self


class KeysSettings(Section):
    """Where the keys of the authorities are kept, and what opens them."""

    store: Literal["files", "pkcs11", "transit"] = Field(
        default="files",
        description="Where new keys are made, of authorities and OCSP signers. files: sealed in the directory. pkcs11: "
        "in the token of [keys.pkcs11]. transit: in the engine of [keys.transit]. A key that is there already is found "
        "where it was made, as long as that is set up.",
    )
    directory: RelativePath = Field(
        default=Path("keys"), description="The sealed key files (mode 0700, owned by the service)."
    )
    passphrase_file: RelativePath | None = Field(
        default=None,
        description="A file (mode 0600) with the passphrase of the key store. It comes first; then "
        "the environment variable, then a prompt if there is a terminal.",
    )
    passphrase_env: Variable = Field(
        default="IKEWARDEN_PASSPHRASE",
        description="The environment variable that holds the passphrase, if it is set.",
    )
    pkcs11: Pkcs11Settings = Pkcs11Settings()
    transit: TransitSettings = TransitSettings()

    @property
    def uses_transit(self) -> bool:
        """Whether a Transit engine is set up: new keys are made in it, or there is a table for it."""
        return self.store == "transit" or "transit" in self.model_fields_set

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.store == "pkcs11" and self.pkcs11.module is None:
            raise ValueError('needs [keys.pkcs11] module where store is "pkcs11"')
        return self
