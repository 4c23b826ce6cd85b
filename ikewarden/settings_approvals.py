"""Settings of the two-person rule: what another person must approve."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from ikewarden.settings_section import Section
from ikewarden.settings_values import Words
from pki.guarded import Guarded

_WORDS: Final = f"names of acts, each once, out of: {', '.join(Guarded)}"


def _acts(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names) or not set(names) <= set(Guarded):
        raise ValueError(f"must be {_WORDS}")
    if names and Guarded.ROLE_CHANGE not in names:
        # Whoever may make tokens would make an approver's for himself.
        raise ValueError(
            f'must name "{Guarded.ROLE_CHANGE}" too: without it the rule can be got round'
        )
    return names


class ApprovalsSettings(Section):
    """The two-person rule: what one person asks for and another one with the role approver must approve."""

    required: Annotated[tuple[str, ...], AfterValidator(_acts), Words(_WORDS)] = Field(
        default=(),
        description="What needs an approval. authority.create: a new CA; authority.issue: a certificate for a CA below "
        "another one; authority.retire; authority.revoke: revoking, holding or releasing the certificate of a CA; "
        "mass.revoke: more than mass_revocation; backup.export, backup.restore; role.change: a token of the role "
        "admin, operator or approver; certificate.enroll: each first certificate through an endpoint of "
        "EST, SCEP, CMP or ACME, which can want it by itself, too. If anything is named, role.change must be.",
    )
    valid_hours: int = Field(
        default=24,
        ge=1,
        le=720,
        description="How long a request waits for a decision, and how long an approval can be used after it was given.",
    )
    mass_revocation: int = Field(
        default=20,
        ge=0,
        le=1_000_000,
        description="Up to how many certificates one person revokes or puts on hold in an hour without an approval, "
        "one by one or at once.",
    )
