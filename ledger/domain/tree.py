"""The Merkle tree of RFC 6962 over the journal's leaves: roots, tiles, inclusion and consistency proofs.

1. A tree of n leaves splits at the largest power of two below n; a node is SHA-256(0x01, left, right) (section 2.1).
2. A whole subtree of 2^h leaves that begins at a multiple of 2^h never changes again. A proof is made of such subtrees, and of
   the rest at the right edge.
3. A tile holds 256 hashes of one level; level L+1 holds the roots of full tiles of level L (C2SP tlog-tiles).
4. Verifying raises ProofInvalid and never returns less than certainty.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES
MAX_TREE_SIZE: Final = 2**53
MAX_PROOF_HASHES: Final = 64
EMPTY_ROOT: Final = sha256(b"").digest()

Hash = bytes
Subtree = tuple[int, int]
"""A whole subtree: its height, and its place among those of that height, from 0."""
Range = tuple[int, int]
"""The leaves from one index to before another."""


class ProofInvalid(ValueError):
    """The proof does not lead from what it claims to the root; do not trust what came with it."""


def node(left: Hash, right: Hash) -> Hash:
    """The hash of a node over its two halves."""
    return sha256(b"\x01" + left + right).digest()


def whole(hashes: Sequence[Hash]) -> Hash:
    """The root of a whole subtree, from the 2^h hashes of one level below it."""
    level = list(hashes)
    while len(level) > 1:
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def split(hashes: bytes) -> list[Hash]:
    """Hashes that stand one after the other."""
    return [hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)]


def joined(peaks: Sequence[Hash]) -> Hash:
    """The root over whole subtrees of falling height, from left to right; of none it is that of the empty tree."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node(peak, root)
    return root


class Frontier:
    """A tree that grows: all that must be kept of what is there to go on, and to say its root at any moment."""

    def __init__(self, size: int = 0, peaks: Iterable[Hash] = ()) -> None:
        """Begin at a size with its peaks: the roots of the whole subtrees of falling height, from left to right."""
        self.size = size
        self._peaks = list(peaks)
        assert len(self._peaks) == size.bit_count(), "a tree has a peak for each bit of its size"

    @property
    def peaks(self) -> list[Hash]:
        return list(self._peaks)

    def add(self, leaf: Hash) -> None:
        """One leaf more."""
        self._add(leaf, 0)

    def add_whole(self, root: Hash, height: int) -> None:
        """A whole subtree more, at a size that is a multiple of its own."""
        self._add(root, height)

    def _add(self, root: Hash, height: int) -> None:
        rest = self.size >> height
        assert rest << height == self.size, "a subtree begins at a multiple of its size"
        while rest & 1:
            root = node(self._peaks.pop(), root)
            rest >>= 1
        self._peaks.append(root)
        self.size += 1 << height

    @property
    def root(self) -> Hash:
        return joined(self._peaks)

    def copy(self) -> "Frontier":
        return Frontier(self.size, self._peaks)


def subtrees(start: int, end: int) -> list[Subtree]:
    """The fewest whole subtrees that cover the leaves from `start` to before `end`, from left to right."""
    found: list[Subtree] = []
    while start < end:
        # As high as it may begin here, and as fits.
        height = (end - start).bit_length() - 1
        if start:
            height = min(height, (start & -start).bit_length() - 1)
        found.append((height, start >> height))
        start += 1 << height
    return found


Get = Callable[[Subtree], Hash]


def range_root(start: int, end: int, get: Get) -> Hash:
    """The hash of the node over the leaves from `start` to before `end`, where the tree has one."""
    return joined([get(each) for each in subtrees(start, end)])


