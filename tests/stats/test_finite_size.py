"""Fits against closed forms, and the coverage of their errors on data of which the truth is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact
from jaxrg.stats import scaling

X = np.linspace(0.5, 2.5, 9)


def test_a_linear_fit_is_that_of_numpy():
    noise = np.random.default_rng(0).normal(size=9)
    y, errors = 1 + 2 * X - 0.5 * X**2 + 0.1 * noise, np.linspace(0.05, 0.2, 9)
    fit = scaling.least_squares(
        jax.tree_util.Partial(
            lambda x, y, errors, p: (y - p["a"] - p["b"] * x - p["c"] * x**2) / errors,
            *(jnp.asarray(part, jnp.float32) for part in (X, y, errors)),
        ),
        {"a": 0.0, "b": 0.0, "c": 0.0},
    )
    wanted, covariance = np.polyfit(X, y, 2, w=1 / errors, cov="unscaled")
    np.testing.assert_allclose([fit.params[name] for name in "cba"], wanted, rtol=2e-4)
    np.testing.assert_allclose(fit.covariance, covariance[::-1, ::-1], rtol=2e-3)
    np.testing.assert_allclose([fit.errors[name] for name in "abc"], np.sqrt(np.diag(fit.covariance)), rtol=1e-6)
    assert float(fit.num_degrees_of_freedom) == 6
    assert bool(fit.is_converged)


def test_a_curved_valley_is_followed_to_its_end():
    """Rosenbrock's function, the usual trial of such steps."""
    fit = scaling.least_squares(lambda p: jnp.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]]), jnp.array([-1.2, 1.0]))
    np.testing.assert_allclose(fit.params, [1, 1], atol=1e-4)
    assert bool(fit.is_converged)
    assert np.isnan(float(fit.p_value))  # no degree of freedom is left


def test_what_the_data_do_not_say_has_no_error():
    fit = scaling.least_squares(lambda p: jnp.array([1.0, 2.0, 3.0]) - p["a"] - p["b"], {"a": 0.0, "b": 0.0})
    assert np.isinf([float(error) for error in fit.errors.values()]).all()
    alone = scaling.least_squares(lambda p: jnp.array([1.0, 3.0]) - p["a"] + 0 * p["b"], {"a": 0.0, "b": 5.0})
    assert float(alone.params["a"]) == pytest.approx(2)
    assert float(alone.errors["a"]) == pytest.approx(2**-0.5)
    assert np.isinf(float(alone.errors["b"]))


def coverage(deviations, errors, p_values):
    """Scatter of 400 results in units of their errors, and the mean of their p-values."""
    pulls = np.asarray(deviations) / np.asarray(errors)
    assert np.mean(pulls**2) == pytest.approx(1, abs=4 * np.sqrt(2 / pulls.size))
    assert abs(np.mean(pulls)) < 4 / np.sqrt(pulls.size)
    assert np.mean(p_values) == pytest.approx(0.5, abs=4 / np.sqrt(12 * pulls.size))


def test_errors_of_a_power_law_cover():
    x, noise = np.array([4.0, 8, 16, 32, 64, 128]), np.random.default_rng(1).normal(size=(400, 6))
    y = -3 * x**1.75 * (1 + 0.01 * noise)
    fits = jax.jit(jax.vmap(lambda y: scaling.power_law(x, y, 0.03 * x**1.75)))(jnp.asarray(y, jnp.float32))
    coverage(fits.params["exponent"] - 1.75, fits.errors["exponent"], fits.p_value)
    assert np.all(fits.is_converged)


def test_errors_of_a_crossing_cover():
    x, noise = np.linspace(0.42, 0.46, 7), np.random.default_rng(2).normal(size=(400, 2, 7))
    first, second = 0.61 + 2 * (x - 0.4407), 0.61 + 5 * (x - 0.4407) + 20 * (x - 0.4407) ** 2
    curves = np.stack([first, second]) + 0.004 * noise
    errors = jnp.full(7, 0.004)
    found = jax.jit(jax.vmap(lambda pair: scaling.crossing(x, pair[0], pair[1], errors, errors)))(
        jnp.asarray(curves, jnp.float32)
    )
    assert np.all(found.num_crossings == 1)
    coverage(found.location - 0.4407, found.error, found.fit.p_value)


