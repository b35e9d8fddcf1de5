"""Every command and file that is rendered is accepted by the engine's own parser, word for word.

vLLM's is that of the installed build for processors and, where it lies beside it, of the newest
release's own files. The other engines' packages lie beside it too, without what they depend on:
`make vllm` puts them there.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.engines import ENGINES
from plimsoll.engines.protocol import Command
from plimsoll.errors import InputError
from plimsoll.fleet.engines import Backend, EngineOptions
from plimsoll.plan.split import Split
from plimsoll.plan.types import Speculation
from tests.engines.placements import CASES, TASKS, gpus, rendered, somewhere, usual
from tests.vllm_server import need_vllm, vllm_environment

VARIABLES = {"$(LWS_WORKER_INDEX)": "1", "$(LWS_LEADER_ADDRESS)": "leader.example"}


@pytest.fixture(params=["installed", "newest"])
def vllm_files(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Variables that make the interpreter import one release of vLLM."""
    found = vllm_environment(tmp_path)
    if request.param == "newest":
        found["PYTHONPATH"] = str(beside("newest"))
    return found


def beside(folder: str) -> Path:
    """A folder of package files in the virtual environment that has vLLM."""
    path = need_vllm().parents[1] / folder
    if not path.is_dir():
        pytest.skip(f"no {path.name} release beside vLLM; the module's docstring says how")
    return path


def refusals(engine: str, commands: list[list[str]], env: dict[str, str]) -> list[str]:
    """What the engine's parser says of each command; empty texts where it accepts it."""
    return asked("parse_flags.py", engine, commands, env)


