"""The service itself."""

from typing import Final

from monitoring.dashboards.panels import GREEN, RED, Dashboard, Panel, Query, Variable

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
                    steps=((None, RED),),
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
                    steps=((None, GREEN), (0.8, RED)),
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
