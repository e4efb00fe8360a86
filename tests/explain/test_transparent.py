"""Monotone and additive networks: what holds of them for any parameters, and that they can fit what they should."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import interactions, training
from jaxrg.explain import transparent

SIGNS = (1, -1, 0)


def draw(net, num_features: int, scale: float, dtype=np.float32):
    """Parameters of any size and sign in place of those of a network."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, num_features), dtype))
    return jax.tree.map(lambda leaf: jnp.asarray(scale * random.normal(size=leaf.shape), leaf.dtype), shapes)


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_outputs_rise_and_fall_as_told_for_any_parameters(scale):
    net = transparent.monotone_network(SIGNS, (6, 6, 2))
    params = draw(net, 3, scale)
    inputs = jnp.asarray(3 * np.random.default_rng(1).normal(size=(101, 3)), jnp.float32)
    slope = jax.jit(jax.grad(lambda inputs, weights: jnp.sum(net.apply(params, inputs) @ weights)))
    for output in np.eye(2, dtype=np.float32):
        slopes = np.asarray(slope(inputs, output))  # [batch, features]
        assert np.all(slopes[:, 0] >= 0)
        assert np.all(slopes[:, 1] <= 0)
        assert slopes[:, 0].max() > 0
        assert slopes[:, 1].min() < 0
        assert slopes[:, 2].min() < 0 < slopes[:, 2].max()
    # and over finite distances, across every kink
    for feature, sign in ((0, 1), (1, -1)):
        line = np.tile(np.asarray(inputs[:1]), (101, 1))
        line[:, feature] = np.linspace(-5, 5, 101)
        rises = np.diff(np.asarray(net.apply(params, line)), axis=0) * sign
        assert np.all(rises >= -1e-4 * scale**3)


def fit(net, inputs, targets, num_epochs):
    def loss_fn(key, params, batch):
        return jnp.mean((net.apply(params, batch[0])[:, 0] - batch[1]) ** 2)

    run = training.fit(
        jax.random.key(0),
        training.gradient_of(loss_fn),
        optax.adam(1e-2),
        net.init(jax.random.key(1), inputs),
        (inputs, targets),
        num_epochs=num_epochs,
        batch_size=len(inputs),
    )
    return run.params


def test_a_monotone_function_of_both_curvatures_is_fitted_and_a_falling_one_is_not():
    """A step and a cube in one input, a free oscillation in the other."""
    inputs = jax.random.uniform(jax.random.key(3), (256, 2), minval=-1, maxval=1)
    rising = jnp.tanh(4 * inputs[:, 0]) + inputs[:, 0] ** 3 + jnp.sin(3 * inputs[:, 1])
    net = transparent.monotone_network((1, 0), (24, 24, 1))
    error = {}
    for name, targets in {"rising": rising, "falling": -rising}.items():
        params = fit(net, inputs, targets, 400)
        error[name] = float(jnp.mean((net.apply(params, inputs)[:, 0] - targets) ** 2) / jnp.var(targets))
    assert error["rising"] < 0.01
    assert error["falling"] > 0.4  # what the first input explains is out of reach


def test_additive_networks_have_no_interactions(x64):
    net = transparent.additive_network(4, (5, 2))
    params = draw(net, 4, 1.0, np.float64)
    sample, baseline = jnp.asarray(np.random.default_rng(2).normal(size=(2, 4)))
    game = interactions.masked_game(
        lambda inputs: net.apply(params, inputs),
        sample,
        baseline=baseline,
        assignment=interactions.features(4),
        score=lambda outputs: outputs[..., 0],
    )
    dividends = np.asarray(interactions.harsanyi(interactions.evaluate(game)))
    sizes = np.array([index.bit_count() for index in range(16)])
    np.testing.assert_allclose(dividends[sizes > 1], 0, atol=1e-13)
    shapes = transparent.shape_functions(params, jnp.stack([sample, baseline]), jnp.stack([sample, baseline]))
    np.testing.assert_allclose(dividends[sizes == 1], shapes.values[0, :, 0] - shapes.values[1, :, 0], atol=1e-13)
    assert np.abs(dividends[sizes == 1]).max() > 0.01


def test_shape_functions_are_centred_and_add_up():
    net = transparent.additive_network(3, (8, 8, 2))
    background, inputs = np.random.default_rng(3).normal(size=(2, 50, 3)).astype(np.float32)
    params = draw(net, 3, 0.5)
    shapes = transparent.shape_functions(params, inputs, background)
    np.testing.assert_allclose(shapes.intercept[None] + shapes.values.sum(1), net.apply(params, inputs), atol=2e-5)
    centred = transparent.shape_functions(params, background, background)
    np.testing.assert_allclose(centred.values.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(shapes.intercept, net.apply(params, background).mean(0), atol=1e-5)
    # A constant moved from one function to another changes nothing.
    last = params["layers"][-1]
    last["bias"] = last["bias"] + jnp.array([1.0, -2.0, 1.0])[:, None]
    moved = transparent.shape_functions(params, inputs, background)
    np.testing.assert_allclose(moved.values, shapes.values, atol=1e-5)


@pytest.mark.slow
def test_additive_networks_fit_sums_and_not_products():
    inputs = jax.random.normal(jax.random.key(4), (256, 2))
    net = transparent.additive_network(2, (16, 1))
    error = {}
    targets = {"sum": jnp.abs(inputs[:, 0]) + jnp.sin(2 * inputs[:, 1]), "product": inputs[:, 0] * inputs[:, 1]}
    for name, values in targets.items():
        params = fit(net, inputs, values, 300)
        error[name] = float(jnp.mean((net.apply(params, inputs)[:, 0] - values) ** 2) / jnp.var(values))
    assert error["sum"] < 0.06
    assert error["product"] > 0.5


def test_refuses_bad_input():
    with pytest.raises(ValueError, match="signs: expected integers from -1 to 1, got 2"):
        transparent.monotone_network((2, 0), (3, 1))
    with pytest.raises(ValueError, match="widths: expected an integer >= 1, got 0"):
        transparent.monotone_network((1, 0), (0, 1))
    with pytest.raises(ValueError, match="widths: expected a sequence"):
        transparent.additive_network(2, ())
    net = transparent.additive_network(2, (3, 1))
    with pytest.raises(ValueError, match=r"inputs: expected \[batch, 2\], got shape \(4, 3\)"):
        net.init(jax.random.key(0), jnp.zeros((4, 3)))
    params = draw(net, 2, 1.0)
    with pytest.raises(ValueError, match=r"background: expected \[batch, 2\]"):
        transparent.shape_functions(params, jnp.zeros((1, 2)), jnp.zeros((1, 3)))
    with pytest.raises(ValueError, match="params: expected those of an additive_network"):
        transparent.shape_functions([1.0], jnp.zeros((1, 2)), jnp.zeros((1, 2)))
