"""Where the sources of rules are."""

import pytest

from ike.audit.forms.references import url

_RFC = "https://www.rfc-editor.org/rfc/"
_NIST = "https://doi.org/10.6028/NIST.SP."


@pytest.mark.parametrize(
    ("reference", "address"),
    [
        ("RFC 6194", _RFC + "rfc6194"),
        ("RFC 8247 §3.1.1", _RFC + "rfc8247#section-3.1.1"),
        ("RFC 8221 §5 and §6", _RFC + "rfc8221#section-5"),
        ("NIST SP 800-77r1 Table 1", _NIST + "800-77r1"),
        ("NIST SP 800-90B", _NIST + "800-90B"),
        ("NIST SP 800-63B-4 §3.1.1", _NIST + "800-63B-4"),
        ("NIST SP 800-53 rev. 5 AC-6", _NIST + "800-53r5"),
        ("NIST SP 800-57 part 1 rev. 5 §6.2.2", _NIST + "800-57pt1r5"),
        ("NIST SP 800-131A rev. 2 §3", _NIST + "800-131Ar2"),
        ("BSI TR-02102-3 §3", ""),
    ],
)
def test_a_source_has_its_edition_in_its_address(reference: str, address: str) -> None:
    assert url(reference) == address
