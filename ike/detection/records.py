"""State as JSON and back: records of slots, dicts with any key, tuples, lists and plain values."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any


def packed(value: Any) -> Any:
    """`value` as what `json` can write: a record gives its fields in order, dicts and tuples are marked as such."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [packed(each) for each in value]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {"r": type(value).__name__, "v": [packed(each) for each in value]}
    if isinstance(value, tuple):
        return {"t": [packed(each) for each in value]}
    if isinstance(value, dict):
        return {"d": [[packed(key), packed(each)] for key, each in value.items()]}
    loose = getattr(type(value), "LOOSE", ())
    held = [packed(getattr(value, one.name)) for one in fields(value) if one.name not in loose]
    return {"r": type(value).__name__, "v": held}


def unpacked(value: Any, classes: Mapping[str, Callable[..., Any]]) -> Any:
    """What `packed` was given; records are made by `classes`, and by no others (KeyError)."""
    if isinstance(value, list):
        return [unpacked(each, classes) for each in value]
    if not isinstance(value, dict):
        return value
    if "t" in value:
        return tuple(unpacked(each, classes) for each in value["t"])
    if "d" in value:
        return {unpacked(key, classes): unpacked(each, classes) for key, each in value["d"]}
    return classes[value["r"]](*(unpacked(each, classes) for each in value["v"]))