def inclusion_path(index: int, size: int) -> list[Range]:
    """The ranges whose hashes prove the leaf of an index from 0 in a tree, from the leaf upwards."""
    if not 0 <= index < size:
        raise ProofInvalid(f"There is no leaf {index} in a tree of {size}.")
    path: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_path(old: int, new: int) -> list[Range]:
    """The ranges whose hashes prove that the tree of `new` extends that of `old` (RFC 6962, 2.1.2)."""
    if not 0 < old <= new:
        raise ProofInvalid(f"Nothing is to prove between sizes {old} and {new}.")
    if old == new:
        return []
    path: list[Range] = []
    start, end, is_old_root = 0, new, True
    while old - start < end - start:
        middle = start + _split(end - start)
        if old <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start, is_old_root = middle, False
    if not is_old_root:
        path.append((start, end))
    return path[::-1]


def needed(path: Iterable[Range]) -> list[Subtree]:
    """Every whole subtree that the ranges of a path are made of."""
    return [each for start, end in path for each in subtrees(start, end)]


def proof(path: Iterable[Range], get: Get) -> list[Hash]:
    """The hashes of a path."""
    return [range_root(start, end, get) for start, end in path]


def _split(size: int) -> int:
    """The largest power of two below a size of at least two."""
    return 1 << ((size - 1).bit_length() - 1)


def verify_inclusion(leaf: Hash, index: int, size: int, hashes: Sequence[Hash], root: Hash) -> None:
    """That the leaf stands at an index from 0 in the tree of that size and root (RFC 9162, 2.1.3.2). Raises ProofInvalid."""
    _check_hashes([leaf, root, *hashes])
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise ProofInvalid(f"There is no leaf {index} in a tree of {size}.")
    if len(hashes) != len(inclusion_path(index, size)):
        raise ProofInvalid("The inclusion proof has not as many hashes as the path is long.")
    found = leaf
    place, last = index, size - 1
    for sibling in hashes:
        if place & 1 or place == last:
            found = node(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node(found, sibling)
        place, last = place >> 1, last >> 1
    if found != root:
        raise ProofInvalid("The inclusion proof does not lead to the root.")


def verify_consistency(old: int, old_root: Hash, new: int, new_root: Hash, hashes: Sequence[Hash]) -> None:
    """That the tree of size and root `new` extends the `old` (RFC 9162, 2.1.4.2). Raises ProofInvalid."""
    _check_hashes([old_root, new_root, *hashes])
    if not 0 < old <= new <= MAX_TREE_SIZE:
        raise ProofInvalid(f"Nothing is to prove between sizes {old} and {new}.")
    if len(hashes) != len(consistency_path(old, new)):
        raise ProofInvalid("The consistency proof has not as many hashes as the path is long.")
    if old == new:
        if old_root != new_root:
            raise ProofInvalid("Two roots of one size differ.")
        return
    rest = [old_root, *hashes] if old & (old - 1) == 0 else list(hashes)
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_found = new_found = rest[0]
    for sibling in rest[1:]:
        if place & 1 or place == last:
            old_found, new_found = node(sibling, old_found), node(sibling, new_found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new_found = node(new_found, sibling)
        place, last = place >> 1, last >> 1
    if old_found != old_root or new_found != new_root:
        raise ProofInvalid("The consistency proof does not lead to both roots.")


def _check_hashes(hashes: Iterable[Hash]) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ProofInvalid(f"A hash has {HASH_BYTES} bytes.")


def in_tile(subtree: Subtree) -> tuple[int, int, int, int]:
    """Where a whole subtree is computed from: the level and index of its tile, and from which of its hashes to which."""
    height, place = subtree
    level = height // TILE_HEIGHT
    above = height - level * TILE_HEIGHT
    first = place << above
    index, offset = divmod(first, TILE_WIDTH)
    return level, index, offset, offset + (1 << above)


def full_tiles(size: int) -> Iterator[tuple[int, int]]:
    """For each level that has any, its level and how many full tiles it has in a tree of that size."""
    level, count = 0, size >> TILE_HEIGHT
    while count:
        yield level, count
        level, count = level + 1, count >> TILE_HEIGHT