def asked(script: str, engine: str, questions: object, env: dict[str, str]) -> list[str]:
    """What a script of this folder answers in the interpreter that has vLLM."""
    done = subprocess.run(
        [need_vllm(), Path(__file__).with_name(script), engine],
        check=False,
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        env={**env, "PATH": os.environ["PATH"]},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said: list[str] = json.loads(done.stdout.splitlines()[-1])
    return said


def words(command: Command) -> list[str]:
    """What follows the program, with the variables of a container filled in."""
    return [_filled(word) for word in command.argv[1:]]


def _filled(word: str) -> str:
    for name, value in VARIABLES.items():
        word = word.replace(name, value)
    return word


def every(engine: str) -> dict[str, list[str]]:
    """The words of every case that the engine does not refuse itself."""
    found = {
        task: words(ENGINES[engine].command(usual(ENGINES[engine], task), somewhere()))
        for task in TASKS
        if task in ENGINES[engine].capabilities.tasks
    }
    for name, case in CASES.items():
        try:
            found[name] = words(rendered(ENGINES[engine], case))
        except InputError:
            continue  # refused in words; the golden files show which
    # This case is vLLM's own flag; another engine's parser would be right to refuse it.
    if engine != "vllm":
        del found["own-words"]
    return found


def test_vllm_accepts_every_command(vllm_files: dict[str, str]) -> None:
    commands = every("vllm")
    said = refusals("vllm", list(commands.values()), vllm_files)
    assert {name: text for name, text in zip(commands, said, strict=True) if text} == {}


def test_vllm_accepts_every_mixture_of_wishes(vllm_files: dict[str, str]) -> None:
    """Two hundred placements drawn at random, in one run of the parser."""
    drawn: list[list[str]] = []

    @settings(max_examples=200, database=None, derandomize=True)
    @given(
        tensor=st.sampled_from([1, 2, 4, 8]),
        pipeline=st.sampled_from([1, 2]),
        data=st.sampled_from([1, 2]),
        nodes=st.sampled_from([1, 2]),
        first=st.booleans(),
        task=st.sampled_from(TASKS),
        kv_type=st.sampled_from(["bf16", "fp16", "fp8", "int8"]),
        method=st.sampled_from(["", "draftModel", "ngram", "eagle", "eagle3", "medusa", "mtp"]),
        rank=st.integers(1, 512),
        adapters=st.integers(0, 3),
        context=st.integers(1, 2**21),
        batch=st.integers(0, 2**16),
        utilization=st.floats(0.0, 0.99),
    )
    def draw(**wish: object) -> None:
        names = tuple(f"adapter-{number}" for number in range(int(str(wish["adapters"]))))
        guess = Speculation(method=str(wish["method"]), tokens=3) if wish["method"] else None
        place = usual(
            ENGINES["vllm"],
            **{
                **gpus(per_node=8, nodes=int(str(wish["nodes"]))),
                **{
                    key: wish[key] for key in ("task", "kv_type", "context", "batch", "utilization")
                },
                "split": Split(
                    tensor=int(str(wish["tensor"])),
                    pipeline=int(str(wish["pipeline"])),
                    data=int(str(wish["data"])),
                    expert=int(str(wish["data"])),
                ),
                "adapters": names,
                "adapter_rank": wish["rank"],
                "speculation": guess,
            },
        )
        there = somewhere(
            leader="leader.example",
            rank="0" if wish["first"] else "1",
            adapters={name: f"/models/{name}" for name in names},
            draft="/models/draft" if wish["method"] in ("draftModel", "eagle", "eagle3") else "",
        )
        drawn.append(words(ENGINES["vllm"].command(place, there)))

    draw()
    assert set(refusals("vllm", drawn, vllm_files)) == {""}


def test_vllm_s_parser_refuses_what_is_wrong(vllm_files: dict[str, str]) -> None:
    """Flags that left vLLM, that are another engine's, or that are only nearly right."""
    wrong = [
        ["--swap-space", "4"],
        ["--num-scheduler-steps", "8"],
        ["--max-batch-total-tokens", "4096"],
        ["--task", "embed"],
        ["--max-model", "4096"],
        ["--max-lora-rank", "20"],
        ["--model", "/models/weights"],
    ]
    said = refusals("vllm", [["serve", "/models/weights", *flags] for flags in wrong], vllm_files)
    assert [flags for flags, text in zip(wrong, said, strict=True) if not text] == []


def test_sglang_accepts_every_command() -> None:
    commands = every("sglang")
    env = {"PYTHONPATH": str(beside("sglang"))}
    said = refusals("sglang", list(commands.values()), env)
    assert {name: text for name, text in zip(commands, said, strict=True) if text} == {}


def test_sglang_s_parser_refuses_what_is_wrong() -> None:
    env = {"PYTHONPATH": str(beside("sglang"))}
    start = ["serve", "--model-path", "/models/weights"]
    wrong = [[*start, "--max-num-seqs", "4"], [*start, "--context-len", "4096"]]
    assert all(refusals("sglang", wrong, env))


def files(engine: str, tmp_path: Path) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """The files of every case that is not refused, and variables for the check."""
    found: dict[str, dict[str, str]] = {}
    for name, case in CASES.items():
        try:
            found[name] = dict(rendered(ENGINES[engine], case).files)
        except InputError:
            continue  # refused in words; the golden files show which
    env = vllm_environment(tmp_path)
    env["PYTHONPATH"] = f"{beside(engine)}{os.pathsep}{env['PYTHONPATH']}"
    return found, {**env, "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.mark.parametrize("engine", ["rayserve", "triton"])
def test_every_file_is_accepted_by_the_engine_s_own_schema(engine: str, tmp_path: Path) -> None:
    """Ray Serve's and its LLM configuration, Triton's protobuf, vLLM's engine arguments."""
    rendered_files, env = files(engine, tmp_path)
    said = asked("check_files.py", engine, list(rendered_files.values()), env)
    wrong = {name: text for name, text in zip(rendered_files, said, strict=True) if text}
    assert wrong == {}


@pytest.mark.parametrize("backend", ["vllm", "tensorrtllm", "onnxruntime", "python"])
def test_every_backend_of_triton_is_accepted(backend: Backend, tmp_path: Path) -> None:
    _, env = files("triton", tmp_path)
    options = EngineOptions(backend=backend)
    place = usual(ENGINES["triton"], **{**gpus(per_node=2), "options": options})
    command = ENGINES["triton"].command(place, somewhere())
    assert asked("check_files.py", "triton", [dict(command.files)], env) == [""]


def test_the_schemas_refuse_what_is_wrong(tmp_path: Path) -> None:
    _, env = files("triton", tmp_path)
    wrong = [
        {"r/a/config.pbtxt": 'name: "b"'},
        {"r/a/config.pbtxt": 'name: "a" no_such_field: 1'},
        {"r/a/1/model.json": '{"max_batch_size": 4}'},
    ]
    assert all(asked("check_files.py", "triton", wrong, env))
    _, env = files("rayserve", tmp_path)
    text = dict(rendered(ENGINES["rayserve"], CASES["one-h100"]).files)
    wrong = [
        {path: body.replace(*change) for path, body in text.items()}
        for change in (("max_num_seqs", "max_batch"), ("model_loading_config", "model"))
    ]
    assert all(asked("check_files.py", "rayserve", wrong, env))
