"""Deconvnet, guided backpropagation and Grad-CAM by their exact properties, and what checks them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import datasets, training
from jaxrg.explain import hidden, transplants

SIDE, CHANNELS, CLASSES = 8, 4, 3
RULES = {"gradient": hidden.gradient_rule, "deconvnet": hidden.deconvnet_rule, "guided": hidden.guided_rule}
PICTURES = {"deconvnet": hidden.deconvnet, "guided": hidden.guided_backpropagation, "gradient": jax.grad}


def picture(name, function, image):
    if name == "grad_cam":
        return hidden.grad_cam(function, image, "relu_1")
    return jax.grad(function)(image) if name == "gradient" else PICTURES[name](function, image)


def parameters(seed, has_bias=True):
    random = np.random.default_rng(seed)
    shapes = {"first": (3, 3, 1, CHANNELS), "second": (3, 3, CHANNELS, CHANNELS), "top": (CHANNELS, CLASSES)}
    return {
        name: (
            jnp.asarray(random.normal(size=shape) / 3, jnp.float32),
            jnp.asarray(0.3 * has_bias * random.normal(size=shape[-1]), jnp.float32),
        )
        for name, shape in shapes.items()
    }


def convolved(image, layer):
    kernel, bias = layer
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(image[None], kernel, (1, 1), "SAME", dimension_numbers=numbers)[
        0
    ] + bias.reshape(1, 1, -1)


def pooled(maps):
    return jax.lax.reduce_window(maps, -jnp.inf, jax.lax.max, (2, 2, 1), (2, 2, 1), "VALID")


def network(params, image, activation=jax.nn.relu, pool=pooled):
    """Outputs ``[classes]``: two convolutions, a pool between them, the mean over positions and a linear head."""
    maps = pool(activation(convolved(image[..., None], params["first"])))
    maps = activation(convolved(maps, params["second"]))
    return jnp.mean(maps, axis=(0, 1)) @ params["top"][0] + params["top"][1]


def score(params, image, label=1, **parts):
    return network(params, image, **parts)[label]


def unpooled(maps):
    return maps


PARAMS, UNBIASED = parameters(0), parameters(0, has_bias=False)
IMAGES = jnp.asarray(np.random.default_rng(1).normal(size=(3, SIDE, SIDE)), jnp.float32)
IMAGE = IMAGES[0]
LAYERS = transplants.layer_numbers(PARAMS, lambda params: [params["first"], params["second"], params["top"]])


@pytest.mark.parametrize("name", ["deconvnet", "guided"])
def test_without_relu_and_pooling_a_picture_is_the_transposed_jacobian(name):
    linear = functools.partial(score, PARAMS, activation=lambda x: x, pool=unpooled)
    np.testing.assert_array_equal(picture(name, linear, IMAGE), jax.grad(linear)(IMAGE))


def test_a_deconvnet_depends_on_the_input_through_the_switches_alone():
    flat = functools.partial(score, PARAMS, pool=unpooled)
    found = [hidden.deconvnet(flat, image) for image in IMAGES]
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0]).max() > 0
    with_pool = functools.partial(score, PARAMS)
    assert np.abs(hidden.deconvnet(with_pool, IMAGES[0]) - hidden.deconvnet(with_pool, IMAGES[1])).max() > 0.01
    # Twice the input of a network without biases has the same switches.
    scaled = functools.partial(score, UNBIASED)
    np.testing.assert_array_equal(hidden.deconvnet(scaled, IMAGE), hidden.deconvnet(scaled, 2 * IMAGE))


def test_switches_are_the_derivative_of_max_pooling():
    """A tie goes to one place, the first, and what overlapping windows send back adds up."""
    maps = jnp.array([[1.0, 1.0], [1.0, 1.0]])[..., None]
    np.testing.assert_array_equal(hidden.deconvnet(lambda x: jnp.sum(pooled(x)), maps)[..., 0], [[1, 0], [0, 0]])

    def overlapping(x):
        return jnp.sum(jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (2,), (1,), "VALID"))

    np.testing.assert_array_equal(hidden.deconvnet(overlapping, jnp.array([0.0, 3.0, 1.0])), [0, 2, 0])


@pytest.mark.parametrize("window", [(2, 2), (3, 2)])
@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_a_max_pool_goes_back_as_by_its_own_derivative(window, padding, strides):
    """Bit for bit where windows do not overlap; integers make ties."""
    maps = jnp.asarray(np.random.default_rng(7).integers(0, 3, size=(7, 6)), jnp.float32)
    weights = jnp.asarray(np.random.default_rng(8).integers(-4, 5, size=(7, 6)), jnp.float32)

    def function(x):
        pooled = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, padding)
        return jnp.sum(pooled * weights[: pooled.shape[0], : pooled.shape[1]])

    np.testing.assert_array_equal(hidden.deconvnet(function, maps), jax.grad(function)(maps))


def test_large_windows_are_not_unrolled_and_go_back_to_the_first_maximum():
    def function(x):
        return jnp.sum(jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (8, 8), (8, 8), "VALID"))

    maps = jnp.ones((8, 16))
    assert str(jax.make_jaxpr(functools.partial(hidden.deconvnet, function))(maps)).count("slice") < 8
    for name in ("deconvnet", "guided"):
        np.testing.assert_array_equal(picture(name, function, maps), jnp.zeros((8, 16)).at[0, ::8].set(1))


def test_a_network_without_biases_is_its_gradient_times_its_input():
    value = functools.partial(score, UNBIASED)
    np.testing.assert_allclose(jnp.sum(IMAGE * jax.grad(value)(IMAGE)), value(IMAGE), rtol=1e-5)
    slopes, by_image = jax.grad(score, (0, 1))(PARAMS, IMAGE)
    by_bias = sum(jnp.sum(PARAMS[name][1] * slopes[name][1]) for name in PARAMS)
    np.testing.assert_allclose(jnp.sum(IMAGE * by_image) + by_bias, score(PARAMS, IMAGE), rtol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_grad_cam_under_a_mean_and_a_linear_head_is_the_class_activation_map(seed):
    params = parameters(seed)
    heat = hidden.grad_cam(functools.partial(score, params), IMAGE, "relu_1")
    maps = hidden.run(network, params, IMAGE, read=["relu_1"]).values["relu_1"]
    expected = jax.image.resize(jax.nn.relu(maps @ params["top"][0][:, 1]) / maps[..., 0].size, IMAGE.shape, "bilinear")
    np.testing.assert_allclose(heat, expected, atol=1e-6)
    assert heat.shape == IMAGE.shape


def test_grad_cam_of_a_batch_of_one_is_that_of_its_image():
    value = functools.partial(score, PARAMS)
    expected = hidden.grad_cam(value, IMAGE, "relu_1")
    for axes in ((0,), (0, -1), (0, 1, -1)):  # of an image without channels, and with one
        sample = jnp.expand_dims(IMAGE, axes)
        heat = hidden.grad_cam(lambda x: jax.vmap(value)(x.reshape(1, SIDE, SIDE))[0], sample, "relu_1")
        np.testing.assert_allclose(heat, expected, atol=1e-6)
    row = hidden.grad_cam(lambda x: score(PARAMS, x[..., 0], pool=unpooled), IMAGE[:1, :, None], "relu_1")
    assert row.shape == (1, SIDE)


def test_guided_backpropagation_of_nonnegative_signals_is_the_gradient():
    positive = jax.tree.map(jnp.abs, PARAMS)
    value = functools.partial(score, positive)
    np.testing.assert_array_equal(hidden.guided_backpropagation(value, IMAGE), jax.grad(value)(IMAGE))
    mixed = functools.partial(score, PARAMS)
    assert np.abs(hidden.guided_backpropagation(mixed, IMAGE) - jax.grad(mixed)(IMAGE)).max() > 0.01


@pytest.mark.parametrize("name", [*PICTURES, "grad_cam"])
def test_a_batch_gives_what_single_images_give(name):
    value = functools.partial(score, PARAMS)
    one = functools.partial(picture, name, value)
    together = jax.vmap(one)(IMAGES)
    np.testing.assert_allclose(together, jnp.stack([one(image) for image in IMAGES]), atol=1e-6)
    if name != "grad_cam":  # of one image alone
        summed = lambda images: jnp.sum(jax.vmap(value)(images))  # noqa: E731
        np.testing.assert_allclose(picture(name, summed, IMAGES), together, atol=1e-6)


@pytest.mark.parametrize("name", ["deconvnet", "guided"])
def test_functional_reused_and_nested_relus_agree(name):
    shared = jax.jit(lambda x: jnp.maximum(x, 0))  # one function for both layers
    expected = picture(name, functools.partial(score, PARAMS), IMAGE)
    for activation in (shared, lambda x: jnp.where(x > 0, x, 0), lambda x: jax.nn.relu(shared(x))):
        found = picture(name, functools.partial(score, PARAMS, activation=activation), IMAGE)
        np.testing.assert_allclose(found, expected, atol=1e-7)


def test_loops_of_unknown_length_are_left_alone():
    def function(x):
        times = jax.lax.while_loop(lambda count: count < 3, lambda count: jnp.maximum(count, 0) + 1, 0.0)
        return times * jnp.sum(jax.nn.relu(x) - jax.nn.relu(-x))

    np.testing.assert_array_equal(hidden.deconvnet(function, IMAGE), jnp.full_like(IMAGE, 3))
    np.testing.assert_array_equal(hidden.guided_backpropagation(function, IMAGE), 3 * (np.asarray(IMAGE) > 0))


def test_against_the_rules_by_hand():
    """One hidden layer: f = w . relu(U x), whose pictures are sums over units."""
    random = np.random.default_rng(2)
    inner, outer, x = (random.normal(size=shape).astype(np.float32) for shape in ((5, 3), (5,), (3,)))
    function = lambda x: jnp.dot(outer, jax.nn.relu(inner @ x))  # noqa: E731
    is_on = inner @ x > 0
    np.testing.assert_allclose(hidden.deconvnet(function, x), np.maximum(outer, 0) @ inner, rtol=1e-5)
    guided = (np.maximum(outer, 0) * is_on) @ inner
    np.testing.assert_allclose(hidden.guided_backpropagation(function, x), guided, rtol=1e-5)


def test_the_strongest_images_and_the_projection_of_a_unit():
    found = hidden.strongest(functools.partial(network, PARAMS), IMAGES, "relu_1", num_top=2, batch_size=2)
    maps = jax.vmap(lambda image: hidden.run(network, PARAMS, image, read=["relu_1"]).values["relu_1"])(IMAGES)
    largest = np.asarray(maps).reshape(len(IMAGES), -1, CHANNELS).max(axis=1).T
    np.testing.assert_allclose(found.values, -np.sort(-largest, axis=1)[:, :2], rtol=1e-5)
    np.testing.assert_array_equal(found.samples, np.argsort(-largest, axis=1)[:, :2])
    second = hidden.unit(functools.partial(network, PARAMS), "relu_1", 2)
    np.testing.assert_allclose(second(IMAGE), largest[2, 0], rtol=1e-5)
    place = np.unravel_index(np.asarray(maps[0, ..., 2]).argmax(), maps.shape[1:3])
    at = lambda image: hidden.run(network, PARAMS, image, read=["relu_1"]).values["relu_1"][*place, 2]  # noqa: E731
    np.testing.assert_allclose(hidden.deconvnet(second, IMAGE), hidden.deconvnet(at, IMAGE), atol=1e-6)


def explained(name):
    return lambda params, image: picture(name, functools.partial(score, params), image)


def test_weights_are_randomised_from_the_output_down():
    fresh = parameters(5)
    found = hidden.weight_randomization(explained("guided"), PARAMS, fresh, LAYERS, IMAGE)
    mixed = [PARAMS, PARAMS | {"top": fresh["top"]}, fresh | {"first": PARAMS["first"]}, fresh]
    expected = np.stack([explained("guided")(params, IMAGE) for params in mixed])
    np.testing.assert_allclose(found.pictures, expected, atol=1e-6)
    from scipy.stats import spearmanr

    for absolute, correlations in ((False, found.rank_correlation), (True, found.absolute_rank_correlation)):
        flat = np.abs(expected).reshape(4, -1) if absolute else expected.reshape(4, -1)
        np.testing.assert_allclose(correlations, [spearmanr(flat[0], row)[0] for row in flat], atol=1e-5)
    still = hidden.weight_randomization(lambda params, image: 0 * image, PARAMS, fresh, LAYERS, IMAGE)
    assert np.isnan(still.rank_correlation).all()  # nothing to rank: neither passed nor failed
    counts = [np.histogram(row, bins=100)[0] / row.size for row in expected]
    entropies = [-(share[share > 0] * np.log(share[share > 0])).sum() for share in counts]
    np.testing.assert_allclose(found.complexity, entropies, atol=0.02)  # a value on the edge of a bin may go either way


def test_a_smoothed_picture_is_the_mean_over_noise():
    linear = lambda params, image: params * image**2  # noqa: E731
    smoothed = hidden.smooth(jax.random.key(0), linear, num_draws=4000, noise=0.1)
    sigma = 0.1 * float(IMAGE.max() - IMAGE.min())
    expected = 2 * (np.asarray(IMAGE) ** 2 + sigma**2)
    error = 2 * np.sqrt((2 * sigma**4 + 4 * sigma**2 * np.asarray(IMAGE) ** 2) / 4000)
    assert np.abs((smoothed(jnp.float32(2), IMAGE) - expected) / error).max() < 5
    still = hidden.smooth(jax.random.key(0), linear, num_draws=2, noise=0)
    np.testing.assert_allclose(still(jnp.float32(2), IMAGE), 2 * IMAGE**2, rtol=1e-6)


def test_permuted_labels_change_a_picture_by_as_much_as_they_are_permuted():
    """Of least squares over all orthogonal inputs X, the picture is X^T y: pictures are as alike as their labels."""
    inputs = jnp.array([[1.0, 1.0], [1.0, -1.0]])
    for _ in range(2):
        inputs = jnp.kron(jnp.array([[1.0, 1.0], [1.0, -1.0]]), inputs)
    labels = jnp.array([1.0, 1.0, 1.0, -1.0, 1.0, -1.0, -1.0, -1.0])
    permuted = labels[jnp.array([0, 3, 2, 1, 4, 5, 6, 7])]  # two change their places, and half of the product goes

    def trained(labels):
        return hidden.deconvnet(functools.partial(jnp.dot, jnp.linalg.solve(inputs, labels)), inputs[0])

    true, other = trained(labels), trained(permuted)
    cosine = jnp.dot(true, other) / (jnp.linalg.norm(true) * jnp.linalg.norm(other))
    np.testing.assert_allclose(cosine, 0.5, atol=1e-6)


@pytest.mark.slow
def test_guided_backpropagation_survives_random_layers_and_the_gradient_does_not():
    """The published failure, on digits: layers above the first convolution are replaced."""
    data = datasets.digits()

    def loss_fn(key, params, batch):
        outputs = jax.vmap(functools.partial(network, params, pool=unpooled))(batch[0])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]))

    selected = data.labels < CLASSES
    images, labels = data.inputs[selected], data.labels[selected]
    gradient, optimizer = training.gradient_of(loss_fn), optax.adam(1e-2)
    data = images, labels
    trained = training.fit(jax.random.key(0), gradient, optimizer, PARAMS, data, num_epochs=40, batch_size=50).params
    assert float(loss_fn(None, trained, data)) < 0.2

    def kept(name):
        """Correlation ``[images]`` with the picture of the network whose upper two layers are random."""
        explain = lambda params, image: picture(name, functools.partial(score, params, pool=unpooled), image)  # noqa: E731

        def one(image):
            return hidden.weight_randomization(explain, trained, parameters(5), LAYERS, image).absolute_rank_correlation

        return np.asarray(jax.jit(functools.partial(jax.lax.map, one))(images[:40]))[:, 2]

    difference = kept("guided") - kept("gradient")
    assert difference.mean() > 5 * difference.std(ddof=1) / np.sqrt(len(difference))


def test_signals_converge_where_a_rule_forgets_what_set_out():
    """Through a matrix of rank one all signals are one; through an orthogonal one their angle stays."""
    x = jnp.ones(16)
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(3).normal(size=(16, 16)))[0], jnp.float32)
    function = lambda x: turn @ jnp.tanh(jnp.full((16, 16), 0.01) @ jnp.sin(x))  # noqa: E731
    found = hidden.cosine_convergence(jax.random.key(0), function, x, ["tanh", "sin"], hidden.gradient_rule)
    assert float(found[0]) < 0.5
    np.testing.assert_allclose(found[1:], 1, atol=1e-5)
    outputs = functools.partial(network, PARAMS)
    rules = {
        name: hidden.cosine_convergence(jax.random.key(1), outputs, IMAGE, ["relu_1"], RULES[name]) for name in RULES
    }
    np.testing.assert_allclose(rules["gradient"][0], rules["guided"][0])  # above the first ReLU on the way
    assert float(rules["deconvnet"][1]) > float(rules["gradient"][1])


def test_refusals():
    with pytest.raises(ValueError, match="expected one with a derivative by its input, got operations without: argmax"):
        hidden.deconvnet(lambda x: jnp.argmax(x).astype(jnp.float32), IMAGE)
    with pytest.raises(ValueError, match="got operations without: round"):
        hidden.guided_backpropagation(lambda x: jnp.sum(jax.jit(jnp.round)(x)), IMAGE)
    scanned = lambda x: jax.lax.scan(lambda carry, _: (jnp.floor(carry), None), x, length=2)[0].sum()  # noqa: E731
    branches = lambda x: jax.lax.cond(x[0, 0] > 0, jnp.floor, jnp.ceil, x).sum()  # noqa: E731
    for function, names in ((scanned, "floor"), (branches, "ceil, floor")):
        with pytest.raises(ValueError, match=f"got operations without: {names}"):
            hidden.deconvnet(function, IMAGE)
    repeated = lambda x: jnp.sum(x) + jax.lax.while_loop(lambda c: c < 3, lambda c: c + 1, x[0, 0])  # noqa: E731
    with pytest.raises(ValueError, match="got operations without: while"):
        hidden.deconvnet(repeated, IMAGE)
    straight = lambda x: jnp.sum(x + jax.lax.stop_gradient(jnp.round(x) - x))  # noqa: E731
    np.testing.assert_array_equal(hidden.deconvnet(straight, IMAGE), jnp.ones_like(IMAGE))
    with pytest.raises(ValueError, match=r"function: expected one number of an input, got shape \(3,\)"):
        hidden.deconvnet(functools.partial(network, PARAMS), IMAGE)
    with pytest.raises(ValueError, match=r"site: expected feature maps \[rows, columns, channels\], got shape \(4,\)"):
        hidden.grad_cam(functools.partial(score, PARAMS), IMAGE, "div")
    stopped = lambda x: jnp.argmax(network(PARAMS, x)).astype(jnp.float32)  # noqa: E731
    with pytest.raises(ValueError, match="got operations without: argmax"):
        hidden.grad_cam(stopped, IMAGE, "relu_1")
    with pytest.raises(ValueError, match="site: expected one that the output depends on, got 'relu_1'"):
        hidden.grad_cam(lambda x: (network(PARAMS, x), jnp.sum(x))[1], IMAGE, "relu_1")
    counted = lambda x: jnp.sum(x[..., None] * (x[..., None] > 0).astype(jnp.int32).astype(jnp.float32))  # noqa: E731
    with pytest.raises(ValueError, match="site: expected feature maps of floating values, got int32 at"):
        hidden.grad_cam(counted, IMAGE, "convert_element_type")
    with pytest.raises(
        ValueError, match="sites: expected floating values, got 'convert_element_type' with dtype int32"
    ):
        hidden.cosine_convergence(
            jax.random.key(0), counted, IMAGE, ["convert_element_type"], hidden.gradient_rule, num_pairs=1
        )
    with pytest.raises(ValueError, match="num_top: expected at most the 3 inputs, got 9"):
        hidden.strongest(functools.partial(network, PARAMS), IMAGES, "relu_1")
    looped = lambda x: jax.lax.scan(lambda carry, _: (jnp.sin(carry), None), x, length=2)[0]  # noqa: E731
    with pytest.raises(ValueError, match="sites: expected sites outside of loops, got 'scan/sin'"):
        hidden.cosine_convergence(jax.random.key(0), looped, IMAGE, ["sin"], hidden.gradient_rule)
    with pytest.raises(ValueError, match="sites: expected names of sites"):
        hidden.cosine_convergence(jax.random.key(0), jnp.sin, IMAGE, "sin", hidden.gradient_rule)
