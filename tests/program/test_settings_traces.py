"""Where spans are sent to, as settings say it."""

from pathlib import Path

import pytest

from tests.program.test_settings import load, the_problem


def test_off_unless_it_is_wanted(tmp_path: Path) -> None:
    assert load(tmp_path, "").traces.endpoint is None
    chosen = load(tmp_path, '[traces]\nendpoint = "https://otel.example/v1/traces"\nratio = 0.5\n')
    assert (chosen.traces.endpoint, chosen.traces.ratio) == ("https://otel.example/v1/traces", 0.5)


@pytest.mark.parametrize(
    "line",
    [
        'endpoint = "otel.example:4318"',
        'endpoint = "grpc://otel.example:4317/v1/traces"',
        'endpoint = "https://otel.example"',
        'endpoint = "https://user:word@otel.example/v1/traces"',
        'endpoint = "https://otel.example/v1/traces?key=word"',
        'endpoint = "https://otel.example/v1/traces#part"',
        "ratio = 1.5",
        "ratio = -0.1",
        'protocol = "grpc"',
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, line: str) -> None:
    assert "word" not in str(the_problem(tmp_path, f"[traces]\n{line}\n"))
