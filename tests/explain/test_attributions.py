"""Fourteen attributions: own definition against re-allocation, on networks whose Taylor series end."""

import functools
import itertools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.explain import attributions as at
from jaxrg.explain import reallocations as ra
from jaxrg.interactions import harsanyi
from jaxrg.tables import all_bits
from tests.rows import some_now

# The pairs are those of the example, which prints how far they are apart on networks that it trains.
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from _fourteen_pairs import fourteen_pairs, harsanyi_pairs, polynomial

METHODS = (
    "Gradient x Input",
    "Occlusion-1",
    "Occlusion-patch",
    "Prediction Difference",
    "Grad-CAM",
    "LRP-epsilon",
    "LRP-alpha-beta",
    "Deep Taylor",
    "DeepLIFT Rescale",
    "DeepLIFT RevealCancel",
    "Deep SHAP",
    "Shapley",
    "Integrated Gradients",
    "Expected Gradients",
)
PATCHES = np.array([0, 0, 1, 1])
QUADRATIC = polynomial([0.0, 1.0, 0.4])
CUBIC = polynomial([0.0, 0.7, 0.4, -0.3])

# name: (activations of the layers, degree of the network, degree of a neuron)
NETWORKS = {
    "quadratic_deep": ((QUADRATIC, QUADRATIC, at.identity), 4, 2),
    "cubic_shallow": ((CUBIC, at.identity), 3, 3),
}
ROWS = some_now(NETWORKS, "cubic_shallow")


def make_layers(activations, *, seed=0, bias=0.2):
    random = np.random.default_rng(seed)
    widths = (4, 5, 3, 2) if len(activations) == 3 else (4, 5, 2)
    return [
        at.Layer(
            jnp.asarray(random.normal(size=(inputs, outputs)) / np.sqrt(inputs)),
            jnp.asarray(bias * random.normal(size=outputs)),
            activation,
        )
        for inputs, outputs, activation in zip(widths[:-1], widths[1:], activations, strict=True)
    ]


def inputs():
    random = np.random.default_rng(5)
    return jnp.asarray(random.normal(size=4)), jnp.asarray(random.normal(size=(3, 4)))


def terms_of(function, sample, baseline, degree):
    return np.asarray(jax.jit(lambda x, b: ra.taylor_terms(function, x, b, max_degree=degree).values)(sample, baseline))


@functools.cache
def pairs(network):
    activations, degree, neuron_degree = NETWORKS[network]
    with jax.enable_x64(True):
        sample, backgrounds = inputs()
        features = jnp.asarray(np.random.default_rng(6).uniform(size=(2, 3, 4)))
        layers = make_layers(activations)

        def compute(sample, backgrounds):
            return fourteen_pairs(
                layers,
                sample,
                backgrounds,
                output=1,
                assignment=PATCHES,
                features=features,
                head_of_means=lambda means: at.forward(layers, means)[1],
                max_degree=degree,
                neuron_degree=neuron_degree,
                epsilon=0.05,
            )

        # One large program runs once: what LLVM would optimise in it takes longer than it saves.
        options = {"xla_backend_optimization_level": 0}
        return jax.device_get(jax.jit(compute, compiler_options=options)(sample, backgrounds))


@pytest.mark.parametrize("network", ROWS)
@pytest.mark.parametrize("method", METHODS)
def test_definition_equals_reallocation_on_polynomials(method, network):
    original, reallocated = pairs(network)[method]
    assert np.abs(original).max() > 1e-3
    assert len(np.unique(np.round(original, 9))) > 1
    np.testing.assert_allclose(reallocated, original, atol=1e-11)


def test_every_method_has_a_pair():
    assert set(pairs("cubic_shallow")) == set(METHODS)


@pytest.mark.slow
def test_the_table_is_complete():
    tables = [pairs(network) for network in NETWORKS]
    assert all(set(found) == set(METHODS) for found in tables)
    # No two agree on both networks, so none can stand in for another.
    assert len({str([found[name].original.round(9) for found in tables]) for name in METHODS}) == len(METHODS)


@pytest.mark.parametrize("network", ROWS)
def test_differences_are_given_away_in_full(network, x64):
    sample, backgrounds = inputs()
    layers = make_layers(NETWORKS[network][0])
    outputs = np.asarray(jax.jit(lambda x: at.forward(layers, x))(jnp.concatenate([sample[None], backgrounds])))[:, 1]
    here, there = outputs[0], outputs[1:]
    for method in ("DeepLIFT Rescale", "DeepLIFT RevealCancel", "Shapley", "Integrated Gradients"):
        assert float(pairs(network)[method].original.sum()) == pytest.approx(float(here - there[0]), abs=1e-12)
    for method in ("Deep SHAP", "Expected Gradients"):
        assert float(pairs(network)[method].original.sum()) == pytest.approx(float(here - there.mean()), abs=1e-12)


