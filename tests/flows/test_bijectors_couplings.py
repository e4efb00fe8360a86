"""Couplings and what combines them: who conditions whom, where they start, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import nets
from jaxrg.flows import bijectors

NET = bijectors.perceptron((6,))
COUPLINGS = {
    "affine": bijectors.affine_coupling,
    "spline": bijectors.spline_coupling,
    "circular": bijectors.circular_spline_coupling,
}
OUTPUTS = {"affine": 2, "spline": 23, "circular": 25}


def moved(layer):
    """Parameters away from the start."""
    params = layer.init(jax.random.key(0))
    return jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(1), leaf.shape), params)


@pytest.mark.parametrize(("name", "kind"), [("affine", "network"), ("spline", "perceptron"), ("circular", "network")])
def test_it_starts_at_the_identity(name, kind):
    net = NET if kind == "perceptron" else nets.mlp((5, 2 * OUTPUTS[name]))
    layer = COUPLINGS[name]((4,), [True, False, True, False], net)
    values = jax.random.uniform(jax.random.key(0), (4, 6), minval=-3.0, maxval=3.0)
    found, log_det = layer.forward(layer.init(jax.random.key(1)), values)
    np.testing.assert_allclose(found, values, atol=2e-6)
    np.testing.assert_allclose(log_det, 0, atol=2e-6)


def test_only_the_kept_features_condition_and_only_the_others_change():
    layer = bijectors.affine_coupling((4,), [True, False, False, True], NET)
    params = moved(layer)
    jacobian = np.asarray(jax.jacfwd(lambda x: layer.forward(params, x)[0])(jnp.array([0.3, -0.2, 0.9, 1.1])))
    is_used = np.array([[1, 0, 0, 0], [1, 1, 0, 1], [1, 0, 1, 1], [0, 0, 0, 1]], bool)
    np.testing.assert_array_equal(jacobian != 0, is_used)


def test_scales_stay_within_their_bound():
    layer = bijectors.affine_coupling(
        (2,), [True, False], lambda kept: jnp.stack([1e6 * kept[0], kept[0]]), log_scale_bound=1.5
    )
    _, log_det = layer.forward((), jnp.array([[5.0, -5.0, 0.0], [1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(log_det, [1.5, -1.5, 0.0], atol=1e-6)


def test_channels_condition_site_by_site():
    """A mask of channels alone: the conditioner is a 1x1 convolution over the other axes."""
    layer = bijectors.affine_coupling((2, 3), [True, False], NET)
    params = moved(layer)
    values = jax.random.normal(jax.random.key(2), (2, 3, 5))
    found, log_det = layer.forward(params, values)
    flat = bijectors.affine_coupling((2,), [True, False], NET)
    expected, log_dets = flat.forward(params, values)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(log_det, jnp.sum(log_dets, axis=0), atol=1e-6)


def test_the_order_of_axes_of_a_network():
    """A network takes ``[batch, *rest, features]``."""
    seen = []

    class Peek:
        init = staticmethod(lambda key, inputs: jnp.ones(()))
        apply = staticmethod(lambda params, inputs: (seen.append(inputs.shape), jnp.tile(inputs, 2) * params)[1])

    layer = bijectors.affine_coupling((2, 3), [True, False], Peek())
    layer.forward(layer.init(jax.random.key(0)), jnp.ones((2, 3, 5, 7)))
    assert seen == [(35, 3, 1)]


def test_a_condition_matters_and_passes():
    layer = bijectors.affine_coupling((2,), [False, False], NET, condition_shape=(3,))
    params = moved(layer)
    values, condition = jnp.ones((2, 4)), jax.random.normal(jax.random.key(3), (3, 4))
    (found, passed), log_det = layer.forward(params, (values, condition))
    np.testing.assert_array_equal(passed, condition)
    assert np.std(found[0]) > 1e-3
    assert log_det.shape == (4,)


@pytest.mark.parametrize("num_features", [6, 80])
def test_masks_of_few_and_of_many_pieces(num_features):
    """Slices and gathers give the same."""
    mask = np.random.default_rng(0).random(num_features) < 0.5
    event = jnp.arange(num_features, dtype=jnp.float32)
    divide = bijectors.split((num_features,), mask)
    (kept, changed), _ = divide.forward((), event)
    np.testing.assert_array_equal(kept, np.flatnonzero(mask))
    np.testing.assert_array_equal(changed, np.flatnonzero(~mask))
    np.testing.assert_array_equal(divide.inverse((), (kept, changed))[0], event)
    order = np.random.default_rng(1).permutation(num_features)
    np.testing.assert_array_equal(bijectors.permutation((num_features,), order).forward((), event)[0], order)


@pytest.mark.slow
def test_repeating_is_chaining_layers_of_its_parameters():
    layer = bijectors.affine_coupling((2,), [True, False], NET)
    both = bijectors.chain([layer, bijectors.permutation((2,), [1, 0])])
    values = jax.random.normal(jax.random.key(0), (2, 5))
    flow = bijectors.repeat(both, 3, unroll=2)
    params = moved(flow)
    found = flow.forward(params, values)
    alone = [jax.tree.map(lambda leaf: leaf[index], params) for index in range(3)]  # noqa: B023
    expected = bijectors.chain([both] * 3).forward(tuple(alone), values)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_depth_does_not_make_the_program_longer():
    layer = bijectors.affine_coupling((2,), [True, False], NET)
    texts = []
    for depth in (2, 50):
        flow = bijectors.repeat(layer, depth)
        params = jax.eval_shape(flow.init, jax.random.key(0))
        texts.append(len(jax.jit(flow.forward).lower(params, jnp.ones((2, 3))).as_text()))
    assert abs(texts[1] - texts[0]) < 100


def test_layers_under_layers_stay_small():
    """Each direction holds its own part alone: nested combinators do not multiply what is flattened at a call."""
    flow = bijectors.affine_coupling((2,), [True, False], NET)
    for _ in range(4):
        flow = bijectors.chain([flow])
    assert len(jax.tree.leaves(flow)) <= 2


def test_double_and_single_precision_may_meet(x64):
    layer = bijectors.affine_coupling((2,), [True, False], NET)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), layer.init(jax.random.key(0)))
    assert layer.forward(params, np.ones((2, 3)))[0].dtype == np.float64
    assert layer.forward(params, np.ones((2, 3), np.float32))[0].dtype == np.float32


REFUSED = {
    "mask: expected the shape": lambda: bijectors.affine_coupling((4,), [True, False], NET),
    "mask: expected True and False": lambda: bijectors.affine_coupling((2,), [True, True], NET),
    "mask: expected booleans": lambda: bijectors.affine_coupling((2,), [1, 0], NET),
    "mask: expected booleans of one shape": lambda: bijectors.split((2,), [[True], [True, False]]),
    "conditioner: expected a function": lambda: bijectors.affine_coupling((2,), [True, False], 3),
    "conditioner: expected outputs of shape": lambda: (
        bijectors.affine_coupling((2,), [True, False], lambda kept: kept).forward((), jnp.ones(2))
    ),
    "conditioner: expected 2 outputs": lambda: _with_network(nets.mlp((3,))),
    "condition_shape: expected": lambda: bijectors.affine_coupling((2, 3), [True, False], NET, condition_shape=(1,)),
    "event: expected a tuple of 2": lambda: (
        bijectors.affine_coupling((2,), [True, False], lambda x: x, condition_shape=(1,)).forward((), jnp.ones(2))
    ),
    "log_scale_bound: expected a number": lambda: (
        bijectors.affine_coupling((2,), [True, False], NET, log_scale_bound=0.0)
    ),
    "num_bins: expected at most": lambda: bijectors.spline_coupling((2,), [True, False], NET, num_bins=501),
    "bijectors: expected a sequence": lambda: bijectors.chain([]),
    r"bijectors\[1\]: expected a Bijector": lambda: bijectors.chain([bijectors.actnorm((2,)), 3]),
    "params: expected a tuple of 1": lambda: bijectors.chain([bijectors.haar((1, 2))]).forward((), jnp.ones((1, 2))),
    "params: expected a leading axis": lambda: (
        bijectors.repeat(bijectors.actnorm((2,)), 2).forward(
            bijectors.ActNorm(jnp.ones(2), jnp.ones((3, 2))), jnp.ones(2)
        )
    ),
    "order: expected every integer": lambda: bijectors.permutation((2,), [0, 0]),
    "event_shape: expected even sides": lambda: bijectors.haar((1, 3)),
    "event_shape: expected at least 2 axes": lambda: bijectors.squeeze((2,)),
    "amplitude: expected positive numbers": lambda: bijectors.fourier_scaling(jnp.array([1.0, 2.0, 3.0])),
    "margin: expected a number": lambda: bijectors.logit((2,), margin=0.5),
    "key: expected a typed key": lambda: bijectors.actnorm((2,)).init(0),
    "event: expected real numbers": lambda: bijectors.haar((1, 2)).forward((), "x"),
    "event: expected parts with the same lanes": lambda: (
        bijectors.split((2,), [True, False]).inverse((), (jnp.ones((1, 2)), jnp.ones((1, 3))))
    ),
}  # fmt: skip


def _with_network(net):
    layer = bijectors.affine_coupling((2,), [True, False], net)
    return layer.forward(layer.init(jax.random.key(0)), jnp.ones((2, 3)))


@pytest.mark.parametrize("message", REFUSED)
def test_what_it_refuses(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()