def test_curves_that_do_not_cross_once_have_no_crossing():
    x, errors = np.linspace(-1, 1, 9), np.full(9, 0.1)
    apart = scaling.crossing(x, x, x + 1, errors, errors)
    assert int(apart.num_crossings) == 0
    assert np.isnan([float(apart.location), float(apart.error)]).all()
    twice = scaling.crossing(x, x**2, np.full(9, 0.5), errors, errors)
    assert int(twice.num_crossings) == 2
    assert np.isnan(float(twice.location))


def test_errors_of_a_collapse_cover():
    sizes, x = np.repeat([8.0, 16.0, 32.0], 9), np.tile(np.linspace(0.42, 0.46, 9), 3)
    argument = (x - 0.4407) * sizes
    y = sizes**1.75 * (1 + 0.8 * argument + 0.2 * argument**2)
    errors = 0.01 * sizes**1.75
    noisy = y + errors * np.random.default_rng(3).normal(size=(400, 27))

    def fit(y):
        return scaling.collapse(sizes, x, y, errors, critical=0.443, thermal=1.1, exponent=jnp.float32(1.7), degree=2)

    fits = jax.jit(jax.vmap(fit))(jnp.asarray(noisy, jnp.float32))
    assert np.all(fits.is_converged)
    for name, truth in (("critical", 0.4407), ("thermal", 1.0), ("exponent", 1.75)):
        coverage(fits.params[name] - truth, fits.errors[name], fits.p_value)


def test_correlation_lengths_of_strips_cross_near_the_critical_point():
    """Phenomenological renormalisation: lengths over widths cross at Kc but for .24 / L^3, at L = 6 and 8 .0011."""
    couplings = np.linspace(0.42, 0.46, 9)
    first, second = ([float(exact.strip_correlation_length(k, n)) / n for k in couplings] for n in (6, 8))
    found = scaling.crossing(couplings, first, second, np.full(9, 1e-5), np.full(9, 1e-5), degree=4)
    assert float(found.location) == pytest.approx(exact.critical_coupling, abs=1.5e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scaling.least_squares(3, 0.0), "residuals: expected a function of the parameters"),
        (lambda: scaling.least_squares(lambda p: p, 0.0), "residuals: expected a vector of floats"),
        (
            lambda: scaling.least_squares(lambda p: p[:1], jnp.ones(2)),
            "residuals: expected at least as many as .* 2, got 1",
        ),
        (lambda: scaling.least_squares(lambda p: jnp.ones(3), ()), "start: expected parameters, got none"),
        (lambda: scaling.least_squares(lambda p: p * jnp.ones(3), jnp.nan), "start: expected finite parameters"),
        (lambda: scaling.power_law([1.0], [1.0], [1.0]), r"x: expected two points or more, got shape \(1,\)"),
        (lambda: scaling.power_law([1.0, -2.0], [1.0, 1.0], [1.0, 1.0]), "x: expected numbers above zero, got -2"),
        (lambda: scaling.power_law([1.0, 2.0], [1.0, -1.0], [1.0, 1.0]), "y: expected numbers of one sign"),
        (lambda: scaling.power_law([1.0, 2.0], [1.0, 1.0], [1.0, 0.0]), "errors: expected errors above zero, got 0"),
        (lambda: scaling.power_law([1.0, 2.0], [1.0, np.inf], [1.0, 1.0]), "y: expected finite numbers"),
        (lambda: scaling.power_law([1.0, 2.0], [1.0], [1.0, 1.0]), r"y: expected shape \(2,\), got \(1,\)"),
        (lambda: scaling.crossing(*[[1.0, 2.0]] * 5), "x: expected 3 points or more for degree 2"),
        (lambda: scaling.crossing([1.0] * 3, *[[1.0, 2.0, 3.0]] * 4), "x: expected different places, got 1.0 for all"),
        (
            lambda: scaling.collapse(*[[1.0, 2.0]] * 4, critical=0.0, thermal=1.0),
            "x: expected at least 7 points, one a parameter, got 2",
        ),
        (
            lambda: scaling.collapse(*[np.ones(9)] * 4, critical=[0.0], thermal=1.0),
            r"critical: expected a number, got shape \(1,\)",
        ),
    ],
)
def test_what_is_no_data_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
