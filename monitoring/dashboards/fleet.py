"""Gateways, shared secrets and their rotation, findings."""

from typing import Final

from monitoring.dashboards.panels import YELLOW, Dashboard, Panel, Query, none_is_good

FLEET: Final = Dashboard(
    "fleet",
    "ikewarden: fleet and rotation",
    "Gateways, shared secrets and their rotation, findings.",
    [
        (
            "Gateways",
            [
                Panel(
                    "By when they were heard of",
                    [Query("max by (reach) (ikewarden_gateways)", "{{reach}}")],
                    "never: they are registered, and no agent has reported.",
                    stacked=True,
                ),
                none_is_good(
                    "Behind",
                    "max(ikewarden_gateways_behind)",
                    "Have not applied the newest desired state yet.",
                    color=YELLOW,
                ),
                none_is_good(
                    "Drifting",
                    "max(ikewarden_gateways_drifting)",
                    "Daemons that somebody changed.",
                    color=YELLOW,
                ),
                Panel(
                    "Tunnels by keys",
                    [Query("max by (keys) (ikewarden_tunnels)", "{{keys}}")],
                    "managed: their shared secrets are rotated by the service.",
                    kind="bargauge",
                    width=4,
                    height=4,
                ),
                Panel(
                    "Behind and drifting",
                    [
                        Query("max(ikewarden_gateways_behind)", "behind"),
                        Query("max(ikewarden_gateways_drifting)", "drifting"),
                    ],
                    width=24,
                    height=6,
                ),
            ],
        ),
        (
            "Keys",
            [
                Panel(
                    "Keys in use by age",
                    [
                        Query(
                            "max by (kind, age) (ikewarden_shared_secrets_by_age)",
                            "{{kind}} {{age}}",
                        )
                    ],
                    kind="bargauge",
                ),
                Panel(
                    "Due, frozen, overdue",
                    [
                        Query('max(ikewarden_shared_secrets{which="due"})', "due"),
                        Query('max(ikewarden_shared_secrets{which="frozen"})', "frozen"),
                        Query("sum(max by (kind) (ikewarden_shared_secrets_overdue))", "overdue"),
                    ],
                ),
                Panel(
                    "Rotations under way by state",
                    [Query("max by (state) (ikewarden_rotations_running)", "{{state}}")],
                    stacked=True,
                ),
                Panel(
                    "Rotations that ended, a day",
                    [
                        Query(
                            "max by (state) (increase(ikewarden_rotations_ended_total[1d]))",
                            "{{state}}",
                        )
                    ],
                ),
            ],
        ),
        (
            "Findings",
            [
                Panel(
                    "Open findings by severity",
                    [Query('max by (severity) (ikewarden_findings{state="open"})', "{{severity}}")],
                    stacked=True,
                ),
                Panel(
                    "Accepted findings by severity",
                    [
                        Query(
                            'max by (severity) (ikewarden_findings{state="accepted"})',
                            "{{severity}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Gateways by their audits",
                    [Query("max by (which) (ikewarden_audited_gateways)", "{{which}}")],
                    kind="bargauge",
                    width=24,
                    height=5,
                ),
            ],
        ),
    ],
)
