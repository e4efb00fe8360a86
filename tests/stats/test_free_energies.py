"""Free energies of Gaussians, whose partition functions are known: values, errors, coverage, correlated samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.stats.free_energies import bennett_acceptance_ratio, multistate_bennett
from jaxrg.stats.student import student_quantile

WIDTHS = np.array([1.0, 0.7, 0.5, 0.6])
CENTERS = np.array([0.0, 1.0, 1.5, 2.5])
OFFSETS = np.array([0.3, -1.2, 2.0, 0.5])
EXACT = OFFSETS - np.log(WIDTHS)  # f up to a constant


def gaussian_samples(seed: int, num_chains: int, num_samples: int, memory: float = 0.0) -> np.ndarray:
    """``[chains, samples, 4]``; with a memory an autoregression of the same law."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(num_chains, num_samples, 4))
    for step in range(1, num_samples if memory else 0):
        noise[:, step] = memory * noise[:, step - 1] + np.sqrt(1 - memory**2) * noise[:, step]
    return CENTERS + WIDTHS * noise


def energies_of(samples: np.ndarray) -> np.ndarray:
    """``[chains, samples, state sampled, state]`` u of every state."""
    return (samples[..., None] - CENTERS) ** 2 / (2 * WIDTHS**2) + OFFSETS


