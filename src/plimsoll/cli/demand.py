"""Imports a module of the command line when it is needed: commands, and what few runs need.

The one place that does so (docs/decisions/0003-commands-on-demand.md).
"""

from __future__ import annotations

import importlib
from typing import Any


def on_demand(name: str) -> Any:
    """The module `plimsoll.cli.<name>`."""
    return importlib.import_module(f"plimsoll.cli.{name}")
