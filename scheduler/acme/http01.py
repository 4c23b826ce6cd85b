"""http-01 (RFC 8555 §8.3): a file under the name. Who answers chooses where redirects lead; each is judged anew."""

import contextlib
import hmac
import http.client
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from pki.acme.validation import Look, ProofMissing
from pki.endpoints import AcmeDoor
from pki.x509.names import GeneralName, InvalidName
from scheduler.acme.connecting import Patience, Pinned, connected, secured, unjudged
from scheduler.acme.resolving import Lookup

_MOST_REDIRECTS: Final = 5
_MOST_OCTETS: Final = 1024
_LONGEST_URL: Final = 2000
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# http.client's own, ValueError for a header that is none, EOFError of TLS
_FAILURES: Final = (OSError, http.client.HTTPException, ValueError, EOFError)


@dataclass(frozen=True)
class _Place:
    """What a URL says, once it was judged."""

    secure: bool
    host: GeneralName
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port for the Host header (RFC 9110 §7.2)."""
        host = f"[{self.host.value}]" if ":" in self.host.value else self.host.value
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole."""
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.target}"


def prove(look: Look, lookup: Lookup) -> None:
    """Fetch the key authorization. Raises ProofMissing."""
    patience = Patience()
    target = f"/.well-known/acme-challenge/{look.token}"
    place = _Place(False, look.name, look.door.http_port, target)
    for _ in range(_MOST_REDIRECTS + 1):
        onward, content = _fetch(place, look.door, lookup, patience)
        if onward is None:
            # RFC 8555 §8.3: whitespace behind it is ignored.
            if not hmac.compare_digest(content.rstrip(), look.key_authorization.encode()):
                raise ProofMissing("unauthorized", "the file there is not the key authorization")
            return
        place = _followed(place, onward, look.door)
    raise ProofMissing("connection", f"there are more than {_MOST_REDIRECTS} redirects")


def _fetch(
    place: _Place, door: AcmeDoor, lookup: Lookup, patience: Patience
) -> tuple[str | None, bytes]:
    found = lookup.addresses(place.host, door.networks)
    with connected(found, place.port, patience) as held:
        try:
            if not place.secure:
                return _asked(held, place)
            name = None if place.host.address is not None else place.host.value
            with secured(held, unjudged(), name, patience) as tls:
                return _asked(tls, place)
        except _FAILURES:
            raise ProofMissing("connection", "what answers there does not speak HTTP") from None


def _asked(held: socket.socket, place: _Place) -> tuple[str | None, bytes]:
    with contextlib.closing(Pinned(place.host.value, place.port, held)) as connection:
        return _answered(connection, place)


def _answered(connection: Pinned, place: _Place) -> tuple[str | None, bytes]:
    headers = {
        "Host": place.authority,
        "User-Agent": "ikewarden",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    connection.request("GET", place.target, headers=headers)
    with connection.getresponse() as answer:
        return _told(answer)


def _told(answer: http.client.HTTPResponse) -> tuple[str | None, bytes]:
    """Where it leads, or else what it says."""
    if answer.status in _REDIRECTS:
        location = answer.getheader("Location")
        if location is None:
            raise ProofMissing("connection", "a redirect there leads nowhere")
        return location, b""
    if answer.status != 200:
        raise ProofMissing("unauthorized", f"the answer there has the status {answer.status}")
    content = answer.read(_MOST_OCTETS + 1)
    if len(content) > _MOST_OCTETS:
        raise ProofMissing("unauthorized", "the file there is not the key authorization")
    return None, content


def _followed(place: _Place, location: str, door: AcmeDoor) -> _Place:
    """Where a redirect leads. The address behind it is judged when it is connected to. Raises ProofMissing."""
    refused = ProofMissing("connection", "a redirect leads where this service does not go")
    if len(location) > _LONGEST_URL or not location.isascii() or not location.isprintable():
        raise refused
    if "\\" in location or " " in location:
        raise refused  # read as a slash by some
    try:
        parts = urlsplit(urljoin(place.url, location))
        host, port = _host(parts), parts.port
    except (ValueError, InvalidName):
        raise refused from None
    if parts.scheme not in {"http", "https"} or "@" in parts.netloc:
        raise refused
    secure = parts.scheme == "https"
    given = port or (443 if secure else 80)
    if given not in {80, 443, door.http_port, door.tls_port}:
        raise refused
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Place(secure, host, given, target)


def _host(parts: SplitResult) -> GeneralName:
    """A host in the one spelling that there is: no octal, hexadecimal or short form of an address passes for a name."""
    host = parts.hostname or ""
    if ":" in host:
        return GeneralName.of("ip", host)
    name = GeneralName.of("dns", host)
    return name if name.address is None else GeneralName.of("ip", host)
