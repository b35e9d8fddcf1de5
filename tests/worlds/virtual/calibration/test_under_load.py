import csv
from pathlib import Path

import pytest

from benchmarks.simulator.calibrate import base_of
from benchmarks.simulator.fidelity_under_load import TARGETS, load_score
from benchmarks.simulator.under_load import runs, seen, served
from plimsoll.errors import InputError

REAL = Path(__file__).parents[5] / "shared" / "data" / "perf" / "vllm_under_load.csv"
ROW = {
    "source": "here", "engine": "vLLM", "version": "0.15.1", "model": "Qwen/Qwen2.5-7B-Instruct",
    "gpu": "H100-SXM", "n_gpu": "1", "tp": "1", "precision": "FP16", "isl": "512", "osl": "64",
    "concurrency": "rate=2.0/s", "metric": "e2e_mean", "value": "500", "unit": "ms",
    "note": "exp=1 stage=0 max_num_batched_tokens=2048 max_num_seqs=128 n_prefix_groups=2 "
    "users_per_group=2 shared_prefix_len=128 stage_duration_s=30",
}  # fmt: skip


def write(folder, *rows):
    path = folder / "stages.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ROW)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_stages_of_one_experiment_are_one_run(tmp_path):
    second = ROW | {"concurrency": "rate=4.0/s", "note": ROW["note"].replace("stage=0", "stage=1")}
    other = ROW | {"note": ROW["note"].replace("exp=1", "exp=2")}
    found, unknown = runs(write(tmp_path, ROW, second, other))
    assert [len(run.stages) for run in found] == [2, 1]
    assert unknown == 0


def test_a_prompt_that_came_before_is_not_read_again(tmp_path):
    (run,), _ = runs(write(tmp_path, ROW))
    (jobs,) = served(run, base_of(run))
    assert [job.cached for job in jobs[:5]] == [0, 128, 0, 128, 496]
    assert seen(jobs)["ttft_mean"] < seen(jobs)["ttft_p99"]


def test_the_same_stage_gives_the_same_times(tmp_path):
    (run,), _ = runs(write(tmp_path, ROW))
    once, again = (seen(served(run, base_of(run))[0]) for _ in range(2))
    assert once == again


def test_an_inferred_load_is_known_as_such(tmp_path):
    guessed = ROW | {"note": ROW["note"].replace("exp=1", "exp=2") + " rate_inferred"}
    found, _ = runs(write(tmp_path, ROW, guessed))
    assert [run.inferred for run in found] == [False, True]


@pytest.mark.parametrize(("name", "cell"), [("isl", "-5"), ("osl", "0"), ("isl", "many")])
def test_bad_lengths_are_named_by_their_line(tmp_path, name, cell):
    with pytest.raises(InputError, match=name) as caught:
        runs(write(tmp_path, ROW, ROW | {name: cell}))
    assert (caught.value.where or "").endswith(":3")


def test_rows_of_unknown_models_are_counted_and_left_out(tmp_path):
    found, unknown = runs(write(tmp_path, ROW, ROW | {"model": "nobody/Nothing-1B"}))
    assert (len(found), unknown) == (1, 1)


@pytest.mark.skipif(not REAL.is_file(), reason="shared/data/perf/vllm_under_load.csv is not here")
def test_experiments_that_were_left_out_are_foretold_as_asked_for():
    result = load_score(REAL)
    assert all(row["leftOut"] for row in result["rows"])
    for metric, most in TARGETS.items():
        assert result["metrics"][metric]["median"] <= most, metric
