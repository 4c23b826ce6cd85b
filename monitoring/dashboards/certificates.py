"""Authorities, their lists and OCSP signers; certificates; the validation listener."""

from typing import Final

from monitoring.dashboards.panels import (
    CA_ENDS,
    CRL_ENDS,
    DAY,
    GREEN,
    RED,
    YELLOW,
    Dashboard,
    Panel,
    Query,
    Variable,
)

_CHOSEN: Final = '{authority=~"$authority"}'
_ENDS_CHOSEN: Final = CA_ENDS.replace("{", '{authority=~"$authority",')
_NEXT_CHOSEN: Final = CRL_ENDS.replace("_seconds)", f"_seconds{_CHOSEN})")
_THIS_CHOSEN: Final = (
    f"max by (authority, kind) (ikewarden_crl_this_update_timestamp_seconds{_CHOSEN})"
)

CERTIFICATES: Final = Dashboard(
    "certificates",
    "ikewarden: certificates and CAs",
    "Until when authorities, their lists and OCSP signers are good, and what they have issued.",
    [
        (
            "Authorities",
            [
                Panel(
                    "CA certificates end in",
                    [
                        Query(
                            f"{_ENDS_CHOSEN} - time()",
                            "{{authority}} ({{kind}})",
                        )
                    ],
                    kind="bargauge",
                    unit="s",
                    steps=((None, RED), (30 * DAY, YELLOW), (180 * DAY, GREEN)),
                ),
                Panel(
                    "OCSP signers end in",
                    [
                        Query(
                            "max by (authority)"
                            ' (ikewarden_ocsp_signer_expiry_timestamp_seconds{authority=~"$authority"}) - time()',
                            "{{authority}}",
                        )
                    ],
                    kind="bargauge",
                    unit="s",
                    steps=((None, RED), (3 * DAY, YELLOW), (7 * DAY, GREEN)),
                ),
                Panel(
                    "Revocation lists end in",
                    [
                        Query(
                            f"{_NEXT_CHOSEN} - time()",
                            "{{authority}} {{kind}}",
                        )
                    ],
                    "Of several of a kind the earliest. Each goes up again when less than half is left.",
                    unit="s",
                ),
                Panel(
                    "Age of revocation lists",
                    [
                        Query(
                            f"time() - {_THIS_CHOSEN}",
                            "{{authority}} {{kind}}",
                        )
                    ],
                    unit="s",
                ),
            ],
        ),
        (
            "Certificates",
            [
                Panel(
                    "By status",
                    [Query("max by (status) (ikewarden_certificates)", "{{status}}")],
                    kind="table",
                    width=6,
                ),
                Panel(
                    "Valid, by what is left",
                    [
                        Query(
                            "sum by (remaining) (max by (authority, remaining)"
                            ' (ikewarden_certificates_valid{authority=~"$authority"}))',
                            "{{remaining}}",
                        )
                    ],
                    kind="bargauge",
                    width=9,
                ),
                Panel(
                    "Unrenewed, by CA and what is left",
                    [
                        Query(
                            "max by (authority, remaining)"
                            ' (ikewarden_certificates_unrenewed{authority=~"$authority"})',
                            "{{authority}} {{remaining}}",
                        )
                    ],
                    "Of gateways, issued over a week ago, without a successor.",
                    kind="bargauge",
                    width=9,
                    steps=((None, GREEN), (1, RED)),
                ),
                Panel(
                    "Issued, less what became invalid, by CA",
                    [
                        Query(
                            "sum by (authority) (max by (authority, remaining)"
                            ' (ikewarden_certificates_valid{authority=~"$authority"}))',
                            "{{authority}}",
                        )
                    ],
                    "Valid certificates of each CA.",
                ),
                Panel(
                    "Entries in revocation lists",
                    [
                        Query(
                            'max by (authority, kind) (ikewarden_crl_entries{authority=~"$authority"})',
                            "{{authority}} {{kind}}",
                        )
                    ],
                ),
            ],
        ),
        (
            "Validation",
            [
                Panel(
                    "Answers of the validation listener",
                    [
                        Query(
                            "sum by (kind) (rate(ikewarden_validation_requests_total[$__rate_interval]))",
                            "{{kind}}",
                        )
                    ],
                    unit="reqps",
                ),
                Panel(
                    "Errors of the validation listener",
                    [
                        Query(
                            "sum by (kind, status)"
                            ' (rate(ikewarden_validation_requests_total{status!~"[23].."}[$__rate_interval]))',
                            "{{kind}} {{status}}",
                        )
                    ],
                    "4xx, unauthorized and malformedRequest are mistakes of who asks; 5xx and tryLater of the service.",
                    unit="reqps",
                ),
            ],
        ),
    ],
    [Variable("authority", "CA", "ikewarden_authority_expiry_timestamp_seconds")],
)
