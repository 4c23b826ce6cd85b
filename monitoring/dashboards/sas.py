"""SAs and alerts."""

from typing import Final

from monitoring.dashboards.panels import ALERTS, Dashboard, Panel, Query, none_is_good

SAS: Final = Dashboard(
    "sas",
    "ikewarden: SAs and alerts",
    "What daemons report of their SAs, and what the rules find in it.",
    [
        (
            "Alerts",
            [
                Panel(
                    "Open alerts by kind",
                    [Query(f"sum by (kind) ({ALERTS}) > 0", "{{kind}}")],
                    "Each kind has a page: `ikewarden alert explain KIND`.",
                    stacked=True,
                ),
                Panel(
                    "Open alerts by severity",
                    [Query(f"sum by (severity) ({ALERTS})", "{{severity}}")],
                    kind="bargauge",
                    width=8,
                ),
                none_is_good(
                    "Left out",
                    "sum(max by (gateway) (ikewarden_sa_alerts_left_out)) or vector(0)",
                    "Conditions that there was no room for among the alerts of a gateway.",
                ),
            ],
        ),
        (
            "Events",
            [
                Panel(
                    "Events an hour",
                    [
                        Query(
                            "3600 * max by (kind) (rate(ikewarden_sa_events_total[1h]))", "{{kind}}"
                        )
                    ],
                ),
                Panel(
                    "Failures an hour, by reason",
                    [
                        Query(
                            "3600 * max by (kind, reason) (rate(ikewarden_sa_failures_total[1h]))",
                            "{{kind}} {{reason}}",
                        )
                    ],
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
                ),
                Panel(
                    "Connections that rekey most, an hour",
                    [
                        Query(
                            "topk(10, 3600 * max by (gateway, connection, kind)"
                            " (rate(ikewarden_rekeys_total[1h])))",
                            "{{gateway}} {{connection}} {{kind}}",
                        )
                    ],
                    "In a large fleet connections, and then gateways, are told of together.",
                    kind="table",
                ),
                Panel(
                    "Messages that daemons counted, an hour",
                    [
                        Query(
                            "3600 * sum by (what) (max by (gateway, what) (rate(ikewarden_ike_messages_total[1h])))",
                            "{{what}}",
                        )
                    ],
                    "malformed, unknown_spi, refused; lost are events that never came.",
                ),
                Panel(
                    "Syslog: received and dropped",
                    [
                        Query(
                            "sum by (transport) (rate(ikewarden_syslog_messages_total[$__rate_interval]))",
                            "{{transport}}",
                        ),
                        Query(
                            "-sum by (reason) (rate(ikewarden_syslog_dropped_total[$__rate_interval]))",
                            "dropped: {{reason}}",
                        ),
                    ],
                    "Of devices without an agent. What was dropped is below the line.",
                    unit="cps",
                ),
            ],
        ),
    ],
)
