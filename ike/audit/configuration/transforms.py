"""Algorithms as IKE knows them, and the names that strongSwan and Libreswan have for them. Pure.

Names are those of IANA as charon prints them, without ENCR_, AUTH_ and the like; PRFs keep their PRF_.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Kind(StrEnum):
    """What a transform is for (RFC 7296 §3.3.2)."""

    ENCRYPTION = "encryption"
    INTEGRITY = "integrity"
    PRF = "PRF"
    EXCHANGE = "key exchange"
    SEQUENCE = "extended sequence numbers"


@dataclass(frozen=True)
class Transform:
    """An algorithm. `bits` is the length of its key where it has several, 0 for each of them where none is named.

    `turn` is 0 for the key exchange that every IKE SA has, 1 to 7 for the additional ones of RFC 9370.
    """

    kind: Kind
    name: str
    bits: int = 0
    turn: int = 0

    def __str__(self) -> str:
        turn = f"KE{self.turn}_" if self.turn else ""
        return f"{turn}{self.name}{f'_{self.bits}' if self.bits else ''}"

    @property
    def is_aead(self) -> bool:
        """Whether it protects integrity by itself."""
        return self.name.startswith(_AEAD)


_AEAD: Final = (
    *("AES_GCM", "AES_CCM", "CAMELLIA_CCM", "CAMELLIA_GCM", "CHACHA20_POLY1305"),
    "NULL_AES_GMAC",
)
_SIZES: Final = (128, 192, 256)
# The names of RFC 4306's and later registries, and of the daemons, for one group.
GROUPS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "KE_NONE": 0,
        "MODP_768": 1,
        "MODP_1024": 2,
        "MODP_1536": 5,
        "MODP_2048": 14,
        "MODP_3072": 15,
        "MODP_4096": 16,
        "MODP_6144": 17,
        "MODP_8192": 18,
        "ECP_256": 19,
        "ECP_384": 20,
        "ECP_521": 21,
        "MODP_1024_160": 22,
        "MODP_2048_224": 23,
        "MODP_2048_256": 24,
        "ECP_192": 25,
        "ECP_224": 26,
        "ECP_224_BP": 27,
        "ECP_256_BP": 28,
        "ECP_384_BP": 29,
        "ECP_512_BP": 30,
        "CURVE_25519": 31,
        "CURVE_448": 32,
        "ML_KEM_512": 35,
        "ML_KEM_768": 36,
        "ML_KEM_1024": 37,
    }
)
_OTHER_GROUPS: Final = ("MODP_NULL", "NTRU_112", "NTRU_128", "NTRU_192", "NTRU_256", "NEWHOPE_128")
# An integrity algorithm stands for the PRF of its hash where a proposal names none.
PRF_OF: Final[Mapping[str, str]] = MappingProxyType(
    {
        "HMAC_SHA1_96": "PRF_HMAC_SHA1",
        "HMAC_SHA1_160": "PRF_HMAC_SHA1",
        "HMAC_SHA2_256_128": "PRF_HMAC_SHA2_256",
        "HMAC_SHA2_384_192": "PRF_HMAC_SHA2_384",
        "HMAC_SHA2_512_256": "PRF_HMAC_SHA2_512",
        "HMAC_MD5_96": "PRF_HMAC_MD5",
        "HMAC_MD5_128": "PRF_HMAC_MD5",
        "AES_XCBC_96": "PRF_AES128_XCBC",
        "CAMELLIA_XCBC_96": "PRF_CAMELLIA128_XCBC",
        "AES_CMAC_96": "PRF_AES128_CMAC",
    }
)
_INTEGRITY: Final = {
    "sha": "HMAC_SHA1_96",
    "sha1": "HMAC_SHA1_96",
    "sha1_160": "HMAC_SHA1_160",
    "sha256": "HMAC_SHA2_256_128",
    "sha2_256": "HMAC_SHA2_256_128",
    "sha256_96": "HMAC_SHA2_256_96",
    "sha2_256_96": "HMAC_SHA2_256_96",
    "sha384": "HMAC_SHA2_384_192",
    "sha2_384": "HMAC_SHA2_384_192",
    "sha512": "HMAC_SHA2_512_256",
    "sha2_512": "HMAC_SHA2_512_256",
    "md5": "HMAC_MD5_96",
    "md5_128": "HMAC_MD5_128",
    "aesxcbc": "AES_XCBC_96",
    "camelliaxcbc": "CAMELLIA_XCBC_96",
    "aescmac": "AES_CMAC_96",
}
_PRFS: Final = {
    "sha1": "PRF_HMAC_SHA1",
    "sha256": "PRF_HMAC_SHA2_256",
    "sha384": "PRF_HMAC_SHA2_384",
    "sha512": "PRF_HMAC_SHA2_512",
    "md5": "PRF_HMAC_MD5",
    "aesxcbc": "PRF_AES128_XCBC",
    "camelliaxcbc": "PRF_CAMELLIA128_XCBC",
    "aescmac": "PRF_AES128_CMAC",
}
_OTHER_CIPHERS: Final = {
    "null": ("NULL", 0),
    "des": ("DES_CBC", 0),
    "3des": ("3DES_CBC", 0),
    "aes": ("AES_CBC", 128),
    "camellia": ("CAMELLIA_CBC", 128),
    "blowfish": ("BLOWFISH_CBC", 128),
    "serpent": ("SERPENT_CBC", 128),
    "twofish": ("TWOFISH_CBC", 128),
    "cast128": ("CAST_CBC", 128),
    "chacha20poly1305": ("CHACHA20_POLY1305", 0),
    "chacha20poly1305compat": ("CHACHA20_POLY1305", 256),
}


def _ciphers() -> Iterator[tuple[str, str, int]]:
    for name, (algorithm, bits) in _OTHER_CIPHERS.items():
        yield name, algorithm, bits
    for bits in _SIZES:
        for family in ("aes", "camellia"):
            yield f"{family}{bits}", f"{family.upper()}_CBC", bits
            yield f"{family}{bits}ctr", f"{family.upper()}_CTR", bits
            for octets in (8, 12, 16):
                for written in (octets, octets * 8):  # by octets or by bits
                    yield f"{family}{bits}ccm{written}", f"{family.upper()}_CCM_{octets}", bits
                    if family == "aes":
                        yield f"aes{bits}gcm{written}", f"AES_GCM_{octets}", bits
        for mode in ("ccm", "gcm"):
            yield f"aes{bits}{mode}", f"AES_{mode.upper()}_16", bits
        yield f"aes{bits}gmac", "NULL_AES_GMAC", bits
        for other in ("blowfish", "serpent", "twofish"):
            yield f"{other}{bits}", f"{other.upper()}_CBC", bits


def _exchanges() -> Iterator[tuple[str, str]]:
    for name in (*GROUPS, *_OTHER_GROUPS):
        if name.startswith(("MODP_1024_", "MODP_2048_")):  # RFC 5114, by the size of the subgroup
            _, size, order = name.split("_")
            yield f"modp{size}s{order}", name
        elif name != "KE_NONE":
            yield name.replace("_", "").lower(), name
    yield "none", "KE_NONE"
    yield "modpnone", "KE_NONE"
    yield "x25519", "CURVE_25519"
    yield "x448", "CURVE_448"


def _numbered() -> Iterator[tuple[str, str]]:
    for name, algorithm in _exchanges():
        number = GROUPS.get(algorithm, 0)
        if number and not name.startswith("x"):
            yield str(number), name


# strongSwan's names of groups, by the number that systems have for them.
NUMBERED: Final[Mapping[str, str]] = MappingProxyType(dict(_numbered()))


def _strongswan() -> Iterator[tuple[str, Transform]]:
    for name, algorithm, bits in _ciphers():
        yield name, Transform(Kind.ENCRYPTION, algorithm, bits)
    for name, algorithm in _INTEGRITY.items():
        yield name, Transform(Kind.INTEGRITY, algorithm)
    for name, algorithm in _PRFS.items():
        yield f"prf{name}", Transform(Kind.PRF, algorithm)
    for name, algorithm in _exchanges():
        yield name, Transform(Kind.EXCHANGE, algorithm)
    yield "esn", Transform(Kind.SEQUENCE, "EXT_SEQ")
    yield "noesn", Transform(Kind.SEQUENCE, "NO_EXT_SEQ")


STRONGSWAN: Final[Mapping[str, Transform]] = MappingProxyType(dict(_strongswan()))

# Libreswan's, without the length of a key that may stand behind; those of 3.x and of Openswan too.
LIBRESWAN_CIPHERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "aes": "AES_CBC",
        "aes_cbc": "AES_CBC",
        "aesctr": "AES_CTR",
        "aes_ctr": "AES_CTR",
        "aes_gcm": "AES_GCM_16",
        "aes_gcm_c": "AES_GCM_16",
        "aes_gcm_16": "AES_GCM_16",
        "aes_gcm_b": "AES_GCM_12",
        "aes_gcm_12": "AES_GCM_12",
        "aes_gcm_a": "AES_GCM_8",
        "aes_gcm_8": "AES_GCM_8",
        "aes_ccm": "AES_CCM_16",
        "aes_ccm_c": "AES_CCM_16",
        "aes_ccm_16": "AES_CCM_16",
        "aes_ccm_b": "AES_CCM_12",
        "aes_ccm_12": "AES_CCM_12",
        "aes_ccm_a": "AES_CCM_8",
        "aes_ccm_8": "AES_CCM_8",
        "aes_gmac": "NULL_AES_GMAC",
        "null_auth_aes_gmac": "NULL_AES_GMAC",
        "3des": "3DES_CBC",
        "3des_cbc": "3DES_CBC",
        "des": "DES_CBC",
        "camellia": "CAMELLIA_CBC",
        "camellia_cbc": "CAMELLIA_CBC",
        "camellia_ctr": "CAMELLIA_CTR",
        "cast": "CAST_CBC",
        "serpent": "SERPENT_CBC",
        "twofish": "TWOFISH_CBC",
        "chacha20poly1305": "CHACHA20_POLY1305",
        "chacha20_poly1305": "CHACHA20_POLY1305",
        "null": "NULL",
    }
)
LIBRESWAN_HASHES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{name: "HMAC_MD5_96" for name in ("md5", "hmac_md5", "hmac_md5_96")},
        **{
            name: "HMAC_SHA1_96" for name in ("sha", "sha1", "sha1_96", "hmac_sha1", "hmac_sha1_96")
        },
        "sha2": "HMAC_SHA2_256_128",
        **{
            name.format(bits): f"HMAC_SHA2_{bits}_{bits // 2}"
            for bits in (256, 384, 512)
            for name in ("sha{}", "sha2_{}", "hmac_sha2_{}")
        },
        "sha2_256_128": "HMAC_SHA2_256_128",
        "sha2_384_192": "HMAC_SHA2_384_192",
        "sha2_512_256": "HMAC_SHA2_512_256",
        "hmac_sha2_256_truncbug": "HMAC_SHA2_256_96",
        "aes_xcbc": "AES_XCBC_96",
        "aes128_xcbc": "AES_XCBC_96",
        "aes128_xcbc_96": "AES_XCBC_96",
        "aes_xcbc_96": "AES_XCBC_96",
        "aes_cmac": "AES_CMAC_96",
        "aes_cmac_96": "AES_CMAC_96",
        "null": "",
        "none": "",
    }
)
LIBRESWAN_EXCHANGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{f"dh{number}": name for name, number in GROUPS.items()},
        **{name.replace("_", "").lower(): name for name in GROUPS if name != "KE_NONE"},
        **{f"ecp_{bits}": f"ECP_{bits}" for bits in (256, 384, 521)},
        "x25519": "CURVE_25519",
        "ml_kem_512": "ML_KEM_512",
        "ml_kem_768": "ML_KEM_768",
        "ml_kem_1024": "ML_KEM_1024",
        "null": "KE_NONE",
        "none": "KE_NONE",
    }
)
