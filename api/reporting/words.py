"""The words of reports in other languages: `api/locale/LANGUAGE/reports.po`, read as it is."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from babel.messages.pofile import read_po

LANGUAGES: Final = ("en", "zh")
LOCALE: Final = Path(__file__).parent.parent / "locale"
# What rules say of findings and alerts, which the console says, too.
_RULES: Final = Path(__file__).parent.parent / "console" / "locale"


def N_(message: str) -> str:  # noqa: N802 - gettext's name for a message that is translated later
    """The message itself; those who collect messages find it by this."""
    return message


# Values that are told as they are on record, and have words of their own in other languages.
TERMS: Final = (
    *(N_("critical"), N_("high"), N_("medium"), N_("low"), N_("info")),
    *(N_("compliant"), N_("excepted"), N_("failing"), N_("unknown")),
    *(N_("valid"), N_("held"), N_("revoked"), N_("expired"), N_("pending"), N_("active")),
    *(N_("prepared"), N_("retired"), N_("outside"), N_("root"), N_("issuing")),
    *(N_("heard"), N_("never heard"), N_("managed"), N_("observed"), N_("inside")),
    *(N_("outside peer"), N_("none yet"), N_("current")),
    *(N_("up to 30"), N_("up to 90"), N_("up to 180"), N_("up to 365"), N_("over 365")),
    *(N_("evidence"), N_("attention"), N_("withheld"), N_("not covered"), N_("nothing yet")),
    *(N_("access"), N_("exposure"), N_("secrets"), N_("keys")),
    *(N_("certificates"), N_("configuration"), N_("windows")),
)


class Words:
    """The messages of one language; what has no translation stays as it is."""

    def __init__(self, language: str, messages: Mapping[str, str]) -> None:
        self.language = language
        self._messages = messages

    def __call__(self, message: str, /, **values: object) -> str:
        """A message in this language, with the values in the places of `%(name)s`."""
        told = self._messages.get(message, message)
        return told % values if values else told


@cache
def words(language: str) -> Words:
    """The words of a language; English needs no file."""
    return Words(language, {} if language == "en" else _read(LOCALE / language / "reports.po"))


@cache
def rules(language: str) -> Words:
    """What the rules of audits and alerts say, in a language: a sentence made with values stays as it is."""
    found: dict[str, str] = {}
    for name in () if language == "en" else ("findings.po", "alerts.po"):
        found |= _read(_RULES / language / name)
    return Words(language, found)


def _read(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        catalogue = read_po(file)
    return {
        each.id: each.string
        for each in catalogue
        if isinstance(each.id, str) and isinstance(each.string, str) and each.id and each.string
    }
