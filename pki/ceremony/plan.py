"""A ceremony as it is written: who takes part, and each step with all that decides what comes of it. Pure.

Nothing has a default here: what is not written was not agreed on.
"""

import hashlib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from cryptography import x509

from hsm.keystores import STORES
from hsm.ports import KEY_ALGORITHMS, KeyAlgorithm
from pki.ceremony.errors import CeremonyDeviation, CeremonyMalformed
from pki.guarded import person
from pki.x509.constraints import NameConstraints, Subtree
from pki.x509.csr import spki_sha256
from pki.x509.keys import key_algorithm

LARGEST: Final = 64 * 1024
MOST_STEPS: Final = 64
# So much of the hash a witness types: 64 bits.
TYPED: Final = 16


@dataclass(frozen=True)
class Founding:
    """A step that makes an authority: its key in `store`, and its certificate. A root has no parent."""

    kind: str
    name: str
    subject: str
    algorithm: KeyAlgorithm
    days: int
    path_length: int
    permitted: tuple[str, ...]
    excluded: tuple[str, ...]
    store: str
    parent: str | None = None

    def require(
        self, certificate: x509.Certificate, key_uri: str, issuer: x509.Certificate | None
    ) -> None:
        """Compare what came out with what is written; `issuer` None for a root. Raises CeremonyDeviation."""
        _refuse_differences(self.name, self._compared(certificate, key_uri, issuer))

    def _compared(
        self, certificate: x509.Certificate, key_uri: str, issuer: x509.Certificate | None
    ) -> dict[str, tuple[object, object]]:
        basic = _basic(certificate)
        written = NameConstraints.parse(self.permitted, self.excluded)
        found = NameConstraints.of(certificate)
        above = (issuer or certificate).subject.rfc4514_string()
        return {
            "subject": (_normal(self.subject), certificate.subject.rfc4514_string()),
            "issuer": (above, certificate.issuer.rfc4514_string()),
            "algorithm": (self.algorithm, key_algorithm(certificate.public_key())),
            "days": (self.days, _days(certificate)),
            "path_length": (self.path_length, basic.path_length if basic.ca else None),
            "permitted": (_sorted(written.permitted), _sorted(found.permitted)),
            "excluded": (_sorted(written.excluded), _sorted(found.excluded)),
            "store": (STORES[self.store], key_uri.partition(":")[0]),
        }


@dataclass(frozen=True)
class CrossSign:
    """A step that has an authority's key certified by another authority, the issuer, beside its parent. Its limits are
    the authority's own.
    """

    authority: str
    issuer: str
    days: int
    kind: str = "cross"

    @property
    def label(self) -> str:
        """The step in a few words."""
        return f"{self.authority} by {self.issuer}"

    def require(
        self, certificate: x509.Certificate, own: x509.Certificate, issuer: x509.Certificate
    ) -> None:
        """Compare what came out with what is written; `own` is the authority's certificate by its parent. Raises
        CeremonyDeviation.
        """
        wanted, found = NameConstraints.of(own), NameConstraints.of(certificate)
        key: Any = own.public_key()
        certified: Any = certificate.public_key()
        compared: dict[str, tuple[object, object]] = {
            "subject": (own.subject.rfc4514_string(), certificate.subject.rfc4514_string()),
            "issuer": (issuer.subject.rfc4514_string(), certificate.issuer.rfc4514_string()),
            "spki_sha256": (spki_sha256(key), spki_sha256(certified)),
            "days": (self.days, _days(certificate)),
            "ca": (True, _basic(certificate).ca),
            "path_length": (_reach(own, issuer), _basic(certificate).path_length),
            "permitted": (_sorted(wanted.permitted), _sorted(found.permitted)),
            "excluded": (_sorted(wanted.excluded), _sorted(found.excluded)),
        }
        _refuse_differences(self.label, compared)


@dataclass(frozen=True)
class FirstCrl:
    """A step that publishes the first list of an authority."""

    authority: str
    kind: str = "crl"


Step = Founding | CrossSign | FirstCrl


