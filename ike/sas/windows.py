"""What Windows prints of its SAs: English `netsh advfirewall monitor show mmsa|qmsa`, and PowerShell's JSON. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ike.sas.association import INFERRED, TOLD, Association, Child, Proof
from ike.sas.proofs import CERTIFICATE, SECRET

#: Begins an SA in netsh's text.
NETSH: Final = re.compile(r"(?:Main|Quick) Mode SA at ", re.IGNORECASE)
_AUTHENTICATIONS: Final = ((1, "first"), (2, "second"))
_LIFETIME: Final = re.compile(r"\+\s*(\d+)\s*min\b", re.IGNORECASE)
_BEHIND: Final = re.compile(r"\s*\+\s*\d+\s*(?:min|kb)\b", re.IGNORECASE)

# MSFT_NetMainModeSA and MSFT_NetQuickModeSA, as Microsoft lists their values.
_CIPHERS: Final = {
    2: "DES",
    6: "3DES",
    65001: "AES-128",
    65002: "AES-192",
    65003: "AES-256",
    65004: "AES-GCM-128",
    65005: "AES-GCM-192",
    65006: "AES-GCM-256",
}
_HASHES: Final = {
    2: "MD5",
    3: "SHA-1",
    65001: "SHA-256",
    65002: "SHA-384",
    65003: "AES-GMAC-128",
    65004: "AES-GMAC-192",
    65005: "AES-GMAC-256",
}
_WAYS: Final = (
    ("cert", CERTIFICATE),
    ("psk", SECRET),
    ("kerb", "Kerberos"),
    ("ntlm", "NTLM"),
    ("anonymous", "none"),
)
# IKEEXT_AUTHENTICATION_METHOD_TYPE. That an identity's number is one of these is nowhere said.
_METHODS: Final = {
    0: SECRET,
    1: CERTIFICATE,
    2: "Kerberos",
    3: "none",
    4: CERTIFICATE,
    5: "NTLM",
    7: CERTIFICATE,
    8: CERTIFICATE,
    9: CERTIFICATE,
    10: CERTIFICATE,
    11: "EAP",
}
_BY_NUMBER: Final = "by the number that Windows gives the method"
_NO_CERTIFICATE: Final = "Windows does not tell which certificate"
_MODULES: Final = {0: "IKEv1", 1: "AuthIP", 2: "IKEv2"}
_AH, _LAST_TRANSFORM = 1, 5
_MODES: Final = {2: "tunnel", 3: "transport"}
_ALL_GROUPS: Final = 65535


def of_netsh(text: str) -> list[Association]:
    """Main and quick mode SAs of netsh's text; a quick mode goes with the main mode of the same two addresses."""
    mains, quicks = [], []
    for told in _blocks(text):
        ends = (told.get("local ip address", ""), told.get("remote ip address", ""))
        if "qm offer" in told:
            quicks.append((ends, _quick_told(told)))
        else:
            mains.append(_main_told(told, ends))
    return _together("netsh", mains, quicks)


def _blocks(text: str) -> Iterator[Mapping[str, str]]:
    told: dict[str, str] = {}
    for line in text.splitlines():
        if NETSH.match(line.strip()):
            if told:
                yield told
            told = {}
            continue
        name, colon, value = line.partition(":")
        if colon:
            told[name.strip().lower()] = value.strip()
    if told:
        yield told


def _main_told(told: Mapping[str, str], ends: tuple[str, str]) -> Association:
    cookies = told.get("cookie pair", "").partition(":")
    ways = [told.get(f"auth{n}") or told.get(f"{word} auth") for n, word in _AUTHENTICATIONS]
    shown = [way for way in ways if way and way != "None"]
    return Association(
        source="netsh",
        local=ends[0],
        remote=ends[1],
        local_id=told.get("my id") or told.get("auth1 local id", ""),
        remote_id=told.get("peer id") or told.get("auth1 remote id", ""),
        authentication=", ".join(shown),
        local_proof=_proof_told(shown),
        remote_proof=_proof_told(shown),
        algorithms=told.get("mm offer", ""),
        spi_initiator=cookies[0],
        spi_responder=cookies[2],
    )


def _proof_told(ways: Sequence[str]) -> Proof | None:
    """Both ends prove themselves in the way that netsh names."""
    methods = [
        next((word for part, word in _WAYS if part in way.lower()), way.lower()) for way in ways
    ]
    if not methods:
        return None
    remark = _NO_CERTIFICATE if CERTIFICATE in methods else ""
    return Proof(" + ".join(methods), TOLD, remark=remark)


def _quick_told(told: Mapping[str, str]) -> Child:
    offer = told.get("qm offer", "")
    minutes = _LIFETIME.search(offer)
    transforms = _BEHIND.sub("", offer)
    protocols = [each for each in ("AH", "ESP") if f"{each}:" in transforms.upper()]
    return Child(
        protocol="+".join(protocols),
        algorithms=transforms,
        lifetime_seconds=int(minutes[1]) * 60 if minutes and len(minutes[1]) < 9 else None,
    )


def of_powershell(document: Any) -> list[Association]:
    """`Get-NetIPsecMainModeSA | ConvertTo-Json` and the same of quick mode SAs; both may stand in one list.

    Quick mode SAs come as one entry for each direction, or one for both. What is no such object is passed over.
    """
    entries = [each for each in _flat(document) if isinstance(each, Mapping)]
    mains = [_main_shown(each) for each in entries if "InitiatorCookie" in each]
    quicks = [each for each in entries if "FirstTransformType" in each]
    return _together("powershell", mains, _directions(quicks))


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from _flat(each)
    elif isinstance(value, Mapping) and isinstance(value.get("value"), list):
        yield from value["value"]  # as Windows PowerShell 5 wraps a list
    else:
        yield value


