"""The fast solution against the dense system, the loss it minimises, and a noise that is found again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.explain import mean_order, two_phase
from jaxrg.transforms import zeta

NUM_PLAYERS = 5  # of the compiled functions that the tests share
noisy = jax.jit(two_phase.noisy_interactions)
predicted = jax.jit(two_phase.predicted_spectrum)
fit_all = jax.jit(jax.vmap(two_phase.fit_noise, in_axes=(None, 0, None)))


def random_truth(seed: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(4, 2**NUM_PLAYERS)))


def dense_response(num_players: int, noise_variance: float) -> np.ndarray:
    subsets = np.arange(2**num_players)
    triggers = ((subsets[:, None] & subsets[None, :]) == subsets[None, :]).astype(np.float64)
    noise = noise_variance * 2.0 ** np.bitwise_count(subsets)
    gram = triggers.T @ triggers
    return np.linalg.solve(gram + 2.0**num_players * np.diag(noise), gram)


def loss(w, truth, noise_variance):
    """What is minimised, in closed form over the noise."""
    weights = 2.0 ** jnp.asarray(np.bitwise_count(np.arange(w.size)), w.dtype)
    return jnp.mean(zeta(truth - w) ** 2) + noise_variance * jnp.sum(weights * w**2)


def simulated_loss(w, truth, noise_variance, num_draws):
    """The loss as it is written, with noise that is drawn, and its standard error."""
    random = np.random.default_rng(0)
    subsets = np.arange(w.size)
    triggers = ((subsets[:, None] & subsets[None, :]) == subsets[None, :]).astype(np.float64)
    deviations = np.sqrt(noise_variance * 2.0 ** np.bitwise_count(subsets))
    noise = random.normal(size=(num_draws, w.size)) * deviations
    residuals = triggers @ (truth - w) - (noise @ w)[:, None]
    draws = (residuals**2).mean(1)
    return draws.mean(), draws.std(ddof=1) / np.sqrt(num_draws)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_fast_solution_is_the_dense_one(n, x64):
    truth = jnp.asarray(np.random.default_rng(n).normal(size=2**n))
    noises = jnp.array([0.0, 1e-5, 1e-2, 1.0, 30.0])
    fast = jax.jit(jax.vmap(two_phase.noisy_interactions, in_axes=(None, 0)))(truth, noises)
    for noise, learned in zip(noises.tolist(), fast, strict=True):
        np.testing.assert_allclose(learned, dense_response(n, noise) @ truth, atol=1e-12)
    assert not np.any(noisy(truth, jnp.inf))


def test_it_minimises_the_loss_with_noise(x64):
    truth, other = (jnp.asarray(np.random.default_rng(seed).normal(size=16)) for seed in (5, 6))
    value_and_grad = jax.jit(jax.value_and_grad(loss))
    exact, slope = value_and_grad(other, truth, 0.3)
    mean, error = simulated_loss(np.asarray(other), np.asarray(truth), 0.3, 40_000)
    assert error < 0.01 * exact
    assert abs(mean - exact) < 5 * error
    # Quadratic and convex: a vanishing gradient is the minimum.
    assert np.max(np.abs(slope)) > 0.1
    np.testing.assert_allclose(value_and_grad(noisy(truth, 0.3), truth, 0.3)[1], np.zeros(16), atol=1e-13)


def test_eigenvalues_of_one_player(x64):
    scaled = np.diag([1, 2**-0.5]) @ np.array([[2, 1], [1, 1]]) @ np.diag([1, 2**-0.5])
    np.testing.assert_allclose(
        np.linalg.eigvalsh(scaled), [2 * two_phase.LAMBDA_MINUS, 2 * two_phase.LAMBDA_PLUS], rtol=1e-14
    )
    np.testing.assert_allclose(np.linalg.eigvalsh(scaled), [(5 - 17**0.5) / 4, (5 + 17**0.5) / 4], rtol=1e-14)


def test_the_gradient_by_the_noise_is_that_of_finite_differences(x64):
    truth, noise, step = random_truth(2), 0.05, 1e-6
    difference = (predicted(truth, noise + step) - predicted(truth, noise - step)) / (2 * step)
    slope = jax.jit(jax.jacfwd(two_phase.predicted_spectrum, argnums=1))(truth, jnp.float64(noise))
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


def test_float32_keeps_its_precision():
    truth = np.random.default_rng(0).normal(size=2**8)
    learned = noisy(jnp.asarray(truth, jnp.float32), 0.01)
    assert learned.dtype == jnp.float32
    np.testing.assert_allclose(learned, dense_response(8, 0.01) @ truth, atol=1e-5)


def test_a_noise_is_found_again(x64):
    truth, noises = random_truth(3), jnp.array([1e-6, 3e-3, 0.2])
    measured = jnp.stack([predicted(truth, noise) for noise in noises])
    fit = fit_all(truth, measured, jnp.full(NUM_PLAYERS + 1, 0.01))
    np.testing.assert_allclose(jnp.log(fit.noise_variance), jnp.log(noises), atol=1e-6)
    np.testing.assert_allclose(fit.predicted, measured, atol=1e-8)
    np.testing.assert_allclose(fit.r_squared, np.ones(3), atol=1e-9)
    assert fit.degrees_of_freedom.tolist() == [3, 3, 3]


@pytest.mark.slow
def test_the_error_of_the_noise_is_honest_and_a_wrong_shape_is_seen(x64):
    truth, errors = random_truth(4), jnp.full(NUM_PLAYERS + 1, 0.02)
    exact = predicted(truth, 0.02)
    spectra = exact.reshape(1, -1) + 0.02 * jax.random.normal(jax.random.key(0), (200, NUM_PLAYERS + 1))
    fits = fit_all(truth, spectra, errors)
    pulls = (np.log(fits.noise_variance) - np.log(0.02)) / np.asarray(fits.log_error)
    # Of 200 unit normals: the mean has error 0.07, the standard deviation 0.05.
    assert abs(pulls.mean()) < 0.35
    assert 0.75 < pulls.std() < 1.25
    # Here all five orders have independent errors, so four degrees are left.
    assert 3 < float(fits.chi_squared.mean()) < 5
    assert float(fit_all(truth, jnp.flip(spectra, axis=-1), errors).chi_squared.min()) > 100


def test_the_spectrum_under_much_noise_is_low_order(x64):
    truth = random_truth(8)
    orders = [float(mean_order(predicted(truth, noise))) for noise in (0.0, 1e-3, 1e-2, 0.1, 10.0)]
    assert orders == sorted(orders, reverse=True)
    assert orders[-1] < 1.7 < 2.4 < orders[0]


def test_bad_input_is_refused():
    truth = jnp.zeros(16)
    with pytest.raises(ValueError, match="noise_variance: expected a scalar"):
        two_phase.noisy_interactions(truth, jnp.zeros(3))
    with pytest.raises(ValueError, match=r"measured: expected one spectrum of shape \(5,\)"):
        two_phase.fit_noise(truth, jnp.zeros(4), jnp.ones(5))
    with pytest.raises(ValueError, match=r"errors: expected one spectrum of shape \(5,\)"):
        two_phase.fit_noise(truth, jnp.zeros(5), jnp.ones(4))
