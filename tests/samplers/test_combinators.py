"""Samplers made of samplers; their invariance, resumption and compilation are held in tests/contracts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, samplers, stats
from jaxrg.base import Status
from jaxrg.samplers import driver

SQUARE = lattice.hypercubic((4, 4))
ISING = models.Ising(SQUARE, 0.4)
SAMPLER = samplers.heat_bath(ISING)
PACKED = samplers.multispin_heat_bath(ISING, num_chains=32)
KEY = jax.random.key(1)
MOMENTS = stats.streaming_moments()


def start():
    return SAMPLER.init(jax.random.key(0))


def configuration(spins):
    return spins


def num_programs() -> int:
    return driver._chunk.plain._cache_size() + driver._chunk.wide._cache_size()


def test_a_thinned_run_is_a_longer_run_seen_less_often():
    state = PACKED.init(jax.random.key(0))
    every = samplers.run(KEY, PACKED, state, 12, observe=configuration)
    thinned = samplers.run(KEY, samplers.thin(PACKED, 4), state, 3, observe=configuration)
    np.testing.assert_array_equal(thinned.trace, every.trace[:, 3::4])
    np.testing.assert_array_equal(thinned.info.acceptance, every.info.acceptance[:, 3::4])
    for a, b in zip(*map(jax.tree.leaves, (thinned.state, every.state)), strict=True):
        np.testing.assert_array_equal(a, b)
    before = num_programs()
    samplers.run(KEY, samplers.thin(PACKED, 4), state, 3, observe=configuration)
    assert num_programs() == before


def test_a_failure_within_a_stride_stays_in_the_info():
    def step(key, state):
        return state._replace(step=state.step + 1), samplers.SpinInfo(
            jnp.zeros(1), Status.OVERFLOW.when(state.step == 2)[None]
        )

    thinned = samplers.thin(SAMPLER._replace(step=jax.tree_util.Partial(step)), 2)
    status = jax.jit(lambda key: samplers.run(key, thinned, start(), 3).info.status)(KEY)
    assert status.tolist() == [[0, int(Status.OVERFLOW), 0]]


@pytest.mark.slow
def test_a_mixture_draws_its_samplers_with_their_probabilities():
    chain = samplers.mixture([SAMPLER, samplers.wolff(ISING), SAMPLER], [0.5, 0.2, 0.3])
    chosen = samplers.run(KEY, chain, start(), 2000).info.chosen[0]
    counts = np.bincount(chosen, minlength=3)
    expected = 2000 * np.array([0.5, 0.2, 0.3])
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))
    pairs = np.bincount(3 * np.asarray(chosen)[1:] + np.asarray(chosen)[:-1], minlength=9).reshape(3, 3)
    np.testing.assert_allclose(pairs / 1999, np.outer(expected, expected) / 2000**2, atol=5 * np.sqrt(0.25 / 2000))
    before = num_programs()
    only = samplers.mixture([SAMPLER, samplers.wolff(ISING), SAMPLER], [0.0, 1.0, 0.0])
    assert np.all(samplers.run(KEY, only, start(), 2000).info.chosen == 1)
    assert num_programs() == before


@pytest.mark.slow
def test_a_mixture_maps_over_temperatures():
    def states(coupling):
        ising = models.Ising(SQUARE, coupling)
        chain = samplers.mixture([samplers.heat_bath(ising), samplers.metropolis(ising)], [0.5, 0.5])
        return samplers.run(KEY, chain, start(), 8).state.spins

    couplings = jnp.array([0.1, 0.4])
    mapped = jax.jit(jax.vmap(states))(couplings)
    np.testing.assert_array_equal(mapped, jnp.stack([states(coupling) for coupling in couplings]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: samplers.thin(SAMPLER, 0), "num_steps: expected an integer >= 1, got 0"),
        (lambda: samplers.mixture([SAMPLER, SAMPLER], [1.0]), r"probabilities: expected shape \(2,\), got \(1,\)"),
        (lambda: samplers.mixture([SAMPLER, SAMPLER], [1.5, -0.5]), "probabilities: expected values >= 0 that sum to"),
        (lambda: samplers.mixture([SAMPLER, SAMPLER], [0.5, 0.4]), "probabilities: expected values >= 0 that sum to"),
        (
            lambda: samplers.mixture([SAMPLER, PACKED], [0.5, 0.5]),
            "samplers: expected states of one type, got SpinState.* and PackedState",
        ),
        (
            lambda: samplers.mixture(SAMPLER, [1.0]),
            "samplers: expected a list of Samplers, at least one, got a Sampler",
        ),
        (lambda: samplers.thin(ISING, 2), "sampler: expected a Sampler, .* got a Ising"),
        (lambda: samplers.accumulate(SAMPLER, 3, configuration), "accumulator: expected an Accumulator, got 3"),
        (lambda: samplers.accumulate(SAMPLER, MOMENTS, 3), "observe: expected a function of one configuration, got 3"),
        (lambda: samplers.replicas(SAMPLER, 0), "num_chains: expected an integer >= 1, got 0"),
        (
            lambda: samplers.replicas(samplers.accumulate(SAMPLER, MOMENTS, configuration), 2),
            "sampler: expected states with a field step, got AccumulatorState; to sum, accumulate the replicas",
        ),
    ],
)
def test_what_cannot_be_combined_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@jax.jit
def summaries(sums):
    return jax.vmap(MOMENTS.summary)(sums), MOMENTS.summary(stats.merge_chains(MOMENTS, sums))


def test_accumulated_moments_equal_those_of_the_trace():
    summed = samplers.accumulate(samplers.thin(PACKED, 2), MOMENTS, ISING.observables)
    state = summed.init(jax.random.key(0))
    burnt = state._replace(chain=samplers.run(KEY, summed, state, 10, observe=ISING.observables).state.chain)
    half = samplers.run(KEY, summed, burnt, 10, observe=ISING.observables)
    whole = samplers.run(KEY, summed, half.state, 10, observe=ISING.observables)
    assert int(whole.state.step) == 60
    energy = np.concatenate([half.trace.energy, whole.trace.energy], axis=1)
    assert np.std(energy) > 0.1
    each, merged = summaries(whole.state.sums)
    assert each.magnetization.count.tolist() == [20] * 32
    np.testing.assert_allclose(each.energy.mean, np.mean(energy, axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(each.energy.central_2, np.var(energy, axis=1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(merged.energy.mean, np.mean(energy), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(merged.energy.central_2, np.var(energy), rtol=1e-4, atol=1e-6)


def test_sums_are_differentiated_by_what_observes_and_by_nothing_else():
    def mean(scale, coupling):
        chain = samplers.heat_bath(models.Ising(SQUARE, coupling))
        summed = samplers.accumulate(chain, MOMENTS, lambda spins: scale * ISING.observables(spins).energy)
        sums = samplers.run(KEY, samplers.thin(summed, 2), summed.init(KEY), 4).state.sums
        return jax.vmap(MOMENTS.summary)(sums).mean[0]

    unscaled = mean(1.0, 0.4)
    assert abs(unscaled) > 0.1
    np.testing.assert_allclose(jax.grad(mean)(3.0, 0.4), unscaled, rtol=1e-5)
    with pytest.raises(ValueError, match="sampler: expected a chain that is not differentiated"):
        jax.grad(mean, argnums=1)(3.0, 0.4)


def test_replicas_are_the_chains_of_folded_keys():
    copies = samplers.replicas(SAMPLER, 3)
    state = copies.init(jax.random.key(0))
    run = samplers.run(KEY, copies, state, 5, observe=ISING.observables)
    assert run.trace.energy.shape == run.info.acceptance.shape == (3, 5)
    assert int(run.state.step) == 5
    for chain in range(3):
        alone = samplers.SpinState(state.spins[chain], state.step)
        one = samplers.run(jax.random.fold_in(KEY, chain), SAMPLER, alone, 5, observe=ISING.observables)
        np.testing.assert_array_equal(run.state.spins[chain], one.state.spins)
        np.testing.assert_array_equal(run.trace.magnetization[chain], one.trace.magnetization[0])
    assert len({np.asarray(spins).tobytes() for spins in run.state.spins}) == 3
    summed = samplers.accumulate(copies, MOMENTS, ISING.observables)
    sums = samplers.run(KEY, summed, summed.init(jax.random.key(0)), 5).state.sums
    np.testing.assert_allclose(jax.vmap(MOMENTS.summary)(sums).energy.mean, run.trace.energy.mean(axis=1), rtol=1e-5)


def test_replicas_start_from_one_configuration_or_from_one_each():
    copies = samplers.replicas(PACKED, 2)
    spins = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (2, 4, 4))
    each = copies.measure(configuration, copies.init(KEY, spins))
    np.testing.assert_array_equal(each, np.repeat(spins, 32, axis=0))
    np.testing.assert_array_equal(copies.measure(configuration, copies.init(KEY, spins[0])), [spins[0]] * 64)
    with pytest.raises(ValueError, match=r"spins: expected shape \(2, 4, 4\), got \(3, 4, 4\)"):
        copies.init(KEY, np.ones((3, 4, 4), np.int8))


def test_sums_of_a_failed_run_are_nan_under_a_transformation():
    @jax.jit
    @jax.vmap
    def means(coupling):
        ising = models.Ising(SQUARE, coupling)
        summed = samplers.accumulate(samplers.heat_bath(ising), MOMENTS, ising.observables)
        sums = samplers.run(KEY, summed, summed.init(KEY), 4).state.sums
        return jax.vmap(MOMENTS.summary)(sums).energy.mean

    assert np.isnan(means(jnp.array([0.3, jnp.nan]))).tolist() == [[False], [True]]