def _main_shown(raw: Mapping[str, Any]) -> Association:
    group = _number(raw, "GroupId")
    parts = [
        _CIPHERS.get(_number(raw, "CipherAlgorithm")),
        _HASHES.get(_number(raw, "HashAlgorithm")),
    ]
    parts.append(f"DH{group}" if group else None)
    return Association(
        source="powershell",
        local=_text(raw, "LocalEndpoint"),
        remote=_text(raw, "RemoteEndpoint"),
        version=_MODULES.get(_number(raw, "KeyModule", -1), ""),
        local_id=_identity(raw, "LocalFirstId"),
        remote_id=_identity(raw, "RemoteFirstId"),
        local_proof=_proof_shown(raw, "Local"),
        remote_proof=_proof_shown(raw, "Remote"),
        algorithms="/".join(filter(None, parts)),
        nat_t=bool(_number(raw, "RemoteUdpEncapsulationPort")),
        spi_initiator=_hexadecimal(raw, "InitiatorCookie", 16),
        spi_responder=_hexadecimal(raw, "ResponderCookie", 16),
    )


def _identity(raw: Mapping[str, Any], name: str) -> str:
    """A text, or an object of MSFT_NetIPsecIdentity."""
    value = raw.get(name)
    return _text(value, "Identity") if isinstance(value, Mapping) else _text(raw, name)


def _proof_shown(raw: Mapping[str, Any], end: str) -> Proof | None:
    given = [raw.get(f"{end}{which}Id") for which in ("First", "Second")]
    numbers = [
        _number(each, "AuthenticationMethod", -1)
        for each in given
        if isinstance(each, Mapping) and each.get("Identity")
    ]
    methods = [_METHODS[each] for each in numbers if each in _METHODS]
    if not methods:
        return None
    remark = _BY_NUMBER + (f"; {_NO_CERTIFICATE}" if CERTIFICATE in methods else "")
    return Proof(" + ".join(methods), INFERRED, remark=remark)


def _directions(entries: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[str, str], Child]]:
    """Entries of both directions put together: those that differ in nothing else."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    ends: dict[tuple[Any, ...], tuple[str, str]] = {}
    counted: dict[tuple[Any, ...], int] = {}
    for raw in entries:
        fields = _quick_fields(raw)
        pair = (_text(raw, "LocalEndpoint"), _text(raw, "RemoteEndpoint"))
        ports = (_number(raw, "LocalPort"), _number(raw, "RemotePort"), _number(raw, "IpProtocol"))
        same = (pair, ports, tuple(sorted(fields.items())))
        way = "spi_in" if raw.get("InboundDirection") is not False else "spi_out"
        nth = counted[(*same, way)] = counted.get((*same, way), 0) + 1
        key = (*same, nth)
        found.setdefault(key, dict(fields))[way] = _hexadecimal(raw, "SPI", 8)
        ends[key] = pair
    return [(ends[key], Child(**fields)) for key, fields in found.items()]


def _quick_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    protocols: list[str] = []
    parts: list[str] = []
    for which in ("First", "Second"):
        kind = _number(raw, f"{which}TransformType")
        if not 0 < kind <= _LAST_TRANSFORM:
            continue
        protocols.append("AH" if kind == _AH else "ESP")
        cipher = _CIPHERS.get(_number(raw, f"{which}CipherAlgorithm"))
        integrity = _HASHES.get(_number(raw, f"{which}IntegrityAlgorithm"))
        parts += filter(None, (cipher if kind != _AH else None, integrity))
    group = _number(raw, "PfsGroupId")
    if 0 < group < _ALL_GROUPS:
        parts.append(f"DH{group}")
    return {
        "protocol": "+".join(dict.fromkeys(protocols)),
        "mode": _MODES.get(_number(raw, "EncapsulationMode"), ""),
        "algorithms": "/".join(parts),
        "nat_t": bool(_number(raw, "RemoteUdpEncapsulationPort")),
        "lifetime_seconds": _number(raw, "LifetimeSeconds") or None,
    }


def _together(
    source: str,
    mains: Sequence[Association],
    quicks: Sequence[tuple[tuple[str, str], Child]],
) -> list[Association]:
    children: dict[tuple[str, str], list[Child]] = {}
    for ends, child in quicks:
        children.setdefault(ends, []).append(child)
    found = []
    for main in mains:  # where there are two of the same ends, the first has the children
        found.append(replace(main, children=tuple(children.pop((main.local, main.remote), ()))))
    for (local, remote), alone in children.items():
        found.append(Association(source, local, remote, children=tuple(alone)))
    return found


def _number(raw: Mapping[str, Any], name: str, otherwise: int = 0) -> int:
    value = raw.get(name)
    if isinstance(value, Mapping):  # an enumeration, as ConvertTo-Json may write it
        value = value.get("value")
    return value if isinstance(value, int) and value >= 0 else otherwise


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) else ""


def _hexadecimal(raw: Mapping[str, Any], name: str, digits: int) -> str:
    number = _number(raw, name)
    return f"{number:0{digits}x}" if number else ""
