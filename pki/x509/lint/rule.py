"""What a lint rule is, and the decorator that makes one from a function over facts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pki.x509.lint.facts import Facts
from pki.x509.profile import DIALECTS, Dialect

Severity = Literal["fail", "warn", "info"]
Subject = Literal["end entity", "authority", "any"]
Check = Callable[[Facts], str | None]

ALL: Final = DIALECTS


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that some IKE implementation minds.

    `check` gives the sentence that describes what is wrong with this certificate, or None. The
    `severities` are "fail" where the peer refuses the certificate, or must by its standard; "warn"
    where it works today, with some peers or at some cost; "info" where somebody should know.
    `source` is the RFC section or the file and function that decides.
    """

    id: str
    check: Check
    severities: Mapping[Dialect, Severity]
    subject: Subject
    source: str
    fix: str

    @property
    def summary(self) -> str:
        """What the rule looks for, in one sentence."""
        return " ".join((self.check.__doc__ or "").split())


class RuleBook:
    """The rules of one module, in the order they are written."""

    def __init__(self, subject: Subject) -> None:
        self._subject: Final = subject
        self.rules: Final[list[Rule]] = []

    def rule(
        self,
        identifier: str,
        *,
        source: str,
        fix: str,
        fail: Sequence[Dialect] = (),
        warn: Sequence[Dialect] = (),
        info: Sequence[Dialect] = (),
    ) -> Callable[[Check], Check]:
        """Make the decorated check a rule; a check may carry several, one per source."""
        severities: dict[Dialect, Severity] = {
            **dict.fromkeys(info, "info"),
            **dict.fromkeys(warn, "warn"),
            **dict.fromkeys(fail, "fail"),
        }

        def register(check: Check) -> Check:
            self.rules.append(Rule(identifier, check, severities, self._subject, source, fix))
            return check

        return register
