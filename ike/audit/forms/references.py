"""Where the sources that rules name can be read."""

import re
from typing import Final

_RFC: Final = re.compile(r"RFC (\d{1,5})(?: §(\d+(?:\.\d+)*))?")
_NIST: Final = re.compile(
    r"NIST SP (800-\d+[A-Z]?(?:-\d+)?(?:r\d+)?)(?: part (\d+))?(?: rev\. (\d+))?"
)


def url(reference: str) -> str:
    """The address of `RFC 8247 §2.1` or `NIST SP 800-77r1 §3.3.4`; empty for a source that has none known to last."""
    rfc = _RFC.match(reference)
    if rfc:
        section = f"#section-{rfc[2]}" if rfc[2] else ""
        return f"https://www.rfc-editor.org/rfc/rfc{rfc[1]}{section}"
    nist = _NIST.match(reference)
    if not nist:
        return ""
    number, part, revision = nist.groups()
    name = number + (f"pt{part}" if part else "") + (f"r{revision}" if revision else "")
    return f"https://doi.org/10.6028/NIST.SP.{name}"
