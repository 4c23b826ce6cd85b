"""Writes the dashboards for Grafana: `python -m monitoring.dashboards`. A test compares the files with it.

Figures of the records are the same from every replica, hence `max`; what processes count is added up, hence `sum`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PLACE: Final = Path(__file__).parent / "grafana"
# Of Grafana 10; newer ones bring it up to their own when they open it.
_SCHEMA: Final = 38
_WIDTH: Final = 24
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_RED, _YELLOW, _GREEN = "red", "yellow", "green"


@dataclass(frozen=True)
class Query:
    """An expression of PromQL, and what its series are called."""

    expression: str
    legend: str = "__auto"


@dataclass(frozen=True)
class Panel:
    """One picture. `steps` are from which value on it has which colour; `says` is told at the (i) beside the title."""

    title: str
    queries: Sequence[Query]
    says: str = ""
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 12
    height: int = 8
    steps: Sequence[tuple[float | None, str]] = ((None, _GREEN),)
    stacked: bool = False


@dataclass(frozen=True)
class Variable:
    """A choice at the top: all values of a label."""

    name: str
    label: str
    metric: str


@dataclass(frozen=True)
class Dashboard:
    """Rows of panels."""

    name: str
    title: str
    says: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    variables: Sequence[Variable] = field(default=())


def _none_is_good(
    title: str, expression: str, says: str, *, bad: float = 1, color: str = _RED
) -> Panel:
    """A number that should be 0."""
    return Panel(
        title,
        [Query(expression, title)],
        says,
        kind="stat",
        width=4,
        height=4,
        steps=((None, _GREEN), (bad, color)),
    )


def _left(title: str, expression: str, says: str, red: float, yellow: float) -> Panel:
    """Time that is left, in seconds."""
    return Panel(
        title,
        [Query(expression, title)],
        says,
        kind="stat",
        unit="s",
        width=4,
        height=4,
        steps=((None, _RED), (red, _YELLOW), (yellow, _GREEN)),
    )


_DAY: Final = 86400
_ENDS: Final = 'max by (authority, kind) (ikewarden_authority_expiry_timestamp_seconds{status=~"active|outside"})'
_NEXT: Final = "max by (authority, kind) (ikewarden_crl_next_update_timestamp_seconds)"
_CHOSEN: Final = '{authority=~"$authority"}'
_ENDS_CHOSEN: Final = _ENDS.replace("{", '{authority=~"$authority",')
_NEXT_CHOSEN: Final = _NEXT.replace("_seconds)", f"_seconds{_CHOSEN})")
_THIS_CHOSEN: Final = (
    f"max by (authority, kind) (ikewarden_crl_this_update_timestamp_seconds{_CHOSEN})"
)
_ALERTS: Final = "max by (kind, severity) (ikewarden_sa_alerts_open)"

OVERVIEW: Final = Dashboard(
    "overview",
    "ikewarden: overview",
    "What needs somebody now, and how things go.",
    [
        (
            "What needs somebody now",
            [
                _none_is_good(
                    "Critical alerts",
                    'sum(max by (kind) (ikewarden_sa_alerts_open{severity="critical"}))',
                    "About SAs: somebody guesses, a downgrade, a failed rotation. `ikewarden alert list` has them.",
                ),
                _none_is_good(
                    "Unrenewed certificates",
                    "sum(max by (authority, remaining) (ikewarden_certificates_unrenewed))",
                    "Of gateways, that end within a week and should have been renewed long ago.",
                ),
                _none_is_good(
                    "Silent gateways",
                    'max(ikewarden_gateways{reach="silent"})',
                    "Not heard of for over an hour.",
                ),
                _none_is_good(
                    "Stuck rotations",
                    'max(ikewarden_rotations_running{state="stuck"})',
                    "A person has to decide.",
                ),
                _none_is_good(
                    "Critical findings",
                    'max(ikewarden_findings{state="open",severity="critical"})',
                    "Open findings of audits on gateways.",
                ),
                _none_is_good(
                    "Pending approvals",
                    'max(ikewarden_approvals{state="pending"})',
                    "Somebody waits for another person's decision.",
                    color=_YELLOW,
                ),
                _none_is_good(
                    "Failing jobs",
                    "sum(max by (name) (ikewarden_job_failing))",
                    "Jobs whose last run failed. `ikewarden job list` says why.",
                ),
                _none_is_good(
                    "Dead letters",
                    'max(ikewarden_outbox_messages{state="dead"})',
                    "Work that failed for good. `ikewarden job dead-letters` lists it.",
                ),
                _none_is_good(
                    "Overdue keys",
                    "sum(max by (kind) (ikewarden_shared_secrets_overdue))",
                    "In use for over five quarters of what their policy says.",
                ),
                _left(
                    "Next CA ends in",
                    f"min({_ENDS}) - time()",
                    "Under half a year: begin a rollover.",
                    30 * _DAY,
                    180 * _DAY,
                ),
                _left(
                    "Next list ends in",
                    f"min({_NEXT}) - time()",
                    "The earliest nextUpdate of all revocation lists; they are made anew at half of their life.",
                    600,
                    3600,
                ),
                _left(
                    "Next OCSP signer ends in",
                    "min(max by (authority) (ikewarden_ocsp_signer_expiry_timestamp_seconds)) - time()",
                    "They renew themselves.",
                    3 * _DAY,
                    7 * _DAY,
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
                    [Query(f"sum by (severity) ({_ALERTS})", "{{severity}}")],
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
                    steps=((None, _RED), (30 * _DAY, _YELLOW), (180 * _DAY, _GREEN)),
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
                    steps=((None, _RED), (3 * _DAY, _YELLOW), (7 * _DAY, _GREEN)),
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
                    steps=((None, _GREEN), (1, _RED)),
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
                _none_is_good(
                    "Behind",
                    "max(ikewarden_gateways_behind)",
                    "Have not applied the newest desired state yet.",
                    color=_YELLOW,
                ),
                _none_is_good(
                    "Drifting",
                    "max(ikewarden_gateways_drifting)",
                    "Daemons that somebody changed.",
                    color=_YELLOW,
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
                    [Query(f"sum by (kind) ({_ALERTS}) > 0", "{{kind}}")],
                    "Each kind has a page: `ikewarden alert explain KIND`.",
                    stacked=True,
                ),
                Panel(
                    "Open alerts by severity",
                    [Query(f"sum by (severity) ({_ALERTS})", "{{severity}}")],
                    kind="bargauge",
                    width=8,
                ),
                _none_is_good(
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

SERVICE: Final = Dashboard(
    "service",
    "ikewarden: the service itself",
    "Requests, jobs, work after commit, the audit log, processes.",
    [
        (
            "Requests",
            [
                Panel(
                    "Requests by status",
                    [
                        Query(
                            'sum by (status) (rate(ikewarden_http_requests_total{instance=~"$instance"}'
                            "[$__rate_interval]))",
                            "{{status}}",
                        )
                    ],
                    unit="reqps",
                    stacked=True,
                ),
                Panel(
                    "Duration",
                    [
                        Query(
                            f"histogram_quantile({part}, sum by (le)"
                            " (rate(ikewarden_http_request_duration_seconds_bucket"
                            '{instance=~"$instance",route!="/v1/gateways/self/state"}[$__rate_interval])))',
                            name,
                        )
                        for part, name in (("0.5", "half"), ("0.95", "95 %"), ("0.99", "99 %"))
                    ],
                    "Without agents that wait for news.",
                    unit="s",
                ),
                Panel(
                    "Slowest routes",
                    [
                        Query(
                            "topk(10, histogram_quantile(0.95, sum by (le, route)"
                            " (rate(ikewarden_http_request_duration_seconds_bucket"
                            '{instance=~"$instance",route!="/v1/gateways/self/state"}[$__rate_interval]))) > 0)',
                            "{{route}}",
                        )
                    ],
                    "The 95th percentile of each.",
                    kind="table",
                    unit="s",
                ),
                Panel(
                    "Errors by route",
                    [
                        Query(
                            "topk(10, sum by (route, status)"
                            ' (rate(ikewarden_http_requests_total{instance=~"$instance",status=~"[45].."}'
                            "[$__rate_interval])))",
                            "{{route}} {{status}}",
                        )
                    ],
                    "4xx are mistakes of who asks, 5xx of the service.",
                    kind="table",
                    unit="reqps",
                ),
            ],
        ),
        (
            "Jobs and work after commit",
            [
                Panel(
                    "Since jobs last succeeded",
                    [
                        Query(
                            "time() - max by (name) (ikewarden_job_last_success_timestamp_seconds)",
                            "{{name}}",
                        )
                    ],
                    kind="table",
                    unit="s",
                ),
                Panel(
                    "Jobs that fail",
                    [Query("max by (name) (ikewarden_job_failing) > 0", "{{name}}")],
                    "Nothing is good.",
                    steps=((None, _RED),),
                ),
                Panel(
                    "Work after commit",
                    [Query("max by (state) (ikewarden_outbox_messages)", "{{state}}")],
                ),
                Panel(
                    "Oldest piece of work",
                    [Query("max(ikewarden_outbox_oldest_seconds)", "age")],
                    unit="s",
                ),
            ],
        ),
        (
            "Records",
            [
                Panel(
                    "Rows of the audit log that wait",
                    [Query("max(ikewarden_audit_log_waiting_rows)", "rows")],
                    "They are under no signed head yet.",
                ),
                Panel(
                    "Rows of the audit log",
                    [Query("max(ikewarden_audit_log_size)", "rows")],
                    "Never falls.",
                ),
                Panel(
                    "Age of the counted figures",
                    [Query("time() - max(ikewarden_figures_timestamp_seconds)", "age")],
                    "Certificates, gateways, keys, findings and SAs are counted by the job `figures`.",
                    unit="s",
                ),
                Panel(
                    "Versions",
                    [
                        Query(
                            "count by (version, database) (ikewarden_build_info)",
                            "{{version}} on {{database}}",
                        )
                    ],
                    kind="table",
                ),
            ],
        ),
        (
            "Processes",
            [
                Panel(
                    "Processor",
                    [
                        Query(
                            'rate(ikewarden_process_cpu_seconds_total{instance=~"$instance"}[$__rate_interval])',
                            "{{instance}} {{part}}",
                        )
                    ],
                    "1 is a whole core.",
                ),
                Panel(
                    "Memory",
                    [
                        Query(
                            'ikewarden_process_resident_memory_bytes{instance=~"$instance"}',
                            "{{instance}} {{part}}",
                        )
                    ],
                    unit="bytes",
                ),
                Panel(
                    "File descriptors in use",
                    [
                        Query(
                            'ikewarden_process_open_fds{instance=~"$instance"}'
                            ' / ikewarden_process_max_fds{instance=~"$instance"}',
                            "{{instance}} {{part}}",
                        )
                    ],
                    "Of those that a process may open.",
                    unit="percentunit",
                    steps=((None, _GREEN), (0.8, _RED)),
                ),
                Panel(
                    "Since processes started",
                    [
                        Query(
                            'time() - ikewarden_process_start_time_seconds{instance=~"$instance"}',
                            "{{instance}} {{part}}",
                        )
                    ],
                    unit="s",
                ),
            ],
        ),
    ],
    [Variable("instance", "Machine", "ikewarden_build_info")],
)
DASHBOARDS: Final = (OVERVIEW, CERTIFICATES, FLEET, SAS, SERVICE)


def document(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana's JSON model has it."""
    return {
        "uid": f"ikewarden-{dashboard.name}",
        "title": dashboard.title,
        "description": dashboard.says,
        "tags": ["ikewarden"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "",
        "links": [
            {
                "type": "dashboards",
                "title": "ikewarden",
                "tags": ["ikewarden"],
                "asDropdown": True,
                "includeVars": False,
                "keepTime": True,
            }
        ],
        "templating": {"list": [_source(), *map(_variable, dashboard.variables)]},
        "annotations": {"list": []},
        "panels": _placed(dashboard.rows),
    }


def _source() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "hide": 0,
        "current": {},
    }


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.metric}, {variable.name})"
    return {
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "values"},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "sort": 1,
        "hide": 0,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _placed(rows: Sequence[tuple[str, Sequence[Panel]]]) -> list[dict[str, Any]]:
    """Panels from left to right, and a new line where there is no room; each row begins below all before it."""
    made: list[dict[str, Any]] = []
    top = 0
    for title, panels in rows:
        made.append(
            {
                "id": len(made) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1},
                "panels": [],
            }
        )
        top += 1
        left, tallest = 0, 0
        for panel in panels:
            if left + panel.width > _WIDTH:
                left, top, tallest = 0, top + tallest, 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            made.append({"id": len(made) + 1, "gridPos": place, **_panel(panel)})
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    return made


