"""Rules about what is proposed to peers: ciphers, hashes, groups. Pure.

Windows names algorithms (`DES3`, `SHA196`, `Group2`, `PFS2`), or numbers them as the classes
MSFT_NetIKEMMCryptoProposal and MSFT_NetIKEQMCryptoProposal do; one table takes both.
"""

from collections.abc import Iterator
from typing import Final

from ike.audit.values import Rule
from ike.audit.windows import rules
from ike.audit.windows.values import Proposal

_NONE: Final = frozenset({"", "none", "0"})
_CIPHERS: Final = {
    **dict.fromkeys(("des", "2"), rules.CIPHER_DES),
    **dict.fromkeys(("des3", "3des", "6"), rules.CIPHER_3DES),
}
_HASHES: Final = {
    **dict.fromkeys(("md5", "md596"), rules.HASH_MD5),
    **dict.fromkeys(("sha1", "sha196"), rules.HASH_SHA1),
    "2": rules.HASH_MD5,
    "3": rules.HASH_SHA1,
}
_GROUPS: Final = {
    **dict.fromkeys(("dh1", "group1", "pfs1", "1"), "group 1"),
    **dict.fromkeys(("dh2", "group2", "pfs2", "2"), "group 2"),
    **dict.fromkeys(("dh24", "group24", "pfs24", "24"), "group 24"),
}
_AH: Final = frozenset({"ah", "1"})
_ENCAPSULATED_TWICE: Final = frozenset({"ahesp", "espah", "3"})  # AH and ESP
# AES-GCM, with which ESP needs no integrity of its own; 65004 to 65006 are its numbers as a cipher
_SEALED: Final = ("aesgcm", "gcmaes")
_SEALED_NUMBERS: Final = frozenset({"65004", "65005", "65006"})

Fault = tuple[Rule, str]


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace("/", "").replace(" ", "")


def of_main_mode(proposal: Proposal) -> Iterator[Fault]:
    """What is wrong with a proposal for the IKE SA."""
    cipher = _plain(proposal.encryption)
    if cipher in _NONE:
        yield rules.CIPHER_NONE, "no encryption of IKE"
    elif cipher in _CIPHERS:
        yield _CIPHERS[cipher], _worded(proposal)
    if _plain(proposal.hash) in _HASHES:
        yield _HASHES[_plain(proposal.hash)], _worded(proposal)
    group = _GROUPS.get(_plain(proposal.group))
    if group:
        yield rules.GROUP_WEAK, f"{group} in {_worded(proposal)}"


def of_quick_mode(proposal: Proposal) -> Iterator[Fault]:
    """What is wrong with a proposal for the SAs of the traffic."""
    cipher, hash_ = _plain(proposal.encryption), _plain(proposal.hash)
    encapsulation = _plain(proposal.encapsulation)
    authenticates = encapsulation in _AH or encapsulation in _ENCAPSULATED_TWICE
    if encapsulation in _AH or cipher in _NONE:
        yield rules.CIPHER_NONE, _worded(proposal)
    elif cipher in _CIPHERS:
        yield _CIPHERS[cipher], _worded(proposal)
    for name in dict.fromkeys((hash_, _plain(proposal.ah_hash) if authenticates else "")):
        if name in _HASHES:
            yield _HASHES[name], _worded(proposal)
    if hash_ in _NONE and not authenticates and cipher not in _NONE and not _is_sealed(cipher):
        yield rules.HASH_NONE, _worded(proposal)


def of_pfs(name: str) -> Fault | None:
    """What is wrong with the group for the keys of the traffic."""
    plain = _plain(name)
    if plain in _NONE:
        return rules.PFS_NONE, "no group for it"
    group = _GROUPS.get(plain)
    return (rules.GROUP_WEAK, f"{group} for the keys of the traffic") if group else None


def _is_sealed(cipher: str) -> bool:
    return cipher.startswith(_SEALED) or cipher in _SEALED_NUMBERS


def _worded(proposal: Proposal) -> str:
    names = (
        proposal.encapsulation,
        proposal.encryption,
        proposal.hash,
        proposal.ah_hash if _plain(proposal.ah_hash) not in _NONE else "",
        proposal.group,
    )
    return "-".join(each for each in names if each) or "an empty proposal"
