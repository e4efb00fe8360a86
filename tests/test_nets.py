import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxrg import interactions, nets

IMAGES = jax.random.normal(jax.random.key(0), (3, 8, 8))


class LinenLine(linen.Module):
    @linen.compact
    def __call__(self, inputs):
        return linen.Dense(2)(inputs)


def stacked(net: nets.Net, inputs: jax.Array, num_copies: int):
    """Parameters of several initialisations along a leading axis."""
    return jax.vmap(lambda key: net.init(key, inputs))(jax.random.split(jax.random.key(1), num_copies))


@pytest.mark.parametrize(
    ("net", "shapes"),
    [
        (nets.mlp((5, 4)), [(64, 5), (5, 4)]),
        (nets.mlp((4,)), [(64, 4)]),
        (nets.cnn((2, 3), 4), [(3, 3, 1, 2), (3, 3, 2, 3), (2 * 2 * 3, 4)]),
        (nets.cnn((), 4), [(64, 4)]),
    ],
    ids=["mlp", "linear", "cnn", "cnn without convolutions"],
)
def test_networks_have_the_layers_they_are_asked_for_and_map_over_stacked_parameters(net, shapes):
    params = stacked(net, IMAGES, 2)
    kernels = [leaf.shape[1:] for leaf in jax.tree.leaves(params) if leaf.ndim > 2]
    assert sorted(kernels) == sorted(shapes)
    outputs = jax.vmap(net.apply, in_axes=(0, None))(params, IMAGES)
    assert outputs.shape == (2, 3, 4)
    for copy in range(2):
        own = net.apply(jax.tree.map(lambda leaf, copy=copy: leaf[copy], params), IMAGES)
        np.testing.assert_allclose(outputs[copy], own, atol=1e-6)
    assert not np.allclose(outputs[0], outputs[1])


def test_a_perceptron_is_affine_layers_with_relu_between():
    net = nets.mlp((5, 4))
    params = net.init(jax.random.key(2), IMAGES)
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # biases start at zero, where they cannot be seen
    first, second = (params["params"][f"Dense_{layer}"] for layer in (0, 1))
    hidden = np.maximum(np.asarray(IMAGES).reshape(3, 64) @ np.asarray(first["kernel"]) + np.asarray(first["bias"]), 0)
    expected = hidden @ np.asarray(second["kernel"]) + np.asarray(second["bias"])
    np.testing.assert_allclose(net.apply(params, IMAGES), expected, rtol=1e-4, atol=1e-5)


def test_a_convolutional_network_takes_grey_images_with_or_without_their_channel():
    net = nets.cnn((2,), 4)
    params = net.init(jax.random.key(3), IMAGES)
    np.testing.assert_array_equal(net.apply(params, IMAGES), net.apply(params, IMAGES[..., None]))


def test_a_linen_module_becomes_its_own_pair():
    net = nets.from_linen(LinenLine())
    inputs = jnp.asarray([[1.0, -2.0, 3.0]])
    params = net.init(jax.random.key(4), inputs)
    expected = np.asarray(inputs) @ np.asarray(params["params"]["Dense_0"]["kernel"])
    np.testing.assert_allclose(net.apply(params, inputs), expected, rtol=1e-5)


def test_an_nnx_module_becomes_a_pair_whose_state_can_be_stacked_and_differentiated():
    module = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    net, params = nets.from_nnx(module)
    inputs = jnp.asarray([[1.0, -2.0, 3.0], [0.5, 0.0, 1.0]])
    expected = module(inputs)
    np.testing.assert_array_equal(net.apply(params, inputs), expected)
    np.testing.assert_array_equal(net.apply(net.init(jax.random.key(5), inputs), inputs), expected)
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, 3 * leaf]), params)
    outputs = jax.vmap(net.apply, in_axes=(0, None))(both, inputs)
    np.testing.assert_allclose(outputs, [expected, 3 * expected], rtol=1e-5)
    slopes = jax.grad(lambda params: jnp.sum(net.apply(params, inputs)))(params)
    totals = [np.asarray(leaf) for leaf in jax.tree.leaves(slopes)]
    by_shape = {leaf.shape: leaf for leaf in totals}
    np.testing.assert_allclose(by_shape[2,], [2.0, 2.0])
    np.testing.assert_allclose(by_shape[3, 2], [[1.5, 1.5], [-2.0, -2.0], [4.0, 4.0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nets.mlp(()), r"widths: expected at least the number of outputs, got \(\)"),
        (lambda: nets.mlp((4, 0)), "widths: expected an integer >= 1, got 0"),
        (lambda: nets.cnn((2, 0), 4), "channels: expected an integer >= 1, got 0"),
        (lambda: nets.cnn((2,), 0), "num_outputs: expected an integer >= 1, got 0"),
    ],
)
def test_bad_sizes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
def test_a_game_on_a_feature_map_is_the_head_on_the_masked_map():
    """Players are patches of a hidden layer ``[rows, columns, channels]``; the model is what comes after it."""
    image_key, body_key, head_key = jax.random.split(jax.random.key(6), 3)
    image = jax.random.normal(image_key, (1, 5, 4, 2))
    filters, weights = jax.random.normal(body_key, (3, 3, 2, 3)), jax.random.normal(head_key, (60, 4))

    def body(images):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.nn.relu(jax.lax.conv_general_dilated(images, filters, (1, 1), "SAME", dimension_numbers=layout))

    def head(maps):
        return jnp.tanh(0.1 * maps.reshape(maps.shape[0], 60) @ weights)

    feature_map = body(image)[0]
    game = interactions.masked_game(
        head,
        feature_map,
        baseline=jnp.zeros_like(feature_map),
        assignment=interactions.patches((5, 4), (2, 2)),
        score=functools.partial(interactions.log_odds, label=1),
    )
    values = interactions.evaluate(game)

    def score(maps):
        outputs = np.asarray(head(jnp.asarray(maps)[None]))[0]
        return outputs[1] - np.log(np.exp(np.delete(outputs, 1)).sum())

    rows, columns = (slice(0, 3), slice(3, 5)), (slice(0, 2), slice(2, 4))
    for coalition in range(16):
        masked = np.zeros(feature_map.shape, np.float32)
        for player in range(4):
            if coalition >> player & 1:
                place = rows[player // 2], columns[player % 2]
                masked[place] = np.asarray(feature_map)[place]
        np.testing.assert_allclose(values[coalition], score(masked), rtol=1e-4, atol=1e-5)
    # With all players it is the whole network, and masking the image is another game.
    np.testing.assert_allclose(values[15], score(body(image)[0]), rtol=1e-5)
    left_of_image = jnp.asarray(np.where(np.arange(4) < 2, 1.0, 0.0), jnp.float32).reshape(1, 1, 4, 1) * image
    assert abs(float(values[0b0101]) - float(score(body(left_of_image)[0]))) > 1e-2
