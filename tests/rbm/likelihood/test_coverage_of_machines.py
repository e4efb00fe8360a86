"""Stated intervals of ln Z on machines whose ln Z is exact: the benchmark's count, of some of its machines."""

import numpy as np
import pytest

from benchmarks import rbm_likelihood as study

NUM_MACHINES = 8  # of one shape, which compile little; the benchmark counts fifty of three
ESTIMATES = "tempered 0.3", "tempered 0.1", "annealed both ways", "bracket"


@pytest.mark.exhaustive  # `python -m benchmarks rbm` counts fifty machines too
def test_stated_intervals_cover_and_one_end_alone_does_not():
    table, costs = study.measure(NUM_MACHINES, study.SHAPES[:1])
    covered = [study.coverage(table[name]) for name in ESTIMATES]
    assert min(covered) >= 0.5
    # Estimates of one machine share its chains, so the pooled share scatters as that of one of them at most.
    assert np.mean(covered) >= 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / NUM_MACHINES)
    assert study.coverage(table["mean of log-weights"]) < 0.1
    few = table["tempered 0.1"]
    for way in ("up 0.1", "down 0.1"):
        assert study.root_mean_square(table[way], few) > 1.2 * study.root_mean_square(few, few)
    assert np.mean(costs.steps["tempered"]) < 1.5 * np.mean(costs.steps["annealed"])
