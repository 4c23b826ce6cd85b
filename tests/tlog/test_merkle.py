"""The tree against the text of RFC 9162, published vectors, and itself."""

import random
from collections.abc import Callable, Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.tlog import merkle
from pki.tlog.errors import AuditTreeDamaged, ProofInvalid
from pki.tlog.merkle import (
    EMPTY_ROOT,
    SPAN,
    RightEdge,
    consistency_proof,
    edge_ranges,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)

# The tree that implementations of Certificate Transparency test with (transparency-dev/merkle, proof/verify_test.go).
LEAVES = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {  # (index, size)
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {  # (first, second)
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 7): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}


# The definitions of RFC 9162 as they stand there, over a list of entries.


def mth(entries: Sequence[bytes]) -> bytes:
    """§2.1.1"""
    n = len(entries)
    if n == 0:
        return sha256().digest()
    if n == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = largest_power_below(n)
    return sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def largest_power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def path(m: int, entries: Sequence[bytes]) -> list[bytes]:
    """§2.1.3.1"""
    n = len(entries)
    if n == 1:
        return []
    k = largest_power_below(n)
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def subproof(m: int, entries: Sequence[bytes], whole: bool) -> list[bytes]:
    """§2.1.4.1"""
    n = len(entries)
    if m == n:
        return [] if whole else [mth(entries)]
    k = largest_power_below(n)
    if m <= k:
        return [*subproof(m, entries[:k], whole), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], False), mth(entries[:k])]


