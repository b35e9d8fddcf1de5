"""`plimsoll plan` and `plimsoll explain` on the examples, against golden texts.

`PLIMSOLL_REGENERATE=1 pytest tests/cli/test_plan.py` writes the texts anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plimsoll.cli.main import main

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "plans").glob("*.yaml"))
GOLDEN = ROOT / "tests" / "golden" / "plans"
REFUSED = {"fits-nowhere", "impossible-objective"}


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def planned(capsys: pytest.CaptureFixture[str], path: Path) -> dict[str, Any]:
    code, out, err = outcome(capsys, "plan", str(path), "--json")
    assert code == 0, err
    body: dict[str, Any] = json.loads(out)
    return body


def example(name: str) -> Path:
    return ROOT / "examples" / "plans" / f"{name}.yaml"


def test_there_are_at_least_twelve_example_plans() -> None:
    assert len(EXAMPLES) >= 12


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_planned_as_its_golden_text_says(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(capsys, "plan", str(path))
    assert code == (3 if path.stem in REFUSED else 0), err
    text = out if code == 0 else err
    golden = GOLDEN / f"{path.stem}.txt"
    if os.environ.get("PLIMSOLL_REGENERATE"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_plan_changes_nothing_and_is_the_same_again(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = path.read_bytes()
    first = outcome(capsys, "plan", str(path), "--json")
    assert outcome(capsys, "plan", str(path), "--json") == first
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if path.stem not in REFUSED], ids=lambda path: path.stem
)
def test_a_plan_stays_within_its_pools_and_its_ledger_within_the_device(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = planned(capsys, path)
    for model in body["models"]:
        ledger = model["ledger"]
        assert ledger["total"] == sum(term["bytes"] for term in ledger["terms"])
        split = model["chosen"]["parallelism"]
        if "/" in model["chosen"]["device"]:  # a MIG slice
            assert split["tensor"] == split["pipeline"] == split["data"] == 1
        assert split["tensor"] * split["data"] <= model["chosen"]["where"]["perNode"]
    for nodes in body["nodes"]:
        assert nodes["acceleratorsInUse"] <= nodes["count"] * nodes["perNode"]


def test_what_fits_nowhere_says_the_missing_bytes_and_what_would_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = outcome(capsys, "plan", str(example("fits-nowhere")), "--json")
    error = json.loads(out)["error"]
    assert code == 3
    assert error["code"] == "does-not-fit.memory"
    assert "GiB" in error["message"]
    assert "it fits on" in error["hint"]
    assert error["rejected"]


def test_an_impossible_objective_says_the_physical_limit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = outcome(capsys, "plan", str(example("impossible-objective")), "--json")
    error = json.loads(out)["error"]
    assert code == 3
    assert error["code"] == "does-not-fit.objective"
    assert "cannot go under" in error["message"]
    assert "300 GB/s" in error["message"]


def fleet(tmp_path: Path, *, accelerator: str = "L4", source: str = "Qwen/Qwen3-8B") -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(
        f"""\
apiVersion: plimsoll.dev/v1alpha1
kind: Fleet
metadata: {{name: one}}
spec:
  models:
    - name: chat
      source: "{source}"
      context: 4096
      traffic: {{requestsPerSecond: 1, promptTokens: 500, outputTokens: 100}}
  pools:
    - {{name: pool, accelerator: {accelerator}, perNode: 1, nodes: {{max: 4}}}}
"""
    )
    return path


def test_an_unknown_accelerator_gets_the_nearest_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fleet(tmp_path, accelerator="H100-80-SXN", source="hf://Qwen/Qwen3-8B")
    code, out, _ = outcome(capsys, "plan", str(path), "--json")
    error = json.loads(out)["error"]
    assert code == 2
    assert error["where"] == "spec.pools[0].accelerator"
    assert "H100-80GB-SXM" in error["hint"]


def test_an_unknown_model_gets_the_nearest_names(tmp_path: Path) -> None:
    # In a process of its own: the hub's client reads HF_HUB_OFFLINE once, when it is imported.
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("plimsoll")), "plan", "--json",
            str(fleet(tmp_path, source="hf://Qwen/Qwen3-8C")),
        ],
        capture_output=True, text=True, check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 2
    assert error["where"] == "spec.models[0].source"
    assert "Qwen/Qwen3-8B" in error["hint"]


def test_a_missing_price_is_said_in_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = planned(capsys, fleet(tmp_path, source="hf://Qwen/Qwen3-8B"))
    assert body["cost"]["perHour"] is None
    assert "pool: no on-demand price is known" in body["notes"]


def test_explain_shows_memory_limit_rejections_and_ways_to_pay_less(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = outcome(capsys, "explain", str(example("any-cloud")), "qwen-32b")
    assert code == 0
    for word in ("weights", "kv cache", "limited by", "CHEAPER", "GIVES UP", "rejected"):
        assert word in out


def test_explain_of_a_model_that_is_not_there_names_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _, err = outcome(capsys, "explain", str(example("any-cloud")), "qwen-23b")
    assert code == 2
    assert "qwen-32b" in err


@pytest.mark.parametrize("suffix", [".svg", ".png", ".html", ".pdf"])
def test_a_plot_is_written_in_each_format(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = {".svg": b"<?xml", ".png": b"\x89PNG", ".html": b"<!doctype html>", ".pdf": b"%PDF"}
    path = tmp_path / f"plot{suffix}"
    code, _, err = outcome(capsys, "plan", str(example("13b-at-100ms")), "--plot", str(path))
    assert code == 0, err
    assert path.read_bytes().startswith(start[suffix])


def test_a_plot_of_the_same_plan_has_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.svg", "b.svg"):
        path = str(tmp_path / name)
        assert outcome(capsys, "plan", str(example("13b-at-100ms")), "--plot", path)[0] == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_plot_in_another_format_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "plot.gif")
    code, _, err = outcome(capsys, "plan", str(example("13b-at-100ms")), "--plot", path)
    assert code == 2
    assert ".svg" in err


def test_clouds_and_this_machine_do_not_mix(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = outcome(capsys, "plan", str(example("any-cloud")), "--here", "--cloud", "aws")
    assert code == 2
    assert "--here" in err


def test_one_cloud_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = outcome(capsys, "plan", str(example("any-cloud")), "--cloud", "gcp", "--json")
    assert code == 0, err
    assert {nodes["provider"] for nodes in json.loads(out)["nodes"]} == {"gcp"}


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}


def test_a_folder_with_its_configuration_is_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(LLAMA))
    body = planned(capsys, fleet(tmp_path, source="file:./model"))
    assert body["models"][0]["network"] == "model"


def test_a_source_that_cannot_be_read_may_name_its_shape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fleet(tmp_path, source="pvc://models/tuned")
    code, out, _ = outcome(capsys, "plan", str(path), "--json")
    assert code == 2
    assert "baseModel" in json.loads(out)["error"]["hint"]
    path.write_text(
        path.read_text().replace("context:", "baseModel: Qwen/Qwen3-8B\n      context:")
    )
    assert planned(capsys, path)["models"][0]["network"] == "Qwen/Qwen3-8B"


@pytest.mark.parametrize("name", ["production.yaml", "two-teams"])
def test_the_other_examples_are_planned_too(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    body = planned(capsys, ROOT / "examples" / name)
    assert body["models"]
    assert body["cost"]["provenLeast"]
