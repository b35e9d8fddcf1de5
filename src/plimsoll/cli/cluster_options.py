"""How commands are told which cluster they are about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

Command = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How to reach a cluster; None: as kubectl would.

    kubeconfig  path of the file
    context     name in it
    """

    kubeconfig: str | None = None
    context: str | None = None


def cluster_options(command: Command) -> Command:
    """`--kubeconfig`, `--context` and `--namespace`."""
    for option in (
        click.option("-n", "--namespace", help="Namespace of a fleet that names none"),
        click.option("--context", help="Context of the kubeconfig, instead of the current one"),
        click.option("--kubeconfig", metavar="FILE", help="Instead of $KUBECONFIG"),
    ):
        command = option(command)
    return command
