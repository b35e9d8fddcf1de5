"""What every engine adapter promises; a new engine is in ENGINES and has golden files.

`golden/engines/<engine>.<task>.txt` holds the command, `<engine>.metrics.txt` a text that the
real engine gave while it had work, `<engine>.counts.json` what is read in it.
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
from plimsoll.engines.protocol import Command, Counts, Engine, Setting
from plimsoll.errors import FormatError
from plimsoll.facts.engines import engines as catalogue
from plimsoll.plan.types import Ledger, Placement
from plimsoll.units import MIB
from plimsoll.worlds.local import LocalModel, Patience
from plimsoll.worlds.local.probe import get
from tests.worlds.local.harness import placement, staged, stream, until

GOLDEN = Path(__file__).parents[1] / "golden" / "engines"
TASKS = ("chat", "completion", "embedding")
FORMATS = {"gguf", "safetensors"}
ACCELERATORS = {"cpu", "cuda", "rocm"}
SIGNALS = {"SIGTERM", "SIGINT"}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


def place(engine: Engine, task: str = "chat", **changes: object) -> Placement:
    usual = Placement(
        model="assistant",
        engine=engine.name,
        source="hf://owner/repo",
        task=task,
        context=4096,
        parallel=4,
        threads=2,
        batch=512,
        kv_type="f16",
        ledger=Ledger(terms=()),
        prompt_cache=64 * MIB,
        checkpoints=3,
    )
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]  # by field name


def command(engine: Engine, task: str = "chat", **changes: object) -> Command:
    setting = Setting(weights="/models/weights", host="10.1.2.3", port=18123)
    return engine.command(place(engine, task, **changes), setting)


def recorded(engine: Engine) -> str:
    return (GOLDEN / f"{engine.name}.metrics.txt").read_text()


def lines(rendered: Command) -> str:
    """The command as a reader wants it: one flag with its value per line."""
    text = shlex.join(rendered.argv).replace(" --", " \\\n  --")
    probes = {"ready": rendered.ready.path, "metrics": rendered.metrics}
    rest = "".join(f"# {name}: {value}\n" for name, value in probes.items())
    return f"{text}\n{rest}# env: {dict(rendered.env)}\n"


@pytest.mark.parametrize("task", TASKS)
def test_the_command_is_the_golden_one(engine: Engine, task: str) -> None:
    golden = GOLDEN / f"{engine.name}.{task}.txt"
    if task not in engine.capabilities.tasks:
        assert not golden.exists()
        return
    rendered = lines(command(engine, task))
    if os.environ.get("PLIMSOLL_REGENERATE"):
        golden.write_text(rendered)
    assert rendered == golden.read_text()


def test_the_same_placement_gives_the_same_command(engine: Engine) -> None:
    assert command(engine) == command(engine)


def test_host_port_weights_and_model_name_are_said(engine: Engine) -> None:
    argv = command(engine).argv
    assert {"10.1.2.3", "18123", "/models/weights", "assistant"} <= set(argv)


def test_the_program_is_the_one_of_the_catalogue(engine: Engine) -> None:
    assert command(engine).argv[0] == catalogue()[engine.name].program


def test_no_flag_is_said_twice(engine: Engine) -> None:
    flags = [word for word in command(engine).argv if word.startswith("--")]
    assert len(flags) == len(set(flags))


@pytest.mark.parametrize("field", ["context", "parallel", "threads", "batch"])
def test_every_size_of_the_placement_reaches_the_command(engine: Engine, field: str) -> None:
    assert command(engine, **{field: 1}) != command(engine, **{field: 7})


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


def test_a_name_that_looks_like_a_flag_stays_one_word(engine: Engine) -> None:
    assert "--help me" in command(engine, model="--help me").argv


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


def test_the_recorded_metrics_are_read_as_recorded(engine: Engine) -> None:
    expected = json.loads((GOLDEN / f"{engine.name}.counts.json").read_text())
    assert dataclasses.asdict(engine.counts(recorded(engine))) == expected


def test_tokens_are_counted_where_the_capabilities_say_so(engine: Engine) -> None:
    counts = engine.counts(recorded(engine))
    told = counts.prompt_tokens is not None and counts.generated_tokens is not None
    assert told is engine.capabilities.counts_tokens


@pytest.mark.parametrize("needed", ["running", "waiting", "prompt_tokens", "generated_tokens"])
def test_a_missing_metric_is_a_format_error_that_names_it(engine: Engine, needed: str) -> None:
    name = catalogue()[engine.name].metrics[needed]
    without = "\n".join(line for line in recorded(engine).splitlines() if name not in line)
    with pytest.raises(FormatError, match=name):
        engine.counts(without)


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
    one = next(iter(ENGINES.values()))
    other = type(one)(catalogue()[one.name])
    with pytest.raises(ValueError, match=f"two engines are named `{one.name}`"):
        table((one, other))


def test_every_engine_has_a_row_in_the_catalogue(engine: Engine) -> None:
    assert engine.name in catalogue()


# The real engines, as far as they run on this machine.

LIVE = ("llamacpp",)


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
