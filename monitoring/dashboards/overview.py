"""What needs somebody now, and how things go."""

from typing import Final

from monitoring.dashboards.panels import (
    ALERTS,
    CA_ENDS,
    CRL_ENDS,
    DAY,
    YELLOW,
    Dashboard,
    Panel,
    Query,
    none_is_good,
    time_left,
)

OVERVIEW: Final = Dashboard(
    "overview",
    "ikewarden: overview",
    "What needs somebody now, and how things go.",
    [
        (
            "What needs somebody now",
            [
                none_is_good(
                    "Critical alerts",
                    'sum(max by (kind) (ikewarden_sa_alerts_open{severity="critical"}))',
                    "About SAs: somebody guesses, a downgrade, a failed rotation. `ikewarden alert list` has them.",
                ),
                none_is_good(
                    "Unrenewed certificates",
                    "sum(max by (authority, remaining) (ikewarden_certificates_unrenewed))",
                    "Of gateways, that end within a week and should have been renewed long ago.",
                ),
                none_is_good(
                    "Silent gateways",
                    'max(ikewarden_gateways{reach="silent"})',
                    "Not heard of for over an hour.",
                ),
                none_is_good(
                    "Stuck rotations",
                    'max(ikewarden_rotations_running{state="stuck"})',
                    "A person has to decide.",
                ),
                none_is_good(
                    "Critical findings",
                    'max(ikewarden_findings{state="open",severity="critical"})',
                    "Open findings of audits on gateways.",
                ),
                none_is_good(
                    "Pending approvals",
                    'max(ikewarden_approvals{state="pending"})',
                    "Somebody waits for another person's decision.",
                    color=YELLOW,
                ),
                none_is_good(
                    "Failing jobs",
                    "sum(max by (name) (ikewarden_job_failing))",
                    "Jobs whose last run failed. `ikewarden job list` says why.",
                ),
                none_is_good(
                    "Dead letters",
                    'max(ikewarden_outbox_messages{state="dead"})',
                    "Work that failed for good. `ikewarden job dead-letters` lists it.",
                ),
                none_is_good(
                    "Overdue keys",
                    "sum(max by (kind) (ikewarden_shared_secrets_overdue))",
                    "In use for over five quarters of what their policy says.",
                ),
                time_left(
                    "Next CA ends in",
                    f"min({CA_ENDS}) - time()",
                    "Under half a year: begin a rollover.",
                    30 * DAY,
                    180 * DAY,
                ),
                time_left(
                    "Next list ends in",
                    f"min({CRL_ENDS}) - time()",
                    "The earliest nextUpdate of all revocation lists; they are made anew at half of their life.",
                    600,
                    3600,
                ),
                time_left(
                    "Next OCSP signer ends in",
                    "min(max by (authority) (ikewarden_ocsp_signer_expiry_timestamp_seconds)) - time()",
                    "They renew themselves.",
                    3 * DAY,
                    7 * DAY,
                ),
            ],
        ),
        (
            "How things go",
            [
                Panel(
                    "Gateways by when they were heard of",
                    [Query("max by (reach) (ikewarden_gateways)", "{{reach}}")],
                    stacked=True,
                ),
                Panel(
                    "Open alerts by severity",
                    [Query(f"sum by (severity) ({ALERTS})", "{{severity}}")],
                    stacked=True,
                ),
                Panel(
                    "Valid certificates by what is left",
                    [
                        Query(
                            "sum by (remaining) (max by (authority, remaining) (ikewarden_certificates_valid))",
                            "{{remaining}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Rekeys an hour",
                    [
                        Query(
                            "3600 * sum by (kind) (max by (gateway, connection, kind)"
                            " (rate(ikewarden_rekeys_total[1h])))",
                            "{{kind}}",
                        )
                    ],
                    "Of all SAs, by kind, over the last hour.",
                ),
            ],
        ),
    ],
)