def _panel(panel: Panel) -> dict[str, Any]:
    at_once = panel.kind in {"stat", "bargauge", "table"}
    steps = [{"value": value, "color": color} for value, color in panel.steps]
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0 if panel.kind == "bargauge" else None,
        "color": {
            "mode": "thresholds" if panel.kind in {"stat", "bargauge"} else "palette-classic"
        },
        "thresholds": {"mode": "absolute", "steps": steps},
        "custom": _custom(panel),
    }
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": _SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _SOURCE,
                "expr": query.expression,
                "legendFormat": query.legend,
                "instant": at_once,
                "range": not at_once,
                "format": "table" if panel.kind == "table" else "time_series",
            }
            for number, query in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": {name: value for name, value in defaults.items() if value is not None},
            "overrides": [],
        },
        "options": _OPTIONS[panel.kind],
        **({"transformations": _COLUMNS} if panel.kind == "table" else {}),
    }


def _custom(panel: Panel) -> dict[str, Any] | None:
    if panel.kind != "timeseries":
        return None
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 20 if panel.stacked else 0,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
    }


_LAST: Final = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "stat": {
        "reduceOptions": _LAST,
        "colorMode": "background",
        "graphMode": "none",
        "textMode": "value",
        "justifyMode": "auto",
        "orientation": "auto",
    },
    "bargauge": {
        "reduceOptions": _LAST,
        "displayMode": "basic",
        "orientation": "horizontal",
        "showUnfilled": True,
        "valueMode": "color",
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
}
# A table of an instant query has a column with the time, which is the same in all lines.
_COLUMNS: Final = [{"id": "organize", "options": {"excludeByName": {"Time": True}}}]


def text(dashboard: Dashboard) -> str:
    """The file."""
    return json.dumps(document(dashboard), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all files."""
    PLACE.mkdir(exist_ok=True)
    for each in DASHBOARDS:
        (PLACE / f"{each.name}.json").write_text(text(each), "utf-8")


if __name__ == "__main__":
    main()
