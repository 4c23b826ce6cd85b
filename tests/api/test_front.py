"""The front on a real socket: what is too large, too slow, too much, or not HTTP at all."""

import http.client
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from api.connection import Limits
from api.server import ApiSettings
from pki.actors import Role
from tests.api.serving import Reply, Serving, serve
from tests.api.site import Site, new_csr

pytestmark = pytest.mark.parametrize("site", ["sqlite"], indirect=True)
LIMITS = Limits(
    body=20_000,
    drain=100_000,
    head=8_000,
    head_seconds=300.0,
    body_seconds=300.0,
    stalled_seconds=300.0,
    connections=60,
)


@pytest.fixture(scope="module")
def strict(site: Site) -> Iterator[Serving]:
    """A listener with small limits, and time for all that it does not refuse."""
    with serve(site, ApiSettings(version="0", limits=LIMITS)) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(site: Site) -> Iterator[Serving]:
    """One that has little time for a head, and for who does not read."""
    limits = replace(LIMITS, head_seconds=1.0, stalled_seconds=1.0)
    with serve(site, ApiSettings(version="0", limits=limits)) as running:
        yield running


def _answer(connection: ssl.SSLSocket) -> Reply:
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    headers = {name.lower(): value for name, value in reply.getheaders()}
    return Reply(reply.status, headers, reply.read())


def _head(method: str, path: str, **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _is_closed(connection: ssl.SSLSocket) -> bool:
    try:
        return connection.recv(1) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def test_every_answer_is_guarded(serving: Serving) -> None:
    with serving.client() as client:
        for path in ("/healthz", "/nowhere", "/v1/whoami", "/docs", "/v1/openapi.json"):
            headers = client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff", path
            assert "default-src 'none'" in headers["content-security-policy"], path
            assert "frame-ancestors 'none'" in headers["content-security-policy"], path
            assert headers["referrer-policy"] == "no-referrer", path
            assert "server" not in headers, path
            assert "strict-transport-security" not in headers, path
            assert "set-cookie" not in headers, path
    with serving.client(Role.ADMIN) as client:
        for path in ("/v1/certificates", "/v1/tokens", "/v1/whoami", "/metrics"):
            assert client.get(path).headers["cache-control"] == "no-store", path


def test_hsts_is_sent_where_it_is_wished(site: Site) -> None:
    with serve(site, ApiSettings(version="0", hsts=600)) as running, running.client() as client:
        assert client.get("/healthz").headers["strict-transport-security"] == "max-age=600"


def test_a_request_id_is_echoed_if_it_is_sane(serving: Serving) -> None:
    with serving.client() as client:
        given = {"X-Request-Id": "ansible:run-42.7"}
        reply = client.get("/v1/whoami", headers=given)
        assert reply.headers["x-request-id"] == "ansible:run-42.7"
        assert reply.json["request_id"] == "ansible:run-42.7"
        for bad in ("short", "x" * 65, "with space in it", 'quote"quote"', "<script>aaa"):
            made = client.get("/v1/whoami", headers={"X-Request-Id": bad}).headers["x-request-id"]
            assert made != bad
            assert len(made) == 24


def test_the_audit_log_has_the_request_id(serving: Serving) -> None:
    with serving.client(Role.OPERATOR) as client:
        body = {"csr": new_csr("audited.example"), "profile": "gateway"}
        client.post("/v1/certificates", body, headers={"X-Request-Id": "request-of-the-audit"})
    with serving.client(Role.AUDITOR) as client:
        events = client.get("/v1/audit-events?limit=10").json["items"]
    assert {e["action"] for e in events if e["request_id"] == "request-of-the-audit"} >= {
        "certificate.issue"
    }


def test_an_access_line_has_no_secret(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    token = serving.site.tokens[Role.ADMIN]
    with caplog.at_level(logging.INFO), serving.client(Role.ADMIN) as client:
        client.get("/v1/certificates?q=whatever")
        client.get("/" + "%0d%0aforged" * 3)
        client.get(f"/v1/certificates/{token}")
        lines: list[logging.LogRecord] = []
        deadline = time.monotonic() + 60
        # Written after the answer was sent: waited for while the level still lets them through.
        while len(lines) < 3 and time.monotonic() < deadline:
            lines = [r for r in caplog.records if r.name == "ikewarden.access"]
            time.sleep(0.01)
    (listed, forged, mistaken) = lines
    fields = {"method", "path", "status", "actor", "client", "route", "request_id"}
    told = vars(listed)
    assert {told[name] for name in fields & set(told)} >= {"/v1/certificates", "a admin", 200}
    assert listed.getMessage() == "GET /v1/certificates 200"
    assert forged.getMessage() == "GET - 404"
    assert mistaken.getMessage() == "GET /v1/certificates/{serial} 422"
    assert token not in json.dumps([str(vars(r)) for r in lines])


def test_head_has_no_body(serving: Serving) -> None:
    with serving.client() as client:
        reply = client.send("HEAD", "/healthz")
        assert (reply.status, reply.body) == (200, b"")
        assert int(reply.headers["content-length"]) > 0
        assert client.get("/healthz").status == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_unknown_methods(strict: Serving, method: str) -> None:
    with strict.raw() as connection:
        connection.sendall(_head(method, "/v1/certificates"))
        reply = _answer(connection)
    # llhttp knows the registered methods only
    assert (reply.status, reply.code) in {(405, "method_not_allowed"), (400, "malformed_request")}
    if reply.status == 405:
        assert {m.strip() for m in reply.headers["allow"].split(",")} == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/certificates/",
        "/v1//certificates",
        "/v1/../healthz",
        "/v1/certificates/a/b/c",
        "/V1/certificates",
        "/static/x",
        "/%00",
        "/v1/certificates/%00",
        "/v1/certificates/" + "a" * 300,
        "/v1/profiles/%1b%5b31m",
    ],
)
def test_unknown_routes(serving: Serving, path: str) -> None:
    with serving.client(Role.ADMIN) as client:
        reply = client.get(path)
    assert reply.status in {404, 422}
    assert reply.code in {"route_not_found", "serial_malformed", "certificate_not_found"}


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GARBAGE\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/0.9\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"POST /v1/certificates HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /v1/certificates HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello",
        b"POST /v1/certificates HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/certificates HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/certificates HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/certificates HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/certificates HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_http(strict: Serving, junk: bytes) -> None:
    with strict.raw() as connection:
        connection.sendall(junk)
        reply = _answer(connection)
        assert (reply.status, reply.code) == (400, "malformed_request")
        assert _is_closed(connection)
    with strict.client() as client:
        assert client.get("/healthz").status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.0\r\n\r\n",  # RFC 9112 does not ask it of older clients
        b"GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhOST: x\r\n\r\n",
        b"GET https://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_http(strict: Serving, head: bytes) -> None:
    with strict.raw() as connection:
        connection.sendall(head)
        assert _answer(connection).status == 200


