"""Tempered SMC: ln Z against closed forms, transfer matrices and Kaufman, with pulls of unit variance."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxrg import exact, lattice, models, samplers
from jaxrg.base import Density
from jaxrg.samplers.ensembles import populations as tempering
from jaxrg.samplers.resampling import systematic

KEY = jax.random.key(1)


def free_log_partition(sides, mass_squared):
    """Of S = sum over modes of (m² + 4 sum sin²(k/2)) |x|²."""
    momenta = np.meshgrid(*(2 * np.pi * np.arange(side) / side for side in sides), indexing="ij")
    modes = mass_squared + sum(4 * np.sin(k / 2) ** 2 for k in momenta)
    return 0.5 * np.log(np.pi / modes).sum()


def phi4_log_partition(mass_squared, quartic, num_sites):
    """Of a ring, by its transfer matrix on a grid."""
    points = np.linspace(-4, 4, 401)
    potential = mass_squared * points**2 + quartic * points**4
    transfer = np.exp(-((points[:, None] - points) ** 2) - 0.5 * (potential[:, None] + potential))
    return np.log(np.trace(np.linalg.matrix_power(transfer * (points[1] - points[0]), num_sites)))


def xy_log_partition(coupling, num_sites):
    orders = np.arange(-40, 41)
    return num_sites * np.log(2 * np.pi) + np.log((scipy.special.iv(orders, coupling) ** num_sites).sum())


def complex_log_partition(mass_squared, quartic):
    """Of one site."""
    radius = np.linspace(0, 6, 20_001)
    weight = 2 * np.pi * radius * np.exp(-mass_squared * radius**2 - quartic * radius**4)
    return np.log(np.trapezoid(weight, radius))


RING = lattice.hypercubic((4,))
CASES = {
    "free": (models.Phi4(RING, 0.8, 0.0), free_log_partition((4,), 0.8)),
    "phi4": (models.Phi4(RING, -2.0, 0.8), phi4_log_partition(-2.0, 0.8, 4)),
    "xy": (models.XY(RING, 1.2), xy_log_partition(1.2, 4)),
    "complex": (
        models.ComplexPhi4(lattice.hypercubic((1,), periodic=False), -1.5, 0.7),
        complex_log_partition(-1.5, 0.7),
    ),
}


@pytest.mark.parametrize("name", ["phi4", *(pytest.param(n, marks=pytest.mark.slow) for n in CASES if n != "phi4")])
def test_partition_functions_have_closed_forms_and_honest_errors(name):
    model, expected = CASES[name]
    pulls, scatter = [], []
    for seed in range(12):
        found = samplers.ensembles.tempered_smc(jax.random.key(seed), model, 128)
        pulls.append((float(found.log_partition) - expected) / float(found.error))
        scatter.append(float(found.log_partition) - expected)
    assert np.all(np.abs(pulls) < 8)  # of Student's t with seven degrees of freedom
    assert 0.3 < np.mean(np.square(pulls)) < 4
    assert abs(np.mean(scatter)) < 5 * np.std(scatter, ddof=1) / np.sqrt(12)
    assert np.std(scatter) < 0.1
    assert found.configurations.shape == (8, 128, *model.shape)
    used = int(found.num_stages)
    assert np.all(np.diff(found.inverse_temperatures[:used]) > 0)
    assert np.all(found.inverse_temperatures[used - 1 :] == 1)
    assert np.all(found.acceptance[:used] > 0.5)
    programs = tempering._tempered_smc._cache_size()
    samplers.ensembles.tempered_smc(
        KEY, jax.tree.map(lambda leaf: leaf * 1.01, model), 128, num_moves=3, num_leapfrog=4
    )
    assert tempering._tempered_smc._cache_size() == programs


@pytest.mark.slow
def test_samples_have_the_moments_of_the_quadrature():
    model = CASES["phi4"][0]
    found = samplers.ensembles.tempered_smc(KEY, model, 512, num_repeats=16)
    squares = np.mean(found.configurations**2, axis=(1, 2))
    step = 1e-4
    ends = [phi4_log_partition(-2.0 + shift, 0.8, 4) for shift in (step, -step)]
    expected = -(ends[0] - ends[1]) / (2 * step) / 4
    assert abs(squares.mean() - expected) < 5 * squares.std(ddof=1) / 4


@pytest.mark.slow
def test_the_dual_of_ising_is_integrated_at_its_critical_point():
    model = models.IsingDual(lattice.hypercubic((4, 4)), exact.critical_coupling)
    found = samplers.ensembles.tempered_smc(KEY, model, 512, num_moves=4)
    assert abs(float(found.log_partition) - 37.376732) < 5 * float(found.error)
    assert float(found.error) < 0.08


def wide_sample(key, width, num_samples):
    field = width * jax.random.normal(key, (num_samples, 4))
    return field, wide_log_prob(width, field)


def wide_log_prob(width, fields):
    return -0.5 * jnp.sum((fields / width) ** 2 + math.log(2 * math.pi), axis=1) - 4 * jnp.log(width)


@pytest.mark.slow
def test_a_schedule_and_a_reference_of_ones_own_for_a_bare_action():
    model, expected = CASES["phi4"]
    reference = Density(lambda key: jnp.float32(0.8), wide_sample, wide_log_prob)
    schedule = np.linspace(0.1, 1, 10)
    found = samplers.ensembles.tempered_smc(
        KEY, model.action, 256, reference=reference, params=jnp.float32(0.8), inverse_temperatures=schedule
    )
    np.testing.assert_allclose(found.inverse_temperatures, schedule, rtol=1e-6)
    assert int(found.num_stages) == 10
    assert abs(float(found.log_partition) - expected) < 5 * float(found.error) < 0.4


def test_resampling_keeps_the_share_of_every_particle():
    weights = np.array([0.5, 0.0, 0.26, 0.24])
    particles = jnp.repeat(jnp.arange(4.0), 25)
    log_weights = jnp.log(jnp.repeat(jnp.asarray(weights, jnp.float32), 25))
    taken = np.asarray(particles[systematic(KEY, log_weights)]).astype(int)
    counts = np.bincount(taken, minlength=4)
    assert np.all(np.abs(counts - 100 * weights) <= 1)
    assert counts[1] == 0


def test_failures_are_told():
    broken = models.Phi4(RING, 1.0, 1.0)
    object.__setattr__(broken, "quartic", jnp.float32(jnp.nan))
    with pytest.raises(FloatingPointError, match="tempered_smc: expected populations that reach the model, got a NaN"):
        samplers.ensembles.tempered_smc(KEY, broken, 128)


@pytest.mark.slow
def test_failures_under_a_transformation_are_nan():
    broken = models.Phi4(RING, 1.0, 1.0)
    object.__setattr__(broken, "quartic", jnp.float32(jnp.nan))
    mapped = jax.jit(lambda model: samplers.ensembles.tempered_smc(KEY, model, 128).log_partition)(broken)
    assert np.isnan(mapped)


REFUSED = [
    ({"num_particles": 1}, "num_particles: expected an integer >= 2"),
    ({"num_repeats": 1}, "num_repeats: expected an integer >= 2"),
    ({"effective_fraction": 1.0}, "effective_fraction: expected a number between 0"),
    ({"step_size": -0.1}, "step_size: expected a number between 0"),
    ({"inverse_temperatures": [0.5, 0.4, 1.0]}, "inverse_temperatures: expected numbers that rise"),
    ({"inverse_temperatures": [0.5, 0.9]}, "inverse_temperatures: expected numbers that rise"),
    ({"inverse_temperatures": 1.0}, "inverse_temperatures: expected a list"),
    ({"reference": 3}, "reference: expected a Density"),
    ({"model": jnp.sum}, "reference: expected a Density where the model is a bare action"),
    ({"model": 3}, "model: expected a function of one configuration, or a FieldModel"),
    ({"key": 0}, "key: expected a typed key"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_be_tempered_is_refused(options, message):
    given = {"key": KEY, "model": CASES["phi4"][0], "num_particles": 16} | options
    with pytest.raises(ValueError, match=message):
        samplers.ensembles.tempered_smc(**given)
