"""Brackets and tempered estimates of ln Z against enumeration, and the likelihood of data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rbm, stats
from jaxrg.rbm import likelihood, tempering


@pytest.fixture(scope="module")
def machine() -> rbm.RBM:
    """Strong weights, several phases."""
    return rbm.init(jax.random.key(0), 20, 10, scale=0.7)


@pytest.fixture(scope="module")
def ladder(machine) -> tempering.Ladder:
    many = tempering.tempered(machine, tempering.independent_units(machine), jnp.linspace(0, 1, 64))
    return tempering.choose_machines(jax.random.key(1), many, target_acceptance=0.3)


@pytest.mark.slow
def test_bracket_and_tempered_chains_agree_with_enumeration(machine, ladder):
    exact = float(rbm.log_partition(machine))
    found = likelihood.tempered_log_partition(jax.random.key(2), ladder.machines, num_steps=1000)
    assert found.is_converged
    assert abs(float(found.log_partition.value) - exact) < 4 * float(found.log_partition.error)
    assert found.visible.shape == (8, 1000, 20)
    assert found.work.shape == found.reverse_work.shape == (8, 1000, ladder.indices.size - 1)
    np.testing.assert_allclose(found.swap_acceptance, ladder.acceptance, atol=0.1)
    assert int(found.round_trips) > 50
    assert 0 < float(found.tunnelling) < 1

    both = likelihood.bracket(jax.random.key(3), machine, samples=found.visible[:, 15::16])
    assert both.is_converged
    # Without biases -H does not change to first order at the reference: a slope would find no stages there.
    assert 10 < int(both.forward.num_stages) < 200
    assert float(both.forward.inverse_temperatures[0]) < 0.5
    assert abs(float(both.log_partition.value) - exact) < 4 * float(both.log_partition.error)
    assert both.lower.value + 3 * both.lower.error < both.log_partition.value < both.upper.value - 3 * both.upper.error
    assert both.lower.value - 3 * both.lower.error < exact < both.upper.value + 3 * both.upper.error
    # Two-sided, so better than either direction at the cost of both.
    one = float(both.forward.log_partition.error), float(both.reverse.log_partition.error)
    assert float(both.log_partition.error) < min(one)


@pytest.mark.exhaustive
def test_all_machines_together_are_no_worse_than_neighbours(machine, ladder):
    exact = float(rbm.log_partition(machine))
    pairs, states = (
        estimate(jax.random.key(4), ladder.machines, num_steps=500)
        for estimate in (likelihood.tempered_log_partition, likelihood.multistate_log_partition)
    )
    for found in (pairs, states):
        assert abs(float(found.log_partition.value) - exact) < 4 * float(found.log_partition.error)
    np.testing.assert_array_equal(pairs.visible, states.visible)  # the same chains
    np.testing.assert_allclose(states.log_partition.value, pairs.log_partition.value, atol=0.05)
    assert float(states.log_partition.error) < 1.05 * float(pairs.log_partition.error)


@pytest.mark.exhaustive
def test_samples_that_miss_the_heavier_phase_show_in_the_bracket():
    """A field makes one phase heavier; samples of the other alone bound the rest of Z, and the bounds cross."""
    machine = rbm.RBM(jnp.full((12, 3), 0.6), jnp.full(12, 0.15), jnp.zeros(3))
    exact = float(rbm.log_partition(machine))
    ladder = tempering.tempered(machine, tempering.independent_units(machine), [0.0, 0.3, 0.6, 1.0])
    run = likelihood.tempered_log_partition(jax.random.key(0), ladder, num_steps=500)
    samples = np.asarray(run.visible[:, 7::8])
    assert (samples.sum(-1) > 0).mean() > 0.9
    up = np.ones((2, 300, 12), np.int8)
    stages = jnp.linspace(0.02, 1, 200)
    whole, missed = (
        likelihood.reverse_annealed_importance(jax.random.key(1), machine, given, stages).bound
        for given in (samples, -up)
    )
    assert abs(float(whole.value) - exact) < 0.2
    assert float(missed.value) < exact - 0.5  # no upper bound on Z any more: below the lower one
    forward = likelihood.annealed_importance(jax.random.key(2), machine, inverse_temperatures=stages)
    assert float(missed.value) < float(forward.bound.value) - 0.4 < exact


def test_interval_is_students():
    x = jax.random.normal(jax.random.key(0), (4, 500))
    mean = stats.gamma_method(lambda mean: mean, x)
    low, high = likelihood.interval(mean._replace(num_degrees_of_freedom=jnp.float32(9)))
    np.testing.assert_allclose((high - low) / mean.error, 2 * 2.2622, rtol=1e-3)
    narrow = likelihood.interval(mean, 0.5)
    assert low < narrow[0] < narrow[1] < high
    with pytest.raises(ValueError, match="estimate: expected a GammaEstimate"):
        likelihood.interval(jnp.float32(1))
    with pytest.raises(ValueError, match="level: expected a number between 0 and 1"):
        likelihood.interval(mean, 1.0)


def test_likelihood_of_data_has_the_error_of_the_partition_function(machine, ladder):
    data = jax.random.rademacher(jax.random.key(5), (40, 20), jnp.int8)
    found = likelihood.tempered_log_partition(jax.random.key(2), ladder.machines, num_steps=1000)
    estimate = likelihood.log_likelihood(machine, data, found.log_partition)
    exact = float(rbm.log_likelihood(machine, data))
    assert abs(float(estimate.value) - exact) < 4 * float(estimate.error)
    np.testing.assert_allclose(estimate.error, found.log_partition.error)
    with pytest.raises(ValueError, match="log_partition: expected a GammaEstimate"):
        likelihood.log_likelihood(machine, data, jnp.float32(3))


def test_ladders_without_a_known_start_are_refused(machine):
    with pytest.raises(ValueError, match="machines: expected a machine without weights"):
        likelihood.tempered_log_partition(jax.random.key(0), [machine, machine])
    reference = tempering.independent_units(machine)
    with pytest.raises(ValueError, match="num_steps: expected an integer >= 4, got 0"):
        likelihood.multistate_log_partition(jax.random.key(0), [reference, machine], num_steps=0)
    with pytest.raises(ValueError, match="num_burn_in"):
        likelihood.tempered_log_partition(jax.random.key(0), [reference, machine], num_burn_in=-1)


def test_few_particles_make_a_bracket():
    machine = rbm.init(jax.random.key(4), 5, 3, scale=0.3)
    found = likelihood.bracket(jax.random.key(0), machine, num_particles=16)
    assert found.reverse.visible.shape == (8, 4, 5)
    assert jnp.isfinite(found.log_partition.value)
