"""`plimsoll simulate`: a fleet under a trace of requests, before anything is paid."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from plimsoll.cli.exits import DOES_NOT_FIT, FINE
from plimsoll.cli.files import read_fleet
from plimsoll.cli.planning import accelerator_option, cloud_option, plan_of
from plimsoll.cli.simulate_fleet import Wished, simulated
from plimsoll.cli.simulate_json import run_json
from plimsoll.cli.simulate_policies import POLICIES
from plimsoll.cli.simulate_remedy import refusal
from plimsoll.cli.simulate_run import Run, run, serves
from plimsoll.cli.simulate_text import run_text
from plimsoll.cli.simulate_trace import TraceOptions, workload_of
from plimsoll.errors import InputError
from plimsoll.plan.search.sizing import FULLEST
from plimsoll.worlds.virtual.report.page import page

_FACTOR = click.FloatRange(1e-6, 1e6)
_FILE = click.Path(path_type=Path)


@click.command("simulate")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--trace", "trace", type=_FILE, required=True, metavar="TRACE",
    help="Requests: Azure's CSV, Mooncake's JSON lines, ServeGen's rates; plain or gzip",
)  # fmt: skip
@click.option(
    "--lengths", type=_FILE, metavar="TRACE", help="ServeGen's lengths of requests, for its rates"
)
@click.option("--rates-of", metavar="NAME", help="Whose of ServeGen's rates, where there are more")
@click.option("--model", metavar="NAME", help="The model that is asked, where there are more")
@click.option(
    "--policy", default="fleet", show_default=True, metavar="NAME",
    help=f"Who scales: fleet (its own), {', '.join(POLICIES)}; thresholds as in `keda:85`, in "
    "percent of the planned load",
)  # fmt: skip
@click.option(
    "--cold-start", type=click.FloatRange(0, 86_400), metavar="SECONDS",
    help="How long a new replica takes; by default as the plan predicts",
)  # fmt: skip
@click.option("--min", "least", type=click.IntRange(0, 10_000), help="Fewest replicas")
@click.option("--max", "most", type=click.IntRange(1, 10_000), help="Most replicas")
@click.option("--speed", type=_FACTOR, default=1.0, help="Play the trace so many times as fast")
@click.option("--rate", type=_FACTOR, default=1.0, help="So many times the requests in its time")
@click.option("--from", "begin", metavar="TIME", help="Begin so far into the trace, such as `1h`")
@click.option("--until", "end", metavar="TIME", help="End so far into the trace")
@click.option("--seed", type=int, default=0, help="Of everything that happens by chance")
@click.option("--allow-gaps", is_flag=True, help="Take long holes in the trace as they are")
@cloud_option
@accelerator_option
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write a page of HTML with plots, readable without network",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON")
def simulate_command(
    files: tuple[str, ...],
    *,
    trace: Path,
    lengths: Path | None,
    rates_of: str | None,
    model: str | None,
    policy: str,
    cold_start: float | None,
    least: int | None,
    most: int | None,
    speed: float,
    rate: float,
    begin: str | None,
    end: str | None,
    seed: int,
    allow_gaps: bool,
    clouds: tuple[str, ...],
    accelerators: tuple[str, ...],
    report: Path | None,
    as_json: bool,
) -> int:
    """Show what a fleet would do under a trace of requests, and what it would cost.

    The fleet is planned, and its gateway, engines, nodes and scaling policy are simulated with the
    code that runs them. Nothing is started. Exits 3 where the fleet does not serve the trace, with
    the first minute at which it fails and what would do.
    """
    loaded = read_fleet(files)
    plan, _ = plan_of(loaded, clouds=clouds, accelerators=accelerators)
    wished = Wished(model=model, policy=policy, cold_start=cold_start, min=least, max=most)
    fleet = simulated(loaded.fleet, plan, wished)
    workload = workload_of(
        TraceOptions(
            path=trace, lengths=lengths, rates_of=rates_of, begin=begin, end=end, speed=speed,
            rate=rate, seed=seed, allow_gaps=allow_gaps,
        ),
        fleet.model.name,
    )  # fmt: skip

    def does(fewest: int, highest: int) -> bool:
        other = simulated(loaded.fleet, plan, replace(wished, min=fewest, max=highest))
        what = f"trying {fewest} to {highest} replicas"
        return serves(other, workload, seed=seed, what=what, requests=found.arrived)

    found = run(fleet, workload, seed=seed, what=f"simulating {fleet.model.name}")
    if report is not None:
        _write(report, found)
    if not as_json:
        click.echo(run_text(found))
        if not found.serves:
            raise refusal(found, does)
        return FINE
    body = run_json(found)
    if not found.serves:
        body["error"] = refusal(found, does).as_dict()
    click.echo(json.dumps(body, indent=2))
    return FINE if found.serves else DOES_NOT_FIT


def _write(file: Path, found: Run) -> None:
    """The page of a run. Raises InputError where it cannot be written."""
    name = found.simulated.model.name
    carried = found.simulated.choice.chosen.capacity * FULLEST
    text = page(f"{name}, simulated", run_text(found), found.minutes, carried=carried)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror or error}",
            where=str(file),
            hint="give `--report` a file in a folder that exists",
            code="simulate.report",
        ) from error
