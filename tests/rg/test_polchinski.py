"""Polchinski's flow of Gaussian fields against the equation it solves, and its relative entropy to 1e-10."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rg

MOMENTA = np.linspace(0.2, 3.0, 24)
TIMES = np.linspace(0.0, 2.5, 101)


def smooth_cutoff(time):
    return jnp.exp(-((jnp.asarray(MOMENTA) * jnp.exp(time)) ** 2)) / (jnp.asarray(MOMENTA) ** 2 + 0.1)


def interactions():
    return 0.9 * np.random.default_rng(0).uniform(-1, 3, MOMENTA.size) * (MOMENTA**2 + 0.1)


def test_the_relative_entropy_falls_as_the_gradient_says(x64):
    flow = jax.jit(jax.vmap(lambda time: rg.polchinski_flow(smooth_cutoff, interactions(), time)))(TIMES)
    assert np.all(np.diff(flow.relative_entropy) <= 1e-10 * flow.relative_entropy[0])
    assert flow.relative_entropy[0] > 1e3 * flow.relative_entropy[-1] > 0
    rate = jax.jit(jax.vmap(jax.grad(lambda t: rg.polchinski_flow(smooth_cutoff, interactions(), t).relative_entropy)))
    np.testing.assert_allclose(rate(TIMES), -flow.gradient_norm, rtol=1e-10, atol=1e-10)


def test_variances_obey_the_flow_to_a_gaussian_of_half_the_covariance(x64):
    """dP/dt = d(D/2 P d ln(P/Q)), Q = N(0, C/2), D = -dC/dt: of a variance s, ds/dt = D - 2 D s / C."""

    def variance(time):
        return rg.polchinski_flow(smooth_cutoff, interactions(), time).variances

    for time in (0.0, 0.3, 1.0):
        found, rate = jax.jvp(variance, (time,), (1.0,))
        free, slope = jax.jvp(smooth_cutoff, (time,), (1.0,))
        np.testing.assert_allclose(rate, -slope + 2 * slope * found / free, rtol=1e-9, atol=1e-12)


def test_relative_entropy_and_gradient_are_those_of_gaussians(x64):
    found = rg.polchinski_flow(smooth_cutoff, interactions(), 0.4)
    free, slope = jax.jvp(smooth_cutoff, (0.4,), (1.0,))
    ratio = np.asarray(found.variances / free)
    np.testing.assert_allclose(found.relative_entropy, np.sum(ratio - 1 - np.log(ratio)) / 2, rtol=1e-12)
    scores = (1 / np.asarray(free) - 1 / np.asarray(found.variances)) ** 2 * np.asarray(found.variances)
    np.testing.assert_allclose(found.gradient_norm, -0.5 * np.sum(np.asarray(slope) * scores), rtol=1e-12)


def test_a_free_field_stays_free_in_float32():
    def covariance(time):
        return jnp.exp(-time) * jnp.arange(1.0, 4.0)

    found = rg.polchinski_flow(covariance, jnp.zeros(3), 1.0)
    assert found.relative_entropy == found.gradient_norm == 0
    np.testing.assert_allclose(found.variances, covariance(1.0), rtol=1e-6)


def test_what_is_no_flow_is_refused(x64):
    with pytest.raises(ValueError, match="time: expected a number >= 0"):
        rg.polchinski_flow(smooth_cutoff, interactions(), -1.0)
    with pytest.raises(ValueError, match="covariance: expected positive ones that fall with time"):
        rg.polchinski_flow(lambda time: jnp.exp(time) * jnp.ones(24), jnp.zeros(24), 1.0)
    with pytest.raises(ValueError, match=r"interaction: expected numbers above -1 / covariance\(0\)"):
        rg.polchinski_flow(smooth_cutoff, jnp.full(24, -100.0), 0.1)
    with pytest.raises(ValueError, match=r"covariance: expected one for each of 3 modes, got shape \(24,\)"):
        rg.polchinski_flow(smooth_cutoff, jnp.zeros(3), 0.1)
