"""Correlations by Fourier transforms against sums over all pairs, and lengths against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, samplers, stats
from jaxrg.stats import correlations


def plain_two_point_function(configuration, num_axes):
    found = np.zeros(configuration.shape[:num_axes])
    axes = tuple(range(num_axes))
    for displacement in np.ndindex(found.shape):
        there = np.roll(configuration, tuple(-step for step in displacement), axes)
        found[displacement] = (configuration * there).sum() / found.size
    return found


@pytest.mark.parametrize(("shape", "num_axes"), [((6,), 1), ((4, 5), 2), ((3, 4, 2), 3), ((4, 3, 2), 2)])
def test_every_displacement_and_every_wave_vector(shape, num_axes):
    configuration = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    given = None if num_axes == len(shape) else num_axes
    plain = plain_two_point_function(configuration.astype(float), num_axes)
    np.testing.assert_allclose(correlations.two_point_function(configuration, num_axes=given), plain, atol=2e-6)
    waves = np.fft.fftn(plain).real
    np.testing.assert_allclose(correlations.structure_factor(configuration, num_axes=given), waves, atol=2e-5)


def test_spins_and_improved_estimators_agree_in_the_mean():
    ising = models.Ising(lattice.hypercubic((4, 4)), 0.3)
    wanted = exact.expectation(ising.hamiltonian, lambda s: s[0, 0] * jnp.roll(s, -1, 1)[0, 0], (4, 4))
    seen = exact.expectation(ising.hamiltonian, lambda s: correlations.two_point_function(s)[0, 1], (4, 4))
    assert float(seen) == pytest.approx(float(wanted), abs=2e-6)


@pytest.mark.parametrize("axis", [0, np.int64(1), -1])
def test_the_length_of_a_free_field_is_one_over_its_mass(axis):
    mass = 0.3
    waves = [4 * np.sin(np.pi * np.arange(n) / n) ** 2 for n in (12, 16)]
    structure = 1 / (mass**2 + waves[0][:, None] + waves[1][None])
    assert float(correlations.second_moment_correlation_length(structure, axis=axis)) == pytest.approx(1 / mass, 1e-5)


def test_limits_of_the_length():
    length = correlations.second_moment_correlation_length
    assert float(length(jnp.array([1.0, 0.0, 0.0]))) == np.inf
    assert np.isnan(float(length(jnp.array([1.0, 2.0, 2.0]))))


@pytest.mark.parametrize("coupling", [0.1, 0.3, 0.4, 0.43, -0.4])
def test_onsagers_length_is_that_of_wide_strips(coupling):
    narrow, wide = (float(exact.strip_correlation_length(coupling, width)) for width in (10, 14))
    wanted = float(exact.onsager_correlation_length(coupling))
    assert abs(wide - wanted) <= abs(narrow - wanted) + 1e-5
    if abs(coupling) <= 0.3:
        assert wide == pytest.approx(wanted, rel=2e-3)


def test_onsagers_length_below_the_critical_temperature_is_half_of_its_dual():
    dual = -0.5 * np.log(np.tanh(0.5))
    ordered, disordered = exact.onsager_correlation_length(0.5), exact.onsager_correlation_length(dual)
    assert float(ordered) == pytest.approx(float(disordered) / 2, rel=1e-5)
    assert float(exact.onsager_correlation_length(exact.critical_coupling)) > 1e6
    assert float(exact.onsager_correlation_length(0.0)) == 0


@pytest.mark.slow
def test_the_measured_length_is_near_the_exact_one():
    """At K = 0.4 the second moment gives the exponential length within two percent, L = 32 being five of it."""
    ising = models.Ising(lattice.hypercubic((32, 32)), 0.4)
    sampler = samplers.replicas(samplers.swendsen_wang(ising), 4)
    start = samplers.run(jax.random.key(0), sampler, sampler.init(jax.random.key(1)), 100).state
    trace = samplers.run(jax.random.key(2), sampler, start, 4000, observe=correlations.structure_factor).trace
    lines = trace[..., 0]  # along one axis, all of it: its length says which wave vector is the smallest
    found = stats.gamma_method(lambda mean: correlations.second_moment_correlation_length(mean), lines)
    assert float(found.error) < 0.1
    assert abs(float(found.value) - float(exact.onsager_correlation_length(0.4))) < 0.1 + 4 * float(found.error)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="configuration: expected a lattice of one site"):
        correlations.structure_factor(1.0)
    with pytest.raises(ValueError, match="configuration: expected at least 3 axes"):
        correlations.two_point_function(jnp.ones((2, 2)), num_axes=3)
    with pytest.raises(ValueError, match="num_axes: expected"):
        correlations.two_point_function(jnp.ones((2, 2)), num_axes=0)
    with pytest.raises(ValueError, match="axis: expected one of the 2 axes, got 2"):
        correlations.second_moment_correlation_length(jnp.ones((2, 2)), axis=2)
    with pytest.raises(ValueError, match="structure_factor: expected two sites or more along axis 0"):
        correlations.second_moment_correlation_length(jnp.ones((1, 2)))
