"""`plimsoll render`: a fleet as Kubernetes objects, in files that GitOps tools take as they are."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from plimsoll.cli.files import read_fleet
from plimsoll.cli.rendering import image_option, site_of
from plimsoll.errors import InputError
from plimsoll.worlds.cluster.info import ASSUMED, ClusterInfo
from plimsoll.worlds.cluster.objects.render import Rendered, Target, render
from plimsoll.worlds.cluster.tree import write_tree
from plimsoll.worlds.cluster.yaml_text import to_yaml


@click.command("render")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Write files and a kustomization here; without it, everything goes to stdout",
)  # fmt: skip
@click.option(
    "--target", type=click.Choice(["kubernetes", "kserve"]), default="kubernetes",
    show_default=True, help="Objects of Kubernetes itself, or for KServe",
)  # fmt: skip
@click.option(
    "--cluster-info", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="What the cluster offers, as `plimsoll doctor --json` prints it",
)  # fmt: skip
@click.option("-n", "--namespace", help="Namespace of a fleet that names none")
@image_option
@click.option(
    "--scaler", default="", metavar="HOST:PORT",
    help="Let KEDA ask Plimsoll's external scaler there, instead of Prometheus",
)  # fmt: skip
@click.option(
    "--inference-pools", "picker", metavar="SERVICE:PORT",
    help="Also an InferencePool for each model, with this endpoint picker",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON")
def render_command(
    files: tuple[str, ...],
    *,
    output: Path | None,
    target: Target,
    cluster_info: Path | None,
    namespace: str | None,
    image: str,
    scaler: str,
    picker: str | None,
    as_json: bool,
) -> None:
    """Write the Kubernetes objects of a fleet; asks no cluster and changes none.

    The same fleet always gives the same files. They hold no secret: those are named, and must be
    in the cluster.
    """
    site, notes = site_of(
        read_fleet(files),
        info=_info(cluster_info),
        namespace=namespace,
        image=image,
        scaler=scaler,
    )
    rendered = render(site, target=target, picker=_picker(picker))
    notes = (*notes, *rendered.notes)
    if output is None:
        if as_json:
            click.echo(json.dumps({"objects": rendered.manifests, "notes": notes}, indent=2))
        else:
            click.echo(to_yaml(rendered.manifests), nl=False)
            _say(notes)
        return
    changed, removed = write_tree(output, rendered.files, rendered.extras)
    if as_json:
        click.echo(json.dumps(_summary(rendered, output, changed, removed, notes), indent=2))
        return
    count = len(rendered.manifests)
    click.echo(
        f"{output}: {count} objects in {len(rendered.files)} files"
        + "".join(f"; {path} beside them" for path in rendered.extras)
    )
    _say(notes)


def _picker(text: str | None) -> tuple[str, int] | None:
    """Service and port of an endpoint picker. Raises InputError."""
    if text is None:
        return None
    name, colon, port = text.rpartition(":")
    if not colon or not name or not port.isdecimal():
        raise InputError(
            f"`{text}` is no endpoint picker",
            where="--inference-pools",
            hint="write its Service and port, such as `llm-d-epp:9002`",
            code="render.picker",
        )
    return name, int(port)


def _say(notes: tuple[str, ...]) -> None:
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _summary(
    rendered: Rendered, output: Path, changed: int, removed: int, notes: tuple[str, ...]
) -> dict[str, object]:
    return {
        "folder": str(output),
        "files": [{"path": file.path, "objects": len(file.manifests)} for file in rendered.files],
        "written": changed,
        "removed": removed,
        "notes": list(notes),
    }


def _info(path: Path | None) -> ClusterInfo:
    """What a cluster offers, from a file. Raises InputError for one that says something else."""
    if path is None:
        return ASSUMED
    try:
        body = msgspec.json.decode(path.read_bytes())
        return msgspec.convert(
            body["cluster"] if isinstance(body, dict) and "cluster" in body else body, ClusterInfo
        )
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"does not say what a cluster offers: {error}",
            where=str(path),
            hint="write it with `plimsoll doctor --json`",
            code="render.cluster-info",
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(path), code="input.file"
        ) from error
