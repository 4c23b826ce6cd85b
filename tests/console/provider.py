"""A small OpenID provider on loopback: codes once, PKCE, its client's secret, and ID tokens signed with its key.

What it says can be changed by a test: claims of the next ID token, the way it is signed, what it says of itself.
"""

import base64
import hmac
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urljoin, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT = "ikewarden"
SECRET = "a secret/with+odd=signs"


def _coded(document: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=")


class OpenIdProvider:
    """The provider; `issuer` is its name and address."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.key = ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})
        self.callback = ""
        self.claims: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.other_keys: list[object] = []
        self.sign: Callable[[dict[str, Any]], str] = self.signed
        self.asked: list[str] = []
        self._codes: dict[str, Mapping[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                provider.asked.append(self.path)
                if self.path == "/realm/.well-known/openid-configuration":
                    self._say(200, provider.said())
                elif self.path == "/realm/keys":
                    own = KeySet([provider.key]).as_dict(private=False)["keys"]
                    self._say(200, {"keys": [*provider.other_keys, *own]})
                elif self.path.startswith("/realm/authorize?"):
                    self._show(provider.page(self.path))
                else:
                    self._say(404, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, answer = provider.exchange(
                    dict(parse_qsl(body)), self.headers.get("Authorization", "")
                )
                self._say(status, answer)

            def _say(self, status: int, document: object) -> None:
                self._send(status, "application/json", json.dumps(document).encode())

            def _show(self, page: str) -> None:
                self._send(200, "text/html; charset=utf-8", page.encode())

            def _send(self, status: int, kind: str, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self._server.server_port}/realm"
        self.issuer = self.base
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reset(self) -> None:
        """As it was at first, but for its keys."""
        self.claims, self.metadata, self.sign = {}, {}, self.signed
        self.other_keys = []

    def said(self) -> dict[str, Any]:
        """What it says of itself."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.base}/authorize?tenant=1",
            "token_endpoint": f"{self.base}/token",
            "jwks_uri": f"{self.base}/keys",
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }

    def authorize(self, address: str) -> str:
        """Have somebody log in there: the address that his browser is sent back to."""
        assert address.startswith(f"{self.base}/authorize?tenant=1&"), address
        asked = {name: value for name, (value,) in parse_qs(urlsplit(address).query).items()}
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["redirect_uri"] == self.callback
        assert "openid" in asked["scope"].split()
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        said = {"code": code, "state": asked["state"], "iss": self.issuer, "session_state": "x"}
        return f"{urlsplit(self.callback).path}?{urlencode(said)}"

    def page(self, path: str) -> str:
        """What a browser is shown there: somebody who may log in."""
        back = urljoin(self.callback, self.authorize(urljoin(self.base, path)))
        return f'<!doctype html><title>Provider</title><a href="{escape(back)}">I am Alice</a>'

    def exchange(self, fields: Mapping[str, str], login: str) -> tuple[int, dict[str, Any]]:
        """The token endpoint (RFC 6749 §4.1.3, RFC 7636 §4.6)."""
        given = base64.b64decode(login.removeprefix("Basic ")).decode()
        name, _, secret = given.partition(":")
        if (unquote(name), unquote(secret)) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(fields.get("code", ""), None)
        if asked is None or fields["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if create_s256_code_challenge(fields["code_verifier"]) != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        now = int(self.clock().timestamp())
        claims = {
            "iss": self.issuer,
            "sub": "0815",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            "email": "alice@example.com",
            "email_verified": True,
            "groups": ["staff", "vpn-operators"],
            **self.claims,
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": self.sign(kept)}

    def signed(self, claims: dict[str, Any]) -> str:
        """An ID token as it should be."""
        return jwt.encode({"alg": "ES256", "kid": self.key.kid}, claims, self.key)

    def unsigned(self, claims: dict[str, Any]) -> str:
        """One of the algorithm none."""
        return b".".join([_coded({"alg": "none"}), _coded(claims), b""]).decode()

    def confused(self, claims: dict[str, Any]) -> str:
        """One with a MAC whose key is the public key, which everybody has."""
        head = {"alg": "HS256", "kid": self.key.kid}
        signed = b".".join(_coded(each) for each in (head, claims))
        made = hmac.digest(self.key.as_pem(private=False), signed, "sha256")
        return (signed + b"." + base64.urlsafe_b64encode(made).rstrip(b"=")).decode()

    def by_another(self, claims: dict[str, Any]) -> str:
        """One that another key signed, under the name of ours."""
        key = RSAKey.generate_key(2048)
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, key)
