"""Residual and continuous blocks: bounds of norms, inverses and their gradients, estimates with honest errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.flows import bijectors
from jaxrg.flows.bijectors.jacobians import log_det_of_contraction

MATRIX = np.array([[0.5, -0.3, 0.2], [0.4, 0.1, -0.5], [-0.2, 0.6, 0.3]], np.float32)


def shrink(matrix, values):
    """A contraction: its Jacobian is the matrix times a diagonal between 0 and 1."""
    return jnp.tanh(jnp.tensordot(matrix, values, 1))


@pytest.mark.parametrize("shape", [(7, 7), (3, 40), (40, 3), (1, 1)])
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_the_bound_of_the_norm_is_tight_and_from_above(shape, scale):
    matrix = scale * np.random.default_rng(0).normal(size=shape).astype(np.float32)
    norm = np.linalg.norm(matrix.astype(np.float64), 2)
    assert norm * (1 - 1e-6) <= float(bijectors.spectral_norm_bound(matrix)) <= 1.02 * norm


def test_the_bound_of_nothing_is_zero_with_a_finite_gradient():
    assert bijectors.spectral_norm_bound(jnp.zeros((3, 3))) == 0
    assert np.all(np.isfinite(jax.grad(bijectors.spectral_norm_bound)(jnp.zeros((3, 3)))))
    direction = np.outer([1.0, 2.0], [3.0, 1.0]).astype(np.float32)
    gradient = jax.grad(bijectors.spectral_norm_bound)(jnp.asarray(direction))
    np.testing.assert_allclose(gradient, direction / np.linalg.norm(direction), atol=1e-5)


@pytest.mark.slow
def test_a_lipschitz_perceptron_keeps_its_bound():
    net = bijectors.lipschitz_perceptron((16, 16), bound=0.7)
    params = jax.tree.map(lambda leaf: 5 * leaf + 1.0, net.init(jax.random.key(0), jnp.zeros(4), 4))
    points = jax.random.normal(jax.random.key(1), (20, 4))
    jacobians = jax.vmap(jax.jacfwd(functools.partial(net.apply, params)))(points)
    norms = np.linalg.norm(np.asarray(jacobians), 2, axis=(1, 2))
    assert np.all(norms <= 0.7)
    assert norms.max() > 0.01  # not by being nothing


def test_without_contraction_the_inverse_says_so():
    block = bijectors.residual((2,), lambda values: 3 * values)
    found, log_det = block.inverse((), jnp.ones((2, 3)))
    assert np.all(np.isnan(found))
    assert np.all(np.isnan(log_det))
    one_lane = bijectors.residual((2,), lambda values: jnp.where(values > 10, -2 * values, 0.5 * values))
    values = jnp.array([[1.0, 30.0], [1.0, 30.0]])
    found, _ = one_lane.inverse((), values)
    np.testing.assert_array_equal(np.isnan(found), [[False, True]] * 2)
    np.testing.assert_allclose(found[:, 0], 2 / 3, atol=1e-6)


@pytest.mark.slow
def test_gradients_of_the_inverse_are_those_of_the_implicit_function(x64):
    matrix, values = jnp.asarray(MATRIX, jnp.float64), jnp.array([0.3, -1.2, 2.0])

    @jax.jit
    def solved(matrix, values):
        return bijectors.residual((3,), lambda x: shrink(matrix, x)).inverse((), values)

    found, log_det = solved(matrix, values)
    inside = jax.jacfwd(functools.partial(shrink, matrix))(found)
    expected = np.linalg.inv(np.eye(3) + inside)
    np.testing.assert_allclose(jax.jacrev(lambda y: solved(matrix, y)[0])(values), expected, atol=1e-10)
    np.testing.assert_allclose(log_det, -np.linalg.slogdet(np.eye(3) + inside)[1], atol=1e-10)
    step = jax.random.normal(jax.random.key(0), (3, 3))
    for index in (0, 1):
        along = jax.grad(lambda m: jnp.sum(solved(m, values)[index] ** 2))(matrix)  # noqa: B023
        ends = [float(jnp.sum(solved(matrix + sign * 1e-5 * step, values)[index] ** 2)) for sign in (1, -1)]
        np.testing.assert_allclose(jnp.sum(along * step), (ends[0] - ends[1]) / 2e-5, rtol=1e-6)


@jax.jit
def estimated(key, matrix, values):
    return bijectors.log_det_estimate(key, lambda x: shrink(matrix, x), values, num_probes=2000)


def test_the_estimate_is_unbiased_with_the_variance_it_states():
    matrix, values = jnp.asarray(MATRIX), jnp.array([[0.1, 1.0], [-0.2, 0.3], [0.4, 0.0]])
    estimate = estimated(jax.random.key(0), matrix, values)
    exact = log_det_of_contraction(functools.partial(shrink, matrix), values)
    assert np.all(np.abs(estimate.log_det - exact) < 5 * np.sqrt(estimate.variance))
    assert np.all(np.sqrt(estimate.variance) < 0.02)


@pytest.mark.slow
def test_scatter_and_gradients_of_estimates():
    """Over keys: the variance that is stated is the scatter, and gradients are right on average."""
    matrix, values = jnp.asarray(MATRIX), jnp.array([[0.1], [-0.2], [0.4]])
    keys = jax.random.split(jax.random.key(1), 400)

    def value(matrix, values, key):
        estimate = bijectors.log_det_estimate(key, lambda x: shrink(matrix, x), values, num_probes=20)
        return estimate.log_det[0], estimate.variance[0]

    many = jax.jit(jax.vmap(jax.value_and_grad(value, (0, 1), has_aux=True), (None, None, 0)))
    (log_dets, variances), gradients = many(matrix, values, keys)
    assert abs(np.var(log_dets, ddof=1) / np.mean(variances) - 1) < 0.4
    exact = jax.grad(lambda m, v: log_det_of_contraction(functools.partial(shrink, m), v)[0], (0, 1))(matrix, values)
    for found, expected in zip(gradients, exact, strict=True):
        error = np.std(found, axis=0, ddof=1) / np.sqrt(len(keys))
        assert np.all(np.abs(np.mean(found, axis=0) - expected) < 5 * error)


@pytest.mark.slow
def test_a_stochastic_block_draws_by_its_key():
    net = bijectors.lipschitz_perceptron((8,))
    values, params = jnp.ones((80, 2)), None
    found = []
    for seed in (0, 0, 1):
        block = bijectors.stochastic_residual(jax.random.key(seed), (80,), net, num_probes=2)
        if params is None:
            params = jax.tree.map(lambda leaf: leaf + 0.1, block.init(jax.random.key(5)))
        there, log_det = block.forward(params, values)
        back, log_det_back = block.inverse(params, there)
        np.testing.assert_allclose(back, values, atol=1e-5)
        np.testing.assert_allclose(log_det_back, -log_det, atol=1e-4)
        found.append(log_det)
    np.testing.assert_array_equal(found[0], found[1])
    assert np.all(found[0] != found[2])


def test_a_continuous_flow_solves_a_linear_equation():
    """dx/dt = A x has x(1) = exp(A) x and the log-determinant tr A; halving the steps costs sixteen times the error."""
    matrix = jnp.asarray(MATRIX)
    values = jnp.array([[1.0], [0.5], [-0.3]])
    exact = jax.scipy.linalg.expm(np.asarray(matrix, np.float32)) @ values
    errors = []
    for num_steps in (1, 2):
        flow = bijectors.continuous((3,), lambda inputs: jnp.tensordot(matrix, inputs[:3], 1), num_steps=num_steps)
        found, log_det = flow.forward((), values)
        np.testing.assert_allclose(log_det, jnp.trace(matrix), atol=1e-6)
        errors.append(float(jnp.max(jnp.abs(found - exact))))
    assert 10 < errors[0] / errors[1] < 40


def test_time_is_the_last_row():
    flow = bijectors.continuous((1,), lambda inputs: 3 * inputs[1:] ** 2, num_steps=1)
    np.testing.assert_allclose(flow.forward((), jnp.zeros(1))[0], 1.0, atol=1e-6)


def test_large_blocks_are_refused():
    for make in (bijectors.residual, bijectors.continuous):
        with pytest.raises(ValueError, match="expected at most 64 entries"):
            make((65,), lambda values: values)
    with pytest.raises(ValueError, match=r"contraction: expected outputs of shape"):
        bijectors.residual((2,), lambda values: values[:1]).forward((), jnp.ones(2))
