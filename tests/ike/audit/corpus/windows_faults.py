"""Faults of Windows gateways, planted in what the collector wrote there."""

from typing import Any, Final

from tests.ike.audit.corpus.planting import WINDOWS, Fault, Plant
from tests.ike.audit.windows import machine
from tests.ike.audit.windows.machine import (
    CERTIFICATE,
    CLIENT,
    DEFAULT,
    EVERYONE,
    IKE_INTERMEDIATE,
    KEYS,
    READ,
    USERS,
    access,
    auth_set,
    crypto_set,
    main_mode,
    pfx,
    psk,
    quick_mode,
    rule,
    tunnel,
)

_KEY = KEYS + "0123ABCD_machine"
_PFX = "C:\\certs\\gw1.pfx"
_MAIN = "NetIPsecMainModeCryptoSet\\" + DEFAULT % 1
_QUICK = "NetIPsecQuickModeCryptoSet\\" + DEFAULT % 2
_AUTH = "NetIPsecPhase1AuthSet\\certificates"
_SITE_C = "NetIPsecPhase1AuthSet\\site c"
_RULE = "NetIPsecRule\\" + rule()["name"]
_OWN = "Cert:\\LocalMachine\\My\\"
_DER: Final = {
    "expired": machine.der(days=-3),
    "expiring": machine.der(days=20),
    "SHA-1": machine.der(sha1=True),
    "RSA 1024": machine.der(kind="rsa1024"),
    "not for servers": machine.der(usages=(CLIENT, IKE_INTERMEDIATE)),
}


def _with(**fields: Any) -> Plant:
    return lambda image: image.document(lambda document: document.update(fields))


def _key(acl: machine.Document) -> Plant:
    return _with(key_files=[{"path": _KEY, "name": "0123ABCD_machine", "access": acl}])


def _main(*args: str, **more: str) -> Plant:
    proposals = (main_mode(), main_mode(*args, **more))
    return _with(main_mode_sets=[crypto_set(DEFAULT % 1, *proposals)])


def _quick(*args: str, pfs: str = "DH20") -> Plant:
    return _with(quick_mode_sets=[crypto_set(DEFAULT % 2, quick_mode(*args), pfs=pfs)])


def _auth(*proposals: machine.Document) -> Plant:
    return _with(auth_sets=[auth_set("certificates", *proposals)])


def _certified(which: str, rule_id: str) -> Fault:
    given = machine.certificate(_DER[which])
    path = _OWN + given["thumbprint"]
    return Fault(
        f"a certificate in Windows: {which}", WINDOWS, _with(certificates=[given]), rule_id, path
    )


def _exportable(image: Any) -> None:
    image.document(lambda document: document["certificates"][0].update(exportable=True))


_OWN_THUMBPRINT = machine.clean()["certificates"][0]["thumbprint"]
_TWO = _with(auth_sets=[auth_set("certificates", psk()), auth_set("site c", psk())])
FAULTS: Final[tuple[Fault, ...]] = (
    Fault(
        "everyone reads a key", WINDOWS, _key(access((EVERYONE, READ))), "windows-key-open", _KEY
    ),
    Fault(
        "a user owns a key",
        WINDOWS,
        _key(access(owner="S-1-5-21-1-2-3-1001")),
        "windows-key-owner",
        _KEY,
    ),
    Fault(
        "an exportable key", WINDOWS, _exportable, "windows-key-exportable", _OWN + _OWN_THUMBPRINT
    ),
    Fault(
        "users read a PFX file",
        WINDOWS,
        _with(pfx_files=[pfx(access=access((USERS, READ)))]),
        "windows-pfx-open",
        _PFX,
    ),
    Fault("a PFX file", WINDOWS, _with(pfx_files=[pfx()]), "windows-pfx-left", _PFX),
    Fault("main mode with DES", WINDOWS, _main("DES"), "windows-cipher-des", _MAIN),
    Fault("main mode with 3DES", WINDOWS, _main("DES3"), "windows-cipher-3des", _MAIN),
    Fault("main mode with MD5", WINDOWS, _main(hash_="MD5"), "windows-hash-md5", _MAIN),
    Fault("main mode with SHA-1", WINDOWS, _main(hash_="SHA1"), "windows-hash-sha1", _MAIN),
    Fault("main mode with DH2", WINDOWS, _main(group="DH2"), "windows-group-weak", _MAIN),
    Fault(
        "quick mode without a cipher",
        WINDOWS,
        _quick("None", "SHA256"),
        "windows-cipher-none",
        _QUICK,
    ),
    Fault(
        "quick mode without integrity",
        WINDOWS,
        _quick("AES256", "None"),
        "windows-hash-none",
        _QUICK,
    ),
    Fault("quick mode without PFS", WINDOWS, _quick(pfs="None"), "windows-pfs-none", _QUICK),
    Fault(
        "built-in proposals",
        WINDOWS,
        _with(main_mode_sets=[]),
        "windows-defaults",
        "NetIPsecMainModeCryptoSet",
    ),
    Fault(
        "VPN server with built-in proposals",
        WINDOWS,
        _with(vpn=[tunnel(custom=False, group="", encryption="")]),
        "windows-defaults",
        "VpnServer",
    ),
    Fault("PSK in Windows", WINDOWS, _auth(CERTIFICATE, psk()), "windows-psk", _AUTH),
    Fault(
        "VPN interface with PSK",
        WINDOWS,
        _with(vpn=[tunnel(name="edge1", method="PSKOnly")]),
        "windows-psk",
        "VpnS2SInterface\\edge1",
    ),
    Fault(
        "a short PSK in Windows",
        WINDOWS,
        _auth(psk(length=12)),
        "windows-psk-short",
        _AUTH,
        (("windows-psk", _AUTH),),
    ),
    Fault(
        "one PSK in two sets",
        WINDOWS,
        _TWO,
        "windows-psk-reused",
        _AUTH,
        (("windows-psk", _AUTH), ("windows-psk", _SITE_C), ("windows-psk-reused", _SITE_C)),
    ),
    Fault(
        "anonymous peers",
        WINDOWS,
        _auth(CERTIFICATE, {"method": "Anonymous", "psk": None}),
        "windows-auth-none",
        _AUTH,
    ),
    Fault(
        "IKEv1 in Windows", WINDOWS, _with(rules=[rule(key_module="IKEv1")]), "windows-ikev1", _RULE
    ),
    Fault(
        "in the clear",
        WINDOWS,
        _with(rules=[rule(outbound="Request")]),
        "windows-clear-text",
        _RULE,
    ),
    _certified("expired", "windows-certificate-expired"),
    _certified("expiring", "windows-certificate-expiring"),
    _certified("SHA-1", "windows-certificate-sha1"),
    _certified("RSA 1024", "windows-certificate-weak-key"),
    _certified("not for servers", "windows-certificate-usage"),
)
