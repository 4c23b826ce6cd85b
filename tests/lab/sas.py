"""Security associations as charon reports them over VICI."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


def text(value: Any) -> Any:
    """A VICI answer with its byte strings decoded, at any depth."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Mapping):
        return {key: text(each) for key, each in value.items()}
    if isinstance(value, list):
        return [text(each) for each in value]
    return value


@dataclass(frozen=True)
class ChildSa:
    """A CHILD_SA; counters are of the inner packets (bytes and packets) since it was installed."""

    name: str
    number: int
    state: str
    spi_in: str
    spi_out: str
    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "ChildSa":
        return cls(
            name=raw["name"],
            number=int(raw["uniqueid"]),
            state=raw["state"],
            spi_in=raw.get("spi-in", ""),
            spi_out=raw.get("spi-out", ""),
            bytes_in=int(raw.get("bytes-in", 0)),
            bytes_out=int(raw.get("bytes-out", 0)),
            packets_in=int(raw.get("packets-in", 0)),
            packets_out=int(raw.get("packets-out", 0)),
            raw=raw,
        )


@dataclass(frozen=True)
class IkeSa:
    """An IKE_SA with its children; `raw` is the whole VICI answer."""

    name: str
    number: int
    state: str
    initiator: bool
    local_id: str
    remote_id: str
    children: tuple[ChildSa, ...]
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, raw: Mapping[str, Any]) -> "IkeSa":
        return cls(
            name=name,
            number=int(raw["uniqueid"]),
            state=raw["state"],
            initiator=raw.get("initiator") == "yes",
            local_id=raw.get("local-id", ""),
            remote_id=raw.get("remote-id", ""),
            children=tuple(ChildSa.of(child) for child in raw.get("child-sas", {}).values()),
            raw=raw,
        )

    @property
    def established(self) -> bool:
        return self.state == "ESTABLISHED"
