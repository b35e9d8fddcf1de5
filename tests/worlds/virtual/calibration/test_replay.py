from plimsoll.worlds.virtual.calibration.replay import replay
from plimsoll.worlds.virtual.engine.replica import Replica
from plimsoll.worlds.virtual.engine.types import EngineLimits, Job, StepTimes

TIMES = StepTimes(fixed=0.01, token=1e-4, context=1e-7)
LIMITS = EngineLimits(max_num_batched_tokens=512, max_num_seqs=8, kv_blocks=1000)


def jobs(count, apart=0.05):
    return [Job(at=apart * number, prompt=200, output=50) for number in range(count)]


def test_every_job_is_served_to_its_end():
    served = jobs(30)
    replay([Replica(TIMES, LIMITS)], served)
    assert all(job.at < job.first < job.end for job in served)


def test_ranks_share_jobs_evenly_and_serve_them_sooner():
    one, two = jobs(40), jobs(40)
    replay([Replica(TIMES, LIMITS)], one)
    ranks = [Replica(TIMES, LIMITS), Replica(TIMES, LIMITS)]
    replay(ranks, two)
    assert max(job.end for job in two) < max(job.end for job in one)
    assert abs(ranks[0].wrote - ranks[1].wrote) <= 100


def test_nothing_is_worked_out_after_the_end_of_what_is_asked():
    served = jobs(30)
    replay([Replica(TIMES, LIMITS)], served, until=0.5)
    assert all(max(job.first, job.end) <= 0.5 for job in served)
    assert any(job.first for job in served)
    assert not all(job.first for job in served)
