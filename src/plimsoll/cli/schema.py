"""`plimsoll schema`: the fleet file's schema for editors and for Kubernetes."""

from __future__ import annotations

import json

import click
import yaml

from plimsoll.fleet import crd, json_schema


@click.command("schema")
@click.option("--crd", "as_crd", is_flag=True, help="Print the Kubernetes CustomResourceDefinition")
@click.option("--json", "as_json", is_flag=True, help="Print the CRD as JSON instead of YAML")
def schema_command(*, as_crd: bool, as_json: bool) -> None:
    """Print the JSON Schema of fleet files, or with --crd the Kubernetes CRD.

    Editors complete and check a fleet file when its first line is
    `# yaml-language-server: $schema=fleet.schema.json` and the schema is stored there.
    """
    if as_crd and not as_json:
        click.echo(yaml.safe_dump(crd(), sort_keys=False, width=100), nl=False)
        return
    click.echo(json.dumps(crd() if as_crd else json_schema(), indent=2))
