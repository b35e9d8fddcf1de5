"""`plimsoll explain`: why one model gets what it gets: memory, limits, what was left and why;
or why one request went where it went.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from plimsoll.cli.demand import on_demand
from plimsoll.cli.explain_request import USUAL_KEY, ask_about, request_text
from plimsoll.cli.files import read_fleet
from plimsoll.cli.fleet_plan_json import explained_json
from plimsoll.cli.fleet_plan_text import explain_text
from plimsoll.cli.networks import runs_here
from plimsoll.cli.planning import accelerator_option, cloud_option, plan_of, plot_option
from plimsoll.errors import InputError
from plimsoll.facts.nearest import nearest_hint
from plimsoll.fleet import Fleet, Model
from plimsoll.plan.search.cheaper import cheaper


@click.command("explain")
@click.argument("file", required=False)
@click.argument("model", required=False)
@click.option(
    "--request", metavar="ID",
    help="Explain a request instead, by the `x-request-id` of its answer",
)  # fmt: skip
@click.option("--url", help="Gateway that had it; by default that of a fleet up on this machine")
@click.option(
    "--key-env", metavar="NAME",
    help=f"Variable that holds the API key; by default {USUAL_KEY}, where it is set",
)  # fmt: skip
@cloud_option
@accelerator_option
@plot_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON")
def explain_command(
    file: str | None,
    model: str | None,
    *,
    request: str | None,
    url: str | None,
    key_env: str | None,
    clouds: tuple[str, ...],
    accelerators: tuple[str, ...],
    plot: Path | None,
    as_json: bool,
) -> None:
    """Show why MODEL gets what it gets, or why a request went where it went.

    Of a model: its memory line by line, the limiting term, what was rejected and why, and three
    ways to pay less with what each gives up. Of a request: what became of it, and the replicas
    that were weighed for it.
    """
    if request is not None:
        if file is not None or clouds or accelerators or plot:
            raise InputError("`--request` is asked of a gateway, and takes no file", code="usage")
        told = ask_about(request, url=url, key_env=key_env)
        click.echo(json.dumps(told, indent=2) if as_json else request_text(told))
        return
    if file is None or model is None or url is not None or key_env is not None:
        raise InputError(
            "name a file and a model, or `--request ID`",
            hint="`--url` and `--key-env` belong to `--request`",
            code="usage",
        )
    loaded = read_fleet((file,))
    wanted = _model(loaded.fleet, model)
    plan, grounds = plan_of(loaded, clouds=clouds, accelerators=accelerators)
    choice = plan.choice(model)
    less = cheaper(choice, wanted, grounds)
    if plot:
        on_demand("plot").save_plot([choice], plot)
    if as_json:
        click.echo(json.dumps(explained_json(choice, less), indent=2))
    else:
        click.echo(explain_text(choice, less))


def _model(fleet: Fleet, name: str) -> Model:
    """The model of that name. Raises InputError, also for one that the embedded engine runs."""
    try:
        model = fleet.model(name)
    except KeyError:
        raise InputError(
            f"no model `{name}` in the fleet",
            hint=nearest_hint(name, (one.name for one in fleet.models)),
            code="explain.model",
        ) from None
    if runs_here(model):
        raise InputError(
            "runs on processors, with the embedded engine",
            where=name,
            hint="`plimsoll plan --here` shows its memory and why",
            code="explain.embedded",
        )
    return model
