"""`plimsoll nodepools`: what it prints, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from plimsoll.cli.nodepools import nodepools_command
from plimsoll.errors import InputError

FLEET = """\
apiVersion: plimsoll.dev/v1alpha1
kind: Fleet
metadata: {name: test}
spec:
  pools:
    - {name: large, accelerator: H100-80GB-SXM, capacity: mixed, nodes: {max: 4},
       cloud: {provider: aws, instanceType: p5.48xlarge, region: eu-west-1, cluster: c}}
    - {name: small, accelerator: L4, perNode: 1}
    - {name: away, accelerator: L4, cloud: {provider: gcp, instanceType: g2-standard-4}}
"""


def run(tmp_path: Path, *words: str, fleet: str = FLEET) -> Result:
    file = tmp_path / "fleet.yaml"
    file.write_text(fleet)
    return CliRunner().invoke(nodepools_command, [str(file), *words])


def test_it_prints_a_script_that_bash_reads(tmp_path: Path) -> None:
    result = run(tmp_path, "--cloud", "aws")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("#!/usr/bin/env bash\n")
    done = subprocess.run(
        ["bash", "-n"], input=result.stdout, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pool_without_a_cloud_gets_the_cheapest_machine_that_fits(tmp_path: Path) -> None:
    result = run(tmp_path, "--cloud", "aws", "--json")
    small = json.loads(result.stdout)["pools"][1]
    assert small["name"] == "small"
    assert small["groups"][0]["machines"][0] == "g6.xlarge"


def test_as_json_each_pool_has_its_groups_and_commands(tmp_path: Path) -> None:
    body = json.loads(run(tmp_path, "--cloud", "aws", "--json").stdout)
    large = body["pools"][0]
    assert [(group["name"], group["spot"], group["max"]) for group in large["groups"]] == [
        ("large-spot", True, 3),
        ("large-on-demand", False, 1),
    ]
    assert "aws eks create-nodegroup" in large["commands"]
    assert body["skipped"] == {"away": "is in gcp"}
    assert body["script"].startswith("#!/usr/bin/env bash\n")


def test_the_same_fleet_gives_the_same_script(tmp_path: Path) -> None:
    first, second = (run(tmp_path, "--cloud", "gcp").stdout for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("pool", "code"),
    [
        ("{name: a, accelerator: MI300X}", "nodes.machine"),
        (
            "{name: a, accelerator: L4, cloud: {provider: aws, instanceType: p5.48xlarge}}",
            "nodes.accelerator",
        ),
        (
            "{name: a, accelerator: L4, cloud: {provider: aws, instanceType: p9.huge}}",
            "facts.unknown-instance",
        ),
        ("{name: a, accelerator: L4, cloud: {provider: gcp}}", "nodes.none"),
    ],
    ids=["no-machine", "another-accelerator", "no-such-machine", "another-cloud"],
)
def test_a_pool_that_cannot_be_there_is_refused(tmp_path: Path, pool: str, code: str) -> None:
    head = FLEET.split("  pools:\n", maxsplit=1)[0]
    result = run(tmp_path, "--cloud", "aws", fleet=f"{head}  pools:\n    - {pool}\n")
    assert isinstance(result.exception, InputError)
    assert result.exception.code == code


def test_the_cloud_must_be_said(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "--cloud" in result.output
