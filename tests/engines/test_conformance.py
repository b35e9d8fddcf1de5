"""What every engine adapter promises; a new engine is in ENGINES and has golden files.

`golden/engines/<engine>.<case>.txt` holds the command of a task or of a case of placements.py, or
the words of its refusal; `<engine>.metrics.txt` a text that the engine gives while it has work
(its first line says where it is from), `<engine>.counts.json` what is read in it.
Write the commands anew with PLIMSOLL_REGENERATE=1; metrics are recorded by hand.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.engines import ENGINES, table
from plimsoll.engines.protocol import Command, Counts, Engine
from plimsoll.errors import FormatError, InputError
from plimsoll.facts.engines import engines as catalogue
from plimsoll.plan.types import Accelerators
from plimsoll.units import GIB
from plimsoll.worlds.local import LocalModel, Patience
from plimsoll.worlds.local.probe import get
from tests.engines.placements import CASES, TASKS, rendered, somewhere, usual
from tests.worlds.local.harness import placement, staged, stream, until

GOLDEN = Path(__file__).parents[1] / "golden" / "engines"
FORMATS = {"gguf", "safetensors"}
ACCELERATORS = {"cpu", "cuda", "rocm", "xpu"}
SIGNALS = {"SIGTERM", "SIGINT"}
EMBEDDED = "llama-server"  # the program that this machine's world can start itself


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


def command(engine: Engine, task: str = "chat", **changes: object) -> Command:
    return engine.command(usual(engine, task, **changes), somewhere())


def everything(told: Command) -> str:
    """All that a replica is told: words, variables, files."""
    return "\n".join((*told.argv, *told.env.values(), *told.files.values()))


def recorded(engine: Engine) -> str:
    return (GOLDEN / f"{engine.name}.metrics.txt").read_text()


def lines(told: Command) -> str:
    """The command as a reader wants it: one flag with its value per line."""
    text = shlex.join(told.argv).replace(" --", " \\\n  --")
    probes = {
        "ready": told.ready.path,
        "alive": told.alive and told.alive.path,
        "metrics": told.metrics and f"{told.metrics}{_port(told)}",
    }
    rest = "".join(f"# {name}: {value}\n" for name, value in probes.items())
    drain = told.drain
    ending = f"{drain.signal}, {drain.grace_seconds:g} s" + (
        " after it is idle" if drain.wait_idle else " for its streams"
    )
    env = "".join(f"# env: {name}={value}\n" for name, value in told.env.items())
    files = "".join(f"\n# file: {path}\n{body}" for path, body in told.files.items())
    return f"{text}\n{rest}# ends: {ending}\n{env}{files}"


def _port(told: Command) -> str:
    return f" on port {told.metrics_port}" if told.metrics_port else ""


def compare(golden: Path, text: str) -> None:
    if os.environ.get("PLIMSOLL_REGENERATE"):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("case", CASES)
def test_every_case_is_rendered_or_refused_as_in_the_golden_file(engine: Engine, case: str) -> None:
    try:
        text = lines(rendered(engine, CASES[case]))
    except InputError as refusal:
        text = f"refused [{refusal.code}]: {refusal}\n"
    compare(GOLDEN / f"{engine.name}.{case}.txt", text)


def test_no_golden_file_is_left_of_what_is_gone() -> None:
    cases = {*TASKS, *CASES, "metrics", "counts"}
    known = {f"{name}.{case}" for name in ENGINES for case in cases}
    assert {file.stem for file in GOLDEN.iterdir()} <= known


@pytest.mark.parametrize("task", TASKS)
def test_the_command_is_the_golden_one(engine: Engine, task: str) -> None:
    golden = GOLDEN / f"{engine.name}.{task}.txt"
    if task not in engine.capabilities.tasks:
        assert not golden.exists()
        return
    compare(golden, lines(command(engine, task)))


def test_the_same_placement_gives_the_same_command(engine: Engine) -> None:
    assert command(engine) == command(engine)


def test_host_port_weights_and_model_name_are_said(engine: Engine) -> None:
    said = everything(command(engine))
    assert all(word in said for word in ("10.1.2.3", "18123", "/models/weights"))
    # TGI serves one model under whatever name it is asked for.
    assert "assistant" in said or engine.name == "tgi"


def test_the_program_is_the_one_of_the_catalogue(engine: Engine) -> None:
    program = catalogue()[engine.name].program or "serve-it"
    assert command(engine).argv[0] == program


@pytest.mark.parametrize("case", CASES)
def test_no_flag_is_said_twice(engine: Engine, case: str) -> None:
    try:
        argv = rendered(engine, CASES[case]).argv
    except InputError:
        return
    flags = [word.partition("=")[0] for word in argv if word.startswith("--")]
    assert len(flags) == len(set(flags))


@pytest.mark.parametrize("field", ["context", "parallel", "threads", "batch"])
def test_every_size_of_the_placement_reaches_the_command(engine: Engine, field: str) -> None:
    if engine.name == "custom":
        assert command(engine, **{field: 512}) == command(engine, **{field: 1024})
        return
    if field == "threads" and "cpu" not in engine.capabilities.accelerators:
        return  # it has no processors' threads to set
    if field == "threads" and engine.name == "triton":
        return  # its threads are its backends' own
    assert command(engine, **{field: 512}) != command(engine, **{field: 1024})


def test_a_variable_of_the_fleet_file_reaches_the_command(engine: Engine) -> None:
    try:
        told = rendered(engine, CASES["own-words"])
    except InputError:
        return  # llama.cpp and Ray Serve refuse the arguments beside it
    assert told.env["NCCL_DEBUG"] == "WARN"
    assert "SECRET" not in told.env


@given(
    context=st.integers(1, 2**21),
    parallel=st.integers(1, 1024),
    threads=st.integers(1, 512),
    batch=st.integers(1, 2**16),
)
def test_any_sizes_give_a_command_of_plain_words(
    context: int, parallel: int, threads: int, batch: int
) -> None:
    for engine in ENGINES.values():
        argv = command(
            engine, context=context, parallel=parallel, threads=threads, batch=batch
        ).argv
        assert all(word and word.isprintable() and " " not in word for word in argv)


@given(name=st.text(min_size=1, max_size=40))
def test_any_name_stays_one_word(name: str) -> None:
    for engine in ENGINES.values():
        plain = command(engine, model="assistant").argv
        odd = command(engine, model=name).argv
        assert odd == tuple(name if word == "assistant" else word for word in plain)


def test_probe_paths_are_absolute(engine: Engine) -> None:
    rendered = command(engine)
    assert rendered.ready.path.startswith("/")
    assert rendered.metrics is None or rendered.metrics.startswith("/")


def test_no_status_is_both_ready_and_loading(engine: Engine) -> None:
    ready = command(engine).ready
    assert ready.ok
    assert not ready.ok & ready.loading


def test_it_can_be_asked_to_end_and_gets_time_for_it(engine: Engine) -> None:
    drain = command(engine).drain
    assert drain.signal in SIGNALS
    assert drain.grace_seconds > 0


def test_whoever_stops_it_waits_unless_it_drains_itself(engine: Engine) -> None:
    assert command(engine).drain.wait_idle is not engine.capabilities.drains_itself


def test_capabilities_are_words_that_are_known(engine: Engine) -> None:
    can = engine.capabilities
    assert can.formats
    assert can.formats <= FORMATS
    assert can.tasks
    assert can.tasks <= set(TASKS)
    assert can.accelerators
    assert can.accelerators <= ACCELERATORS
    assert can.model_label == catalogue()[engine.name].model_label


def test_a_container_writes_only_where_it_says(engine: Engine) -> None:
    """A read-only root works: every cache is put into a folder that is writable."""
    box = engine.container(usual(engine))
    roots = tuple(f"{folder}/" for folder in box.writable)
    paths = [value for value in box.env.values() if value.startswith("/")]
    assert all(f"{path}/".startswith(roots) for path in paths)


def test_a_container_runs_as_root_only_with_a_reason(engine: Engine) -> None:
    box = engine.container(usual(engine))
    assert (box.user == 0) is bool(box.root_reason)


def test_an_image_has_a_version_and_never_the_latest(engine: Engine) -> None:
    for devices in (
        None,
        *(Accelerators(name=n, per_node=1, memory=GIB) for n in ("T4", "MI300X")),
    ):
        try:
            image = engine.container(usual(engine, devices=devices)).image
        except InputError:
            continue  # it has no image for that
        assert image == "" or image.rpartition(":")[2] not in ("", "latest")
        assert image == "" or ":" in image


def test_the_fleet_file_s_version_is_the_image_s(engine: Engine) -> None:
    options = CASES["own-words"].place["options"]
    box = engine.container if catalogue()[engine.name].images else None
    if box is not None:
        assert "9.8.7" in box(usual(engine, options=options)).image


def test_an_accelerator_without_an_image_is_refused_in_words() -> None:
    devices = Accelerators(name="MI300X", per_node=1, memory=GIB)
    with pytest.raises(InputError, match="no image of sglang for rocm"):
        ENGINES["sglang"].container(usual(ENGINES["sglang"], devices=devices))


def test_the_recorded_metrics_are_read_as_recorded(engine: Engine) -> None:
    expected = json.loads((GOLDEN / f"{engine.name}.counts.json").read_text())
    assert dataclasses.asdict(engine.counts(recorded(engine))) == expected


def test_tokens_are_counted_where_the_capabilities_say_so(engine: Engine) -> None:
    counts = engine.counts(recorded(engine))
    told = counts.prompt_tokens is not None and counts.generated_tokens is not None
    # What a container of one's own says beyond its promise depends on what runs in it.
    assert told is engine.capabilities.counts_tokens or engine.name == "custom"


def test_a_missing_metric_is_a_format_error_that_names_it(engine: Engine) -> None:
    facts = catalogue()[engine.name]
    if facts.metrics_late:
        return
    for name in facts.metrics.values():
        without = "\n".join(
            line for line in recorded(engine).splitlines() if name.partition("{")[0] not in line
        )
        with pytest.raises(FormatError, match=name.partition("{")[0]):
            engine.counts(without)


def test_a_late_metric_is_zero_and_what_is_no_metrics_text_is_an_error(engine: Engine) -> None:
    if not catalogue()[engine.name].metrics_late:
        return
    idle = engine.counts("# nothing yet\nprocess_start_time_seconds 1.0\n")
    assert (idle.running, idle.waiting) == (0, 0)
    with pytest.raises(FormatError, match="no Prometheus text"):
        engine.counts("<html>Not Found</html>")


def test_order_and_comments_do_not_matter_to_the_counts(engine: Engine) -> None:
    text = recorded(engine)
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert engine.counts("\n".join(reversed(samples))) == engine.counts(text)


@given(text=st.text(max_size=200))
def test_any_text_gives_counts_or_a_format_error(text: str) -> None:
    for engine in ENGINES.values():
        try:
            assert isinstance(engine.counts(recorded(engine) + "\n" + text), Counts)
        except FormatError:
            pytest.fail("a text that has every metric must be read")


def test_two_engines_of_one_name_are_refused() -> None:
    one = ENGINES["llamacpp"]
    other = type(one)(catalogue()[one.name])
    with pytest.raises(ValueError, match=f"two engines are named `{one.name}`"):
        table((one, other))


def test_every_engine_has_a_row_in_the_catalogue(engine: Engine) -> None:
    assert engine.name in catalogue()


# The real engines, as far as they run on this machine.

LIVE = tuple(name for name, facts in catalogue().items() if facts.program == EMBEDDED)


@pytest.mark.parametrize("name", LIVE)
def test_the_real_engine_becomes_ready_counts_its_work_and_frees_its_slots(
    name: str, gguf: Path, tmp_path: Path
) -> None:
    """Three streams on two slots: two run, one waits; closed, the slots are free."""
    model = LocalModel(
        placement=dataclasses.replace(placement(parallel=2), engine=name), weights=gguf
    )

    async def scene() -> None:
        async with staged(tmp_path, [model], patience=Patience(scrape=0.005)) as stage:
            (ready,) = await stage.started()
            assert ready.address is not None

            def counted(running: int, waiting: int) -> bool:
                counts = stage.world.counts(ready.name)
                return (counts and (counts.running, counts.waiting)) == (running, waiting)

            await until(lambda: counted(0, 0))
            streams = [await stream(ready.address, tokens=1900) for _ in range(3)]
            await until(lambda: counted(2, 1))
            for each in streams:
                each.close()
            await until(lambda: counted(0, 0))

    asyncio.run(scene())


@pytest.mark.parametrize("name", LIVE)
@pytest.mark.parametrize("task", TASKS)
def test_the_real_engine_accepts_the_command_of_every_task(
    name: str, task: str, gguf: Path, tmp_path: Path
) -> None:
    model = LocalModel(
        placement=dataclasses.replace(placement(task=task), engine=name), weights=gguf
    )

    async def scene() -> None:
        async with staged(tmp_path, [model]) as stage:
            await stage.started()

    asyncio.run(scene())


@pytest.mark.parametrize("name", LIVE)
def test_the_real_metrics_have_the_recorded_names(name: str, gguf: Path, tmp_path: Path) -> None:
    async def scene() -> str:
        model = LocalModel(placement=placement(), weights=gguf)
        async with staged(tmp_path, [model]) as stage:
            (ready,) = await stage.started()
            assert ready.address is not None
            return (await get(ready.address, "/metrics", seconds=5)).text

    def names(text: str) -> set[str]:
        return {line.split()[0] for line in text.splitlines() if line and line[0] != "#"}

    assert names(asyncio.run(scene())) == names(recorded(ENGINES[name]))
