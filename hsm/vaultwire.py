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

from hsm.vaultuse import Trouble, Use

_OK: Final = range(200, 300)
_REDIRECT: Final = range(300, 400)
# Statuses of standbys that /sys/health gives (Vault's API documentation).
_STANDBYS: Final = frozenset({472, 473})


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

    use: Use = field(repr=False)
    status: int
    document: Mapping[str, Any] = field(repr=False)
    retry_after: str = ""
    date: datetime | None = None

    @property
    def ok(self) -> bool:
        """Whether it did what it was asked."""
        return self.status in _OK

    @property
    def is_without_engine(self) -> bool:
        """Whether nothing is mounted where it was asked."""
        return self.status == 404 and self.says("no handler for route")

    @property
    def is_absent(self) -> bool:
        """Whether it says that there is no such thing; not that there is no such engine."""
        return self.status == 404 and not self.is_without_engine

    def says(self, words: str) -> bool:
        """Whether one of its error messages has these words. The messages themselves are shown to nobody."""
        return self._has("errors", words)

    def warns(self, words: str) -> bool:
        """Whether one of its warnings has these words."""
        return self._has("warnings", words)

    def part(self, name: str) -> Mapping[str, Any]:
        """A member that is an object; an empty one if it is not."""
        found = self.document.get(name)
        return found if isinstance(found, dict) else {}

    def _has(self, name: str, words: str) -> bool:
        found = self.document.get(name)
        return isinstance(found, list) and any(words in str(each).lower() for each in found)


class Wire(JSONAdapter):  # type: ignore[misc]  # hvac carries no types
    """hvac's way to the server, for one thread. Every request gives an `Answer`.

    Neither environment nor redirects lead anywhere else: what goes over this wire is a secret. Raises errors of `use`
    where there is no answer.
    """

    def __init__(self, address: Address, use: Use) -> None:
        self.use = use
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
        if found is Trouble.UNREACHABLE and method in {"get", "list", "delete"}:
            found = self._try(method, url, headers, kwargs)
        if isinstance(found, Trouble):
            raise self.use.error(found, f"{self.base_uri} {_UNANSWERED[found]}.")
        return found

    def _try(
        self, method: str, url: str, headers: Any, more: Mapping[str, Any]
    ) -> Answer | Trouble:
        try:
            response = RawAdapter.request(
                self, method, url, headers=headers, raise_exception=False, **more
            )
            return _answer(self.use, response)
        except requests.Timeout:
            return Trouble.SLOW
        except requests.exceptions.SSLError:
            return Trouble.UNTRUSTED
        except requests.RequestException:
            return Trouble.UNREACHABLE
        except OSError:
            return Trouble.NO_FILE


_UNANSWERED: Final[Mapping[Trouble, str]] = {
    Trouble.SLOW: "does not answer in time",
    Trouble.UNREACHABLE: "cannot be reached",
    Trouble.UNTRUSTED: "and this service do not trust each other's certificates",
    Trouble.NO_FILE: "is not asked: a certificate file cannot be used",
}
_ANSWERED: Final[Mapping[Trouble, str]] = {
    Trouble.QUOTA: "The store does not {what}: its rate-limit quota is used up.",
    Trouble.UNINITIALIZED: "The store does not {what}: it is not initialized.",
    Trouble.SEALED: "The store does not {what}: it is sealed.",
    Trouble.OUT_OF_SERVICE: "The store does not {what}: it is out of service.",
    Trouble.ELSEWHERE: "The store does not {what}: it is a standby that sends us elsewhere.",
    Trouble.REFUSED: "The store does not let us {what}.",
    Trouble.FAILING: "The store does not {what} now (status {status}).",
    Trouble.NO_MOUNT: "The store has no engine where we ask it to {what}.",
    Trouble.NOT_UNDERSTOOD: "The store does not understand us, asked to {what} (status {status}).",
}


def require(answer: Answer, what: str) -> Answer:
    """The answer, if it is one that does what was asked. `what` completes "The store does not …".

    Raises the errors of the answer's `use`.
    """
    if answer.ok:
        return answer
    trouble = _judge(answer)
    details: dict[str, object] = {"status": answer.status}
    if trouble is Trouble.QUOTA and (seconds := _seconds(answer.retry_after)) is not None:
        details["retry_after"] = seconds
    said = _ANSWERED[trouble].format(what=what, status=answer.status)
    raise answer.use.error(trouble, said, details)


_BY_STATUS: Final[Mapping[int, Trouble]] = {
    401: Trouble.REFUSED,
    403: Trouble.REFUSED,
    412: Trouble.FAILING,
    429: Trouble.QUOTA,
    501: Trouble.UNINITIALIZED,
    503: Trouble.OUT_OF_SERVICE,
    **dict.fromkeys((*_REDIRECT, *_STANDBYS), Trouble.ELSEWHERE),
}


def _judge(answer: Answer) -> Trouble:
    if answer.status == 503 and answer.says("sealed"):
        return Trouble.SEALED
    if answer.is_without_engine:
        return Trouble.NO_MOUNT
    if (known := _BY_STATUS.get(answer.status)) is not None:
        return known
    failing = answer.status >= 500 or answer.says("upgrading")
    return Trouble.FAILING if failing else Trouble.NOT_UNDERSTOOD


def _answer(use: Use, response: requests.Response) -> Answer:
    try:
        document = response.json() if response.content else {}
    except ValueError:  # a page of a proxy, for instance
        document = {}
    return Answer(
        use=use,
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