def test_plain_http_on_the_tls_port(strict: Serving) -> None:
    with socket.create_connection(("localhost", strict.port), timeout=60) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.recv(1000).startswith(b"HTTP")


def test_a_head_that_is_too_large(strict: Serving) -> None:
    with strict.raw() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        try:
            for number in range(400):
                connection.sendall(b"X-Filler-%d: %s\r\n" % (number, b"x" * 50))
                time.sleep(0.001)
        except (ssl.SSLError, ConnectionError):
            return  # hung up on while sending
        reply = _answer(connection)
        assert (reply.status, reply.code) == (431, "head_too_large")


def test_a_head_that_is_too_large_in_one_piece(strict: Serving) -> None:
    for head in (
        _head("GET", "/healthz?" + "x" * LIMITS.head),
        _head("GET", "/healthz", X_Filler="x" * LIMITS.head),
    ):
        with strict.raw() as connection:
            connection.sendall(head)
            reply = _answer(connection)
            assert (reply.status, reply.code) == (431, "head_too_large")
            assert _is_closed(connection)


def test_a_head_behind_a_large_body_is_not_too_large(strict: Serving) -> None:
    body = b"x" * (LIMITS.body - 10)
    with strict.raw() as connection:
        first = _head("POST", "/v1/tokens", Content_Length=str(len(body))) + body
        second = _head("GET", "/healthz", X_Filler="x" * 5000)
        connection.sendall(first + second[:3000])
        assert _answer(connection).status == 401
        connection.sendall(second[3000:])
        assert _answer(connection).status == 200


def _chunked(path: str = "/v1/tokens", **headers: str) -> bytes:
    return _head("POST", path, Transfer_Encoding="chunked", **headers)


