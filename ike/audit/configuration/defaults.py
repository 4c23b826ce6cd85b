"""What the daemons offer where no proposals are configured. Data.

charon's as strongSwan 5.9 of Debian 12 has them with its plugins; pluto's as Libreswan 4.10 has them. Other releases
differ a little: newer ones leave weak ones out.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from ike.audit.configuration.proposals import Proposal, Protocol
from ike.audit.configuration.transforms import Kind, Transform

_SIZES: Final = (128, 192, 256)
_STRONGSWAN_PRFS: Final = (
    *("PRF_HMAC_SHA2_256", "PRF_HMAC_SHA2_384", "PRF_HMAC_SHA2_512"),
    "PRF_HMAC_SHA1",
)
_STRONGSWAN_GROUPS: Final = (
    *("CURVE_25519", "CURVE_448", "ECP_256", "ECP_384", "ECP_521"),
    *("ECP_256_BP", "ECP_384_BP", "ECP_512_BP"),
    *("MODP_3072", "MODP_4096", "MODP_6144", "MODP_8192", "MODP_2048"),
)
_SHA2: Final = ("HMAC_SHA2_256_128", "HMAC_SHA2_384_192", "HMAC_SHA2_512_256")


def _of(kind: Kind, names: Iterable[str]) -> list[Transform]:
    return [Transform(kind, name) for name in names]


def _sized(*names: str, sizes: Iterable[int] = _SIZES) -> list[Transform]:
    return [Transform(Kind.ENCRYPTION, name, bits) for name in names for bits in sizes]


_EXCHANGES: Final = _of(Kind.EXCHANGE, _STRONGSWAN_GROUPS)
_CLASSIC: Final = Proposal(
    Protocol.IKE,
    (
        *_sized("AES_CBC", "AES_CTR", "CAMELLIA_CBC", "CAMELLIA_CTR"),
        Transform(Kind.ENCRYPTION, "3DES_CBC"),
        *_of(Kind.INTEGRITY, (*_SHA2, "HMAC_SHA1_96")),
        *_of(Kind.PRF, _STRONGSWAN_PRFS),
        *_EXCHANGES,
    ),
)
_AEAD: Final = Proposal(
    Protocol.IKE,
    (
        *_sized("AES_GCM_16", "AES_CCM_16"),
        Transform(Kind.ENCRYPTION, "CHACHA20_POLY1305"),
        *_sized("AES_GCM_12", "AES_GCM_8", "AES_CCM_12", "AES_CCM_8"),
        *_of(Kind.PRF, _STRONGSWAN_PRFS),
        *_EXCHANGES,
    ),
)
_NO_ESN: Final = Transform(Kind.SEQUENCE, "NO_EXT_SEQ")
_OLD_SIGNERS: Final = _of(Kind.INTEGRITY, (*_SHA2, "HMAC_SHA1_96", "AES_XCBC_96"))
_ESP: Final = Proposal(Protocol.ESP, (*_sized("AES_CBC"), *_OLD_SIGNERS, _NO_ESN))
_ESP_AEAD: Final = Proposal(Protocol.ESP, (*_sized("AES_GCM_16"), _NO_ESN))
_AH: Final = Proposal(Protocol.AH, (*_OLD_SIGNERS, _NO_ESN))

STRONGSWAN: Final[Mapping[Protocol, tuple[Proposal, ...]]] = MappingProxyType(
    {Protocol.IKE: (_CLASSIC, _AEAD), Protocol.ESP: (_ESP, _ESP_AEAD), Protocol.AH: (_AH,)}
)

# For IKEv2, and what stands in where a proposal names no hash or no group.
LIBRESWAN_HASHES: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {
        1: ("HMAC_SHA2_256_128", "HMAC_SHA2_512_256", "HMAC_SHA1_96"),
        2: ("HMAC_SHA2_512_256", "HMAC_SHA2_256_128"),
    }
)
LIBRESWAN_GROUPS: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {
        1: ("MODP_2048", "MODP_1536"),
        2: (
            *("MODP_2048", "MODP_3072", "MODP_4096", "MODP_8192"),
            *("ECP_256", "ECP_384", "ECP_521", "CURVE_25519"),
        ),
    }
)
LIBRESWAN: Final[Mapping[tuple[int, Protocol], str]] = MappingProxyType(
    {
        (2, Protocol.IKE): "aes_gcm256,aes_gcm128,aes256,aes128",
        (
            2,
            Protocol.ESP,
        ): "aes_gcm256,aes_gcm128,aes256-sha2_512+sha2_256,aes128-sha2_512+sha2_256",
        (2, Protocol.AH): "sha2_512,sha2_256,sha1",
        (1, Protocol.IKE): "aes,3des",
        (1, Protocol.ESP): "aes-sha1",
        (1, Protocol.AH): "sha1",
    }
)
