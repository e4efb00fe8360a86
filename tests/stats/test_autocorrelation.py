"""Errors of means against direct sums, a plain version in loops, and AR chains known in closed form."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import lfilter

from jaxrg import stats
from jaxrg.models import Observables
from jaxrg.stats._layout import mean_and_deviations
from tests.stats.plain_long_run import plain_long_run

SEEDS = 400
NUM_SAMPLES = 4000  # one shape for the statistical tests, which then share one compilation

autocorrelation = functools.partial(jax.jit, static_argnames="num_lags")(stats.autocorrelation_function)
gamma_of_mean = jax.jit(lambda x: stats.gamma_method(lambda mean: mean, x))
# Many runs, which know nothing of each other: of one tree the slowest observable would set the band of all.
gamma_of_runs = jax.jit(jax.vmap(lambda x: stats.gamma_method(lambda mean: mean, x), in_axes=-1))


def estimate(x) -> stats.GammaEstimate:
    """The mean with its error, on the host."""
    return jax.tree.map(np.asarray, gamma_of_mean(jnp.asarray(x)))


def estimates_of(x) -> stats.GammaEstimate:
    """The means of many runs ``[chains, samples, runs]`` with their errors."""
    return jax.tree.map(np.asarray, gamma_of_runs(jnp.asarray(x)))


def one_chain(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32)[None]


def ar1(coefficient: float, num_samples: int, num_series: int, seed: int = 0) -> np.ndarray:
    """``x_t = a x_{t-1} + noise`` from equilibrium: rho(t) = a^t, tau_int = (1 + a) / (2 (1 - a))."""
    noise = np.random.default_rng(seed).standard_normal((num_samples, num_series))
    noise[0] /= np.sqrt(1 - coefficient**2)
    return lfilter([1.0], [1.0, -coefficient], noise, axis=0)


def test_autocorrelation_is_the_direct_sum_and_keeps_trailing_axes(x64: None) -> None:
    chains = np.random.default_rng(1).standard_normal((3, 50, 2, 1)) + 100.0
    deviations = chains - chains.mean(axis=(0, 1))
    direct = [(deviations[:, : 50 - t] * deviations[:, t:]).sum(axis=(0, 1)) / (3 * (50 - t)) for t in range(50)]
    rho = autocorrelation(jnp.asarray(chains), num_lags=50)
    np.testing.assert_allclose(rho, np.array(direct) / direct[0], atol=1e-13)
    assert jax.eval_shape(stats.autocorrelation_function, chains).shape == (26, 2, 1)


@pytest.mark.parametrize(("coefficient", "num_chains"), [(0.4, 1), (0.9, 4), (-0.7, 3)])
def test_estimates_are_those_of_the_plain_version(x64: None, coefficient: float, num_chains: int) -> None:
    chains = ar1(coefficient, 3000, num_chains, seed=2).T
    plain = plain_long_run(chains)
    result = estimate(chains)
    np.testing.assert_allclose(result.value, chains.mean(), rtol=1e-11)
    np.testing.assert_allclose(result.tau_int, plain.tau_int, rtol=1e-9)
    np.testing.assert_allclose(result.error, np.sqrt(plain.constant / chains.size), rtol=1e-9)
    np.testing.assert_allclose(result.num_degrees_of_freedom, plain.num_degrees_of_freedom)
    np.testing.assert_allclose(result.r_hat, plain.r_hat, rtol=1e-9)


@pytest.mark.parametrize("coefficient", [0.0, 0.8, 0.9, -0.5])
def test_pulls_of_ar1_chains_are_standard_normal(coefficient: float) -> None:
    x = ar1(coefficient, NUM_SAMPLES, SEEDS, seed=3)
    exact = (1 + coefficient) / (2 * (1 - coefficient))
    result = estimates_of(one_chain(x))
    assert result.is_converged.mean() > 0.8
    pulls = result.value / result.error
    # Means of 400 pulls scatter by 1/20, their standard deviation by 1/28: four of these, and the noise of the errors.
    assert abs(pulls.mean()) < 0.2
    assert abs(pulls.std() - 1) < 0.15
    np.testing.assert_allclose(result.tau_int.mean(), exact, rtol=0.04)
    np.testing.assert_allclose(result.tau_int.std() / result.tau_int_error.mean(), 1, atol=0.35)
    np.testing.assert_allclose(result.error.std() / result.error_of_error.mean(), 1, atol=0.35)


def test_chains_are_pooled_around_the_overall_mean() -> None:
    x = ar1(0.8, 1000, 8 * 100, seed=5).reshape(1000, 8, 100).astype(np.float32)
    result = estimates_of(np.swapaxes(x, 0, 1))
    np.testing.assert_allclose(result.value, x.mean(axis=(0, 1)), atol=1e-6)
    pulls = result.value / result.error
    assert abs(pulls.std() - 1) < 0.28
    np.testing.assert_allclose(result.tau_int.mean(), 4.5, rtol=0.05)


def test_chains_that_never_mix_are_flagged() -> None:
    """Also where every chain by itself looks perfect."""
    x = np.random.default_rng(6).standard_normal((4, 1000, 2)) + np.arange(4.0)[:, None, None] * np.array([0.0, 1.0])
    result = estimate(x.astype(np.float32))
    np.testing.assert_array_equal(result.is_converged, [True, False])
    assert result.error[1] > 10 * result.error[0]


@pytest.mark.parametrize("coefficient", [0.999, 1 - 1e-7])
def test_series_shorter_than_their_memory_are_flagged(coefficient: float) -> None:
    x = ar1(coefficient, NUM_SAMPLES, SEEDS, seed=7)
    assert estimates_of(one_chain(x)).is_converged.mean() < 0.02


def test_what_has_no_error_is_flagged_not_hidden() -> None:
    """A series beside one with a NaN, one that is constant and one that alternates: nothing spreads to the first."""
    x = np.repeat(ar1(0.5, 1000, 1), 4, axis=1)
    x[17, 1] = np.nan
    x[:, 2] = 0.1
    x[:, 3] = np.where(np.arange(1000) % 2 == 0, 1.0, -1.0)
    result = estimate(one_chain(x))
    np.testing.assert_array_equal(result.is_converged[:3], [True, False, False])
    numbers = np.stack(result[:5])
    assert np.isfinite(numbers[:, 0]).all()
    assert np.isnan(numbers[:, 1]).all()
    np.testing.assert_array_equal(numbers[:, 2], np.array([0.1, 0, 0, 0.5, 0], np.float32))
    np.testing.assert_allclose(numbers[:, 3], 0, atol=2e-3)  # alternating: what is left is the odd sample at an end
    assert np.isnan(autocorrelation(jnp.asarray(one_chain(x)))[:, 1:3]).all()


def test_offset_and_scale_cost_no_digits() -> None:
    x = np.random.default_rng(8).integers(-50, 50, 1000).astype(np.float32)
    result = estimate(one_chain(np.stack([x, x + 2**23, x * 2.0**80, x], axis=-1)))
    np.testing.assert_allclose(result.error[1], result.error[0], rtol=1e-5)
    np.testing.assert_allclose(result.error[2] / 2.0**80, result.error[0], rtol=1e-6)
    np.testing.assert_allclose(result.tau_int, np.full(4, result.tau_int[0]), rtol=1e-5)


def test_sums_of_float32_do_not_stall() -> None:
    num_samples = 2**24 + 2**10
    mean, _ = mean_and_deviations(jnp.ones((1, num_samples)).at[0, 0].set(0.0))
    np.testing.assert_allclose(mean, 1 - 1 / num_samples, rtol=1e-7)


@pytest.mark.slow
def test_errors_of_functions_are_those_of_the_projected_series(x64: None) -> None:
    """A linear combination, and a ratio, whose gradient at the means is the projection."""
    x = ar1(0.6, 2000, 3, seed=9) @ np.array([[1.0, 0.3, 0.0], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]]) + 5.0
    weights = np.array([1.0, -2.0, 0.5])
    a, b, _ = x.mean(axis=0)

    @jax.jit
    def functions(x):
        traces = {"x": x, "a": x[..., 0]}
        return stats.gamma_method(lambda m: {"sum": weights @ m["x"] + 7.0, "ratio": m["a"] / m["x"][1]}, traces)

    derived = functions(jnp.asarray(x[None]))
    direct = estimate(np.stack([x @ weights, x[:, 0] / b - a * x[:, 1] / b**2], axis=-1)[None])
    np.testing.assert_allclose(derived["sum"].value, direct.value[0] + 7.0, rtol=1e-12)
    np.testing.assert_allclose(derived["ratio"].value, a / b, rtol=1e-12)
    for index, name in enumerate(("sum", "ratio")):
        for field in ("error", "tau_int", "tau_int_error"):
            expected = getattr(direct, field)[index]
            np.testing.assert_allclose(getattr(derived[name], field), expected, rtol=1e-9, err_msg=name + field)


def test_gamma_method_is_honest_for_a_variance() -> None:
    """Var(x) of an AR(1) chain is 1 / (1 - a^2), and its squares decay as a^(2t)."""
    x = ar1(0.8, NUM_SAMPLES, SEEDS, seed=11)
    series = {"x": jnp.asarray(one_chain(x)), "square": jnp.asarray(one_chain(x**2))}
    gamma = jax.vmap(lambda x: stats.gamma_method(lambda m: m["square"] - m["x"] ** 2, x), in_axes=-1)
    result = jax.jit(gamma)(series)
    pulls = (result.value - 1 / (1 - 0.64)) / result.error
    assert abs(pulls.mean()) < 0.35  # minus 2 tau_int / N of the value, and errors that grow with it
    assert abs(pulls.std() - 1) < 0.2
    np.testing.assert_allclose(result.tau_int.mean(), (1 + 0.64) / (2 * (1 - 0.64)), rtol=0.08)


def test_summary_is_the_gamma_method_of_every_mean() -> None:
    x = np.random.default_rng(12).integers(0, 2, (2, 500))
    trace = {"count": jnp.asarray(x, jnp.int32), "flag": jnp.asarray(x == 1)}
    found = stats.summary(trace)
    expected = estimate(x.astype(np.float32))
    np.testing.assert_array_equal(found["count"], found["flag"])
    np.testing.assert_allclose(found["count"].mean, x.mean(), rtol=1e-6)
    for field in ("error", "tau_int", "tau_int_error", "is_converged"):
        np.testing.assert_allclose(getattr(found["count"], field), getattr(expected, field), rtol=1e-6)
    np.testing.assert_allclose(found["count"].num_effective_samples, 1000 / (2 * expected.tau_int), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.summary(jnp.ones((1, 3))), "trace: expected .* at least 4 samples"),
        (lambda: stats.summary(jnp.ones((0, 30))), "trace: expected .* at least 4 samples"),
        (lambda: stats.summary(jnp.ones((1, 30), jnp.complex64)), "trace: expected real numbers"),
        (lambda: stats.autocorrelation_function(jnp.ones((1, 30)), num_lags=31), "num_lags: expected at most the 30"),
        (lambda: stats.gamma_method(lambda m: m, jnp.ones((1, 30)), tau_exp=-1.0), "tau_exp: expected a number"),
        (lambda: stats.summary(jnp.ones((1, 30)), tau_exp=np.nan), "tau_exp: expected a number"),
        (lambda: stats.gamma_method(3, jnp.ones((1, 30))), "fn: expected a function of the means"),
        (lambda: stats.summary([[1.0, 2.0], [1.0]]), "trace: expected numbers of one shape"),
        (lambda: stats.summary({"a": jnp.ones((1, 9)), "b": jnp.ones((1, 8))}), "trace: expected series of one number"),
    ],
)
def test_errors_say_what_was_expected(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("shape", [(), (30,)])
def test_series_without_both_axes_are_refused(shape: tuple[int, ...]) -> None:
    """Where chains could be taken for observables, the layout is asked for and not guessed."""
    calls = {
        "x": (stats.autocorrelation_function, lambda x: stats.jackknife(jnp.abs, x)),
        "trace": (stats.summary, lambda x: stats.thermodynamics(Observables(x, x), coupling=1.0, num_sites=1)),
    }
    for name, functions in calls.items():
        expected = f"{name}: expected [chains, samples, ...], got shape {shape}; write {name}[None] for one chain"
        for function in functions:
            with pytest.raises(ValueError, match=re.escape(expected)):
                function(jnp.ones(shape))
