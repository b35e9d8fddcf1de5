"""The clouds' commands: bash reads them, they make each thing once, and say what they lack.

The programs are stood in for; what is said to `aws` is checked against its own service model, and
to `gcloud` by the real program, where they are installed. `PLIMSOLL_REGENERATE=1` writes the golden
scripts anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.facts.instances import instances
from plimsoll.worlds.cluster.node_commands import node_script
from tests.worlds.cluster.pools import site_of_pools

GOLDEN = Path(__file__).parents[2] / "golden" / "nodepools"
FAKE = Path(__file__).parent / "fake_cloud.py"
CLOUDS = ("aws", "gcp", "azure")
MACHINES = {
    "aws": ("p5.48xlarge", "g6.12xlarge"),
    "gcp": ("a3-highgpu-8g", "g2-standard-48"),
    "azure": ("Standard_ND96isr_H100_v5", "Standard_NC64as_T4_v3"),
}
PLACES = {
    "aws": {"region": "eu-west-1", "cluster": "inference"},
    "gcp": {"region": "europe-west4", "cluster": "inference", "project": "acme-ml"},
    "azure": {"cluster": "inference", "resourceGroup": "ml"},
}


def fleet(cloud: str) -> str:
    """Pools of every kind in one cloud."""
    large, small = MACHINES[cloud]
    kinds = {row.type: row.accelerator for row in instances()}
    place = {"provider": cloud, **PLACES[cloud]}
    zoned = {**place, "instanceType": large, "zones": ["europe-west4-a"]}
    cut = {"strategy": "single", "layout": [{"profile": "1g.10gb", "count": 7}]}
    mixed_cut = {"layout": [{"profile": "3g.40gb", "count": 1}, {"profile": "4g.40gb", "count": 1}]}
    listed: list[dict[str, Any]] = [
        {"name": "open", "cloud": {**place, "instanceType": large}, "nodes": {"min": 1, "max": 4}},
        {"name": "zoned", "cloud": zoned, "capacity": "spot", "labels": {"team": "ml"},
         "taints": [{"key": "team", "value": "ml"}, {"key": "slow", "effect": "PreferNoSchedule"}]},
        {"name": "part-spot", "cloud": zoned, "capacity": "mixed", "nodes": {"min": 2, "max": 10}},
        {"name": "bought", "cloud": {**zoned, "reservation": "cr-0a1b"}, "capacity": "reserved"},
        {"name": "turns", "cloud": {**zoned, "instanceType": small},
         "sharing": {"timeSlicing": {"replicas": 4}}},
        {"name": "cut", "cloud": zoned, "sharing": {"mig": cut}},
        {"name": "cut-mixed", "cloud": zoned, "sharing": {"mig": mixed_cut}},
        {"name": "plain", "accelerator": "none", "cloud": {**zoned, "instanceType": None}},
        {"name": "open-gpus", "accelerator": "L4", "nodes": {"max": 2}, "perNode": 1}
        if cloud != "azure"
        else {"name": "open-gpus", "accelerator": "T4", "nodes": {"max": 2}, "perNode": 1},
    ]  # fmt: skip
    for pool in listed:
        where = pool.get("cloud", {})
        where = {key: value for key, value in where.items() if value is not None}
        if where:
            pool["cloud"] = where
        pool.setdefault("accelerator", kinds.get(where.get("instanceType", ""), "none"))
    return yaml.safe_dump({"pools": listed}, sort_keys=False)


def script(cloud: str) -> str:
    return node_script(site_of_pools(fleet(cloud)), cloud).text


def said(text: str) -> dict[str, str]:
    """A value for every variable that a script asks for."""
    kinds = {"EKS_SUBNETS": "subnet-1 subnet-2", "ZONES": "zone-a,zone-b"}
    asked = re.findall(r'^: "\$\{(\w+):\?say ', text, re.MULTILINE)
    return {
        name: next((value for start, value in kinds.items() if name.startswith(start)), "said")
        for name in asked
    }


@dataclass(frozen=True)
class Run:
    """One run of a script: how it ended, and what it called."""

    code: int
    err: str
    calls: list[dict[str, Any]]

    def made(self) -> list[str]:
        return [call["verb"] for call in self.calls if call["verb"].startswith(("create", "add"))]


class Machine:
    """A folder with the stand-ins on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("aws", "gcloud", "az"):
            program = folder / name
            program.write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
            program.chmod(0o755)

    def run(self, text: str, **words: str) -> Run:
        (self.folder / "calls.jsonl").write_text("")
        done = subprocess.run(
            ["bash"], input=text, text=True, capture_output=True, timeout=120, check=False,
            env={"PATH": f"{self.folder}:/usr/bin:/bin", **said(text), **words},
        )  # fmt: skip
        lines = (self.folder / "calls.jsonl").read_text().splitlines()
        return Run(done.returncode, done.stderr, [json.loads(line) for line in lines])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if shutil.which("bash") is None:
        pytest.skip("bash is not here")
    return Machine(tmp_path)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_script_is_as_its_golden_text_says(cloud: str) -> None:
    golden = GOLDEN / f"{cloud}.sh"
    text = script(cloud)
    if os.environ.get("PLIMSOLL_REGENERATE"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_bash_reads_the_script(cloud: str) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=script(cloud), text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not here")
@pytest.mark.parametrize("cloud", CLOUDS)
def test_shellcheck_finds_nothing(cloud: str) -> None:
    done = subprocess.run(
        ["shellcheck", "-s", "bash", "-"],
        input=script(cloud), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.stdout == ""


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_second_run_makes_nothing(cloud: str, machine: Machine) -> None:
    first = machine.run(script(cloud))
    assert first.code == 0, first.err
    assert len(first.made()) >= 10
    second = machine.run(script(cloud))
    assert second.code == 0, second.err
    assert second.made() == []
    assert any(call["verb"].startswith("update") for call in second.calls)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_run_that_was_broken_off_is_taken_up_again(cloud: str, machine: Machine) -> None:
    whole = script(cloud)
    cut = whole.index("# Pool bought")
    assert machine.run(whole[:cut]).code == 0
    rest = machine.run(whole)
    assert rest.code == 0, rest.err
    assert rest.made()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_cloud_that_does_not_answer_ends_the_script_before_anything_is_made(
    cloud: str, machine: Machine
) -> None:
    (machine.folder / "broken").touch()
    done = machine.run(script(cloud))
    assert done.code != 0
    assert done.made() == []


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_the_fleet_does_not_say_is_asked_for_before_anything_is_made(
    cloud: str, machine: Machine
) -> None:
    asked = said(script(cloud))
    assert asked
    for variable in asked:
        done = machine.run(script(cloud), **{variable: ""})
        assert done.code != 0
        assert variable in done.err
        assert done.calls == []


def test_a_pool_that_names_nothing_asks_for_everything() -> None:
    text = "pools: [{name: gpus, accelerator: L4}]"
    wanted = {
        "aws": {"AWS_REGION", "EKS_CLUSTER", "EKS_NODE_ROLE", "EKS_SUBNETS"},
        "gcp": {"GCP_PROJECT", "GKE_CLUSTER", "GKE_LOCATION", "ZONES_GPUS"},
    }
    for cloud, variables in wanted.items():
        asked = re.findall(
            r'^: "\$\{(\w+):\?say ', node_script(site_of_pools(text), cloud).text, re.MULTILINE
        )
        assert set(asked) == variables


def of_group(run: Run, name: str) -> dict[str, Any]:
    """The flags with which a group was made."""
    for call in run.calls:
        named = [*call["flags"].get("nodegroup-name", []), *call["flags"].get("name", [])]
        if call["verb"] in ("create-nodegroup", "add", "create") and (
            name in named or name in call["argv"]
        ):
            found: dict[str, Any] = call["flags"]
            return found
    raise AssertionError(f"{name} was not made")


def test_gke_bounds_are_of_the_whole_pool_and_the_start_is_not_a_node_per_zone(
    machine: Machine,
) -> None:
    flags = of_group(machine.run(script("gcp")), "open")
    assert flags["total-min-nodes"] == ["1"]
    assert flags["total-max-nodes"] == ["4"]
    assert flags["num-nodes"] == ["1"]
    assert "min-nodes" not in flags


def test_gke_starts_with_none_where_one_per_zone_would_be_too_many(machine: Machine) -> None:
    flags = of_group(machine.run(script("gcp"), ZONES_OPEN="a,b,c,d,e"), "open")
    assert flags["num-nodes"] == ["0"]


def test_gke_cuts_and_shares_by_itself_where_it_can(machine: Machine) -> None:
    run = machine.run(script("gcp"))
    assert "gpu-partition-size=1g.10gb" in of_group(run, "cut")["accelerator"][0]
    assert "gpu-sharing-strategy=time-sharing" in of_group(run, "turns")["accelerator"][0]
    mixed = of_group(run, "cut-mixed")
    assert "gpu-driver-version=disabled" in mixed["accelerator"][0]
    assert "gke-no-default-nvidia-gpu-device-plugin=true" in mixed["node-labels"][0]


def test_spot_nodes_are_marked_and_bought_as_such(machine: Machine) -> None:
    azure = of_group(machine.run(script("azure")), "zoned")
    assert azure["priority"] == ["Spot"]
    assert azure["spot-max-price"] == ["-1"]
    assert "kubernetes.azure.com/scalesetpriority=spot:NoSchedule" in azure["node-taints"][0]
    google = of_group(machine.run(script("gcp")), "zoned")
    assert "spot" in google
    amazon = of_group(machine.run(script("aws")), "zoned")
    assert amazon["capacity-type"] == ["SPOT"]


def test_a_part_spot_pool_keeps_its_least_nodes_on_demand(machine: Machine) -> None:
    run = machine.run(script("aws"))
    spot, rest = (of_group(run, f"part-spot-{kind}") for kind in ("spot", "on-demand"))
    assert spot["scaling-config"] == ["minSize=0,maxSize=7,desiredSize=0"]
    assert rest["scaling-config"] == ["minSize=2,maxSize=3,desiredSize=2"]


def test_a_capacity_block_is_asked_for_as_one(machine: Machine) -> None:
    (machine.folder / "capacity-block").touch()
    run = machine.run(script("aws"))
    assert of_group(run, "bought")["capacity-type"] == ["CAPACITY_BLOCK"]
    data = [
        json.loads(call["flags"]["launch-template-data"][0])
        for call in run.calls
        if call["verb"] == "create-launch-template"
        and call["flags"]["launch-template-name"] == ["plimsoll-bought"]
    ]
    assert data[0]["InstanceMarketOptions"] == {"MarketType": "capacity-block"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_node_is_labelled_with_its_pool_and_kept_for_accelerators(
    cloud: str, machine: Machine
) -> None:
    for call in machine.run(script(cloud)).calls:
        if call["verb"] in ("create-nodegroup", "add", "create"):
            text = " ".join(call["argv"])
            assert "plimsoll.dev/pool" in text
            if "plimsoll.dev/pool=plain" not in text and '"plain"' not in text:
                assert "nvidia.com/gpu" in text


def parameters(flags: dict[str, list[str]]) -> dict[str, Any]:
    """Aws's flags as the parameters of its API."""
    found: dict[str, Any] = {}
    for flag, values in flags.items():
        if flag in ("region", "output", "query"):
            continue
        head, *rest = flag.split("-")
        name = head + "".join(word.title() for word in rest)
        if flag in ("subnets", "instance-types"):
            found[name] = values
        elif values[0][0] in "{[":
            found[name] = json.loads(values[0])
        elif "=" in values[0]:
            pairs = dict(pair.split("=", 1) for pair in values[0].split(","))
            found[name] = {
                key: int(value) if flag != "launch-template" else value
                for key, value in pairs.items()
            }
        else:
            found[name] = values[0]
    return found


def test_what_is_said_to_aws_is_what_its_service_model_takes(machine: Machine) -> None:
    session = pytest.importorskip("botocore.session", reason="botocore is not here").get_session()
    from botocore.validate import ParamValidator

    eks, ec2 = (session.get_service_model(name) for name in ("eks", "ec2"))
    runs = [machine.run(script("aws")), machine.run(script("aws"))]
    checked = 0
    for call in (call for run in runs for call in run.calls):
        given_ = parameters(call["flags"])
        if call["verb"] in ("create-nodegroup", "update-nodegroup-config"):
            words = "".join(word.title() for word in call["verb"].split("-"))
            shape = eks.operation_model(words).input_shape
            report = ParamValidator().validate(given_, shape)
            for name in ("amiType", "capacityType"):
                if name in given_:
                    assert given_[name] in shape.members[name].enum
        elif call["verb"] == "create-launch-template":
            shape = ec2.shape_for("RequestLaunchTemplateData")
            report = ParamValidator().validate(given_["launchTemplateData"], shape)
        else:
            continue
        assert not report.has_errors(), report.generate_report()
        checked += 1
    assert checked >= 20


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not here")
def test_what_is_said_to_gcloud_is_what_it_takes(machine: Machine, tmp_path: Path) -> None:
    runs = [machine.run(script("gcp")), machine.run(script("gcp"))]
    kinds: dict[tuple[str, ...], list[str]] = {}
    for call in (call for run in runs for call in run.calls):
        kinds.setdefault((call["verb"], *sorted(call["flags"])), call["argv"])
    real = shutil.which("gcloud")
    assert real is not None
    for argv in kinds.values():
        done = subprocess.run(
            [real, *argv[1:]],
            text=True, capture_output=True, timeout=120, check=False,
            env={**os.environ, "CLOUDSDK_CONFIG": str(tmp_path / "nobody"),
                 "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"},
        )  # fmt: skip
        # It reads every flag before it asks who is there.
        assert "active account" in done.stderr, done.stderr
