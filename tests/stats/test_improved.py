"""Cluster estimators against every choice of signs."""

import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, samplers, stats

LABELS = {
    "one cluster": np.zeros((2, 3), np.int32),
    "no bonds": np.arange(6, dtype=np.int32).reshape(2, 3),
    "three clusters": np.array([[0, 0, 2], [5, 0, 2]], np.int32),
    "a chain": np.array([1, 1, 1, 4, 4, 0, 0, 7, 7, 7], np.int32),
}


jitted_estimators = jax.jit(stats.correlations.improved_estimators)


def signed_magnetizations(labels: np.ndarray, spins: np.ndarray) -> np.ndarray:
    """Magnetization per site for all 2^clusters choices of signs."""
    names = np.unique(labels)
    choices = itertools.product([-1, 1], repeat=len(names))
    return (
        np.array([sum(e * spins[labels == c].sum() for e, c in zip(signs, names, strict=True)) for signs in choices])
        / labels.size
    )


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("has_spins", [False, True])
def test_moments_are_averages_over_all_signs(name: str, has_spins: bool) -> None:
    labels = LABELS[name]
    spins = (
        np.random.default_rng(0).choice([-1, 1], labels.shape).astype(np.int8) if has_spins else np.ones_like(labels)
    )
    magnetizations = signed_magnetizations(labels, spins)
    result = jitted_estimators(jnp.asarray(labels), jnp.asarray(spins) if has_spins else None)
    np.testing.assert_allclose(result.m2, (magnetizations**2).mean(), rtol=1e-6)
    np.testing.assert_allclose(result.m4, (magnetizations**4).mean(), rtol=1e-6)


def test_large_lattices_keep_their_digits() -> None:
    """One giant cluster in a sea of single sites: integer sums to N^4 = 2^88 against exact fractions."""
    num_sites, giant = 2**22, 1_234_567
    labels = jnp.where(jnp.arange(num_sites) < giant, 0, jnp.arange(num_sites))
    result = jitted_estimators(labels)
    sum_2, sum_4 = giant**2 + (num_sites - giant), giant**4 + (num_sites - giant)
    np.testing.assert_allclose(result.m2, float(Fraction(sum_2, num_sites**2)), rtol=1e-6)
    np.testing.assert_allclose(result.m4, float(Fraction(3 * sum_2**2 - 2 * sum_4, num_sites**4)), rtol=1e-6)
    single = jitted_estimators(jnp.arange(num_sites))
    np.testing.assert_allclose(single.m2, 1 / num_sites, rtol=1e-6)
    np.testing.assert_allclose(single.m4, (3 - 2 / num_sites) / num_sites**2, rtol=1e-6)


def test_two_point_function_is_the_average_over_all_signs() -> None:
    labels = np.array([[0, 0, 2], [5, 0, 2], [5, 5, 8]])
    spins = np.random.default_rng(1).choice([-1, 1], (3, 3)).astype(np.int8)
    offsets = [(0, 0), (0, 1), (1, 0), (1, 2), (-1, 1)]
    names = np.unique(labels)
    exact = np.zeros(len(offsets))
    for signs in itertools.product([-1, 1], repeat=len(names)):
        flipped = spins * np.array(signs)[np.searchsorted(names, labels)]
        exact += [(flipped * np.roll(flipped, (-a, -b), (0, 1))).mean() for a, b in offsets]
    exact /= 2 ** len(names)
    function = jax.jit(lambda labels, spins: stats.correlations.improved_two_point_function(labels, offsets, spins))
    result = function(jnp.asarray(labels), jnp.asarray(spins))
    np.testing.assert_allclose(result, exact, atol=1e-7)


def test_two_point_functions_sum_to_the_second_moment() -> None:
    labels = jnp.asarray(np.random.default_rng(2).integers(0, 5, (2, 3)))
    everywhere = list(itertools.product(range(2), range(3)))
    total = jax.jit(lambda labels: stats.correlations.improved_two_point_function(labels, everywhere))(labels).mean()
    np.testing.assert_allclose(total, jitted_estimators(labels).m2, rtol=1e-6)


def test_labels_out_of_range_are_refused_or_nan() -> None:
    for labels in (jnp.array([0, 1, 3]), jnp.array([0, -1, 1])):
        with pytest.raises(ValueError, match=r"labels: expected integers from 0 to 2"):
            stats.correlations.improved_estimators(labels)
        assert np.isnan(jitted_estimators(labels)).all()
    with pytest.raises(ValueError, match="labels: expected integers"):
        stats.correlations.improved_estimators(jnp.zeros(3))
    with pytest.raises(ValueError, match=r"spins: expected shape \(3,\)"):
        stats.correlations.improved_estimators(jnp.zeros(3, jnp.int32), jnp.ones(4, jnp.int8))
    with pytest.raises(ValueError, match="offsets: expected displacements of 1 integers"):
        stats.correlations.improved_two_point_function(jnp.zeros(3, jnp.int32), [(0, 1)])


@pytest.mark.slow
def test_moments_that_swendsen_wang_reports_are_series() -> None:
    ising = models.Ising(lattice.hypercubic((3, 3)), 0.3)
    sampler = samplers.swendsen_wang(ising)
    info = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 2000).info
    moments = {"m2": info.magnetization_squared, "m4": info.magnetization_fourth}
    found = stats.gamma_method(lambda mean: mean | {"binder": stats.binder_cumulant(mean["m2"], mean["m4"])}, moments)

    def powers(spins):
        m = ising.observables(spins).magnetization
        return m**2, m**4

    m2, m4 = exact.expectation(ising.hamiltonian, powers, ising.shape)
    for name, value in {"m2": m2, "m4": m4, "binder": stats.binder_cumulant(m2, m4)}.items():
        assert found[name].is_converged
        assert abs(float(stats.z_score(found[name].value, found[name].error, value))) < 4, name
