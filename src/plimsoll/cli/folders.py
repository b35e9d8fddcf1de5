"""Where Plimsoll keeps things on this machine: state (logs, what is up) and nothing else."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """`$PLIMSOLL_STATE`, else `$XDG_STATE_HOME/plimsoll`, else `~/.local/state/plimsoll`."""
    given = os.environ.get("PLIMSOLL_STATE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "plimsoll"
