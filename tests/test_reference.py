"""The generated reference pages are what the code says now (`make docs` writes them)."""

from collections import Counter

import pytest

from core.errors import IkewardenError
from docs.generate import REFERENCE, error_classes, pages


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (REFERENCE / name).read_text("utf-8") == pages()[name](), "run `make docs`"


def test_every_error_has_a_code_of_its_own_and_says_what_it_means() -> None:
    kinds = error_classes()
    doubled = [code for code, count in Counter(kind.code for kind in kinds).items() if count > 1]
    # A room's own base class may share its parent's code; two that are raised may not.
    raised = [
        kind
        for kind in kinds
        if kind.code in doubled and "code" in vars(kind) and kind is not IkewardenError
    ]
    assert not [code for code, n in Counter(kind.code for kind in raised).items() if n > 1]
    assert all((kind.__doc__ or "").strip() for kind in kinds)