def test_harsanyi_pairs_are_exact_where_taylor_fails(x64):
    """ReLU networks: four methods see Harsanyi interactions, which need no derivatives; Taylor terms miss them."""
    layers = make_layers((jax.nn.relu, jax.nn.relu, at.identity))
    sample, backgrounds = inputs()
    function = lambda x: at.forward(layers, x)[1]  # noqa: E731
    found = jax.jit(lambda x, b: harsanyi_pairs(function, x, b, PATCHES))(sample, backgrounds)
    for original, reallocated in found.values():
        assert float(jnp.abs(original).max()) > 1e-3
        np.testing.assert_allclose(reallocated, original, atol=1e-12)
    powers = ra.multi_indices(4, 2)
    values = terms_of(function, sample, backgrounds[0], 2)
    by_taylor = values @ ra.shapley_shares(powers)
    assert np.abs(by_taylor - np.asarray(found["Shapley"].original)).max() > 1e-3


def test_taylor_terms_of_a_known_polynomial(x64):
    sample, baseline = jnp.array([1.5, -0.5, 2.0]), jnp.array([0.5, 0.5, 1.0])
    d = sample - baseline  # (1, -1, 1)
    function = lambda x: 2 * (x[0] - 0.5) ** 2 * (x[1] - 0.5) + 3 * (x[2] - 1.0) ** 4 + 7.0  # noqa: E731
    values = terms_of(function, sample, baseline, 4)
    expected = {(2, 1, 0): 2 * d[0] ** 2 * d[1], (0, 0, 4): 3 * d[2] ** 4}
    for powers, value in zip(ra.multi_indices(3, 4), values, strict=True):
        assert float(value) == pytest.approx(float(expected.get(tuple(powers), 0.0)), abs=1e-12)


def test_terms_of_the_same_inputs_sum_to_harsanyi_interactions(x64):
    layers = make_layers((QUADRATIC, QUADRATIC, at.identity))
    sample, backgrounds = inputs()
    function = lambda x: at.forward(layers, x)[1]  # noqa: E731
    sums = np.zeros(16)
    np.add.at(sums, (ra.multi_indices(4, 4) > 0) @ (2 ** np.arange(4)), terms_of(function, sample, backgrounds[0], 4))
    masked = jnp.where(all_bits(4), sample[None], backgrounds[:1])
    dividends = harsanyi(at.forward(layers, masked)[:, 1])
    np.testing.assert_allclose(sums[1:], dividends[1:], atol=1e-12)


def test_shapley_is_the_mean_over_orders(x64):
    layers = make_layers((jax.nn.relu, at.identity))
    sample, backgrounds = inputs()
    total, value = np.zeros(4), jax.jit(lambda x: at.forward(layers, x)[1])
    for order in itertools.permutations(range(4)):
        current = np.array(backgrounds[0])
        for player in order:
            before = float(value(current))
            current[player] = sample[player]
            total[player] += (float(value(current)) - before) / 24
    found = at.shapley(lambda x: at.forward(layers, x)[1], sample, backgrounds[0])
    np.testing.assert_allclose(found.values, total, atol=1e-13)
    assert abs(float(found.completeness_gap)) < 1e-13


def test_gradient_times_input_is_first_order_about_the_sample_only(x64):
    """About the sample it keeps first orders alone; about the baseline it counts every term |κ| times."""
    layers = make_layers((QUADRATIC, at.identity))
    sample, _ = inputs()
    zero = jnp.zeros(4)
    function = lambda x: at.forward(layers, x)[0]  # noqa: E731
    attribution = at.gradient_times_input(function, sample).values
    shares = ra.first_order_shares(ra.multi_indices(4, 2))
    np.testing.assert_allclose(-terms_of(function, zero, sample, 2) @ shares, attribution, atol=1e-13)
    first_order = terms_of(function, sample, zero, 2) @ shares
    assert float(np.abs(first_order - attribution).max()) > 0.05


def test_relations_between_rules_without_biases(x64):
    """ReLU networks without biases: LRP-0 is Gradient x Input, and deep Taylor is LRP with α = 1."""
    layers = make_layers((jax.nn.relu, jax.nn.relu, at.identity), bias=0.0, seed=2)
    sample, _ = inputs()
    function = lambda x: at.forward(layers, x)[0]  # noqa: E731

    @jax.jit
    def explain(x):
        return (
            at.lrp_epsilon(layers, x, output=0).values,
            at.gradient_times_input(function, x).values,
            function(x),
            at.deep_taylor(layers, x, output=0).values,
            at.lrp_alpha_beta(layers, x, output=0, alpha=1.0, beta=0.0).values,
            at.deeplift_rescale(layers, x, jnp.zeros(4), output=0).values,
        )

    plain, gradient, output, taylor, one_zero, rescaled = map(np.asarray, explain(sample))
    np.testing.assert_allclose(plain, gradient, atol=1e-13)
    assert plain.sum() == pytest.approx(float(output), abs=1e-13)
    assert np.abs(taylor).max() > 1e-2
    np.testing.assert_allclose(taylor, one_zero, atol=1e-13)
    np.testing.assert_allclose(rescaled, plain, atol=1e-13)


