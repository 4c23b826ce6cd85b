"""The Merkle tree of RFC 9162 §2.1 with SHA-256: roots, proofs, and their verification.

A tree is kept as its leaf hashes (level 0) and the roots of complete subtrees of 256, 65,536, … leaves (levels 1,
2, …). From these any root or proof takes a few reads of at most 256 hashes, and a leaf is added without looking at
the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, final

from pki.tlog.errors import AuditTreeDamaged, ProofInvalid

SPAN: Final = 256
_BITS: Final = 8
# RFC 9162 §2.1.1: MTH({}) = HASH()
EMPTY_ROOT: Final = sha256(b"").digest()

# Hashes of a level from the number `first` on, up to and without `last`; fewer where the tree ends.
Read = Callable[[int, int, int], Sequence[bytes]]


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry. RFC 9162 §2.1.1: the octet 0x00 keeps leaves and nodes apart."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees (RFC 9162 §2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over subtrees of one size, of which only the last may be smaller; there is at least one.

    Pairs from the left, with an odd one carried up: the tree of RFC 9162 §2.1.1, whose left part is always the
    largest power of two.
    """
    row = list(hashes)
    while len(row) > 1:
        odd = row[-1:] if len(row) % 2 else []
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)] + odd
    return row[0]


@dataclass(frozen=True, slots=True)
class Node:
    """The root of a complete subtree of 256^level leaves, the `number`-th of them from the left."""

    level: int
    number: int
    hash: bytes


def edge_ranges(size: int) -> list[tuple[int, int, int]]:
    """What of a tree makes its right edge: (level, first, last) for `Read`, level 0 first."""
    ranges = []
    level = 0
    while size:
        ranges.append((level, size // SPAN * SPAN, size))
        size //= SPAN
        level += 1
    return ranges


@final
class RightEdge:
    """A tree as far as it is needed to let it grow: the hashes that no complete node stands for yet."""

    def __init__(self, tails: Sequence[Sequence[bytes]] = ()) -> None:
        """`tails` are what `edge_ranges` names."""
        self._tails = [list(tail) for tail in tails]

    @classmethod
    def of(cls, size: int, read: Read) -> "RightEdge":
        """The edge of a tree with `size` leaves. Raises AuditTreeDamaged."""
        tails = []
        for level, first, last in edge_ranges(size):
            tail = read(level, first, last)
            if len(tail) != last - first:
                raise AuditTreeDamaged(f"The tree lacks hashes of level {level} from {first} on.")
            tails.append(tail)
        return cls(tails)

    def copy(self) -> "RightEdge":
        """Another one of the same tree, that grows by itself."""
        return RightEdge(self._tails)

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return sum(len(tail) << _BITS * level for level, tail in enumerate(self._tails))

    def add(self, leaf: bytes) -> list[Node]:
        """Add the hash of a leaf; give the nodes that are complete with it."""
        made: list[Node] = []
        number, new = self.size, leaf
        for level in range(len(self._tails) + 1):
            if level == len(self._tails):
                self._tails.append([])
            tail = self._tails[level]
            tail.append(new)
            if len(tail) < SPAN:
                break
            new, number = fold(tail), number // SPAN
            made.append(Node(level + 1, number, new))
            tail.clear()
        return made

    def root(self) -> bytes:
        """The root (MTH of RFC 9162 §2.1.1)."""
        rest: list[bytes] = []
        for tail in self._tails:
            if tail or rest:
                rest = [fold([*tail, *rest])]
        return rest[0] if rest else EMPTY_ROOT


@final
class _Subtrees:
    """Roots of the subtrees that proofs consist of; each row of hashes is read once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rows: dict[tuple[int, int], Sequence[bytes]] = {}

    def root(self, start: int, end: int) -> bytes:
        """MTH(D[start:end]) for a range that RFC 9162 §2.1.3.1 or §2.1.4.1 asks for."""
        width = end - start
        if width & (width - 1) == 0:
            return self._complete(start, width)
        middle = start + _split(width)
        return node_hash(self.root(start, middle), self.root(middle, end))

    def _complete(self, start: int, width: int) -> bytes:
        level = (width.bit_length() - 1) // _BITS
        number, count = start >> _BITS * level, width >> _BITS * level
        row = number // SPAN
        if (level, row) not in self._rows:
            self._rows[level, row] = self._read(level, row * SPAN, (row + 1) * SPAN)
        found = self._rows[level, row][number % SPAN : number % SPAN + count]
        if len(found) != count:
            raise AuditTreeDamaged(f"The tree lacks hashes of level {level} from {number} on.")
        return fold(found)


def _split(width: int) -> int:
    """The largest power of two smaller than the width."""
    return 1 << (width - 1).bit_length() - 1


def inclusion_proof(index: int, size: int, read: Read) -> list[bytes]:
    """PATH(index, D[size]) of RFC 9162 §2.1.3.1, for 0 <= index < size. Raises AuditTreeDamaged."""
    trees = _Subtrees(read)
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(trees.root(middle, end))
            end = middle
        else:
            proof.append(trees.root(start, middle))
            start = middle
    return proof[::-1]


def consistency_proof(first: int, second: int, read: Read) -> list[bytes]:
    """PROOF(first, D[second]) of RFC 9162 §2.1.4.1, for 0 <= first <= second; empty at both ends.

    Raises AuditTreeDamaged.
    """
    if first in (0, second):
        return []
    trees = _Subtrees(read)
    proof: list[bytes] = []
    start, end, known = 0, second, True
    while end != first:
        middle = start + _split(end - start)
        if first <= middle:
            proof.append(trees.root(middle, end))
            end = middle
        else:
            proof.append(trees.root(start, middle))
            start, known = middle, False
    if not known:
        proof.append(trees.root(start, end))
    return proof[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Raise ProofInvalid unless `leaf` is the hash at `index` in the tree of this size and root (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        raise ProofInvalid("There is no such place in a tree of this size.")
    fn, sn, reached = index, size - 1, leaf
    for each in proof:
        if sn == 0:
            raise ProofInvalid("The proof is too long.")
        if fn & 1 or fn == sn:
            reached = node_hash(each, reached)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            reached = node_hash(reached, each)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or reached != root:
        raise ProofInvalid("The proof does not lead to the root.")


def verify_consistency(
    first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise ProofInvalid unless the tree of size `second` begins with that of size `first` (RFC 9162 §2.1.4.2)."""
    if not 0 <= first <= second:
        raise ProofInvalid("The first tree is larger than the second.")
    if first in (0, second):
        wrong = first_root != (second_root if first else EMPTY_ROOT)
        if proof or wrong:
            raise ProofInvalid("The trees are not the same, or the proof is too long.")
        return
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        raise ProofInvalid("The proof is empty.")
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    _climb(fn, sn, path, (first_root, second_root))


def _climb(fn: int, sn: int, path: Sequence[bytes], roots: tuple[bytes, bytes]) -> None:
    """Steps 5 to 7 of RFC 9162 §2.1.4.2."""
    fr = sr = path[0]
    for each in path[1:]:
        if sn == 0:
            raise ProofInvalid("The proof is too long.")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(each, fr), node_hash(each, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, each)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or (fr, sr) != roots:
        raise ProofInvalid("The proof does not lead to both roots.")