@dataclass(frozen=True)
class Plan:
    """A whole ceremony. `sha256` is that of the file's octets: what witnesses confirm."""

    title: str
    led_by: str
    witnesses: tuple[str, ...]
    steps: tuple[Step, ...]
    text: str
    sha256: str

    @property
    def foundings(self) -> tuple[Founding, ...]:
        """The steps that make authorities."""
        return tuple(step for step in self.steps if isinstance(step, Founding))

    @property
    def crosses(self) -> tuple[CrossSign, ...]:
        """The steps that cross-sign."""
        return tuple(step for step in self.steps if isinstance(step, CrossSign))

    @property
    def makes(self) -> frozenset[str]:
        """Names of the authorities that are made."""
        return frozenset(step.name for step in self.foundings)

    @property
    def parents(self) -> set[str]:
        """Names of authorities that must be there before, and certify one that is made."""
        return {step.parent for step in self.foundings if step.parent} - self.makes

    def outside(self) -> set[str]:
        """Names of all authorities that must be there before."""
        crossed = {name for step in self.crosses for name in (step.authority, step.issuer)}
        return self.parents | (crossed - self.makes)

    def confirms(self, typed: str) -> bool:
        """Whether somebody typed the hash, or at least its first 16 digits; blanks and case do not matter."""
        given = re.sub(r"[\s:-]", "", typed).lower()
        return len(given) >= TYPED and self.sha256.startswith(given)


