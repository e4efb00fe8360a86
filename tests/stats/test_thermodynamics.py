"""Responses against derivatives of the partition function, and estimates with errors from exact samples."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import stats
from jaxrg.models import Observables

NUM_SAMPLES = 20_000  # of each of two chains, in every test: one compilation


def ising_3x3() -> tuple[np.ndarray, np.ndarray]:
    """Energies in units of J and magnetizations, per site, of all 512 states of the periodic 3x3 lattice."""
    spins = np.array(list(itertools.product([-1.0, 1.0], repeat=9))).reshape(-1, 3, 3)
    energy = -(spins * np.roll(spins, 1, 1)).sum((1, 2)) - (spins * np.roll(spins, 1, 2)).sum((1, 2))
    return energy / 9, spins.mean((1, 2))


def boltzmann(coupling: float, field: float = 0.0) -> np.ndarray:
    energy, m = ising_3x3()
    weights = np.exp(9 * (-coupling * energy + field * m))
    return weights / weights.sum()


def test_responses_are_derivatives_of_the_partition_function(x64: None) -> None:
    energy, m = ising_3x3()

    @jax.jit
    @jax.hessian
    def hessian(parameters):
        return jax.nn.logsumexp(9 * (-parameters[0] * energy + parameters[1] * m))

    coupling, field = 0.3, 0.1
    weights = boltzmann(coupling, field)
    curvature = hessian(jnp.array([coupling, field]))
    heat = stats.specific_heat(weights @ energy, weights @ energy**2, coupling=coupling, num_sites=9)
    np.testing.assert_allclose(heat, coupling**2 * curvature[0, 0] / 9, rtol=1e-12)
    chi = stats.susceptibility(weights @ m, weights @ m**2, num_sites=9)
    np.testing.assert_allclose(chi, curvature[1, 1] / 9, rtol=1e-12)


def test_thermodynamics_of_exact_samples() -> None:
    """Two chains of independent samples, whose errors are known, at two couplings side by side."""
    energy, m = ising_3x3()
    couplings = np.array([0.1, 0.3])
    generator = np.random.default_rng(3)
    drawn = np.stack([generator.choice(512, (2, NUM_SAMPLES), p=boltzmann(k)) for k in couplings], axis=-1)
    trace = Observables(jnp.asarray(energy[drawn], jnp.float32), jnp.asarray(m[drawn], jnp.float32))
    found = stats.thermodynamics(trace, coupling=jnp.asarray(couplings, jnp.float32), num_sites=9)
    for index, coupling in enumerate(couplings):
        p = boltzmann(coupling)
        m2, m4 = p @ m**2, p @ m**4
        u = energy - p @ energy
        series = {  # value, and what a sample adds to its deviation
            "energy": (p @ energy, u),
            "specific_heat": (9 * coupling**2 * (p @ u**2), 9 * coupling**2 * u**2),
            "abs_magnetization": (p @ abs(m), abs(m)),
            "susceptibility": (9 * m2, 9 * m**2),
            "binder": (1 - m4 / (3 * m2**2), -(m**4) / (3 * m2**2) + 2 * m4 * m**2 / (3 * m2**3)),
        }
        assert series.keys() == set(stats.Thermodynamics._fields)
        for name, (value, deviation) in series.items():
            estimate = jax.tree.map(lambda leaf, index=index: leaf[index], getattr(found, name))
            error = np.sqrt((p @ deviation**2 - (p @ deviation) ** 2) / (2 * NUM_SAMPLES))
            assert abs(float(stats.z_score(estimate.value, estimate.error, value))) < 4, name
            np.testing.assert_allclose(estimate.error, error, rtol=0.15, err_msg=name)
            assert estimate.is_converged


def test_energies_far_from_zero_keep_their_fluctuations() -> None:
    """The square of 1000 is rounded, in float32, to as much as the variance."""
    energy = np.random.default_rng(4).integers(-50, 50, (2, NUM_SAMPLES, 1)).astype(np.float32) / 256
    energy = jnp.asarray(np.concatenate([energy, energy + 1000], axis=-1))
    found = stats.thermodynamics(Observables(energy, energy), coupling=jnp.ones(2), num_sites=9)
    near, far = (jax.tree.map(lambda leaf, i=i: leaf[i], (found.energy, found.specific_heat)) for i in (0, 1))
    np.testing.assert_allclose(far[0].value, 1000 + near[0].value, rtol=1e-7)
    np.testing.assert_allclose(far[1].value, near[1].value, rtol=1e-5)
    np.testing.assert_allclose(far[1].error, near[1].error, rtol=1e-4)


def test_binder_cumulant_of_ordered_and_gaussian_magnetizations() -> None:
    np.testing.assert_allclose(stats.binder_cumulant(jnp.float32(0.25), jnp.float32(0.0625)), 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(stats.binder_cumulant(jnp.float32(2.0), jnp.float32(12.0)), 0.0, atol=1e-6)


def test_number_of_sites() -> None:
    trace = Observables(jnp.ones((1, 8)), jnp.ones((1, 8)))
    for call in (
        lambda: stats.specific_heat(jnp.ones(()), jnp.ones(()), coupling=1.0, num_sites=0),
        lambda: stats.susceptibility(0.0, jnp.ones(()), num_sites=0),
        lambda: stats.thermodynamics(trace, coupling=1.0, num_sites=0),
    ):
        with pytest.raises(ValueError, match="num_sites: expected an integer >= 1"):
            call()
