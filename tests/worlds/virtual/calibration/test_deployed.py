import pytest

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.plan.deployment import Deployment
from plimsoll.worlds.virtual.calibration.deployed import limits_of, times_of


def deployment(model="meta-llama/Llama-3.1-8B", gpu="H100-SXM", **other):
    asked = {"context": 8192, "sequences": 64} | other
    return Deployment(network=network(model), device=device(gpu), **asked)


def test_limits_are_those_that_the_engine_would_start_with():
    limits = limits_of(deployment(version="0.15.1"))
    assert limits.max_num_seqs == 64
    assert limits.max_num_batched_tokens == 8192
    assert (limits.steps_ahead, limits.reserve_prompt) == (1, False)
    assert limits.fits(4096, 4096)


def test_a_model_that_leaves_no_room_is_refused():
    with pytest.raises(InputError, match="nothing is left"):
        limits_of(deployment("meta-llama/Llama-3.1-70B-Instruct", "RTX4090"))


def test_batches_are_padded_only_where_graphs_are_captured():
    assert times_of(deployment()).padding[-1] == 128
    assert times_of(deployment(graphs=False)).padding == ()


def test_a_smaller_device_takes_longer():
    fast, slow = times_of(deployment()), times_of(deployment(gpu="RTX4090"))
    assert slow.fixed + slow.dense[0][1] > 2 * (fast.fixed + fast.dense[0][1])
