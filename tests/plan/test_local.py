import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from plimsoll.errors import DoesNotFit, InputError
from plimsoll.fleet import Fleet, Model, Resources, Scaling, parse_source
from plimsoll.plan import Machine
from plimsoll.plan.fit import LedgerDoesNotFit, Room, nearest
from plimsoll.plan.local import plan_local
from plimsoll.plan.memory import Settings, ledger
from plimsoll.units import GIB, MIB
from tests.plan.shapes import SHAPES, shape

LARGE = Machine(memory=64 * GIB, cores=8)


def model(name="chat", **more):
    return Model(name=name, source=parse_source(f"file:/models/{name}.gguf"), **more)


def plan(*models, machine=LARGE, **shapes):
    found = {one.name: shapes.get(one.name, shape()) for one in models}
    return plan_local(Fleet(name="test", models=models), found, machine)


def least(**fixed):
    """Bytes of one replica when everything that may shrink has."""
    with pytest.raises(LedgerDoesNotFit) as caught:
        plan(model(**fixed), machine=Machine(memory=1, cores=2))
    return caught.value.ledger.total


MODELS = st.lists(
    st.builds(
        lambda parallel, context, least, more, task: {
            "concurrency": parallel,
            "context": context,
            "scaling": Scaling(min=least, max=max(1, least + more)),
            "task": task,
        },
        st.sampled_from([None, 1, 5, 40]),
        st.sampled_from([None, 300, 512]),
        st.integers(0, 3),
        st.integers(0, 2),
        st.sampled_from(["chat", "embedding"]),
    ),
    min_size=1,
    max_size=3,
)


def fleet_of(made, shapes):
    models = tuple(model(f"m{number}", **more) for number, more in enumerate(made))
    found = {one.name: shapes[n % len(shapes)] for n, one in enumerate(models)}
    return Fleet(name="test", models=models), found


@given(MODELS, st.lists(SHAPES, min_size=1, max_size=3), st.integers(1, 6000), st.integers(0, 6000))
@settings(max_examples=60, deadline=None)
def test_more_memory_never_makes_a_fitting_plan_not_fit(made, shapes, megabytes, more):
    fleet, found = fleet_of(made, shapes)
    try:
        plan_local(fleet, found, Machine(memory=megabytes * MIB, cores=4))
    except DoesNotFit:
        assume(False)
    plan_local(fleet, found, Machine(memory=(megabytes + more) * MIB, cores=4))


@given(MODELS, st.lists(SHAPES, min_size=1, max_size=3), st.integers(1, 6000))
@settings(max_examples=60, deadline=None)
def test_a_plan_fits_and_keeps_what_was_asked(made, shapes, megabytes):
    fleet, found = fleet_of(made, shapes)
    machine = Machine(memory=megabytes * MIB, cores=4)
    try:
        planned = plan_local(fleet, found, machine)
    except LedgerDoesNotFit:
        assume(False)
    least = sum(one.scaling.min * planned.placement(one.name).ledger.total for one in fleet.models)
    assert least <= machine.memory
    for one in fleet.models:
        place = planned.placement(one.name)
        assert one.concurrency in (None, place.parallel)
        assert one.context in (None, place.context)
        assert place.parallel >= 1
        assert place.threads >= 1
        assert one.scaling.min or least + place.ledger.total <= machine.memory


@given(SHAPES, st.integers(256, 20_000), st.integers(1, 40), st.integers(1, 4000))
@settings(max_examples=100, deadline=None)
def test_what_is_suggested_fits_and_the_next_larger_does_not(made, context, slots, megabytes):
    asked = Settings(context=context, parallel=slots, batch=512, threads=2)
    room = Room(machine=megabytes * MIB, others=0, replicas=1)
    assume(ledger(made, asked).total > room.each)
    for option in nearest(made, asked, room):

        def needs(context, slots):
            changed = Settings(context=context, parallel=slots, batch=512, threads=2)
            return ledger(made, changed).total

        assert needs(option.context, option.parallel) == option.bytes <= room.each
        if option.context < context:
            assert needs(option.context + 256, option.parallel) > room.each
        elif option.parallel < slots:
            assert needs(option.context, option.parallel + 1) > room.each


@given(MODELS, st.lists(SHAPES, min_size=1, max_size=3), st.integers(1, 2000))
@settings(max_examples=60, deadline=None)
def test_a_refusal_carries_a_ledger_that_is_too_large(made, shapes, megabytes):
    fleet, found = fleet_of(made, shapes)
    refusals = []
    try:
        plan_local(fleet, found, Machine(memory=megabytes * MIB, cores=4))
    except LedgerDoesNotFit as error:
        refusals.append(error)
    assert all(error.ledger.total > error.available for error in refusals)


def test_nothing_is_suggested_only_where_nothing_fits():
    room = Room(machine=10 * MIB, others=0, replicas=1)
    assert nearest(shape(), Settings(context=512, parallel=4, batch=512, threads=1), room) == ()


def test_defaults_are_eight_slots_of_4096_tokens():
    place = plan(model()).placement("chat")
    assert (place.engine, place.context, place.parallel) == ("llamacpp", 4096, 8)


def test_a_large_model_gets_fewer_slots():
    large = shape(layers=8, hidden=4096, ffn=16_384, heads=32, head_dim=128, vocab=32_000)
    assert large.parameters > 2e9
    assert plan(model(), chat=large).placement("chat").parallel == 4


def test_the_context_is_no_longer_than_the_model_was_trained_for():
    assert plan(model(), chat=shape(context=2048)).placement("chat").context == 2048


