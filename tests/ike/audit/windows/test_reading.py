"""The reader of what the collector wrote: whole or refused, and nothing of it in a message."""

import copy
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import IkewardenError
from ike.audit.values import Policy
from ike.audit.windows import look
from ike.audit.windows.errors import (
    CollectedInvalid,
    CollectedNotFound,
    CollectedTooLarge,
    CollectedVersion,
)
from ike.audit.windows.reading import MAX_OCTETS
from tests.ike.audit.windows.machine import (
    NOW,
    USERS,
    access,
    auth_set,
    certificate,
    clean,
    octets,
    pfx,
    psk,
)

CANARY = "canary-9f2d"


def full() -> dict[str, Any]:
    """With something of everything."""
    return clean(
        pfx_files=[pfx(access=access((USERS, 1)))],
        auth_sets=[auth_set("a", psk())],
        main_mode_rules=[
            {
                "name": "m",
                "display_name": "m",
                "enabled": True,
                "main_mode_set": "",
                "phase1_auth_set": "",
            }
        ],
        errors=[{"part": "VPN server", "message": "CimException: NotSpecified"}],
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_as_windows_writes_it(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "collected.json"
    file.write_bytes(json.dumps(full()).replace("\n", "\r\n").encode(encoding))
    facts = look(file)
    assert facts.collected.host == "WIN1"
    assert facts.items == 8
    assert [f"{each.place}: {each.message}" for each in facts.problems] == [
        "VPN server: not collected: CimException: NotSpecified"
    ]


def test_without_administrators_rights() -> None:
    [problem] = look(octets(clean(elevated=False))).problems
    assert "administrator" in problem.message


def test_certificates_that_cannot_be_read_are_told_and_left_out() -> None:
    broken = certificate(b"\x30\x03\x02\x01\x01")
    wrong = {**certificate(), "thumbprint": "00" * 20}
    facts = look(octets(clean(certificates=[broken, wrong, certificate()])))
    assert len(facts.collected.certificates) == 1
    assert [each.message for each in facts.problems] == [
        "the certificate is malformed",
        "the thumbprint is not that of the certificate",
    ]
    assert facts.problems[0].place.path.startswith("Cert:\\LocalMachine\\My\\")


def test_another_version() -> None:
    with pytest.raises(CollectedVersion):
        look(octets(clean(version=2, something_new=[])))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"version": 1}',
        b'{"format": "ikewarden windows", "version": true}',
        b'{"format": "another", "version": 1}',
        b'{"format": "ikewarden windows", "version": 1, "version": 1}',
        b'{"format": "ikewarden windows", "version": NaN}',
        b"[" * 100_000,
        b'{"version": ' + b"9" * 10_000 + b"}",
        b"\xff\xfe\x00",
        b"\xff\xff",
        "caf\xe9".encode("latin-1"),
    ],
)
def test_what_is_no_document(content: bytes) -> None:
    with pytest.raises(CollectedInvalid):
        look(content)


def test_an_unexpected_field_is_refused_and_not_told() -> None:
    # It may be what must not be there.
    document = full()
    document["auth_sets"][0]["proposals"][0]["psk"][CANARY] = CANARY
    with pytest.raises(CollectedInvalid) as caught:
        look(octets(document))
    assert "auth_sets[0].proposals[0].psk has 1 fields" in caught.value.message
    assert CANARY not in str(vars(caught.value))


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if at:
        yield at
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places(item, (*at, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, (*at, number))


PLACES = list(places(full()))
OTHERS: list[Any] = [CANARY * 2000, -1, 2**70, 1.5, True, None, [CANARY], {CANARY: CANARY}, ""]


@pytest.mark.parametrize("at", PLACES, ids=lambda at: ".".join(map(str, at)))
def test_another_kind_of_value_anywhere(at: tuple[str | int, ...]) -> None:
    for other in OTHERS:
        document = spoiled(at, other)
        said = ""
        try:
            list(look(octets(document)).judge(Policy(), NOW))
        except IkewardenError as error:
            said = f"{error.message} {error.details}"
        assert CANARY not in said


def test_every_field_must_be_there() -> None:
    for at in PLACES:
        if isinstance(at[-1], str):
            document = full()
            del parent(document, at)[at[-1]]
            with pytest.raises(CollectedInvalid):
                look(octets(document))


def parent(document: Any, at: tuple[str | int, ...]) -> Any:
    for step in at[:-1]:
        document = document[step]
    return document


def spoiled(at: tuple[str | int, ...], other: Any) -> dict[str, Any]:
    document = copy.deepcopy(full())
    parent(document, at)[at[-1]] = other
    return document


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JSON), min_size=1, max_size=3))
def test_anything_anywhere(changes: list[tuple[tuple[str | int, ...], Any]]) -> None:
    document = full()
    for at, value in changes:
        try:
            parent(document, at)[at[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # changed away before
    try:
        facts = look(octets(document))
    except IkewardenError:
        return
    list(facts.judge(Policy(), NOW))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(octets(full()))))
def test_octets_anywhere(junk: bytes, at: int) -> None:
    content = octets(full())
    try:
        list(look(content[:at] + junk + content[at + len(junk) :]).judge(Policy(), NOW))
    except IkewardenError:
        return


def test_too_large(tmp_path: Path) -> None:
    with pytest.raises(CollectedTooLarge):
        look(b" " * (MAX_OCTETS + 1))
    file = tmp_path / "large"
    with file.open("wb") as made:
        made.truncate(10 * 2**30)
    with pytest.raises(CollectedTooLarge):
        look(file)


def test_too_many() -> None:
    with pytest.raises(CollectedInvalid, match=r"key_files must be a list of at most 4000"):
        look(octets(clean(key_files=[{}] * 4001)))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(CollectedNotFound):
        look(tmp_path / "none")
    with pytest.raises(CollectedNotFound):
        look(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    caught: list[BaseException] = []
    waiting = threading.Thread(target=lambda: caught.extend(failure(tmp_path / "fifo")))
    waiting.start()
    waiting.join(5)
    assert [type(each) for each in caught] == [CollectedInvalid]  # bad usage, not bad luck


def failure(file: Path) -> Iterator[BaseException]:
    try:
        look(file)
    except (CollectedNotFound, CollectedInvalid) as error:
        yield error
