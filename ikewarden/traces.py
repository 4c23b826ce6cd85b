"""Spans sent to a collector by OTLP over HTTP, where `[traces] endpoint` is set. Only then its libraries are needed."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from core import spans
from core.errors import IkewardenError
from core.spans import Kind, Span, Value

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as TheirSpan

    from ikewarden.settings_traces import TracesSettings

_DELAY_MILLISECONDS: Final = 1_000
# A collector that does not answer must not keep a process from its end.
_SECONDS: Final = 5.0


def check(settings: "TracesSettings") -> None:
    """Find out whether the libraries are there that these settings need. Raises ModuleNotFoundError."""
    if settings.endpoint is not None:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401 - that it is there


@contextlib.contextmanager
def traced(settings: "TracesSettings", part: str) -> Iterator[None]:
    """Have the spans of this process sent, until the block ends and all are. After a fork: it starts a thread."""
    begin(settings, part)
    try:
        yield
    finally:
        end()


def begin(settings: "TracesSettings", part: str) -> None:
    """Have the spans of this process sent; nothing where no endpoint is set."""
    if settings.endpoint is None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    # It says of each batch that the collector is away.
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    chosen = TraceIdRatioBased(settings.ratio)
    provider = TracerProvider(
        # Whoever calls may say that his request is not to be followed, and not that it must be.
        sampler=ParentBased(root=chosen, remote_parent_sampled=chosen),
        resource=Resource.create(
            {
                "service.name": "ikewarden",
                "service.version": version("ikewarden"),
                "ikewarden.part": part,
            }
        ),
    )
    exporter = OTLPSpanExporter(endpoint=settings.endpoint, timeout=_SECONDS)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, schedule_delay_millis=_DELAY_MILLISECONDS)
    )
    spans.record_with(_Recorder(provider))


def end() -> None:
    """Send what there is, and take down nothing more."""
    recorder = spans.recorder()
    spans.record_with(None)
    if isinstance(recorder, _Recorder):
        recorder.provider.shutdown()


class _Recorder:
    """Takes spans down with OpenTelemetry's SDK."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.provider = provider
        self._tracer = provider.get_tracer("ikewarden")
        self._propagator = TraceContextTextMapPropagator()
        self._kinds = {each.name.lower(): each for each in SpanKind}

    @contextlib.contextmanager
    def span(
        self, name: str, kind: Kind, parent: str | None, attributes: Mapping[str, Value]
    ) -> Iterator[Span]:
        """As `core.spans.Recorder` has it."""
        above = None
        if parent is not None:
            # With nothing else of its context: what it carries besides is not ours.
            above = self._propagator.extract({spans.TRACEPARENT: parent})
        with self._tracer.start_as_current_span(
            name,
            context=above,
            kind=self._kinds[kind],
            attributes=_named(attributes),
            # A message may have a name in it.
            record_exception=False,
            set_status_on_exception=False,
        ) as made:
            try:
                yield _Span(made)
            except BaseException as error:
                _fail(made, error)
                raise

    def traceparent(self) -> str | None:
        """As `core.spans.Recorder` has it."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get(spans.TRACEPARENT)


class _Span:
    def __init__(self, made: "TheirSpan") -> None:
        self._made = made

    def rename(self, name: str) -> None:
        """As `core.spans.Span` has it."""
        self._made.update_name(name)

    def note(self, **attributes: Value) -> None:
        """As `core.spans.Span` has it."""
        self._made.set_attributes(_named(attributes))


def _named(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {name.replace("__", "."): value for name, value in attributes.items()}


def _fail(made: "TheirSpan", error: BaseException) -> None:
    from opentelemetry.trace import StatusCode

    code = error.code if isinstance(error, IkewardenError) else type(error).__name__
    made.set_attribute("error.type", code)
    made.set_status(StatusCode.ERROR)
