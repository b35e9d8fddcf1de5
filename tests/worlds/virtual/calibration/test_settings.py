import pytest

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.calibration.request_log import logs_of
from plimsoll.worlds.virtual.calibration.settings import settings_of
from tests.worlds.virtual.calibration.logs import LINE, META, write


def settings(folder, **changes):
    write(folder, [LINE], meta=META | changes)
    return settings_of(logs_of(folder)[0])


def test_limits_are_those_that_the_engine_was_told(tmp_path):
    found = settings(tmp_path)
    assert found.limits.max_num_seqs == 64
    assert found.limits.max_num_batched_tokens == 2048
    assert found.limits.kv_blocks == 4000  # one stays empty
    assert found.ranks == 1
    assert found.deployment.device.name == "H100-80GB-SXM"
    assert not found.notes


@pytest.mark.parametrize(
    ("version", "ahead", "reserves"),
    [("0.11.2", 0, False), ("0.15.1", 1, False), ("0.19.0", 1, True)],
)
def test_a_release_says_how_batches_are_made(tmp_path, version, ahead, reserves):
    limits = settings(tmp_path, vllm_version=version).limits
    assert (limits.steps_ahead, limits.reserve_prompt) == (ahead, reserves)


def test_a_resolved_configuration_counts_for_more_than_the_release(tmp_path):
    resolved = {
        "scheduler_config": {"async_scheduling": False, "scheduler_reserve_full_isl": False},
        "compilation_config": {"cudagraph_capture_sizes": [1, 4, 2]},
    }
    found = settings(tmp_path, resolved_config=resolved)
    assert (found.limits.steps_ahead, found.limits.reserve_prompt) == (0, False)
    assert found.padding == (1, 2, 4)


def test_an_engine_without_graphs_pads_nothing(tmp_path):
    asked = META["engine_kwargs"] | {"enforce_eager": True}
    assert settings(tmp_path, engine_kwargs=asked).padding == ()


def test_the_planner_reckons_a_cache_that_is_not_written(tmp_path):
    found = settings(tmp_path, kv_cache={})
    assert found.limits.kv_blocks > 10_000
    assert "as the planner reckons" in found.notes[0]


def test_an_unknown_model_is_fitted_without_physics(tmp_path):
    found = settings(tmp_path, model="nobody/Nothing-1B")
    assert found.deployment is None
    assert "without physics" in found.notes[0]


def test_what_is_missing_is_named_with_what_to_write(tmp_path):
    with pytest.raises(InputError, match="max_num_seqs"):
        settings(tmp_path, engine_kwargs={"max_num_batched_tokens": 2048})
    with pytest.raises(InputError, match="num_gpu_blocks"):
        settings(tmp_path, model="nobody/Nothing-1B", kv_cache={})
    with pytest.raises(InputError, match="is not a number"):
        settings(tmp_path, engine_kwargs=META["engine_kwargs"] | {"max_num_seqs": "x"})


def test_a_cache_too_small_for_a_request_of_the_log_is_an_error_of_the_input(tmp_path):
    with pytest.raises(InputError, match="does not fit 4 blocks"):
        settings(tmp_path, kv_cache={"num_gpu_blocks": 5})