def works_of(energies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    places = np.arange(3)
    own = energies[:, :, places, places], energies[:, :, places + 1, places + 1]
    return energies[:, :, places, places + 1] - own[0], energies[:, :, places + 1, places] - own[1]


def test_gaussians_have_their_free_energies():
    energies = energies_of(gaussian_samples(0, 4, 2_000))
    pairs, states = bennett_acceptance_ratio(*works_of(energies)), multistate_bennett(energies)
    for found in (pairs, states):
        assert np.all(np.abs(found.steps.value - np.diff(EXACT)) < 4 * found.steps.error)
        assert abs(found.total.value - (EXACT[-1] - EXACT[0])) < 4 * found.total.error
        np.testing.assert_allclose(found.steps.value.sum(), found.total.value, rtol=1e-5)
        assert found.is_converged
    # Every sample counts for all states, so the error can only be smaller.
    assert float(states.total.error) < 1.02 * float(pairs.total.error)
    np.testing.assert_allclose(pairs.overlap, states.overlap, atol=0.01)


@pytest.mark.slow
def test_two_states_are_those_of_bennett():
    energies = energies_of(gaussian_samples(1, 4, 2_000))
    pair = bennett_acceptance_ratio(*(work[..., 0] for work in works_of(energies)))
    states = multistate_bennett(energies[:, :, :2, :2])
    np.testing.assert_allclose(pair.total.value, states.total.value, atol=1e-5)
    np.testing.assert_allclose(pair.total.error, states.total.error, rtol=1e-3)


def test_overlap_is_that_of_the_densities():
    grid = np.linspace(-8, 10, 20_001)
    first, second = (np.exp(-((grid - c) ** 2) / (2 * w**2)) / (w * np.sqrt(2 * np.pi)) for c, w in ((0, 1), (1, 0.7)))
    exact = np.sum(2 * first * second / (first + second)) * (grid[1] - grid[0])
    found = bennett_acceptance_ratio(*works_of(energies_of(gaussian_samples(2, 4, 2_000))))
    assert abs(float(found.overlap[0]) - exact) < 0.015


def test_error_of_independent_samples_is_bennetts_formula():
    """Of two Gaussians of one width at a distance d the work is Gaussian too; scatter of many repeats beside it."""
    values, errors = [], []
    generator = np.random.default_rng(3)
    for _ in range(100):
        x = generator.normal(size=(2, 1, 1000))
        found = bennett_acceptance_ratio(1.5**2 / 2 - 1.5 * x[0], 1.5**2 / 2 + 1.5 * x[1])
        values.append(float(found.total.value))
        errors.append(float(found.total.error))
    assert abs(np.mean(values)) < 4 * np.std(values) / 10
    np.testing.assert_allclose(np.mean(errors), np.std(values, ddof=1), rtol=0.25)
    first = 1.5**2 / 2 - 1.5 * generator.normal(size=200_000), 1.5**2 / 2 - 1.5 * generator.normal(size=200_000)
    fermi = 1 / (1 + np.exp(np.concatenate(first)))
    overlap = 2 * np.mean(fermi)  # of equal shares and Δf = 0
    exact = np.sqrt((1 / (overlap / 2) - 2) / 1000)
    np.testing.assert_allclose(np.mean(errors), exact, rtol=0.05)


def test_shifts_of_a_thousand_cost_no_digits():
    work, reverse = works_of(energies_of(gaussian_samples(4, 4, 2_000)).astype(np.float64))
    near = bennett_acceptance_ratio(work, reverse)
    far = bennett_acceptance_ratio(np.float32(work + 1024), np.float32(reverse - 1024))
    np.testing.assert_allclose(far.steps.value - 1024, near.steps.value, atol=3e-4)  # a float32 at 1024
    np.testing.assert_allclose(far.steps.error, near.steps.error, rtol=2e-3)


@pytest.mark.exhaustive
def test_other_numbers_of_samples_in_the_two_directions():
    forward = works_of(energies_of(gaussian_samples(5, 1, 8_000)))[0][..., 0]
    reverse = works_of(energies_of(gaussian_samples(6, 4, 500)))[1][..., 0]
    found = bennett_acceptance_ratio(forward, reverse)
    exact = EXACT[1] - EXACT[0]
    assert abs(float(found.total.value) - exact) < 4 * float(found.total.error)
    few = bennett_acceptance_ratio(forward[:, :2000], reverse)
    assert float(few.total.error) > float(found.total.error)


@pytest.mark.exhaustive
def test_correlated_samples_have_larger_errors_which_hold():
    """An autoregression of memory 0.9: errors grow by the root of 2 tau_int, and 95 % intervals cover."""
    covered, errors, size = [], [], 40
    free = EXACT[-1] - EXACT[0]
    for seed in range(size):
        work, reverse = works_of(energies_of(gaussian_samples(100 + seed, 4, 2_000, memory=0.9)))
        found = bennett_acceptance_ratio(work, reverse).total
        half = float(student_quantile(jnp.float32(0.95), found.num_degrees_of_freedom) * found.error)
        covered.append(abs(float(found.value) - free) < half)
        errors.append(float(found.error))
    assert np.mean(covered) >= 0.85  # 0.95 - 3 sigma of 40
    independent = bennett_acceptance_ratio(*works_of(energies_of(gaussian_samples(0, 4, 2_000)))).total.error
    assert 2 < np.mean(errors) / float(independent) < 5


def test_states_that_do_not_overlap_are_not_converged():
    x = np.random.default_rng(7).normal(size=(2, 4, 2_000))
    found = bennett_acceptance_ratio(50 - 10 * x[0], 50 + 10 * x[1])
    assert float(found.overlap[0]) < 0.03
    assert not found.is_converged
    # Fermi functions are zero in single precision; their logarithms still balance.
    apart = np.random.default_rng(8).normal(500, 1, (1, 200)).astype(np.float32)
    assert abs(float(bennett_acceptance_ratio(apart + 30, apart - 30).total.value) - 30) < 1e-3


def test_student_quantiles_are_those_of_the_tables():
    degrees = jnp.array([1.0, 3.0, 9.0, 48.0, 1e5])
    np.testing.assert_allclose(
        jax.vmap(student_quantile, (None, 0))(jnp.float32(0.95), degrees),
        [12.706, 3.1824, 2.2622, 2.0106, 1.9600],
        rtol=1e-3,  # in float32 the beta function of many degrees has no more digits
    )


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"work: expected \[chains, samples\] or"):
        bennett_acceptance_ratio(jnp.ones(5), jnp.ones((1, 5)))
    with pytest.raises(ValueError, match="reverse_work: expected 2 pairs as in work"):
        bennett_acceptance_ratio(jnp.ones((1, 5, 2)), jnp.ones((1, 5, 3)))
    with pytest.raises(ValueError, match=r"energies: expected \[chains, samples, K, K\]"):
        multistate_bennett(jnp.ones((1, 5, 2, 3)))
    with pytest.raises(ValueError, match="energies: expected at least 4 samples"):
        multistate_bennett(jnp.ones((1, 2, 2, 2)))
    nothing = bennett_acceptance_ratio(jnp.full((1, 20), jnp.nan), jnp.ones((1, 20)))
    assert not nothing.is_converged
