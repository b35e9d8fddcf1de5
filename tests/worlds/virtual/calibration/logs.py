"""Logs as a benchmark writes them, made by the simulator itself."""

from __future__ import annotations

import gzip
import json
import random

from plimsoll.worlds.virtual.calibration.replay import replay
from plimsoll.worlds.virtual.engine.replica import Replica
from plimsoll.worlds.virtual.engine.types import Job

META = {
    "model": "meta-llama/Llama-3.1-8B",
    "vllm_version": "0.19.0",
    "engine_kwargs": {
        "tensor_parallel_size": 1,
        "max_num_seqs": 64,
        "max_num_batched_tokens": 2048,
        "max_model_len": 8192,
    },
    "kv_cache": {"num_gpu_blocks": 4001, "block_size": 16, "enable_prefix_caching": True},
    "hardware": {"device_name": "NVIDIA H100 80GB HBM3"},
}
LINE = {
    "request_id": "0", "input_toks": 100, "output_toks": 10, "arrival_time": 1000.0,
    "queued_ts": 5.0, "scheduled_ts": 5.0, "first_token_ts": 5.5, "last_token_ts": 6.0,
}  # fmt: skip


def served(times, limits, *, count=120, rate=4.0, seed=1):
    """Jobs with lengths and arrivals by chance, served by one engine."""
    chance = random.Random(seed)
    at, jobs = 0.0, []
    for _ in range(count):
        at += chance.expovariate(rate)
        jobs.append(Job(at=at, prompt=chance.randint(20, 3000), output=chance.randint(20, 400)))
    replay([Replica(times, limits)], jobs)
    return jobs


def write(folder, lines, *, name="GPU_model", meta=None):
    """Requests, compressed, and settings. The engine's clock lies 990 s behind the wall's."""
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    path = folder / f"{name}_requests.jsonl.gz"
    path.write_bytes(gzip.compress(text.encode()))
    (folder / f"{name}_meta.json").write_text(json.dumps(META if meta is None else meta))
    return path


def lines_of(jobs):
    """What a benchmark writes of jobs."""
    return [
        LINE
        | {
            "input_toks": job.prompt,
            "output_toks": job.output,
            "arrival_time": 1000.0 + job.at,
            "queued_ts": 10.0 + job.at,
            "first_token_ts": 10.0 + job.first,
            "last_token_ts": 10.0 + job.end,
        }
        for job in jobs
    ]