def test_a_longer_context_than_trained_for_is_refused():
    with pytest.raises(InputError, match="8,192 that the model was trained for"):
        plan(model(context=10_000))


def test_what_nobody_asked_for_shrinks_until_it_fits():
    small = Machine(memory=90 * MIB, cores=2)
    place = plan(model(), machine=small).placement("chat")
    assert place.parallel < 8
    assert place.ledger.total <= small.memory


def test_what_the_file_says_does_not_shrink():
    with pytest.raises(LedgerDoesNotFit) as caught:
        plan(model(context=8192, concurrency=64), machine=Machine(memory=300 * MIB, cores=2))
    error = caught.value
    assert error.model == "chat"
    assert error.ledger.largest.name == "kv cache"
    assert "kv cache" in str(error)
    assert {(option.context, option.parallel) for option in error.nearest} >= {(8192, 15)}
    assert "`concurrency: 15`" in str(error)


def test_a_refusal_as_json_has_the_ledger_and_what_would_fit():
    with pytest.raises(LedgerDoesNotFit) as caught:
        plan(model(context=8192, concurrency=64), machine=Machine(memory=300 * MIB, cores=2))
    said = msgspec.json.decode(msgspec.json.encode(caught.value.as_dict()))
    assert said["needed"] == sum(term["bytes"] for term in said["ledger"])
    assert said["nearest"][0]["bytes"] <= said["available"] < said["needed"]


def test_weights_that_do_not_fit_alone_say_so():
    with pytest.raises(LedgerDoesNotFit, match="a smaller quantization"):
        plan(model(), machine=Machine(memory=20 * MIB, cores=2))


def test_the_fewest_replicas_of_all_models_must_fit_together():
    fixed = {"context": 512, "concurrency": 1, "batch_tokens": 512, "resources": Resources(cpu=1)}
    one = least(**fixed)
    machine = Machine(memory=3 * one, cores=2)
    plan(model("a", **fixed), model("b", **fixed, scaling=Scaling(min=2)), machine=machine)
    with pytest.raises(LedgerDoesNotFit):
        plan(
            model("a", **fixed, scaling=Scaling(min=2)),
            model("b", **fixed, scaling=Scaling(min=2)),
            machine=machine,
        )


def test_a_refusal_says_how_many_replicas_would_fit():
    fixed = {"context": 512, "concurrency": 1, "batch_tokens": 512, "resources": Resources(cpu=1)}
    one = least(**fixed)
    with pytest.raises(LedgerDoesNotFit, match=r"`scaling: \{min: 2\}`"):
        plan(model(**fixed, scaling=Scaling(min=4)), machine=Machine(memory=3 * one - 1, cores=2))


def test_a_model_that_may_stop_needs_room_for_one_beside_the_others():
    fixed = {"context": 512, "concurrency": 1, "batch_tokens": 512, "resources": Resources(cpu=1)}
    one = least(**fixed)
    idle = model("idle", **fixed, scaling=Scaling(min=0))
    plan(model("a", **fixed), idle, machine=Machine(memory=2 * one, cores=2))
    with pytest.raises(LedgerDoesNotFit) as caught:
        plan(model("a", **fixed), idle, machine=Machine(memory=2 * one - 1, cores=2))
    assert caught.value.model == "idle"


def test_cores_are_shared_among_all_replicas_that_may_ever_run():
    planned = plan(model("a", scaling=Scaling(min=0, max=3)), model("b"))
    assert [place.threads for place in planned.placements] == [2, 2]


def test_cores_are_shared_among_the_replicas_that_always_run():
    planned = plan(model("a", scaling=Scaling(min=2)), model("b"))
    assert [place.threads for place in planned.placements] == [2, 2]


def test_more_replicas_than_cores_get_one_thread_each():
    planned = plan(model(scaling=Scaling(min=3)), machine=Machine(memory=64 * GIB, cores=2))
    assert planned.placement("chat").threads == 1


def test_the_processor_that_the_file_asks_for_is_taken():
    assert plan(model(resources=Resources(cpu=3))).placement("chat").threads == 3


def test_an_embedding_takes_its_whole_input_in_one_batch():
    place = plan(model(task="embedding", context=2000)).placement("chat")
    assert place.batch == 2000
    assert place.prompt_cache == 0


def test_the_pooling_of_the_model_file_is_kept():
    place = plan(model(task="embedding"), chat=shape(pooling="cls")).placement("chat")
    assert place.pooling == "cls"


def test_the_prompt_cache_is_whole_mebibytes():
    place = plan(model()).placement("chat")
    assert place.prompt_cache > 0
    assert place.prompt_cache % MIB == 0


def test_only_models_that_cannot_rebuild_everything_keep_checkpoints():
    planned = plan(model("a"), model("b"), b=shape(window=512))
    assert [place.checkpoints for place in planned.placements] == [0, 3]


@pytest.mark.parametrize(
    ("more", "made", "says"),
    [
        ({"engine": "vllm"}, {}, "`vllm` does not run on this machine"),
        ({}, {"form": "safetensors"}, "safetensors, which llamacpp does not read"),
        ({}, {"tokenizer": False}, "no tokenizer"),
        ({}, {"causal": False}, "makes embeddings, no text"),
        ({"kv_cache_type": "fp8"}, {}, "no KV cache of type `fp8`"),
    ],
)
def test_what_cannot_run_here_is_refused_with_a_reason(more, made, says):
    with pytest.raises(InputError, match=says):
        plan(model(**more), chat=shape(**made))


def test_a_placement_says_why():
    why = plan(model(scaling=Scaling(min=1, max=3))).placement("chat").why
    assert len(why) >= 5
    assert any("3 of at most 3 replicas fit" in reason for reason in why)
