"""The scaling benchmark: its bound, its honesty, and what it says of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from math import sin
from pathlib import Path

import numpy as np
import pytest

from benchmarks.scaling import clairvoyant
from benchmarks.scaling.demand import Demand, of_rates
from benchmarks.scaling.fluid import Setting
from benchmarks.scaling.policies import ours, played
from benchmarks.scaling.replica import Replica
from plimsoll.worlds.virtual.workloads.servegen_rates import read_rates

ROOT = Path(__file__).resolve().parents[3]
HEADER = "model,client,t_s,rate_rps,cv,iat_dist,p1,p2\n"
UNIT = Replica(
    rate=10.0, prompt=1000.0, output=200.0, slack=1.8, first=0.15, step_low=0.02, step_full=0.04,
    life=8.0, seats=80.0, shares=(0.0, 0.5, 1.0), in_flight=(0.0, 25.0, 80.0),
)  # fmt: skip


def made(rates: list[float], folder: Path, clients: int = 3) -> Path:
    path = folder / "rates.csv"
    rows = [
        f"made,{client},{600 * window},{rate / clients},1.2,Gamma,0.7,1.0\n"
        for client in range(clients)
        for window, rate in enumerate(rates)
    ]
    path.write_text(HEADER + "".join(rows))
    return path


def score(path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling.score", "--rates", str(path), *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def flat(work: list[float]) -> Demand:
    amount = np.array(work)
    return Demand(
        requests=amount * 10, prompt=amount * 1e4, output=amount * 2e3, work=amount, factor=1.0
    )


SHAPES = {
    "diurnal": [150 + 100 * sin(window / 23) for window in range(144)],
    "flat": [120.0] * 72,
    "steps": [60.0 if window % 24 < 12 else 240.0 for window in range(96)],
    "dying": [300 * 0.95**window + 0.5 for window in range(120)],
}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_the_clairvoyant_serves_all_and_nobody_pays_less_for_as_much(
    name: str, tmp_path: Path
) -> None:
    rates = read_rates(made(SHAPES[name], tmp_path))
    demand = of_rates(rates, UNIT, least=10.0, ramps=True, seed=1)
    setting = Setting(cold_start=120.0, drain=UNIT.life, first=30)
    best = clairvoyant.bound(demand, UNIT.slack, setting, least=1)
    mine = played(ours(UNIT, 120.0), demand, UNIT, setting)
    assert best.attainment == pytest.approx(1.0, abs=1e-9)
    assert demand.work.sum() <= best.paid
    assert mine.paid > best.paid
    assert mine.attainment > 0.98
    assert mine.turns_per_hour <= 2.5


def test_the_clairvoyant_keeps_a_replica_through_a_gap_that_is_cheaper_than_a_start() -> None:
    setting = Setting(cold_start=100.0, drain=0.0, first=1)
    short = flat([1.9] * 100 + [0.9] * 50 + [1.9] * 100)
    long = flat([1.9] * 100 + [0.9] * 400 + [1.9] * 100)
    assert clairvoyant.bound(short, 1.8, setting, least=1).paid == 500.0
    assert clairvoyant.bound(long, 1.8, setting, least=1).paid == 900.0


def test_missing_a_thousandth_never_costs_more_than_missing_nothing() -> None:
    demand = flat(np.random.default_rng(3).gamma(4.0, 2.0, 3000).tolist())
    setting = Setting(cold_start=60.0, drain=5.0, first=10)
    full = clairvoyant.bound(demand, 1.8, setting, least=1)
    part = clairvoyant.bound(demand, 1.8, setting, least=1, attainment=0.999)
    assert part.attainment >= 0.999
    assert part.paid <= full.paid


def test_ramps_keep_the_requests_of_every_window(tmp_path: Path) -> None:
    """Where a straight line would not have to go below nothing for that."""
    rates = read_rates(made([50.0, 120.0, 80.0, 80.0, 30.0], tmp_path))
    jumps, ramps = (of_rates(rates, UNIT, least=0.0, ramps=each, seed=0) for each in (False, True))
    for demand in (jumps, ramps):
        windows = demand.requests.reshape(-1, 600).mean(axis=1)
        assert windows == pytest.approx([50.0, 120.0, 80.0, 80.0, 30.0], rel=0.06)


def test_the_command_says_what_it_found_as_json(tmp_path: Path) -> None:
    path = made(SHAPES["diurnal"][:18], tmp_path)
    ran = score(path, "--cold-start", "60", "--json", "--quick")
    assert ran.returncode == 0, ran.stderr
    row = json.loads(ran.stdout)["policies"]["predictive"]
    assert {"attainment", "gpuHours", "gpuHoursOverClairvoyant", "directionChangesPerHour"} <= set(
        row
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model,client,t_s,rate\nm,0,0,1\n", ":1: "),
        (HEADER + "m,0,0,-1,1,Gamma,1,1\n", ":2: "),
        (HEADER + "m,0,600,1,1,Gamma,1,1\nm,0,0,1,1,Gamma,1,1\n", ":3: "),
        (HEADER + "".join(f"m,0,{t},1,1,Gamma,1,1\n" for t in (*range(0, 60_000, 600), 120_000)),
         ":102: "),
        (HEADER, ":2: "),
    ],
    ids=["columns", "negative", "unsorted", "gap", "empty"],
)  # fmt: skip
def test_what_cannot_be_used_is_named_by_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(text)
    ran = score(path, "--model", "m", "--cold-start", "60")
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert f"{path}{said}" in ran.stderr
