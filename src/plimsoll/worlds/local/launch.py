"""Becomes the command that it is given, tied to the process that started it.

`python -I -S launch.py PARENT PROGRAM ARGUMENT...`: when PARENT dies, however it dies, the kernel
kills the program (Linux). Elsewhere the lifeline of llama_server.py does it, a moment later.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _die_with_parent() -> None:
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 -- ten milliseconds of every start, needed on Linux only

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def main(parent: int, command: list[str]) -> None:
    """Replace this process by the command. Exits 1 when the parent is already gone."""
    _die_with_parent()
    if os.getppid() != parent:  # it died before the tie was made
        sys.exit(1)
    # An engine that crashes would otherwise write its weights to disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execv(command[0], command)  # noqa: S606 -- no shell is what we want


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
