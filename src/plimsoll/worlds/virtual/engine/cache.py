"""The blocks of one engine's KV cache: held, resting in order of last use, or free.

As in vLLM: blocks that nobody holds any more rest, the end of a request before its beginning, and
are found by prompts that begin alike until somebody needs the room; a last block that is not
whole is used again first. What a preempted request wrote rests too, and only it can find that.

Blocks that were read one after the other and are held by the same requests are one run, so that
what a request costs here grows with the prompts that part from it, not with its length.
"""

from __future__ import annotations

from collections import OrderedDict

from plimsoll.worlds.virtual.engine.types import EngineLimits, Job


class Run:
    """Blocks that are held and forgotten one after the other.

    names  of all of them; empty: a preempted request's, which only it can find
    count  of them, from the first, that the cache still has: names, or blocks where there are none
    size   blocks of each
    users  requests that hold them; 0: they rest
    """

    __slots__ = ("count", "names", "size", "users")

    def __init__(self, names: tuple[int, ...], count: int, size: int, users: int) -> None:
        self.names = names
        self.count = count
        self.size = size
        self.users = users


class KvCache:
    """See the module's docstring. Counts are of blocks.

    free    those that nobody holds, the resting ones included
    fickle  whether a request that could not be let in may be when others have taken blocks: what
            it would have found is forgotten by more than one block at once, and so it needs less
    """

    __slots__ = ("_block", "_caching", "_fresh", "_name", "_reserve", "_resting", "_runs", "_unit",
                 "fickle", "free")  # fmt: skip

    def __init__(self, limits: EngineLimits) -> None:
        self.free = limits.kv_blocks
        self._block = limits.block_size
        self._unit = limits.hash_tokens
        self._name = limits.hash_tokens // limits.block_size
        self._caching = limits.prefix_caching
        self._reserve = limits.reserve_prompt
        self.fickle = self._caching and not self._reserve and self._name > 1
        self._fresh = limits.kv_blocks  # those with nothing in them
        self._runs: dict[int, Run] = {}  # by the first of their names
        self._resting: OrderedDict[Run, None] = OrderedDict()  # the least recently used first

    def take(self, count: int) -> None:
        """Take free blocks, those with nothing in them first, then the least recently used."""
        self.free -= count
        self._fresh -= count
        while self._fresh < 0:
            run = next(iter(self._resting))
            gone = -(self._fresh // run.size)
            if gone < run.count:  # its end goes first
                run.count -= gone
                self._fresh += gone * run.size
                return
            del self._resting[run]
            if run.names:
                del self._runs[run.names[0]]
            self._fresh += run.count * run.size
            run.count = 0

    def admit(self, job: Job, room: int) -> int:
        """Let a request in: hold what the cache has of it, and take blocks for what is read first.

        room  tokens that the step has left, 1 or more
        Sets `job.read` and `job.named`. The tokens to be read in this step; 0 where blocks are
        lacking, and then nothing has changed.
        """
        block = self._block
        tokens = job.prompt + job.made
        names = found = rests = left = 0
        runs: list[Run] = []
        if self._caching and (job.blocks or job.kept is not None):
            runs, names, rests = self._found(job)
            if job.kept is not None and names == job.named:
                left = job.kept.count
                rests += left
            found = min(names * self._unit + left * block, (tokens - 1) // block * block)
        chunk = min(tokens - found, room)
        whole = names * self._name + left
        needed = -(-(tokens if self._reserve else found + chunk) // block) - whole
        if max(0, needed) + rests > self.free:
            return 0
        if names:
            self._hold(runs, names)
        if left:
            del self._resting[job.kept]
        self.free -= rests
        job.kept = None
        job.named = names
        job.read = found
        self._read(job, chunk, whole)
        return chunk

    def _found(self, job: Job) -> tuple[list[Run], int, int]:
        """What the cache has of a prompt's beginning: runs, of the last one perhaps not all; how
        many names; and blocks that rest of them.
        """
        blocks, runs = job.blocks, self._runs
        most = min(len(blocks), job.prompt // self._unit)
        found: list[Run] = []
        at = rests = 0
        while at < most:
            run = runs.get(blocks[at])
            if run is None:
                break
            names, count = run.names, run.count
            if at + count > most or names[:count] != blocks[at : at + count]:
                count = 1
                while at + count < most and names[count] == blocks[at + count]:
                    count += 1
                if names[count] in runs:  # it stands for two beginnings: no chained hash
                    break
            found.append(run)
            at += count
            if not run.users:
                rests += count
            if count < run.count:
                break
        return found, at, rests * self._name

    def _hold(self, runs: list[Run], names: int) -> None:
        """One more request holds so many names of these runs."""
        for run in runs:
            count = run.count
            if count <= names:
                if not run.users:
                    del self._resting[run]
                run.users += 1
                names -= count
                continue
            # It becomes two. What is left rests where it rested, or is held by whom it was.
            head = Run(run.names[:names], names, run.size, run.users + 1)
            run.names = run.names[names:count]
            run.count = count - names
            self._runs[head.names[0]] = head
            self._runs[run.names[0]] = run

    def go_on(self, job: Job, chunk: int) -> bool:
        """Take blocks for the next part of a prompt; False where they are lacking."""
        whole = max(-(-job.read // self._block), job.named * self._name)
        if -(-(job.read + chunk) // self._block) - whole > self.free:
            return False
        self._read(job, chunk, whole)
        return True

    def _read(self, job: Job, chunk: int, whole: int) -> None:
        """Take what lacks for a part that is read now, and name what is whole with it."""
        upto = job.read + chunk
        needed = -(-upto // self._block) - whole
        if needed > 0:
            self.take(needed)
        blocks = job.blocks
        if blocks and self._caching:
            named = job.named
            most = min(len(blocks), min(upto, job.prompt) // self._unit)
            if named < most and blocks[named] not in self._runs:
                self._runs[blocks[named]] = Run(blocks[named:most], most - named, self._name, 1)
                job.named = most

    def release(self, job: Job, tokens: int) -> Run | None:
        """Hold a request's blocks no longer; `tokens` of it have their KV there.

        What rests of it and has no name.
        """
        block, size = self._block, self._name
        whole = job.named * size
        own = -(-tokens // block) - whole
        if not self._caching:
            self.free += own
            self._fresh += own
            return None
        rest: Run | None = None
        resting, runs, blocks = self._resting, self._runs, job.blocks
        if own > 0:
            full = tokens // block - whole
            self.free += own
            self._fresh += own - full
            if full > 0:
                rest = Run((), full, 1, 0)
                resting[rest] = None
        held: list[Run] = []
        at = 0
        while at < job.named:
            run = runs[blocks[at]]
            at += run.count
            held.append(run)
        for run in reversed(held):
            run.users -= 1
            if not run.users:
                resting[run] = None
                self.free += run.count * size
        return rest