@pytest.mark.parametrize(
    "lines",
    [
        b"X-Filler: %s\r\n" % (b"x" * 50),
        b"a:\r\n",
        b"x" * 50,  # one line that never ends
    ],
    ids=["lines", "short lines", "one line"],
)
def test_trailers_that_never_end(strict: Serving, lines: bytes) -> None:
    with strict.raw() as connection:
        connection.sendall(_chunked() + b"2\r\n{}\r\n0\r\nFirst: ")
        try:
            for _ in range(LIMITS.head * 100 // 1000):
                connection.sendall(lines * (1000 // len(lines)))
        except (ssl.SSLError, ConnectionError):
            return  # hung up on while sending
        reply = _answer(connection)
        assert (reply.status, reply.code) == (431, "head_too_large")
        assert _is_closed(connection)


@pytest.mark.parametrize("pieces", [1, 40])
def test_trailers_that_are_too_large(strict: Serving, pieces: int) -> None:
    sent = b"2\r\n{}\r\n0\r\n" + b"X-Filler: x\r\n" * 2000 + b"\r\n"
    with strict.raw() as connection:
        connection.sendall(_chunked())
        size = len(sent) // pieces + 1
        try:
            for start in range(0, len(sent), size):
                connection.sendall(sent[start : start + size])
        except (ssl.SSLError, ConnectionError):
            return  # hung up on while sending
        reply = _answer(connection)
        assert (reply.status, reply.code) == (431, "head_too_large")
        assert _is_closed(connection)


def test_a_chunk_extension_that_is_too_large(strict: Serving) -> None:
    with strict.raw() as connection:
        connection.sendall(_chunked() + b"2;x=")
        try:
            for _ in range(200):
                connection.sendall(b"x" * 1000)
        except (ssl.SSLError, ConnectionError):
            return  # hung up on while sending
        reply = _answer(connection)
        assert (reply.status, reply.code) == (431, "head_too_large")
        assert _is_closed(connection)


def test_chunk_extensions_that_are_too_large_together(strict: Serving) -> None:
    with strict.raw() as connection:
        connection.sendall(_chunked())
        try:
            for _ in range(200):
                connection.sendall(b"1;x=%s\r\nx\r\n" % (b"x" * 1000))
        except (ssl.SSLError, ConnectionError):
            return  # hung up on while sending
        reply = _answer(connection)
        assert (reply.status, reply.code) == (431, "head_too_large")


@pytest.mark.parametrize("together", [True, False])
def test_a_body_in_tiny_chunks_is_taken(strict: Serving, together: bool) -> None:
    body = b'{"name": "tiny", "role": "auditor"' + b" " * 10_000 + b"}"
    sent = [b"1\r\n%c\r\n" % byte for byte in body] + [b"0\r\nChecksum: none\r\n\r\n"]
    head = _chunked(
        Authorization=f"Bearer {strict.site.tokens[Role.ADMIN]}", Content_Type="application/json"
    )
    with strict.raw() as connection:
        connection.sendall(head)
        step = len(sent) if together else 700
        for start in range(0, len(sent), step):
            connection.sendall(b"".join(sent[start : start + step]))
        assert _answer(connection).status == 201


def test_trailers_are_no_headers(strict: Serving) -> None:
    token = strict.site.tokens[Role.ADMIN].encode()
    body = b'{"name": "trailed", "role": "auditor"}'
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(body), body)
    head = _chunked(Content_Type="application/json", Trailer="Authorization")
    with strict.raw() as connection:
        connection.sendall(head + chunks + b"Authorization: Bearer %s\r\n\r\n" % token)
        reply = _answer(connection)
        assert (reply.status, reply.code) == (401, "credentials_missing")
        connection.sendall(_head("GET", "/healthz"))
        assert _answer(connection).status == 200, "trailers do no harm"


def test_a_head_that_never_ends_is_hung_up_on(hasty: Serving) -> None:
    began = time.monotonic()
    with hasty.raw() as connection:
        try:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
        except (ssl.SSLError, ConnectionError):
            return  # the machine stood still meanwhile
        assert _is_closed(connection)
    assert time.monotonic() - began > 0.5


def test_a_connection_without_a_request_is_hung_up_on(hasty: Serving) -> None:
    with hasty.raw() as connection:
        assert _is_closed(connection)


def test_empty_lines_do_not_keep_a_connection(hasty: Serving) -> None:
    with hasty.raw() as connection:
        deadline = time.monotonic() + 60
        connection.settimeout(0.2)
        while time.monotonic() < deadline:
            try:
                connection.sendall(b"\r\n")
                if connection.recv(100) == b"":
                    return
            except TimeoutError:
                continue
            except (ssl.SSLError, ConnectionError):
                return
    pytest.fail("still connected")


def test_a_body_that_is_too_large_is_refused_and_the_connection_lives(strict: Serving) -> None:
    with strict.client(Role.OPERATOR) as client:
        reply = client.post("/v1/certificates", raw=b"x" * (LIMITS.body + 1))
        assert (reply.status, reply.code) == (413, "body_too_large")
        assert reply.json["details"] == {"limit_bytes": LIMITS.body}
        assert client.get("/healthz").status == 200


def test_a_body_announced_far_too_large_is_not_read(strict: Serving) -> None:
    with strict.raw() as connection:
        connection.sendall(_head("POST", "/v1/certificates", Content_Length="99999999"))
        reply = _answer(connection)
        assert (reply.status, reply.code) == (413, "body_too_large")
        assert _is_closed(connection)


def test_a_body_in_chunks_that_never_ends(strict: Serving) -> None:
    with strict.raw() as connection:
        connection.sendall(_head("POST", "/v1/certificates", Transfer_Encoding="chunked"))
        try:
            for _ in range(200):
                connection.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        except (ssl.SSLError, ConnectionError):
            return  # hung up on while sending
        assert _answer(connection).status == 413


def test_expect_continue_is_refused_before_the_body(strict: Serving) -> None:
    with strict.raw() as connection:
        head = _head(
            "POST", "/v1/certificates", Content_Length=str(LIMITS.body + 1), Expect="100-continue"
        )
        connection.sendall(head)
        assert _answer(connection).status == 413


def test_expect_continue_is_answered(strict: Serving) -> None:
    with strict.raw() as connection:
        connection.sendall(
            _head("POST", "/v1/certificates", Content_Length="2", Expect="100-continue")
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(b"{}")
        assert _answer(connection).status == 401


def test_a_slow_body_is_given_up(site: Site) -> None:
    limits = replace(LIMITS, body_seconds=1.0)
    with (
        serve(site, ApiSettings(version="0", limits=limits)) as running,
        running.raw() as connection,
    ):
        connection.sendall(_head("POST", "/v1/certificates", Content_Length="10") + b"{")
        reply = _answer(connection)
        assert (reply.status, reply.code) == (408, "request_too_slow")
        assert _is_closed(connection)


def test_many_slow_clients_hold_no_thread(strict: Serving) -> None:
    held = [strict.raw() for _ in range(40)]
    try:
        for connection in held:
            connection.sendall(_head("POST", "/v1/certificates", Content_Length="10") + b"{")
        with strict.client(Role.OPERATOR) as client:
            assert client.get("/v1/whoami").status == 200
    finally:
        for connection in held:
            connection.close()


def test_a_truncated_body_does_nothing(strict: Serving) -> None:
    with strict.client(Role.OPERATOR) as client:
        before = client.get("/v1/certificates?limit=1").json["items"]
        body = json.dumps({"csr": new_csr("cut.example"), "profile": "gateway"}).encode()
        with strict.raw() as connection:
            token = f"Bearer {strict.site.tokens[Role.OPERATOR]}"
            connection.sendall(
                _head(
                    "POST",
                    "/v1/certificates",
                    Content_Length=str(len(body)),
                    Content_Type="application/json",
                    Authorization=token,
                )
                + body[:-10]
            )
        assert client.get("/v1/certificates?limit=1").json["items"] == before


def test_a_client_that_does_not_read_is_hung_up_on(hasty: Serving) -> None:
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    plain.settimeout(60)
    plain.connect(("127.0.0.1", hasty.port))
    deadline = time.monotonic() + 120
    with hasty.site.trust().wrap_socket(plain, server_hostname="localhost") as connection:
        connection.settimeout(1)
        while not hasty.listener.server_state.connections:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        while hasty.listener.server_state.connections:
            assert time.monotonic() < deadline, "it is still served"
            try:
                connection.sendall(_head("GET", "/docs"))
            except TimeoutError:
                continue  # neither side reads any more
            except (ssl.SSLError, ConnectionError):
                return


def test_too_many_connections_are_turned_away(site: Site) -> None:
    few = ApiSettings(version="0", limits=replace(LIMITS, connections=3))
    with serve(site, few) as running:
        held = [running.raw() for _ in range(3)]
        deadline = time.monotonic() + 60
        turned_away = False
        while not turned_away and time.monotonic() < deadline:
            with running.raw() as another:
                another.settimeout(0.5)
                try:
                    turned_away = another.recv(1) == b""
                except TimeoutError:
                    continue
                except (ssl.SSLError, ConnectionError):
                    turned_away = True
        for connection in held:
            connection.close()
    assert turned_away


def test_pipelined_requests_are_answered_in_order(strict: Serving) -> None:
    with strict.raw() as connection:
        connection.sendall(
            _head("GET", "/healthz") + _head("GET", "/nowhere") + _head("GET", "/v1/whoami")
        )
        file = connection.makefile("rb")
        statuses = []
        for _ in range(3):
            statuses.append(int(file.readline().split()[1]))
            length = 0
            while (line := file.readline().strip()) != b"":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            file.read(length)
    assert statuses == [200, 404, 401]


def test_a_header_with_an_underscore_is_not_taken_for_another(strict: Serving) -> None:
    token = strict.site.tokens[Role.ADMIN]
    with strict.raw() as connection:
        connection.sendall(
            b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nContent_Type: application/json\r\n"
            b"Content-Length: 2\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n{}"
        )
        assert _answer(connection).code == "media_type_refused"


def test_authorization_sent_twice_is_nobody(strict: Serving) -> None:
    token = strict.site.tokens[Role.ADMIN].encode()
    with strict.raw() as connection:
        connection.sendall(
            b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
            + token
            + b"\r\nAuthorization: Bearer "
            + token
            + b"\r\n\r\n"
        )
        reply = _answer(connection)
    assert (reply.status, reply.code) == (401, "authorization_malformed")


def test_a_full_house_says_so_and_a_dead_signer_too(site: Site) -> None:
    few = ApiSettings(version="0", threads=1, queue=1, patience=300)
    body = {"csr": new_csr("waiting.example"), "profile": "gateway"}
    replies: list[Reply] = []

    def ask(running: Serving) -> None:
        with running.client(Role.OPERATOR) as client:
            replies.append(client.post("/v1/certificates", body))

    with serve(site, few) as running:
        site.keys.hang()
        asking = [threading.Thread(target=ask, args=[running]) for _ in range(4)]
        try:
            # The one thread begins others while a work waits for a commit: they come when it hangs.
            asking[0].start()
            site.keys.wait_until_hanging()
            for thread in asking[1:]:
                thread.start()
            deadline = time.monotonic() + 60
            while len(replies) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            with running.client() as client:
                assert client.get("/healthz").status == 200, "busy is not dead"
        finally:
            site.keys.fail()
            for thread in asking:
                thread.join(60)
            site.keys.heal()
    assert {reply.status for reply in replies} == {503}
    codes = [reply.code for reply in replies]
    assert codes[:2] == ["overloaded"] * 2
    assert codes[-1] == "signer_unavailable"
    assert set(codes) == {"overloaded", "signer_unavailable"}
    assert all(int(reply.headers["retry-after"]) > 0 for reply in replies)


def test_work_that_waited_too_long_is_not_begun(site: Site) -> None:
    few = ApiSettings(version="0", threads=1, queue=10, patience=0.2)
    replies: list[Reply] = []

    def ask(running: Serving) -> None:
        with running.client(Role.OPERATOR) as client:
            csr = new_csr("patient.example")
            replies.append(client.post("/v1/certificates", {"csr": csr, "profile": "gateway"}))

    with serve(site, few) as running:
        site.keys.hang()
        first = threading.Thread(target=ask, args=[running])
        first.start()
        site.keys.wait_until_hanging()
        second = threading.Thread(target=ask, args=[running])
        second.start()
        time.sleep(0.5)
        site.keys.heal()
        first.join(60)
        second.join(60)
    assert sorted(reply.status for reply in replies) == [201, 503]
    assert [reply.code for reply in replies if reply.status == 503] == ["overloaded"]


def test_what_nobody_foresaw_shows_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_count: int) -> bytes:
        raise RuntimeError("the secret is swordfish")

    cracked = Site(replace(site.desk, entropy=broken), site.keys, site.clock, site.directory)
    cracked.tokens, cracked._service_pem = site.tokens, site._service_pem
    with serve(cracked) as running, running.client(Role.OPERATOR) as client:
        with caplog.at_level(logging.ERROR):
            csr = new_csr("unforeseen.example")
            reply = client.post("/v1/certificates", {"csr": csr, "profile": "gateway"})
    assert (reply.status, reply.code) == (500, "internal_error")
    assert b"swordfish" not in reply.body
    assert b"Traceback" not in reply.body
    (record,) = [r for r in caplog.records if r.getMessage() == "unforeseen"]
    assert vars(record)["request_id"] == reply.json["request_id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1//certificates",
        "/v1/certificates//",
        "//",
        "/./healthz",
        "//v1/whoami",
        "//healthz",
        "//readyz",
        "/%2Fv1/whoami",
        "/%2freadyz",
    ],
)
def test_a_path_is_not_mended(strict: Serving, path: str) -> None:
    with strict.raw() as connection:
        connection.sendall(_head("GET", path))
        reply = _answer(connection)
    assert (reply.status, reply.code) == (404, "route_not_found")