def read_plan(content: bytes) -> Plan:
    """Read a ceremony. Raises CeremonyMalformed, and BadConstraint for a name constraint."""
    if len(content) > LARGEST:
        raise CeremonyMalformed(f"A ceremony has at most {LARGEST} octets.")
    try:
        text = content.decode("utf-8")
        document = tomllib.loads(text)
    except ValueError as error:
        raise CeremonyMalformed(f"The file is not TOML: {error}.") from None
    head = _fields(document.get("ceremony"), "[ceremony]", _HEAD)
    _refuse_unknown(document, {"ceremony", "step"}, "the file")
    steps = document.get("step")
    if not isinstance(steps, list) or not 1 <= len(steps) <= MOST_STEPS:
        raise CeremonyMalformed(f"A ceremony has between 1 and {MOST_STEPS} tables [[step]].")
    plan = Plan(
        title=head["title"],
        led_by=head["led_by"],
        witnesses=tuple(head["witnesses"]),
        steps=tuple(_step(each, f"step {number}") for number, each in enumerate(steps, 1)),
        text=text,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    _check_people(plan)
    _check_order(plan)
    return plan


def _check_people(plan: Plan) -> None:
    people = [person(name) for name in (plan.led_by, *plan.witnesses)]
    if not plan.witnesses or len(set(people)) != len(people):
        raise CeremonyMalformed(
            "[ceremony] witnesses: at least one, each once, and not who leads it."
        )


def _check_order(plan: Plan) -> None:
    """What a step needs is made before it, and nothing is made twice."""
    made: set[str] = set()
    subjects: set[str] = set()
    lists: set[str] = set()
    crossed: set[str] = set()
    for number, step in enumerate(plan.steps, 1):
        where = f"step {number}"
        if isinstance(step, FirstCrl):
            if step.authority not in made or step.authority in lists:
                raise CeremonyMalformed(
                    f"{where}: authority: a step before it makes {step.authority!r}, and it gets one first list."
                )
            lists.add(step.authority)
            continue
        if isinstance(step, CrossSign):
            _check_cross(step, plan.makes - made, crossed, where)
            crossed.add(step.label)
            continue
        if step.parent in plan.makes - made:
            raise CeremonyMalformed(f"{where}: parent: {step.parent!r} is made later.")
        if step.name in made or _normal(step.subject) in subjects:
            raise CeremonyMalformed(f"{where}: its name or subject is that of a step before it.")
        made.add(step.name)
        subjects.add(_normal(step.subject))


def _check_cross(
    step: CrossSign, later: AbstractSet[str], crossed: AbstractSet[str], where: str
) -> None:
    for field, name in (("authority", step.authority), ("issuer", step.issuer)):
        if name in later:
            raise CeremonyMalformed(f"{where}: {field}: {name!r} is made later.")
    if step.authority == step.issuer or step.label in crossed:
        raise CeremonyMalformed(
            f"{where}: issuer: another one than the authority, and each once for it."
        )


def _step(document: object, where: str) -> Step:
    kind = document.get("kind") if isinstance(document, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise CeremonyMalformed(f"{where}: kind: one of {', '.join(_KINDS)}.")
    fields = _fields(document, where, _KINDS[kind])
    if kind == "crl":
        return FirstCrl(fields["authority"])
    if kind == "cross":
        return CrossSign(fields["authority"], fields["issuer"], fields["days"])
    for name in ("permitted", "excluded"):
        fields[name] = tuple(fields[name])
    NameConstraints.parse(fields["permitted"], fields["excluded"])
    return Founding(**fields)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 200 and value.isprintable()


def _is_name(value: object) -> bool:
    return _is_text(value) and value == str(value).strip()


def _is_subject(value: object) -> bool:
    try:
        return _is_text(value) and bool(list(x509.Name.from_rfc4514_string(str(value))))
    except ValueError:
        return False


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and len(value) <= 100 and all(map(_is_name, value))


def _is_whole(lowest: int, highest: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and lowest <= value <= highest


Fields = Mapping[str, tuple[Callable[[object], bool], str]]
_TEXT: Final = "a text of at most 200 printable characters, without blanks around it"
_TEXTS: Final = f"a list, each {_TEXT}"
_HEAD: Final[Fields] = {
    "title": (_is_name, _TEXT),
    "led_by": (_is_name, _TEXT),
    "witnesses": (_are_texts, _TEXTS),
}
_DAYS: Final = (_is_whole(1, 14640), "a whole number of days between 1 and 14640")
_ROOT: Final[Fields] = {
    "kind": (_is_name, _TEXT),
    "name": (_is_name, _TEXT),
    "subject": (_is_subject, "a distinguished name: CN=…,O=…"),
    "algorithm": (lambda value: value in KEY_ALGORITHMS, f"one of {', '.join(KEY_ALGORITHMS)}"),
    "days": _DAYS,
    "path_length": (_is_whole(0, 8), "a whole number between 0 and 8"),
    "permitted": (_are_texts, _TEXTS),
    "excluded": (_are_texts, _TEXTS),
    "store": (lambda value: value in tuple(STORES), f"one of {', '.join(STORES)}"),
}
_KINDS: Final[Mapping[str, Fields]] = {
    "root": _ROOT,
    "issuing": {**_ROOT, "parent": (_is_name, _TEXT)},
    "cross": {
        "kind": (_is_name, _TEXT),
        "authority": (_is_name, _TEXT),
        "issuer": (_is_name, _TEXT),
        "days": _DAYS,
    },
    "crl": {"kind": (_is_name, _TEXT), "authority": (_is_name, _TEXT)},
}


def _fields(document: object, where: str, wanted: Fields) -> dict[str, Any]:
    """All of the fields and no other. Raises CeremonyMalformed."""
    if not isinstance(document, dict):
        raise CeremonyMalformed(f"{where} is missing, or is no table.")
    _refuse_unknown(document, set(wanted), where)
    for name, (fits, form) in wanted.items():
        if name not in document:
            raise CeremonyMalformed(f"{where}: {name} is missing: {form}.")
        if not fits(document[name]):
            raise CeremonyMalformed(f"{where}: {name} must be {form}.")
    return dict(document)


def _refuse_unknown(document: Mapping[str, object], known: set[str], where: str) -> None:
    unknown = sorted(set(document) - known)
    if unknown:
        raise CeremonyMalformed(f"{where}: {unknown[0][:100]!r} is not known.")


def _refuse_differences(step: str, compared: Mapping[str, tuple[object, object]]) -> None:
    """Raise CeremonyDeviation if anything was found to be other than what is written."""
    wrong = {
        name: {"written": written, "found": found}
        for name, (written, found) in compared.items()
        if written != found
    }
    if wrong:
        raise CeremonyDeviation(
            f"The certificate of {step!r} would not be what is written: {', '.join(sorted(wrong))}.",
            details={"step": step, "differences": wrong},
        )


def _days(certificate: x509.Certificate) -> int:
    # A certificate is good from some minutes before it was made, for clocks that are late.
    length = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return length // timedelta(days=1)


def _basic(certificate: x509.Certificate) -> x509.BasicConstraints:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value


def _reach(own: x509.Certificate, issuer: x509.Certificate) -> int | None:
    """The path length of a cross-certificate: the authority's own, and no more than the issuer's lets be."""
    wanted, above = _basic(own).path_length, _basic(issuer).path_length
    if above is None:
        return wanted
    # RFC 5280 §4.2.1.9: a certificate whose subject is its issuer's name is not counted.
    most = above if own.subject == issuer.subject else above - 1
    return most if wanted is None else min(most, wanted)


def _normal(subject: str) -> str:
    return x509.Name.from_rfc4514_string(subject).rfc4514_string()


def _sorted(trees: Iterable[Subtree]) -> list[str]:
    return sorted(map(str, trees))
