"""What is sent about rollovers."""

import pytest
from pydantic import ValidationError

from api.v1.rollovers import MoveRollover


def test_a_way_back_says_whence() -> None:
    assert MoveRollover.model_validate({"to": "back", "from": "switched"}).seen == "switched"
    assert MoveRollover.model_validate({"to": "published"}).seen is None
    with pytest.raises(ValidationError, match="from"):
        MoveRollover.model_validate({"to": "back"})
