"""A conversation with a Vault or OpenBao server: hvac's requests, and what became of them.

hvac's exceptions carry the answer's body, and those below it the whole request, value and token in it. So none of them
leaves this module, neither as a cause nor as a context: an answer of any status is a value, and the lack of one is our
own error, raised when no other is being handled.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import requests
from hvac.adapters import JSONAdapter, RawAdapter

from hsm.secretstore import SecretStoreRefused, SecretStoreUnavailable

_OK: Final = range(200, 300)
_REDIRECT: Final = range(300, 400)


@dataclass(frozen=True)
class Address:
    """Where the server is, and how it is talked to. `certificate` and `key` are files of a client certificate."""

    url: str
    namespace: str | None = None
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    timeout: float = 10.0


@dataclass(frozen=True)
class Answer:
    """What the server said. `document` may hold secrets, and so is not shown. `date` is the server's clock."""

    status: int
    document: Mapping[str, Any] = field(repr=False)
    retry_after: str = ""
    date: datetime | None = None

    @property
    def ok(self) -> bool:
        """Whether it did what it was asked."""
        return self.status in _OK

    def says(self, words: str) -> bool:
        """Whether one of its error messages has these words. The messages themselves are shown to nobody."""
        errors = self.document.get("errors")
        return isinstance(errors, list) and any(words in str(each).lower() for each in errors)

    def part(self, name: str) -> Mapping[str, Any]:
        """A member that is an object; an empty one if it is not."""
        found = self.document.get(name)
        return found if isinstance(found, dict) else {}


class Wire(JSONAdapter):  # type: ignore[misc]  # hvac carries no types
    """hvac's way to the server, for one thread. Every request gives an `Answer`.

    Neither environment nor redirects lead anywhere else: what goes over this wire is a secret. Raises
    SecretStoreUnavailable where there is no answer.
    """

    def __init__(self, address: Address) -> None:
        session = requests.Session()
        session.trust_env = False
        pair = (str(address.certificate), str(address.key)) if address.certificate else None
        trusted = address.ca_file or ssl.get_default_verify_paths().cafile
        session.verify, session.cert = str(trusted) if trusted else True, pair
        super().__init__(
            base_uri=address.url,
            timeout=address.timeout,
            session=session,
            namespace=address.namespace,
            allow_redirects=False,
        )

    def request(
        self,
        method: str,
        url: str,
        headers: Any = None,
        raise_exception: bool = True,
        **kwargs: Any,
    ) -> Answer:
        """Ask once; ask again where the connection broke and asking twice does no harm."""
        found = self._try(method, url, headers, kwargs)
        if found is _BROKEN and method in {"get", "delete"}:
            found = self._try(method, url, headers, kwargs)
        if isinstance(found, _Trouble):
            raise SecretStoreUnavailable(
                f"{self.base_uri} {found.said}.", next_step=found.next_step
            )
        return found

    def _try(
        self, method: str, url: str, headers: Any, more: Mapping[str, Any]
    ) -> "Answer | _Trouble":
        try:
            return _answer(
                RawAdapter.request(
                    self, method, url, headers=headers, raise_exception=False, **more
                )
            )
        except requests.Timeout:
            return _SLOW
        except requests.exceptions.SSLError:
            return _UNTRUSTED
        except requests.RequestException:
            return _BROKEN
        except OSError:
            return _NO_FILE


@dataclass(frozen=True)
class _Trouble:
    """Why there is no answer."""

    said: str
    next_step: str = ""


_SLOW: Final = _Trouble("does not answer in time")
_BROKEN: Final = _Trouble("cannot be reached")
_UNTRUSTED: Final = _Trouble(
    "and this service do not trust each other's certificates",
    "Look at [secrets] ca_file (and certificate_file), and at the name in [secrets] url.",
)
_NO_FILE: Final = _Trouble(
    "is not asked: a certificate file cannot be used",
    "Look at [secrets] ca_file, certificate_file and key_file.",
)


def require(answer: Answer, what: str) -> Answer:
    """The answer, if it is one that does what was asked. `what` completes "The store does not …".

    Raises SecretStoreUnavailable, SecretStoreRefused.
    """
    if answer.ok:
        return answer
    status, details = answer.status, {"status": answer.status}
    if status == 429:
        raise SecretStoreUnavailable(
            f"The store does not {what}: its rate-limit quota is used up.",
            next_step="Lower [rotation] per_second, or raise the quota in the store.",
            details={**details, "retry_after": _seconds(answer.retry_after)},
        )
    if status in {501, 503}:
        state = "not initialized" if status == 501 else "sealed" if answer.says("sealed") else ""
        raise SecretStoreUnavailable(
            f"The store does not {what}: it is {state or 'out of service'}.",
            next_step="Unseal it; rotations go on by themselves." if state == "sealed" else "",
            details=details,
        )
    if status in _REDIRECT or status in {472, 473}:
        raise SecretStoreUnavailable(
            f"The store does not {what}: it is a standby that sends us elsewhere.",
            next_step="Set [secrets] url to the active node, or to what finds it.",
            details=details,
        )
    if status in {401, 403}:
        raise SecretStoreRefused(f"The store does not let us {what}.", details=details)
    if status >= 500 or status == 412 or answer.says("upgrading"):
        raise SecretStoreUnavailable(
            f"The store does not {what} now (status {status}).", details=details
        )
    raise SecretStoreRefused(
        f"The store does not understand us, asked to {what} (status {status}).",
        next_step="Look at [secrets] url, mount and namespace: `ikewarden vault check`.",
        details=details,
    )


def _answer(response: requests.Response) -> Answer:
    try:
        document = response.json() if response.content else {}
    except ValueError:  # a page of a proxy, for instance
        document = {}
    return Answer(
        status=response.status_code,
        document=document if isinstance(document, dict) else {},
        retry_after=response.headers.get("Retry-After", ""),
        date=_date(response.headers.get("Date", "")),
    )


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None


def _seconds(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else None
