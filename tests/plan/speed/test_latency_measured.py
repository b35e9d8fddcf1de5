"""Predictions beside measured requests: ai-dynamo/aiconfigurator, InferenceMAX runs of 2026."""

from __future__ import annotations

import pytest

from plimsoll.plan.deployment import Deployment, Formats
from plimsoll.plan.speed.latency import latency
from tests.plan.speed.deployments import BLOCK, MEASURED, made

GPT_OSS = Formats(experts="mxfp4", compute="fp8", cache="fp8")
# Requests of 1,024 and 1,024 tokens at most, 921.6 on average; milliseconds.
ROWS = [
    (MEASURED, 4, 260, 10.3),
    (MEASURED, 64, 419, 33.0),
    (made("gpt-oss-120b", "B200", version="0.15.1", formats=GPT_OSS), 4, 46, 3.5),
    (made("gpt-oss-120b", "B200", version="0.15.1", formats=GPT_OSS), 128, 181, 13.4),
    (made("MiniMax-M2.5", "B200", version="0.19.0", formats=BLOCK, tensor=4), 64, 151, 15.8),
    (made("MiniMax-M2.5", "B200", version="0.19.0", formats=BLOCK, tensor=4), 512, 821, 37.3),
]


@pytest.mark.parametrize(("run", "concurrency", "ttft", "tpot"), ROWS)
def test_measured_requests_are_predicted(
    run: Deployment, concurrency: int, ttft: float, tpot: float
) -> None:
    said = latency(run, 921.6, 921.6, concurrency)
    assert said.tpot.value * 1e3 == pytest.approx(tpot, rel=0.12)
    assert said.ttft.value * 1e3 == pytest.approx(ttft, rel=0.35)


@pytest.mark.parametrize(("run", "concurrency", "ttft", "tpot"), ROWS)
def test_measured_requests_lie_in_the_interval(
    run: Deployment, concurrency: int, ttft: float, tpot: float
) -> None:
    said = latency(run, 921.6, 921.6, concurrency)
    assert said.tpot.low <= tpot / 1e3 <= said.tpot.high
