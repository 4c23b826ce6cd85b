"""The languages of the console: texts stand in the code in English, translations in `locale/zh/*.po`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Final

from babel.core import negotiate_locale
from babel.dates import format_datetime, format_timedelta
from babel.lists import format_list
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.units import format_unit

NAMES: Final[Mapping[str, str]] = {"en": "English", "zh": "中文"}
_LONG: Final = 365  # days, of which nobody sees at once how many years they are


@dataclass(frozen=True)
class Language:
    """One language: `code` as in the lang attribute, what English texts are in it, and what codes of errors mean."""

    code: str
    texts: Mapping[str, str]
    codes: Mapping[str, str] = field(default_factory=dict)

    def say(self, text: str) -> str:
        """The text in this language; as it is where nobody translated it."""
        return self.texts.get(text, text)

    def refusal(self, code: str, sentence: str) -> tuple[str, str]:
        """What an error says: its sentence, or where nobody translated that the meaning of its code, and behind it the
        sentence in English, for the values that it has.
        """
        meaning = self.codes.get(code, "")
        return (
            (self.say(sentence), "")
            if sentence in self.texts or not meaning
            else (meaning, sentence)
        )

    def number(self, value: float) -> str:
        """A number as it is written in this language."""
        return str(format_decimal(value, locale=self.code))

    def moment(self, value: datetime | None) -> str:
        """An instant in UTC, to the minute; the same in all languages, since it is compared with logs."""
        return f"{value:%Y-%m-%d %H:%M}Z" if value is not None else self.say("never")

    def full(self, value: datetime) -> str:
        """An instant in words, to be shown beside the short form."""
        return str(format_datetime(value, "long", locale=self.code))

    def ago(self, value: datetime | None, now: datetime) -> str:
        """How long ago, or in how long: "3 hours ago", "in 2 days"."""
        if value is None:
            return self.say("never")
        if abs(value - now) < timedelta(
            minutes=1
        ):  # a page that is watched would change with every second
            return self.say("moments ago") if value <= now else self.say("in a moment")
        return str(format_timedelta(value - now, add_direction=True, locale=self.code))

    def span(self, value: timedelta) -> str:
        """A length of time."""
        return str(format_timedelta(value, locale=self.code))

    def length(self, value: timedelta) -> str:
        """A length of time to the second: "90 days", "1 day, 30 minutes", and how long a long one is about."""
        seconds = value.seconds
        parts = {
            "day": value.days,
            "hour": seconds // 3600,
            "minute": seconds // 60 % 60,
            "second": seconds % 60,
        }
        said = [
            str(format_unit(number, f"duration-{name}", locale=self.code))
            for name, number in parts.items()
            if number or (name == "second" and not value)
        ]
        exact = str(format_list(said, "unit", locale=self.code))
        if value.days < _LONG:
            return exact
        return self.say("{exact} (about {rough})").format(exact=exact, rough=self.span(value))


@lru_cache(maxsize=len(NAMES))
def load(code: str) -> Language:
    """One of NAMES, with all its texts."""
    texts: dict[str, str] = {}
    codes: dict[str, str] = {}
    folder = files("api").joinpath("console", "locale", code)
    if code != "en":
        for file in sorted(folder.iterdir(), key=lambda each: each.name):
            with file.open("rb") as stream:
                for message in read_po(stream, locale=code):
                    if message.id and message.string:
                        texts[str(message.id)] = str(message.string)
                        if message.context:  # the meaning of a code, in errors.po
                            codes[str(message.context)] = str(message.string)
    return Language(code, texts, codes)


def choose(chosen: str | None, accepted: str | None) -> Language:
    """The language that somebody chose, else the first that the browser asks for (RFC 9110 §12.5.4), else English."""
    if chosen in NAMES:
        return load(chosen)
    wanted = [part.partition(";")[0].strip() for part in (accepted or "").split(",")[:20]]
    found = negotiate_locale(
        [each for each in wanted if each.replace("-", "").isalnum()], NAMES, sep="-"
    )
    return load(found if found in NAMES else "en")