def test_convolutions_and_pools_are_layers(x64):
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2)))

    def convolve(image):
        return jax.lax.conv(image[None, None], kernel[None, None], (1, 1), "VALID")[0, 0]

    layer = at.linear_layer(convolve, (3, 3), jax.nn.relu)
    image = jnp.asarray(np.random.default_rng(1).normal(size=(3, 3)))
    expected = jax.nn.relu(convolve(image)).reshape(-1)
    np.testing.assert_allclose(at.forward([layer], image.reshape(-1)), expected, atol=1e-14)
    with pytest.raises(ValueError, match="function: expected an affine function"):
        at.linear_layer(lambda x: x**2, (2,), at.identity)


def test_maps_over_samples_in_single_precision():
    layers = jax.tree.map(lambda leaf: leaf, make_layers((jax.nn.relu, at.identity)))
    samples = jax.random.normal(jax.random.key(0), (3, 4))
    explain = jax.jit(jax.vmap(lambda x: at.deeplift_rescale(layers, x, jnp.zeros(4), output=1)))
    found = explain(samples).values
    assert found.dtype == jnp.float32
    difference = at.forward(layers, samples)[:, 1] - at.forward(layers, jnp.zeros(4))[1]
    np.testing.assert_allclose(found.sum(1), difference, atol=1e-5)


def test_grad_cam_of_a_head_that_is_not_of_means_differs(x64):
    features = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 2, 2)))
    position = jnp.asarray(np.random.default_rng(1).normal(size=(2, 2, 2)))
    cam = at.grad_cam(lambda maps: jnp.sum(position * maps**2), features)
    np.testing.assert_array_equal(cam.heat_map, jnp.maximum(cam.scores, 0.0))
    own_terms = jnp.sum(2 * position * features**2, axis=-1)  # what Gradient x Input gives each position
    assert float(jnp.abs(cam.scores - own_terms).max()) > 0.1


def test_refuses_bad_input():
    layers = make_layers((jax.nn.relu, at.identity))
    with pytest.raises(ValueError, match=r"alpha, beta: expected a sum of 1, got 2.0 and 1.0"):
        at.lrp_alpha_beta(layers, jnp.zeros(4), output=0, alpha=2.0, beta=1.0)
    with pytest.raises(ValueError, match=r"layers: expected 4 inputs to layer 0, got shape \(3,\)"):
        at.lrp_epsilon(layers, jnp.zeros(3), output=0)
    with pytest.raises(ValueError, match="layers: expected at least one"):
        at.deep_taylor([], jnp.zeros(3), output=0)
    with pytest.raises(ValueError, match="max_degree: expected 1 to 10, got 11"):
        ra.taylor_terms(jnp.sum, jnp.ones(2), jnp.zeros(2), max_degree=11)
    with pytest.raises(ValueError, match=r"within 2,147,483,648 bytes, got degree 6 of 20 inputs.* needs 250,"):
        ra.multi_indices(20, 6)
    with pytest.raises(ValueError, match="baseline"):
        ra.taylor_terms(jnp.sum, jnp.ones(2), jnp.zeros(3), max_degree=2)
    with pytest.raises(ValueError, match="assignment"):
        at.occlusion_patch(jnp.sum, jnp.ones(2), jnp.zeros(2), np.array([0, 0, 1]))
    with pytest.raises(ValueError, match="features"):
        at.grad_cam(jnp.sum, jnp.ones((2, 2)))
    with pytest.raises(ValueError, match=r"inputs: expected at most .* bytes"):
        at.shapley(jnp.sum, jnp.ones(30), jnp.zeros(30))
    wide = [at.Layer(jnp.ones((16, 1000)), jnp.zeros(1000), jax.nn.relu)]
    with pytest.raises(ValueError, match=r"in 500,000,000 bytes, got 16, which needs [0-9,]+ bytes"):
        at.deep_shap(wide, jnp.ones(16), jnp.zeros((8, 16)), output=0, max_bytes=500_000_000)


def test_deep_shap_takes_no_more_memory_than_it_counts():
    layers = [at.Layer(jnp.ones((10, 50)), jnp.zeros(50), jax.nn.relu)]
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((10,), (8, 10))]
    compiled = jax.jit(lambda x, b: at.deep_shap(layers, x, b, output=0)).lower(*shapes).compile()
    analysis = compiled.memory_analysis()
    assert analysis is not None
    counted = 2**10 * (10 * (1 + 3 * 4) + 3 * 50 * 4)
    assert 2**10 * 50 * 4 <= analysis.temp_size_in_bytes <= counted
