"""What standards say of algorithms and lifetimes. Data, and the one question that is asked of it.

A baseline either names what must not be (`against`), or all that may be (`allowed`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from ike.audit.configuration.proposals import Protocol
from ike.audit.configuration.transforms import Kind, Transform

_DAY: Final = 86400
_HOUR: Final = 3600
_ALL: Final = (128, 192, 256)
# Names with the lengths of keys that may be; without any where there are none.
Allowed = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Baseline:
    """A standard. Lifetimes are in seconds, `text` is its name, references its sections by what they are about."""

    name: str
    text: str
    references: Mapping[str, str]
    ike_life: int
    child_life: int
    allowed: Mapping[tuple[Protocol, Kind], Allowed] = field(default_factory=dict)
    against: Mapping[str, str] = field(default_factory=dict)  # name → what the standard says of it
    additional: Allowed = field(default_factory=dict)  # key exchanges that it asks for beside
    required: str = ""  # a key exchange that must not be left out
    wants_pfs: bool = False
    # What is to be written instead for IKE and for ESP, in the words of each daemon; empty where it has nothing.
    strongswan: tuple[str, str] = ("aes256gcm16-prfsha384-ecp384", "aes256gcm16-ecp384")
    libreswan: tuple[str, str] = ("aes_gcm256-sha2_512;dh20", "aes_gcm256;dh20")
    # IKEv1 has no AEAD for itself, and pluto has no curves for its PFS.
    strongswan_ikev1: tuple[str, str] = ("aes256-sha384-ecp384", "aes256gcm16-ecp384")
    libreswan_ikev1: tuple[str, str] = ("aes256-sha2_384;dh20", "aes_gcm256;modp3072")
    either: tuple[str, str] = ("aes256-sha2_384-modp3072", "aes256-sha2_384-modp3072")
    racoon: tuple[str, str] = (
        "encryption_algorithm aes 256; hash_algorithm sha384; dh_group modp3072;",
        "encryption_algorithm aes 256; authentication_algorithm hmac_sha384; pfs_group modp3072;",
    )
    cited: tuple[str, ...] = ()  # how references to it begin

    def objection(self, transform: Transform, protocol: Protocol) -> str:
        """What it has against an algorithm, empty where nothing."""
        said = self.against.get(transform.name)
        if said:
            return said
        named = self.allowed.get((protocol, transform.kind))
        if named is None or transform.name == "KE_NONE":
            return ""
        if transform.turn and transform.name in self.additional:
            return ""
        sizes = named.get(transform.name)
        if sizes is None:
            return f"is not among those of {self.where(protocol, transform.kind)}"
        if sizes and not _fits(transform.bits, sizes):
            wanted = " or ".join(map(str, sizes))
            return f"needs a key of {wanted} bits by {self.where(protocol, transform.kind)}"
        return ""

    def sources(self, references: Iterable[str]) -> tuple[str, ...]:
        """Of the references of a rule those that are of this baseline, or of none."""
        others = {start for each in BASELINES.values() for start in each.cited} - {*self.cited}
        return tuple(each for each in references if not each.startswith(tuple(others)))

    def where(self, protocol: Protocol, kind: Kind) -> str:
        """The standard and its section."""
        about = "group" if kind is Kind.EXCHANGE else f"{protocol.lower()} {kind.lower()}"
        section = self.references.get(about) or self.references.get(protocol.lower(), "")
        return f"{self.text}, {section}" if section else self.text


def _fits(bits: int, sizes: tuple[int, ...]) -> bool:
    # Without a length every one of them is offered.
    return bits in sizes if bits else set(sizes) >= set(_ALL)


def _names(*names: str, sizes: tuple[int, ...] = ()) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(names, sizes)


def _allowed(
    ike: tuple[Allowed, Allowed], esp: tuple[Allowed, Allowed], prfs: Allowed, groups: Allowed
) -> Mapping[tuple[Protocol, Kind], Allowed]:
    """From encryption and integrity of IKE, of ESP, PRFs and groups."""
    found: dict[tuple[Protocol, Kind], Allowed] = {
        (Protocol.IKE, Kind.ENCRYPTION): ike[0],
        (Protocol.IKE, Kind.INTEGRITY): ike[1],
        (Protocol.IKE, Kind.PRF): prfs,
        (Protocol.ESP, Kind.ENCRYPTION): esp[0],
        (Protocol.ESP, Kind.INTEGRITY): esp[1],
        (Protocol.AH, Kind.INTEGRITY): esp[1],
    }
    for protocol in Protocol:
        found[protocol, Kind.EXCHANGE] = groups
    return MappingProxyType(found)


# ---------------------------------------------------------------- RFC 8247, RFC 8221

_DES: Final = "MUST NOT be used (RFC 8247 §2.1, RFC 8221 §5)"
_BLOWFISH: Final = "MUST NOT be used for ESP (RFC 8221 §5), and is deprecated (RFC 9395 §5)"
_CAST: Final = "is deprecated (RFC 9395 §5)"
_MD5: Final = "MUST NOT be used (RFC 8247 §2.2 and §2.3, RFC 8221 §6)"
_SHA1: Final = "is MUST- and on its way out (RFC 8247 §2.2 and §2.3, RFC 8221 §6)"
_BROKEN_GROUP: Final = "MUST NOT be used (RFC 8247 §2.4)"
_DOUBTFUL_GROUP: Final = "SHOULD NOT be used (RFC 8247 §2.4)"
_RFC_AGAINST: Final = {
    "DES_CBC": _DES,
    "BLOWFISH_CBC": _BLOWFISH,
    "CAST_CBC": _CAST,
    "3DES_CBC": "is no more than MAY for IKE (RFC 8247 §2.1) and SHOULD NOT for ESP (RFC 8221 §5)",
    **dict.fromkeys(("HMAC_MD5_96", "HMAC_MD5_128", "PRF_HMAC_MD5"), _MD5),
    **dict.fromkeys(("HMAC_SHA1_96", "HMAC_SHA1_160", "PRF_HMAC_SHA1"), _SHA1),
    "HMAC_SHA2_256_96": "is truncated against RFC 4868 §2.3, for peers that are broken",
    **dict.fromkeys(("MODP_768", "MODP_1024_160"), _BROKEN_GROUP),
    **dict.fromkeys(("MODP_1024", "MODP_1536", "MODP_2048_224", "MODP_2048_256"), _DOUBTFUL_GROUP),
    "MODP_NULL": "is no key exchange at all, but a means for tests",
    **dict.fromkeys(("ECP_192", "NTRU_112"), "has less than 112 bits of strength"),
}
RFC: Final = Baseline(
    name="rfc",
    text="RFC 8247 and RFC 8221",
    references={
        "ike": "§2",
        "esp": "§5",
        "ah": "§6",
        "group": "§2.4",
        "lifetime": "the baseline rfc",
    },
    # RFC 7296 §2.8 leaves lifetimes to the ends; a day is the most that IKE implementations are made for.
    ike_life=_DAY,
    child_life=_DAY,
    against=_RFC_AGAINST,
    cited=("RFC 8247", "RFC 8221"),
)

# ---------------------------------------------------------------- NIST SP 800-77r1

_SHA2: Final = _names("HMAC_SHA2_256_128", "HMAC_SHA2_384_192", "HMAC_SHA2_512_256")
_SHA2_PRFS: Final = _names("PRF_HMAC_SHA2_256", "PRF_HMAC_SHA2_384", "PRF_HMAC_SHA2_512")
_NIST_AES: Final = _names(
    *("AES_GCM_16", "AES_GCM_12", "AES_GCM_8", "AES_CCM_16", "AES_CCM_12", "AES_CCM_8"),
    *("AES_CBC", "AES_CTR"),
    sizes=_ALL,
)
NIST: Final = Baseline(
    name="nist",
    text="NIST SP 800-77r1",
    references={
        "ike": "Table 1",
        "esp": "Table 1",
        "ah": "§4.5",
        "group": "§7.2.4.2 and Table 1",
        "pfs": "§7.2.6",
        "lifetime": "NIST SP 800-77r1 Table 1",
    },
    ike_life=_DAY,
    child_life=8 * _HOUR,
    allowed=_allowed(
        (_NIST_AES, _SHA2),
        (
            {**_NIST_AES, "NULL": (), "NULL_AES_GMAC": _ALL},
            {**_SHA2, **_names("AES_128_GMAC", "AES_192_GMAC", "AES_256_GMAC")},
        ),
        _SHA2_PRFS,
        # 31 and 32 stand there as expected, and are approved since SP 800-186.
        _names(
            *("MODP_2048", "MODP_3072", "MODP_4096", "MODP_6144", "MODP_8192"),
            *("ECP_256", "ECP_384", "ECP_521", "CURVE_25519", "CURVE_448"),
        ),
    ),
    additional=_names("ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"),
    wants_pfs=True,
    cited=("NIST SP 800-77r1",),
)

# ---------------------------------------------------------------- CNSA

_NOTHING: Final = ("", "")
_CNSA_CIPHERS: Final = _names("AES_GCM_16", "AES_CBC", sizes=(256,))
CNSA1: Final = Baseline(
    name="cnsa1",
    text="CNSA 1.0",
    references={
        **dict.fromkeys(("ike", "esp", "ah", "group"), "RFC 9206 §5"),
        "lifetime": "NIST SP 800-77r1 Table 1",
    },
    ike_life=_DAY,
    child_life=8 * _HOUR,
    allowed=_allowed(
        (_CNSA_CIPHERS, _names("HMAC_SHA2_384_192")),
        (_CNSA_CIPHERS, _names("HMAC_SHA2_384_192")),
        _names("PRF_HMAC_SHA2_384"),
        _names("ECP_384", "MODP_3072", "MODP_4096"),
    ),
    wants_pfs=True,
    libreswan=("aes_gcm256-sha2_384;dh20", "aes_gcm256;dh20"),
    cited=("RFC 9206",),
)
CNSA2: Final = Baseline(
    name="cnsa2",
    text="CNSA 2.0",
    references={
        **dict.fromkeys(("ike", "esp", "ah"), "draft-guthrie-cnsa2-ipsec-profile-04"),
        "group": "draft-guthrie-cnsa2-ipsec-profile-04 §3",
        "lifetime": "NIST SP 800-77r1 Table 1",
    },
    ike_life=_DAY,
    child_life=8 * _HOUR,
    allowed=_allowed(
        (_names("AES_GCM_16", sizes=(256,)), _names("HMAC_SHA2_384_192", "HMAC_SHA2_512_256")),
        (_names("AES_GCM_16", sizes=(256,)), {}),
        _names("PRF_HMAC_SHA2_384", "PRF_HMAC_SHA2_512"),
        # The first exchange may be any that its IKE SA needs to be made; ML-KEM-1024 is what counts.
        _names("ECP_384", "MODP_3072", "MODP_4096", "ML_KEM_1024"),
    ),
    additional=_names("ML_KEM_1024"),
    required="ML_KEM_1024",
    wants_pfs=True,
    strongswan=(
        "aes256gcm16-prfsha384-ecp384-ke1_mlkem1024",
        "aes256gcm16-ecp384-ke1_mlkem1024",
    ),
    libreswan=("aes_gcm256-sha2_512-dh20-ml_kem_1024", "aes_gcm256;dh20"),
    # All of this is IKEv2's: the older one has no ML-KEM.
    strongswan_ikev1=_NOTHING,
    libreswan_ikev1=_NOTHING,
    either=_NOTHING,
    racoon=_NOTHING,
    cited=("draft-guthrie-cnsa2-ipsec-profile", "NSA CNSA 2.0"),
)

# ---------------------------------------------------------------- BSI TR-02102-3

_BSI_AEAD: Final = ("AES_GCM_16", "AES_GCM_12", "AES_CCM_16", "AES_CCM_12")
_BSI_CIPHERS: Final = _names("AES_CBC", "AES_CTR", *_BSI_AEAD, sizes=_ALL)
_BSI_INTEGRITY: Final = {**_SHA2, "AES_XCBC_96": (), "AES_CMAC_96": ()}
BSI: Final = Baseline(
    name="bsi",
    text="BSI TR-02102-3",
    references={
        "ike": "§3.2",
        "ike prf": "§3.2.2",
        "group": "§3.2",
        **dict.fromkeys(("esp", "ah"), "§3"),
        "pfs": "§2.1.5",
        "lifetime": "BSI TR-02102-3",
    },
    ike_life=_DAY,
    child_life=4 * _HOUR,
    allowed=_allowed(
        (_BSI_CIPHERS, _BSI_INTEGRITY),
        (_BSI_CIPHERS, _BSI_INTEGRITY),
        {**_SHA2_PRFS, "PRF_AES128_XCBC": (), "PRF_AES128_CMAC": ()},
        _names(
            *("MODP_3072", "MODP_4096", "ECP_256", "ECP_384", "ECP_521"),
            *("ECP_256_BP", "ECP_384_BP", "ECP_512_BP"),
        ),
    ),
    additional=_names("ML_KEM_768", "ML_KEM_1024"),
    wants_pfs=True,
    cited=("BSI TR-02102-3",),
)

BASELINES: Final[Mapping[str, Baseline]] = MappingProxyType(
    {each.name: each for each in (RFC, NIST, CNSA1, CNSA2, BSI)}
)
