"""What charon answers to `list-sas`, as associations. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ike.sas import proofs
from ike.sas.association import Association, Child

_ALGORITHMS: Final = ("encr-alg", "integ-alg", "prf-alg", "dh-group")
_KEY_EXCHANGES: Final = tuple(f"ake{number}" for number in range(1, 8))
_NAT: Final = ("nat-local", "nat-remote", "nat-fake", "nat-any")


def associations(
    listed: Iterable[Mapping[str, Any]], held: proofs.Charon | None = None
) -> list[Association]:
    """The messages of `list-sa`, their values as text; with what charon holds, the proofs too. What is no SA in them is
    left out.
    """
    return [
        _association(name, raw, held)
        for message in listed
        for name, raw in message.items()
        if isinstance(raw, Mapping)
    ]


def _association(name: str, raw: Mapping[str, Any], held: proofs.Charon | None) -> Association:
    local, remote = proofs.of_charon(name, raw, held) if held is not None else (None, None)
    children = tuple(_child(each) for each in _mappings(raw.get("child-sas")))
    behind = any(raw.get(each) == "yes" for each in _NAT)
    return Association(
        source="vici",
        connection=name,
        number=raw.get("uniqueid", ""),
        version=f"IKEv{raw['version']}" if raw.get("version") else "",
        state=raw.get("state", "").lower(),
        local=raw.get("local-host", ""),
        remote=raw.get("remote-host", ""),
        local_id=raw.get("local-id", ""),
        remote_id=raw.get("remote-eap-id")
        or raw.get("remote-xauth-id")
        or raw.get("remote-id", ""),
        local_proof=local,
        remote_proof=remote,
        algorithms=_algorithms(raw),
        nat_t=behind or any(child.nat_t for child in children),
        spi_initiator=raw.get("initiator-spi", ""),
        spi_responder=raw.get("responder-spi", ""),
        initiator=raw.get("initiator") == "yes",
        age_seconds=_number(raw.get("established")),
        rekey_seconds=_number(raw.get("rekey-time")),
        reauth_seconds=_number(raw.get("reauth-time")),
        children=children,
    )


def _child(raw: Mapping[str, Any]) -> Child:
    age, left = _number(raw.get("install-time")), _number(raw.get("life-time"))
    return Child(
        name=raw.get("name", ""),
        number=raw.get("uniqueid", ""),
        state=raw.get("state", "").lower(),
        protocol=raw.get("protocol", ""),
        mode=raw.get("mode", "").lower(),
        nat_t=raw.get("encap") == "yes",
        algorithms=_algorithms(raw),
        spi_in=raw.get("spi-in", ""),
        spi_out=raw.get("spi-out", ""),
        local_ts=tuple(raw.get("local-ts", ())),
        remote_ts=tuple(raw.get("remote-ts", ())),
        bytes_in=_number(raw.get("bytes-in")),
        bytes_out=_number(raw.get("bytes-out")),
        age_seconds=age,
        rekey_seconds=_number(raw.get("rekey-time")),
        expire_seconds=left,
        lifetime_seconds=None if age is None or left is None else age + left,
    )


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, Mapping):
        return []
    return [each for each in value.values() if isinstance(each, Mapping)]


def _algorithms(raw: Mapping[str, Any]) -> str:
    """As charon writes a proposal: `AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256`."""
    parts = []
    for each in (*_ALGORITHMS, *_KEY_EXCHANGES):
        size = raw.get(each.replace("alg", "keysize")) if each.endswith("-alg") else None
        if raw.get(each):
            parts.append(f"{raw[each]}-{size}" if size else raw[each])
    if raw.get("ppk") == "yes":
        parts.append("PPK")
    return "/".join(parts)


def _number(text: Any) -> int | None:
    try:
        return int(text)
    except (TypeError, ValueError):
        return None
