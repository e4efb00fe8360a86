"""The conditioner of the published hierarchical flow: its activation and its two networks side by side."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.flows import bijectors


def test_the_exponential_linear_unit_is_exact_to_float32():
    values = np.concatenate([np.linspace(-100, 3, 100_001), -np.logspace(-12, 2, 1000)]).astype(np.float32)
    exact = np.where(values > 0, values, np.expm1(np.minimum(values, 0).astype(np.float64)))
    found = np.asarray(bijectors.elu(values))
    assert np.abs(found - exact).max() < 2e-7
    assert np.abs(found / exact - 1).max() < 2e-6
    slopes = jax.vmap(jax.grad(bijectors.elu))(values)
    np.testing.assert_allclose(slopes, np.where(values > 0, 1, exact + 1), atol=3e-7)
    extremes = bijectors.elu(jnp.array([-jnp.inf, jnp.inf, jnp.nan, 0.0]))
    np.testing.assert_array_equal(extremes, [-1.0, np.inf, np.nan, 0.0])


def test_the_exponential_linear_unit_in_float64_is_that_of_jax(x64):
    values = jnp.linspace(-5, 5, 11)
    np.testing.assert_allclose(bijectors.elu(values), jax.nn.elu(values), rtol=1e-15)


def test_parallel_networks_are_each_a_perceptron():
    net = bijectors.parallel_perceptrons(2, (5, 4), activation=jnp.tanh)
    shapes = jax.eval_shape(lambda key: net.init(key, jnp.zeros(3), 6), jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)
    inputs = rng.normal(size=(3, 2, 7)).astype(np.float32)
    one = jax.jit(bijectors.perceptron((5, 4), activation=jnp.tanh).apply)
    outputs = [one(jax.tree.map(lambda leaf, n=n: leaf[n], params), inputs) for n in range(2)]
    np.testing.assert_allclose(jax.jit(net.apply)(params, inputs), np.concatenate(outputs), atol=1e-5)


def test_parallel_networks_in_a_coupling():
    net = bijectors.parallel_perceptrons(2, (5,), activation=bijectors.elu)
    layer = bijectors.repeat(bijectors.affine_coupling((4,), [True, True, False, False], net), 2)
    params = jax.tree.map(lambda leaf: np.asarray(leaf) + np.float32(0.2), layer.init(jax.random.key(0)))
    x = np.random.default_rng(0).normal(size=4).astype(np.float32)
    y, log_det = layer.forward(params, x)
    jacobian = jax.jit(jax.jacfwd(lambda x: layer.forward(params, x)[0]))(x)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-5)
    np.testing.assert_allclose(layer.inverse(params, y)[0], x, atol=1e-5)


def test_networks_that_do_not_fit_are_refused():
    for fn, message in (
        (lambda: bijectors.parallel_perceptrons(0, (5,)), "num_networks: expected"),
        (lambda: bijectors.parallel_perceptrons(2, ()), "hidden: expected at least one"),
        (lambda: bijectors.parallel_perceptrons(2, (5,), activation=3), "activation: expected a function"),
        (lambda: bijectors.parallel_perceptrons(2, (5,)).init(jax.random.key(0), jnp.zeros(2), 3), "num_networks: "),
    ):
        with pytest.raises(ValueError, match=message):
            fn()
