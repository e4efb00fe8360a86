"""Which clamps are ReLUs: however they are written, but not those of normalisations, kernels and other activations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxrg.explain import hidden, prototypes


@pytest.mark.parametrize(
    "clamp",
    [
        jax.nn.relu,
        lambda x: jnp.maximum(x, 0),
        lambda x: jnp.maximum(0, x),
        lambda x: jnp.maximum(jnp.zeros_like(x), x),
        lambda x: jnp.where(x > 0, x, 0),
        lambda x: jnp.where(x >= 0, x, jnp.zeros_like(x)),
        lambda x: jnp.where(x < 0, 0, x),
        lambda x: jnp.clip(x, 0),
        jax.jit(lambda x: jnp.maximum(x, 0)),
        jax.checkpoint(jax.nn.relu),
    ],
)
def test_a_relu_is_one_however_it_is_written(clamp):
    """Reused, functional and nested ones go by the same rule."""
    doubled = {"relu": lambda pullback, cotangent, x: pullback(2 * cotangent)}
    twice = hidden.with_rules(lambda x: jnp.sum(clamp(clamp(x) - 1)), doubled)
    np.testing.assert_array_equal(jax.grad(twice)(jnp.array([-1.0, 0.5, 3.0])), [0.0, 0.0, 4.0])


def test_what_looks_like_a_relu_is_none():
    other = {"relu": lambda pullback, cotangent, x: cotangent}
    for function in (
        lambda x: jnp.maximum(x, 1),
        lambda x: jnp.where(x > 0, x, 0.1 * x),
        lambda x: jnp.where(x > 0, 2 * x, 0),
        lambda x: jnp.where(x > 0, 0, x),
        lambda x: jnp.where(x > 1, x, 0),
    ):
        with pytest.raises(ValueError, match="site 'relu': expected one of"):
            hidden.with_rules(function, other)(jnp.ones(2))


def kinds(function, *args):
    return {site.kind for site in hidden.taps(function, *args)}


@pytest.mark.parametrize(
    "activation",
    [
        jax.nn.celu,
        jax.nn.elu,
        jax.nn.selu,
        jax.nn.sparse_sigmoid,
        lambda x: jnp.maximum(x, 0) + jnp.minimum(0, 0.5 * (jnp.exp(x) - 1)),
        lambda x: jnp.where(x > 0, x, 0) + jnp.where(x < 0, jnp.expm1(x), 0),
        lambda x: jnp.maximum(x, 0) + jnp.full_like(x, 0.1) * jnp.minimum(x, 0),
        lambda x: jnp.maximum(x, 0) - 2 * x + jnp.log1p(jnp.exp(-jnp.abs(x))),
        lambda x: jnp.where(x > 0, jax.jit(lambda y: jnp.maximum(y, 0))(x), jnp.expm1(x)),
    ],
)
def test_a_clamp_inside_another_activation_is_no_relu(activation):
    x = jnp.array([-1.0, 0.2])
    assert "relu" not in kinds(activation, x)
    found = hidden.deconvnet(lambda x: jnp.sum(-activation(x)), x)
    np.testing.assert_array_equal(found, jax.grad(lambda x: jnp.sum(-activation(x)))(x))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + jnp.maximum(x, 0),
        lambda x: jnp.maximum(x, 0) + jnp.maximum(x, 0),
        lambda x: jnp.maximum(x, 0) / (jnp.maximum(x, 0) + 1),
        lambda x: jax.nn.log_softmax(jnp.maximum(x, 0)),
        lambda x: jnp.maximum(x, 0) ** 2,
        lambda x: jnp.concatenate([jnp.maximum(x, 0), jnp.minimum(x, 0)]),
        lambda x: jnp.maximum(x, 0) + jnp.cumsum(jnp.tanh(x)),
        lambda x: jnp.log1p(jax.nn.relu(x)),
    ],
)
def test_a_relu_stays_one_beside_what_else_its_input_does(function):
    assert "relu" in kinds(function, jnp.ones(2))


@pytest.mark.parametrize("layer", [linen.LayerNorm, linen.InstanceNorm, functools.partial(linen.GroupNorm, 2)])
def test_the_clamp_of_a_variance_is_no_relu(layer):
    """A normalisation without ReLU goes back by its transposed Jacobian."""
    module = layer()
    params = module.init(jax.random.key(0), jnp.ones((1, 3, 3, 4)))
    maps = jnp.asarray(np.random.default_rng(3).normal(size=(1, 3, 3, 4)), jnp.float32)
    function = lambda maps: jnp.sum(jnp.sin(module.apply(params, maps)))  # noqa: E731
    assert "relu" not in {site.kind for site in hidden.taps(function, maps)}
    np.testing.assert_allclose(hidden.deconvnet(function, maps), jax.grad(function)(maps), atol=1e-5)


def test_the_clamp_of_a_variance_that_is_averaged_is_no_relu():
    """Batch normalisation in training, whose variance goes into the running average as well."""
    maps = jnp.asarray(np.random.default_rng(3).normal(size=(5, 4)), jnp.float32)
    module = linen.BatchNorm(use_running_average=False)
    params = module.init(jax.random.key(0), maps)
    graph, state = nnx.split(nnx.BatchNorm(4, rngs=nnx.Rngs(0)))

    def by_linen(maps):
        return module.apply(params, maps, mutable=["batch_stats"])

    def by_nnx(maps):
        merged = nnx.merge(graph, jax.tree.map(jnp.positive, state))  # a state of its own for every trace
        return merged(maps), nnx.state(merged)

    for normalised in (by_linen, by_nnx):
        function = lambda maps, normalised=normalised: jnp.sum(jnp.sin(normalised(maps)[0]))  # noqa: E731
        for each in (normalised, function):
            assert "relu" not in {site.kind for site in hidden.taps(each, maps)}
        np.testing.assert_allclose(hidden.deconvnet(function, maps), jax.grad(function)(maps), atol=1e-5)


def test_the_clamp_of_a_distance_is_no_relu():
    points = jnp.asarray(np.random.default_rng(3).normal(size=(3, 2)), jnp.float32)
    function = lambda points: jnp.sum(prototypes.rbf(0.5)(points, points + 0.5))  # noqa: E731
    np.testing.assert_allclose(hidden.deconvnet(function, points), jax.grad(function)(points), atol=1e-5)
