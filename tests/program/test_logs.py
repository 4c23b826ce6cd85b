"""Log lines: complete, one each, not to be forged, nothing secret."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Conflict
from core.escaping import escaped
from core.secret import Secret
from hsm.errors import WrongPassphrase
from ikewarden.logs import LONGEST, REQUEST_ID, JsonLines, LineHandler, TextLines

Write = Callable[[Callable[[logging.Logger], None]], str]
FORGED = "x\n2030-01-01T00:00:00.000Z INFO    pki.issuance all is well"


def written(formatter: logging.Formatter, act: Callable[[logging.Logger], None]) -> str:
    """What a logger of its own writes while `act` uses it."""
    stream = io.StringIO()
    handler = LineHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("pki.issuance", logging.DEBUG)
    logger.addHandler(handler)
    act(logger)
    return stream.getvalue()


def as_json(act: Callable[[logging.Logger], None], *, tracebacks: bool = False) -> dict[str, Any]:
    lines = written(JsonLines(tracebacks=tracebacks), act).splitlines()
    assert len(lines) == 1
    document = json.loads(lines[0])
    assert isinstance(document, dict)
    return document


def as_text(act: Callable[[logging.Logger], None], *, tracebacks: bool = False) -> str:
    return written(TextLines(tracebacks=tracebacks), act)


@pytest.fixture
def request_id() -> Iterator[str]:
    token = REQUEST_ID.set("r-1")
    yield "r-1"
    REQUEST_ID.reset(token)


def throw(error: Exception) -> None:
    raise error


def raise_and_log(logger: logging.Logger, error: Exception) -> None:
    try:
        throw(error)
    except Exception:
        logger.exception("it failed")


def test_json_has_every_field(request_id: str) -> None:
    document = as_json(lambda log: log.info("issued %s", "0a1b", extra={"serial": "0a1b", "n": 3}))
    at = datetime.fromisoformat(document.pop("time"))
    assert at.tzinfo is not None
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert document == {
        "level": "info",
        "logger": "pki.issuance",
        "request_id": "r-1",
        "message": "issued 0a1b",
        "serial": "0a1b",
        "n": 3,
    }


def test_text_has_every_field(request_id: str) -> None:
    line = as_text(lambda log: log.warning("slow", extra={"name_": "a b", "n": 3, "ok": True}))
    time, _, rest = line.partition(" ")
    assert datetime.fromisoformat(time).tzinfo is not None
    assert rest == 'WARNING pki.issuance [r-1] slow name_="a b" n=3 ok=true\n'


def test_the_records_own_request_id_comes_first(request_id: str) -> None:
    extra = {"request_id": "r-2"}
    assert as_json(lambda log: log.info("x", extra=extra))["request_id"] == "r-2"
    assert "[r-2]" in as_text(lambda log: log.info("x", extra=extra))


def test_another_context_variable_can_be_named() -> None:
    mine: ContextVar[str] = ContextVar("mine", default="r-3")
    line = written(TextLines(request_id=mine, tracebacks=False), lambda log: log.info("x"))
    assert "[r-3]" in line
    assert "[" not in as_text(lambda log: log.info("x"))


@pytest.mark.parametrize(
    "act",
    [
        lambda log: log.info(FORGED),
        lambda log: log.info("name %s", FORGED),
        lambda log: log.info("x", extra={"name_": FORGED}),
        lambda log: log.info("x", extra={"names": [FORGED], "more": {FORGED: FORGED}}),
        lambda log: log.info("x", extra={FORGED: 1}),
        lambda log: log.info("x", extra={"request_id": FORGED}),
        lambda log: raise_and_log(log, Conflict(FORGED)),
        lambda log: raise_and_log(log, ValueError(FORGED)),
        lambda log: log.info("x", extra={"path": Path(FORGED)}),
    ],
)
def test_a_value_cannot_start_a_line(act: Callable[[logging.Logger], None]) -> None:
    as_json(act)
    text = as_text(act)
    assert text.count("\n") == 1
    assert not text.startswith("2030")


@given(st.text())
def test_no_text_writes_more_than_a_line(text: str) -> None:
    line = as_text(lambda log: log.info("m %s", text, extra={"field": text}))
    assert len(line.splitlines()) == 1
    assert not {"Cc", "Cs", "Zl", "Zp"} & set(map(category, line[:-1]))
    document = as_json(lambda log: log.info("m %s", text, extra={"field": text}))
    assert document["field"] == text


@pytest.mark.parametrize(
    "character",
    [
        *"\0\x07\b\r\n\x1b\x7f\x85\x9b\xad",
        *"\u2028\u2029\u202e\u2066\u200b\u200f\ufeff\U000e0041",
        "\udcff",
    ],
)
def test_deceiving_characters_are_escaped(character: str) -> None:
    line = as_text(lambda log: log.info("a%sb", character, extra={"field": f"a{character}b"}))
    assert character not in line[:-1]
    assert line.isascii()
    assert character not in written(
        JsonLines(tracebacks=False), lambda log: log.info("a%sb", character)
    ).removesuffix("\n")


def test_other_languages_stay_readable() -> None:
    assert escaped("Zürich 東京") == "Zürich 東京"
    assert "Zürich 東京" in as_text(lambda log: log.info("Zürich 東京"))


def test_secrets_are_not_written() -> None:
    secret = Secret("hunter2")

    def act(log: logging.Logger) -> None:
        extra = {
            "field": secret,
            "list": [secret, b"hunter2", bytearray(b"hunter2")],
            "deep": {"a": {"password": "hunter2", "b": secret}},
            "passphrase": "hunter2",
            "Authorization": "Bearer hunter2",
            "psk": "hunter2",
            "object": HoldsSecret(),
            "error_": ValueError("hunter2"),
        }
        log.info("with %s and %r", secret, secret, extra=extra)

    for line in (as_text(act), json.dumps(as_json(act))):
        assert "hunter2" not in line
        assert "(hidden)" in line
        assert "(HoldsSecret)" in line
    assert as_json(act)["message"] == "with Secret(…) and Secret(…)"


class HoldsSecret:
    """An object whose text somebody forgot to think about."""

    def __repr__(self) -> str:
        return "hunter2"


def test_our_own_errors_say_what_and_where() -> None:
    error = WrongPassphrase("The passphrase does not open the key store /k.")
    document = as_json(lambda log: raise_and_log(log, error))
    assert document["error"] == "hsm.errors.WrongPassphrase"
    assert document["code"] == "wrong_passphrase"
    assert document["reason"] == "The passphrase does not open the key store /k."
    assert document["at"].startswith("program/test_logs.py:")
    assert "traceback" not in document


def test_errors_of_others_keep_their_message_to_themselves() -> None:
    def act(log: logging.Logger) -> None:
        try:
            throw(ValueError("hunter2"))
        except ValueError:
            try:
                throw(KeyError("hunter2"))
            except KeyError:
                log.exception("it failed")

    assert as_json(act)["error"] == "KeyError from ValueError"
    text = as_text(act)
    assert 'error="KeyError from ValueError"' in text
    assert "hunter2" not in text
    assert text.count("\n") == 1


def test_a_traceback_at_debug_only_and_indented() -> None:
    def act(log: logging.Logger) -> None:
        raise_and_log(log, ValueError(FORGED))

    lines = as_text(act, tracebacks=True).splitlines()
    assert len(lines) > 3
    assert all(line.startswith("    | ") for line in lines[1:])
    document = as_json(act, tracebacks=True)
    assert any("raise error" in line for line in document["traceback"])


def test_long_values_are_cut() -> None:
    text = as_text(lambda log: log.info("%s", "x" * 10**6, extra={"field": "y" * 10**6}))
    assert len(text) < 3 * LONGEST
    assert "characters more" in text
    many = as_json(lambda log: log.info("x", extra={"field": list(range(10**5))}))
    assert len(many["field"]) == 100


def test_what_json_lacks() -> None:
    nested: list[Any] = []
    nested.append(nested)
    extra = {
        "when": datetime(2030, 1, 1, tzinfo=UTC),
        "span": timedelta(minutes=1),
        "none": None,
        "nan": float("nan"),
        "set": {1},
        "nested": nested,
        "time": "mine",
    }
    document = as_json(lambda log: log.info("x", extra=extra))
    assert document["when"] == "2030-01-01T00:00:00+00:00"
    assert (document["span"], document["none"], document["nan"]) == (60.0, None, "nan")
    assert document["set"] == [1]
    assert document["nested"] == [[[["(list)"]]]]
    assert document["time_"] == "mine"
    datetime.fromisoformat(document["time"])


def test_a_bad_format_does_not_disturb_the_caller() -> None:
    text = as_text(lambda log: log.info("%d", "not a number"))
    assert text == "a log record of pki.issuance could not be written\n"


def test_a_closed_stream_does_not_disturb_the_caller() -> None:
    stream = io.StringIO()
    logger = logging.Logger("x")
    logger.addHandler(LineHandler(stream))
    stream.close()
    logger.warning("x")


_PROGRAM = """
import logging, sys, warnings
from ikewarden.logs import configure_logs
configure_logs("error", "text")
configure_logs(sys.argv[1], sys.argv[2])
logging.getLogger("pki").debug("fine")
logging.getLogger("pki").info("coarse")
logging.getLogger("sqlalchemy.engine").info("SELECT hunter2")
logging.getLogger("urllib3.connectionpool").debug("GET /?token=hunter2")
logging.getLogger("apscheduler.executors").info("job ran")
warnings.warn("old\\nthing")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("pki").exception("it failed")
"""


def run(level: str, format: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, level, format], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert "hunter2" not in done.stderr
    return done.stderr.splitlines()


def test_a_whole_process_writes_json() -> None:
    documents = [json.loads(line) for line in run("info", "json")]
    assert [document["logger"] for document in documents] == ["pki", "py.warnings", "pki"]
    assert documents[-1]["error"] == "ZeroDivisionError"


def test_a_whole_process_at_debug() -> None:
    lines = run("debug", "text")
    assert "fine" in lines[0]
    assert any("job ran" in line for line in lines)
    assert any("ZeroDivisionError: division by zero" in line for line in lines)
    assert all(line[:2] == "20" or line.startswith("    | ") for line in lines)


def test_a_whole_process_at_error() -> None:
    assert len(run("error", "text")) == 1
