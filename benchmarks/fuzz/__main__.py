"""Runs cases of every kind until the time is over; prints the first that fails."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from time import process_time
from types import FrameType, MappingProxyType

from benchmarks.fuzz import conversations, translations
from benchmarks.fuzz.wires import Clock, World

Case = Callable[[World, random.Random], None]
KINDS: Mapping[str, Case] = MappingProxyType(
    {"conversations": conversations.one, "translations": translations.one}
)
_LONGEST = 5  # seconds of a case, after which it is called hung
_TOGETHER = 200  # cases in one world, so that what one leaves behind the next would meet


class HungError(Exception):
    """A case that does not end."""


def _hung(_signal: int, _frame: FrameType | None) -> None:
    raise HungError(f"no end within {_LONGEST} s")


async def fuzz(
    kind: str, *, seconds: float, seed: str, first: int = 0, cases: int | None = None
) -> int:
    """Run cases of one kind, from that number on, for so many seconds of CPU; how many. Raises
    what the first failed one raised, with a note of how to run it again.
    """
    problems: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: problems.append(str(context)))
    clock = Clock()
    with clock.rules():
        end, number, world = process_time() + seconds, first, World(clock)
        while process_time() < end and (cases is None or number < first + cases):
            if number % _TOGETHER == 0:
                world = World(clock)
            signal.setitimer(signal.ITIMER_REAL, _LONGEST)
            try:
                KINDS[kind](world, random.Random(f"{seed}.{number}"))
                await asyncio.sleep(0)
                assert not problems, problems
            except BaseException as error:
                since = number - number % _TOGETHER
                where = f"--seed {seed} --first {since} --cases {number - since + 1}"
                error.add_note(f"again: --only {kind} {where}")
                raise
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            number += 1
    return number - first


def main() -> int:
    """Print a row per kind. Returns 1 when a case failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0, help="of CPU, over all kinds")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--cases", type=int)
    parser.add_argument("--only", choices=list(KINDS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _hung)
    kinds = [options.only] if options.only else list(KINDS)
    counts = {}
    for kind in kinds:
        began = process_time()
        try:
            count = asyncio.run(
                fuzz(
                    kind,
                    seconds=options.seconds / len(kinds),
                    seed=options.seed,
                    first=options.first,
                    cases=options.cases,
                )
            )
        except BaseException:  # noqa: BLE001 -- whatever a case raised is what is looked for
            traceback.print_exc()
            return 1
        took = process_time() - began
        counts[kind] = {"cases": count, "cpu_seconds": round(took, 1)}
        if not options.json:
            print(f"| {kind} | {count:,} | {took:.0f} s | {count / max(took, 1e-9):,.0f}/s | 0 |")
    if options.json:
        print(json.dumps(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
