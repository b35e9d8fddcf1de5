"""What `up` shows while it runs: a live table on a terminal, lines of change elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol, Self

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from plimsoll.cli.prepare import Prepared
from plimsoll.cli.running import RunningFleet
from plimsoll.units import duration

STATE_STYLES = {"ready": "green", "starting": "yellow", "draining": "cyan", "failed": "red"}


class View(Protocol):
    """Shows a run; a context manager, so that the terminal is given back on every path."""

    def __enter__(self) -> Self:
        """Take the terminal."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back."""
        ...

    def listening(self, url: str, prepared: Prepared) -> None:
        """The gateway listens; replicas are still starting."""
        ...

    def show(self, fleet: RunningFleet) -> None:
        """The state now; called often, also when nothing changed."""
        ...


class PlainView:
    """One line for each change, on stderr; as JSON on stdout for programs."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._states: dict[str, tuple[str, str]] = {}
        self._wanted: dict[str, int] = {}
        self._all_ready = False

    def __enter__(self) -> Self:
        """Nothing to take."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say that it is over."""
        if kind is None:
            self._say({"event": "stopped"}, "stopped")

    def listening(self, url: str, prepared: Prepared) -> None:
        """Where, and which models."""
        names = [place.model for place in prepared.plan.placements]
        self._say(
            {"event": "listening", "url": url, "models": names},
            f"{prepared.title} listens at {url} ({', '.join(names)})",
        )

    def show(self, fleet: RunningFleet) -> None:
        """Lines for what changed since the last call."""
        now = {r.name: (r.state, r.reason) for m in fleet.models for r in m.replicas}
        for name, (state, reason) in now.items():
            if self._states.get(name, ("", ""))[0] != state:
                why = f": {reason}" if reason and state == "failed" else ""
                self._say(
                    {"event": "replica", "replica": name, "state": state, "reason": reason},
                    f"{name} is {state}{why}",
                )
        for name in self._states.keys() - now.keys():
            self._say({"event": "replica", "replica": name, "state": "gone"}, f"{name} is gone")
        self._states = now
        for model in fleet.models:
            if self._wanted.get(model.name, model.wanted) != model.wanted:
                self._say(
                    {
                        "event": "scale",
                        "model": model.name,
                        "wanted": model.wanted,
                        "reason": model.reason,
                    },
                    f"{model.name} wants {model.wanted} replicas: {model.reason}",
                )
            self._wanted[model.name] = model.wanted
        self._say_when_ready(fleet)

    def _say_when_ready(self, fleet: RunningFleet) -> None:
        ready = fleet.state == "up" and all(
            sum(r.state == "ready" for r in m.replicas) >= m.wanted for m in fleet.models
        )
        if ready and not self._all_ready:
            self._say({"event": "ready", "url": fleet.url}, f"ready: {_try_it(fleet)}")
        self._all_ready = ready

    def _say(self, event: dict[str, object], line: str) -> None:
        if self._as_json:
            click.echo(msgspec.json.encode(event).decode())
            sys.stdout.flush()
        else:
            click.echo(line, err=True)


class LiveView:
    """A table that is redrawn in place; the last picture stays when it ends."""

    def __init__(self) -> None:
        self._title = ""
        self._live = Live(console=Console(stderr=True), auto_refresh=False)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing; the cursor is given back."""
        self._live.__exit__(kind, error, trace)

    def listening(self, url: str, prepared: Prepared) -> None:
        """Keep the title; the first `show` draws it."""
        self._title = prepared.title

    def show(self, fleet: RunningFleet) -> None:
        """Draw the state."""
        head = Text.assemble(
            (f"{self._title} ", "bold"), f"is {fleet.state} at ", (fleet.url, "cyan")
        )
        grid = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("MODEL", "REPLICA", "STATE", "FOR", "REQUESTS", "QUEUED"):
            grid.add_column(name)
        grid.add_column("WHY", overflow="ellipsis", no_wrap=True)
        for model in fleet.models:
            queued = str(model.queued) if model.queued else ""
            grid.add_row(
                model.name,
                f"{model.wanted} wanted",
                "",
                "",
                str(model.in_flight),
                queued,
                model.reason,
            )
            for r in model.replicas:
                state = Text(r.state, style=STATE_STYLES.get(r.state, ""))
                grid.add_row("", r.name, state, duration(r.seconds), str(r.in_flight), "", r.reason)
        foot = Text(f"\n{_try_it(fleet)}\nCtrl-C stops it", style="dim")
        self._live.update(Group(head, grid, foot), refresh=True)


def _try_it(fleet: RunningFleet) -> str:
    """A command that gets an answer from the first model."""
    name = fleet.models[0].name if fleet.models else "MODEL"
    return f'plimsoll chat {name} "What is a KV cache?"'
