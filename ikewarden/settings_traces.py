"""Settings of traces."""

from pydantic import Field

from ikewarden.settings_section import Section
from ikewarden.settings_values import TracesUrl


class TracesSettings(Section):
    """Spans of requests, operations, signatures, jobs and deliveries, for a collector of OpenTelemetry
    (docs/how-to/monitoring.md, Traces). Off without an endpoint; the extra `traces` brings the libraries.
    """

    endpoint: TracesUrl | None = Field(
        default=None,
        description="Where spans are sent to by OTLP over HTTP with protobuf; 4318 and /v1/traces are usual. A "
        "collector that wants a header is told it by OTEL_EXPORTER_OTLP_HEADERS in the environment.",
    )
    ratio: float = Field(
        default=1.0,
        ge=0.0,
        le=1.0,
        description="Which part of all traces is taken down, chosen by their ids, as other services choose.",
    )
