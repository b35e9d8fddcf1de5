"""Which replica is believed to hold which blocks of prompts: fixed memory, forgetting as they do.

One table from block to the set of its holders, a bit each, and for every replica the order in
which its engine would forget them: least recently used first, the end of a prompt before its
beginning.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

Level = tuple[int, int]
"""Bits of the replicas that hold at least so many blocks of a prompt, and how many."""


class Shelf:
    """The blocks that one replica is believed to hold.

    bit     stands for the replica in the table
    tokens  that the blocks, and the answers written between them, take
    bound   tokens that fit; what was not used for longest goes first
    """

    __slots__ = ("bit", "blocks", "bound", "fillers", "tokens")

    def __init__(self, bit: int, bound: int) -> None:
        self.bit = bit
        self.bound = bound
        self.tokens = 0
        self.fillers = 0
        self.blocks: OrderedDict[int, int] = OrderedDict()


class PrefixIndex:
    """Blocks and their holders.

    ends     tokens from the beginning of a prompt to the end of each block; blocks beyond the
             last are not looked at
    entries  blocks remembered at most, all replicas together
    """

    __slots__ = ("_entries", "_holders", "_share", "_shelves", "_sizes", "ends")

    def __init__(self, ends: Sequence[int], entries: int) -> None:
        self.ends = ends
        self._sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        self._entries = entries
        self._share = entries
        self._holders: dict[int, int] = {}
        self._shelves = 0

    def __len__(self) -> int:
        """Blocks that somebody holds."""
        return len(self._holders)

    def shelf(self, bit: int, bound: int) -> Shelf:
        """Room for another replica's blocks. What others hold beyond their part goes with time."""
        self._shelves += 1
        self._share = max(1, self._entries // self._shelves)
        return Shelf(bit, bound)

    def drop(self, shelf: Shelf) -> None:
        """Forget a replica."""
        holders, bit = self._holders, shelf.bit
        for block in shelf.blocks:
            if block >= 0:
                left = holders[block] ^ bit
                if left:
                    holders[block] = left
                else:
                    del holders[block]
        shelf.blocks.clear()
        shelf.tokens = 0
        self._shelves -= 1
        self._share = max(1, self._entries // max(1, self._shelves))

    def trim(self, shelf: Shelf) -> None:
        """Forget what does not fit."""
        holders, blocks, bit = self._holders, shelf.blocks, shelf.bit
        while shelf.tokens > shelf.bound or len(blocks) > self._share:
            block, tokens = blocks.popitem(last=False)
            shelf.tokens -= tokens
            if block >= 0:
                left = holders[block] ^ bit
                if left:
                    holders[block] = left
                else:
                    del holders[block]

    def hold(self, shelf: Shelf, blocks: Sequence[int]) -> None:
        """A replica reads a prompt of these blocks, and holds them from now on."""
        held, holders, sizes, bit = shelf.blocks, self._holders, self._sizes, shelf.bit
        before = -1
        after = 0
        for depth in range(min(len(blocks), len(sizes)) - 1, -1, -1):
            block = blocks[depth]
            if block in held:
                held.move_to_end(block)
                continue
            held[block] = sizes[depth]
            shelf.tokens += sizes[depth]
            has = holders.get(block, 0)
            if has != before:  # neighbours have the same holders: one object for all of them
                before, after = has, has | bit
            holders[block] = after
        if shelf.tokens > shelf.bound or len(held) > self._share:
            self.trim(shelf)

    def fill(self, shelf: Shelf, tokens: int) -> None:
        """A replica wrote so many tokens of answers, which take room beside the prompts."""
        shelf.fillers -= 1
        shelf.blocks[shelf.fillers] = tokens
        shelf.tokens += tokens
        if shelf.tokens > shelf.bound or len(shelf.blocks) > self._share:
            self.trim(shelf)

    def levels(self, blocks: Sequence[int]) -> list[Level]:
        """Who holds how much of a prompt's beginning; fewer and fewer replicas, more and more."""
        get = self._holders.get
        found: list[Level] = []
        held = get(blocks[0])
        if held is None:
            return found
        depth = 0
        for block in blocks[: len(self._sizes)]:
            has = get(block)
            if has is not held:
                both = held & has if has is not None else 0
                if both != held:
                    found.append((held, depth))
                    if not both:
                        return found
                    held = both
            depth += 1
        found.append((held, depth))
        return found
