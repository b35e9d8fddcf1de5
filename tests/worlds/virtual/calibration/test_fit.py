from pathlib import Path

import pytest

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.calibration.coefficients import coefficients_of
from plimsoll.worlds.virtual.calibration.fit import fit, simulated
from plimsoll.worlds.virtual.calibration.request_log import logs_of
from plimsoll.worlds.virtual.calibration.settings import settings_of
from tests.worlds.virtual.calibration.logs import LINE, META, lines_of, served, write

REAL = Path(__file__).parents[5] / "shared" / "data" / "traces" / "vllm_measured"
OTHERWISE = {"read": 1.15, "multiply": 1.5, "context": 0.7, "fixed": 1.3, "mixed": 2.0}


def log_of(folder, *, rate, **changes):
    """The log of an engine that differs from what is known, and its settings."""
    write(folder, [LINE], meta=META | changes)
    known = settings_of(logs_of(folder)[0])
    told = known if known.deployment else settings_of_known(folder)
    base = coefficients_of(told.deployment).scaled(OTHERWISE | {"request": 0.0})
    jobs = served(base.times(padding=known.padding), known.limits, rate=rate, count=60)
    write(folder, lines_of(jobs), meta=META | changes)
    (log,) = logs_of(folder)
    return log, settings_of(log)


def settings_of_known(folder):
    """As if the model were known."""
    known = folder / "known"
    known.mkdir()
    write(known, [LINE])
    return settings_of(logs_of(known)[0])


def off(log, found):
    """By how much the means of what ended after the fitted part differ: TTFT, TPOT, end to end."""
    jobs = simulated(found.settings, found.coefficients, log.requests)
    rest = [
        (one, job) for one, job in zip(log.requests, jobs, strict=True) if one.end > found.until
    ]
    pairs = (
        (sum(one.ttft for one, _ in rest), sum(job.first - job.at for _, job in rest)),
        (sum(one.end - one.first for one, _ in rest), sum(job.end - job.first for _, job in rest)),
        (sum(one.end_to_end for one, _ in rest), sum(job.end - job.at for _, job in rest)),
    )
    return [abs(ours / real - 1.0) for real, ours in pairs]


@pytest.mark.parametrize("rate", [4.0, 40.0])
def test_an_engine_that_differs_from_what_is_known_is_found_by_its_log(tmp_path, rate):
    log, settings = log_of(tmp_path, rate=rate)
    found = fit(log, settings, share=0.5)
    assert max(off(log, found)) < 0.02


def test_an_engine_of_an_unknown_model_is_found_by_its_log(tmp_path):
    log, settings = log_of(tmp_path, rate=8.0, model="nobody/Nothing-1B")
    assert settings.deployment is None
    found = fit(log, settings, share=0.5)
    assert not found.factors
    assert max(off(log, found)) < 0.05


def test_the_size_of_the_cache_is_fitted_only_where_something_hangs_on_it(tmp_path):
    log, settings = log_of(tmp_path, rate=4.0)
    assert fit(log, settings, share=0.5).room == 1.0


def test_nothing_after_the_fitted_part_is_looked_at(tmp_path):
    log, settings = log_of(tmp_path, rate=4.0)
    found = fit(log, settings, share=0.4)
    lines = [
        line | {"last_token_ts": line["last_token_ts"] + 100.0}
        if line["last_token_ts"] - 10.0 > found.until + 1e-6
        else line
        for line in lines_of_log(log)
    ]
    write(tmp_path, lines)
    (other,) = logs_of(tmp_path)
    again = fit(other, settings_of(other), share=0.4)
    assert again.factors == pytest.approx(found.factors, rel=1e-6)


def lines_of_log(log):
    return [
        LINE
        | {
            "input_toks": one.prompt,
            "output_toks": one.output,
            "arrival_time": 1000.0 + one.at,
            "queued_ts": 10.0 + one.at,
            "first_token_ts": 10.0 + one.first,
            "last_token_ts": 10.0 + one.end,
        }
        for one in log.requests
    ]


def test_a_log_of_too_few_requests_is_an_error_of_the_input(tmp_path):
    write(tmp_path, [LINE] * 4)
    (log,) = logs_of(tmp_path)
    with pytest.raises(InputError, match="too few"):
        fit(log, settings_of(log), share=0.5)


@pytest.mark.skipif(not REAL.is_dir(), reason="shared/data/traces/vllm_measured is not here")
def test_half_of_a_real_engines_log_foretells_the_other_half():
    for log in logs_of(REAL):
        found = fit(log, settings_of(log), share=0.5)
        ttft, tpot, whole = off(log, found)
        assert ttft < 0.05, log.name
        assert tpot < 0.02, log.name
        assert whole < 0.015, log.name
