"""A real service sends its spans to a collector by OTLP over HTTP, from request to signature and webhook."""

import base64
import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.fixtures.served import Served, serving
from tests.pki.requests import request
from tests.syslog.sending import eventually

OUTSIDE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
GATEWAY = "secret-name.traces.example"


@dataclass
class Collector:
    """Reads what it is sent as protobuf; is a receiver of webhooks as well."""

    spans: list[dict[str, Any]] = field(default_factory=list)
    hooks: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)
    port: int = 0

    def take(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """One request."""
        if path == "/hook":
            self.hooks.append((headers, json.loads(body)))
            return b""
        assert path == "/v1/traces"
        assert headers["content-type"] == "application/x-protobuf"
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            part = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        {
                            "part": part["ikewarden.part"],
                            "service": part["service.name"],
                            "name": span.name,
                            "trace": span.trace_id.hex(),
                            "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "failed": span.status.code == 2,
                            "events": len(span.events),
                            "attributes": {
                                each.key: each.value.string_value or each.value.int_value
                                for each in span.attributes
                            },
                        }
                    )
        return ExportTraceServiceResponse().SerializeToString()

    def named(self, name: str, trace: str) -> list[dict[str, Any]]:
        """Spans of a trace."""
        return [each for each in list(self.spans) if (each["name"], each["trace"]) == (name, trace)]


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on loopback."""
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = found.take(self.path, headers, body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Followed:
    """A service and who takes down its spans."""

    served: Served
    collector: Collector

    def call(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """One request with any headers."""
        with urllib3.PoolManager(ca_certs=str(self.served.ca_file), retries=False) as http:
            given = {"Authorization": f"Bearer {self.served.admin_token}", **headers}
            return http.request(method, self.served.url + path, json=body, headers=given)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    with collecting() as collector:
        environ = {
            "IKEWARDEN_TRACES__ENDPOINT": f"http://127.0.0.1:{collector.port}/v1/traces",
            "IKEWARDEN_NOTICES__WEBHOOK": f"http://127.0.0.1:{collector.port}/hook",
            "IKEWARDEN_APPROVALS__REQUIRED": "authority.create, role.change",
        }
        with serving(tmp_path_factory.mktemp("traces") / "instance", environ=environ) as served:
            yield Followed(served, collector)


def test_a_trace_goes_from_the_request_to_the_signature(followed: Followed) -> None:
    body = {"csr": base64.b64encode(request([f"dns:{GATEWAY}"])).decode(), "profile": "gateway"}
    answer = followed.call("POST", "/v1/certificates", body, traceparent=OUTSIDE)
    assert answer.status == 201
    _, trace, parent, _ = OUTSIDE.split("-")
    collector = followed.collector
    eventually(lambda: collector.named("POST /v1/certificates", trace))
    [asked] = collector.named("POST /v1/certificates", trace)
    [operation] = collector.named("post_certificates", trace)
    [signed] = collector.named("sign certificate", trace)
    assert asked["parent"] == parent
    assert operation["parent"] == asked["id"]
    assert signed["parent"] == operation["id"]
    assert asked["attributes"] == {
        "http.request.method": "POST",
        "http.route": "/v1/certificates",
        "http.response.status_code": 201,
    }
    assert signed["attributes"] == {"ikewarden.serial": answer.json()["serial"]}
    assert {asked["service"], asked["part"]} == {"ikewarden", "api"}
    assert answer.headers["traceresponse"].split("-")[1:3] == [trace, asked["id"]]


def test_traces_of_requests_that_share_a_thread_and_a_transaction_stay_apart(
    followed: Followed,
) -> None:
    traces = [f"{number:032x}" for number in range(0xABC000, 0xABC000 + 60)]

    def issue(trace: str) -> str:
        csr = base64.b64encode(request([f"dns:{trace}.traces.example"])).decode()
        body = {"csr": csr, "profile": "gateway"}
        parent = f"00-{trace}-b7ad6b7169203331-01"
        answer = followed.call("POST", "/v1/certificates", body, traceparent=parent)
        assert answer.status == 201
        return str(answer.json()["serial"])

    with ThreadPoolExecutor(20) as pool:
        serials = dict(zip(traces, pool.map(issue, traces), strict=True))
    collector = followed.collector
    for trace, serial in serials.items():
        eventually(lambda trace=trace: collector.named("POST /v1/certificates", trace))
        [asked] = collector.named("POST /v1/certificates", trace)
        [operation] = collector.named("post_certificates", trace)
        [signed] = collector.named("sign certificate", trace)
        assert operation["parent"] == asked["id"]
        assert signed["parent"] == operation["id"]
        assert signed["attributes"] == {"ikewarden.serial": serial}


def test_work_after_commit_and_the_webhook_belong_to_the_request(followed: Followed) -> None:
    body = {"name": "other", "kind": "issuing", "parent": "root", "subject": "CN=Other"}
    answer = followed.call("POST", "/v1/authorities", body)
    assert answer.status == 403, answer.data
    trace = answer.headers["traceresponse"].split("-")[1]
    collector = followed.collector
    eventually(lambda: collector.hooks)
    eventually(lambda: collector.named("outbox approval.asked", trace))
    eventually(lambda: collector.named("post_authorities", trace))
    headers, said = collector.hooks[0]
    assert said["event"] == "approval.asked"
    assert "traceparent" not in said
    [post] = collector.named("POST", trace)
    [delivered] = collector.named("outbox approval.asked", trace)
    assert headers["traceparent"].split("-")[1:3] == [trace, post["id"]]
    assert (post["parent"], delivered["part"]) == (delivered["id"], "scheduler")
    [operation] = collector.named("post_authorities", trace)
    assert delivered["parent"] == operation["id"]
    # How it ended is told by code; what was said of it is not.
    assert (operation["failed"], operation["attributes"]) == (
        True,
        {"error.type": "approval_required"},
    )


def test_jobs_are_followed_too(followed: Followed) -> None:
    def jobs() -> set[str]:
        return {each["name"] for each in list(followed.collector.spans)}

    eventually(lambda: "job crl_refresh" in jobs() and "sign list" in jobs())


@pytest.mark.parametrize(
    "parent",
    [
        "nonsense",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "x" * 200,
    ],
)
def test_what_is_no_parent_is_let_be(followed: Followed, parent: str) -> None:
    answer = followed.call("GET", "/v1/whoami", traceparent=parent)
    assert answer.status == 200
    assert "0af7651916cd43dd8448eb211c80319c" not in answer.headers["traceresponse"]


def test_who_wants_not_to_be_followed_is_not(followed: Followed) -> None:
    unwanted = OUTSIDE.replace("0af7", "1bf7").removesuffix("01") + "00"
    assert followed.call("GET", "/v1/whoami", traceparent=unwanted).status == 200
    after = followed.call("GET", "/v1/whoami").headers["traceresponse"].split("-")[1]
    eventually(lambda: followed.collector.named("GET /v1/whoami", after))
    assert not followed.collector.named("GET /v1/whoami", unwanted.split("-")[1])


def test_spans_hold_no_names_and_no_secrets(followed: Followed) -> None:
    followed.call("GET", f"/v1/gateways/{GATEWAY}?q={GATEWAY}")
    last = followed.call("GET", "/v1/whoami", baggage=f"a={GATEWAY}", tracestate=f"a={GATEWAY}")
    trace = last.headers["traceresponse"].split("-")[1]
    eventually(lambda: followed.collector.named("GET /v1/whoami", trace))
    for word in (GATEWAY, followed.served.admin_token, "Other", "127.0.0.1"):
        assert word.encode() not in followed.collector.raw
    allowed = {
        *("http.request.method", "http.route", "http.response.status_code", "error.type"),
        *("ikewarden.serial", "ikewarden.number", "ikewarden.size"),
        "messaging.batch.message_count",
    }
    for span in followed.collector.spans:
        assert span["attributes"].keys() <= allowed
        assert span["events"] == 0


def test_nothing_is_loaded_while_it_is_off(followed: Followed, tmp_path: Path) -> None:
    # Of the libraries of OpenTelemetry one is binary, and seen from outside.
    assert any(_loads_protobuf(followed.served))
    with serving(tmp_path / "instance") as served:
        with urllib3.PoolManager(ca_certs=str(served.ca_file), retries=False) as http:
            answer = http.request("GET", f"{served.url}/healthz", headers={"traceparent": OUTSIDE})
        assert "traceresponse" not in answer.headers
        assert not any(_loads_protobuf(served))


def _loads_protobuf(served: Served) -> list[bool]:
    """Of each process of the service."""
    assert served.process is not None
    seen = [served.process.pid, *_below(served.process.pid)]
    assert len(seen) > 3
    return ["/google/_upb/" in Path(f"/proc/{pid}/maps").read_text() for pid in seen]


def _below(pid: int) -> Iterator[int]:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(child)
        yield from _below(int(child))


@pytest.mark.parametrize("answers", [True, False], ids=["nobody", "silence"])
def test_a_collector_that_is_away_holds_up_nothing(tmp_path: Path, answers: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if answers:
            silent.close()  # nobody listens there then
        environ = {"IKEWARDEN_TRACES__ENDPOINT": f"http://127.0.0.1:{port}/v1/traces"}
        with serving(tmp_path / "instance", environ=environ) as served:
            assert served.client.get("/v1/whoami")["role"] == "admin"
            # 1: a part had to be killed.
            assert served.stop() == 0
