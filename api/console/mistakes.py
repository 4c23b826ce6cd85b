"""Mistakes in the fields of a form or an address, as people say them: by pydantic's code of a mistake, which is stable,
and not by its sentence.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from api import decoding
from api.console.page import Mistake, text

#: What refuses a form, and an address; what is wrong with them is said beside.
FORM: Final = text("The form does not fit.")
QUERY: Final = text("The query parameters do not fit this route.")
OTHER: Final = text("This cannot be accepted as it is.")

_MISSING: Final = text("This must be filled in.")
_LINE: Final = text("This is one line of text, without line ends and control characters.")
_WHOLE: Final = text("This is no whole number.")
_DAY: Final = text("This is no date, as 2026-11-30.")
_MOMENT: Final = text("This is no date and time, as 2026-11-30T12:00.")
_ZONE: Final = text("This needs a time zone, as 2026-11-30T12:00Z.")
_YEARS: Final = text("This must lie between the years 1970 and 9998.")
_CHOICE: Final = text("This is none of what can be chosen here: {choices}.")
_UNKNOWN: Final = text("This is not known here.")
_LONG: Final = text("This is too long: at most {limit} characters.")
_SHORT: Final = text("This is too short: at least {limit} characters.")
_LEAST: Final = text("This must be at least {limit}.")
_MOST: Final = text("This may be at most {limit}.")
WORDS: Final[Mapping[str, str]] = {
    "missing": _MISSING,
    "extra_forbidden": _UNKNOWN,
    "string_type": _LINE,
    "string_pattern_mismatch": _LINE,
    "string_too_long": _LONG,
    "string_too_short": _SHORT,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "greater_than_equal": _LEAST,
    "less_than_equal": _MOST,
    "bool_type": text("This is true or false."),
    "bool_parsing": text("This is true or false."),
    "literal_error": _CHOICE,
    "date_type": _DAY,
    "date_parsing": _DAY,
    "date_from_datetime_parsing": _DAY,
    "date_from_datetime_inexact": _DAY,
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_object_invalid": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "timezone_aware": _ZONE,
    "year_refused": _YEARS,  # our own
}
# What our own validators raise as a ValueError, which all have one code.
_RAISED: Final[Mapping[str, str]] = {"must lie between the years 1970 and 9999 in UTC": _YEARS}
#: The labels of fields, as the pages have them.
LABELS: Final[Mapping[str, str]] = {
    "act": text("Act"),
    "action": text("Act"),
    "actor": text("By"),
    "approval": text("Approval"),
    "authorities": text("Only these authorities"),
    "authority": text("Authority"),
    "baseline": text("Baseline"),
    "confirmed": text("How much ends"),
    "connection": text("Connection"),
    "csr": text("Certificate signing request"),
    "daemon": text("IKE daemon"),
    "decision": text("Decide"),
    "drift": text("Drift"),
    "emergency": text("Emergency"),
    "ended_after": text("Ended"),
    "endpoints": text("Only these enrollment endpoints"),
    "expires": text("Expires (UTC)"),
    "expires_after": text("Expires from"),
    "expires_before": text("Expires before"),
    "expiring": text("Certificate"),
    "form": text("Format"),
    "format": text("Format"),
    "gateway": text("Gateway"),
    "hours": text("For how long"),
    "identities": text("Identities, one in a line"),
    "invalidity": text("Since when the key cannot be trusted (UTC)"),
    "issued_after": text("Issued from"),
    "issued_before": text("Issued before"),
    "keep": text("Without a request: keep the key it has"),
    "key": text("Key"),
    "kind": text("Kind"),
    "lang": text("Language"),
    "language": text("Language"),
    "name": text("Name"),
    "names": text("Names"),
    "networks": text("Networks of its ACME account"),
    "not_after": text("End of validity (UTC)"),
    "note": text("A head that was kept"),
    "object": text("About"),
    "path": text("Path"),
    "peer": text("Peer"),
    "period": text("Period"),
    "person": text("Person"),
    "profile": text("Profile"),
    "profiles": text("Profiles (an enroller must have some)"),
    "q": text("Search"),
    "reason": text("Reason"),
    "renewed": text("Successor"),
    "revoke": text("Its certificates"),
    "role": text("Role"),
    "rule": text("Rule"),
    "serial": text("Serial number"),
    "severity": text("Severity"),
    "signed": text("Signed by the service"),
    "silenced": text("Silence"),
    "since": text("From"),
    "site": text("Site: what follows the first dot"),
    "state": text("State"),
    "status": text("Status"),
    "theme": text("Colours"),
    "token": text("Token"),
    "tunnel": text("Tunnel"),
    "until": text("Until"),
    "uses": text("How many certificates (an enroller must say)"),
    "why": text("Reason"),
}
#: Fields that nobody fills in: a page, a link or another service does.
UNSEEN: Final = frozenset(
    "changed code count cursor ends error iss kept kept_for next number seen sha256".split()
)
_LIMITS: Final = ("max_length", "min_length", "ge", "le")


def places(error: ValidationError) -> Iterator[dict[str, object]]:
    """Each mistake as `{pointer, detail, values}`: the places that `decoding.places` names, said in our words."""
    found = error.errors(include_url=False, include_input=False)
    for place, one in zip(decoding.places(error), found, strict=False):
        words, values = in_words(one["type"], one.get("ctx", {}))
        yield {"pointer": place["pointer"], "detail": words, "values": values}


def in_words(code: str, given: Mapping[str, Any]) -> tuple[str, dict[str, object]]:
    """What a code of pydantic says with its context: a text, and the values for its places."""
    limit = next((given[name] for name in _LIMITS if name in given), 0)
    if code == "string_too_short" and limit == 1:
        return _MISSING, {}
    if code == "value_error":
        return _RAISED.get(str(given.get("error")), OTHER), {}
    words = WORDS.get(code, OTHER)
    if words == _CHOICE:
        return words, {"choices": ", ".join(re.findall(r"'([^']*)'", given.get("expected", "")))}
    return words, {"limit": limit} if "{limit}" in words else {}


def mistake(place: Mapping[str, Any]) -> Mistake:
    """A mistake as a page shows it."""
    name = str(place["pointer"]).removeprefix("/")
    # What the page does not know it has no label for, though another page may.
    label = name if place["detail"] == _UNKNOWN else LABELS.get(name, name)
    return Mistake(label, place["detail"], place.get("values", {}))