class Kept:
    """A tree as it is kept: hashes by level, and how often they were read."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.levels: dict[int, list[bytes]] = {0: []}
        self.reads = 0
        self.edge = RightEdge()
        for each in entries:
            self.add(each)

    def add(self, entry: bytes) -> None:
        self.levels[0].append(leaf_hash(entry))
        for node in self.edge.add(leaf_hash(entry)):
            level = self.levels.setdefault(node.level, [])
            assert node.number == len(level)
            level.append(node.hash)

    def read(self, level: int, first: int, last: int) -> list[bytes]:
        assert last - first <= SPAN
        self.reads += 1
        return self.levels.get(level, [])[first:last]


def entries(count: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(count)]


@pytest.fixture(scope="module")
def large() -> tuple[list[bytes], Kept]:
    """More than two levels of complete nodes: 256² and some."""
    some = entries(SPAN * SPAN + 3 * SPAN + 77)
    return some, Kept(some)


# Published vectors


def test_the_empty_tree() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert RightEdge().root() == EMPTY_ROOT


def test_published_roots() -> None:
    edge = RightEdge()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        edge.add(leaf_hash(leaf))
        assert edge.root().hex() == root


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_published_inclusion_proofs(index: int, size: int) -> None:
    proof = inclusion_proof(index, size, Kept(LEAVES[:size]).read)
    assert [each.hex() for each in proof] == INCLUSION[index, size]
    root = bytes.fromhex(ROOTS[size - 1])
    verify_inclusion(leaf_hash(LEAVES[index]), index, size, proof, root)


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_published_consistency_proofs(first: int, second: int) -> None:
    proof = consistency_proof(first, second, Kept(LEAVES[:second]).read)
    assert [each.hex() for each in proof] == CONSISTENCY[first, second]
    roots = (bytes.fromhex(ROOTS[first - 1]), bytes.fromhex(ROOTS[second - 1]))
    verify_consistency(first, roots[0], second, roots[1], proof)


# The text of the RFC


@pytest.mark.parametrize("size", [*range(1, 40), 255, 256, 257, 511, 513, 600])
def test_roots_are_those_of_the_definition(size: int) -> None:
    some = entries(size)
    kept = Kept(some)
    assert kept.edge.size == size
    assert kept.edge.root() == mth(some)
    assert RightEdge.of(size, kept.read).root() == mth(some)


def test_all_small_proofs_are_those_of_the_definition() -> None:
    some = entries(33)
    for size in range(1, 34):
        kept = Kept(some[:size])
        for index in range(size):
            assert inclusion_proof(index, size, kept.read) == path(index, some[:size])
        for first in range(1, size + 1):
            assert consistency_proof(first, size, kept.read) == subproof(first, some[:size], True)


@given(st.data())
def test_proofs_across_levels_are_those_of_the_definition(data: st.DataObject) -> None:
    size = data.draw(st.integers(200, 1_300))
    some = entries(size)
    kept = Kept(some)
    index = data.draw(st.integers(0, size - 1))
    assert inclusion_proof(index, size, kept.read) == path(index, some)
    first = data.draw(st.integers(1, size))
    assert consistency_proof(first, size, kept.read) == subproof(first, some, True)


def test_proofs_in_a_large_tree_take_few_reads(large: tuple[list[bytes], Kept]) -> None:
    some, kept = large
    size = len(some)
    root = kept.edge.root()
    assert root == mth(some)
    choose = random.Random(1)
    for index in [0, SPAN - 1, SPAN, SPAN * SPAN - 1, SPAN * SPAN, size - 1] + [
        choose.randrange(size) for _ in range(20)
    ]:
        kept.reads = 0
        proof = inclusion_proof(index, size, kept.read)
        assert kept.reads <= 6
        verify_inclusion(leaf_hash(some[index]), index, size, proof, root)
    for first in [1, SPAN, SPAN * SPAN, SPAN * SPAN + 1, size - 1, size]:
        kept.reads = 0
        proof = consistency_proof(first, size, kept.read)
        assert kept.reads <= 6
        verify_consistency(first, RightEdge.of(first, kept.read).root(), size, root, proof)


def test_a_tree_grows_from_its_edge_alone(large: tuple[list[bytes], Kept]) -> None:
    some, kept = large
    for size in (1, SPAN - 1, SPAN, SPAN * SPAN - 1, len(some)):
        assert all(last - first < SPAN for _, first, last in edge_ranges(size))
        edge = RightEdge.of(size, kept.read)
        edge.add(leaf_hash(b"one more"))
        assert edge.size == size + 1
        assert edge.root() == mth([*some[:size], b"one more"])


# Wrong proofs


def refused(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except ProofInvalid:
        return True
    return False


@given(st.data())
def test_a_spoilt_inclusion_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 70))
    index = data.draw(st.integers(0, size - 1))
    some = entries(size)
    proof, root, leaf = path(index, some), mth(some), leaf_hash(some[index])
    verify_inclusion(leaf, index, size, proof, root)
    other = data.draw(st.integers(0, size - 1).filter(lambda each: each != index))
    assert refused(lambda: verify_inclusion(leaf, other, size, proof, root))
    assert refused(lambda: verify_inclusion(leaf_hash(some[other]), index, size, proof, root))
    for wrong in spoilt(proof, data):
        assert refused(lambda wrong=wrong: verify_inclusion(leaf, index, size, wrong, root))
    for bad in (-1, size, size + 1):
        assert refused(lambda bad=bad: verify_inclusion(leaf, bad, size, proof, root))
    assert refused(lambda: verify_inclusion(leaf, index, size, proof, EMPTY_ROOT))


@given(st.data())
def test_a_spoilt_consistency_proof_is_refused(data: st.DataObject) -> None:
    second = data.draw(st.integers(2, 70))
    first = data.draw(st.integers(1, second - 1))
    some = entries(second)
    proof, roots = subproof(first, some, True), (mth(some[:first]), mth(some))
    verify_consistency(first, roots[0], second, roots[1], proof)
    for wrong in spoilt(proof, data):
        assert refused(
            lambda wrong=wrong: verify_consistency(first, roots[0], second, roots[1], wrong)
        )
    # A tree in which one of the first entries is another one.
    changed = list(some)
    changed[data.draw(st.integers(0, first - 1))] = b"changed"
    lie = subproof(first, changed, True)
    assert refused(lambda: verify_consistency(first, roots[0], second, mth(changed), lie))
    assert refused(lambda: verify_consistency(first, roots[1], second, roots[0], proof))
    assert refused(lambda: verify_consistency(second, roots[1], first, roots[0], proof))
    # The size is part of what is proven: a proof that ends early or late says nothing.
    for bad in {second * 2, second * 4}:
        assert refused(lambda bad=bad: verify_consistency(first, roots[0], bad, roots[1], proof))


def spoilt(proof: list[bytes], data: st.DataObject) -> list[list[bytes]]:
    """A bit turned, one left out, one too many."""
    made = [[*proof, EMPTY_ROOT], [EMPTY_ROOT, *proof]]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        bit = data.draw(st.integers(0, 255))
        turned = bytearray(proof[at])
        turned[bit // 8] ^= 1 << bit % 8
        made += [[*proof[:at], bytes(turned), *proof[at + 1 :]], [*proof[:at], *proof[at + 1 :]]]
    return made


def test_trivial_consistency() -> None:
    one, two = mth(entries(1)), mth(entries(2))
    verify_consistency(0, EMPTY_ROOT, 2, two, [])
    verify_consistency(2, two, 2, two, [])
    assert refused(lambda: verify_consistency(2, one, 2, two, []))
    assert refused(lambda: verify_consistency(0, one, 2, two, []))
    assert refused(lambda: verify_consistency(0, EMPTY_ROOT, 2, two, [one]))
    assert refused(lambda: verify_consistency(1, one, 2, two, []))
    assert refused(lambda: verify_consistency(3, one, 4, two, []))


def test_a_tree_that_lacks_hashes_is_noticed() -> None:
    kept = Kept(entries(600))
    del kept.levels[0][590:]
    with pytest.raises(AuditTreeDamaged):
        RightEdge.of(600, kept.read)
    with pytest.raises(AuditTreeDamaged):
        inclusion_proof(3, 600, kept.read)
    with pytest.raises(AuditTreeDamaged):
        consistency_proof(599, 600, kept.read)
    kept = Kept(entries(600))
    del kept.levels[1]
    with pytest.raises(AuditTreeDamaged):
        RightEdge.of(600, kept.read)


def test_leaves_and_nodes_are_apart() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert merkle.node_hash(left, right) != leaf_hash(left + right)
