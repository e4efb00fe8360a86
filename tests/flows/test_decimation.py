"""Decimation of a field run backwards: a map with an exact inverse and determinant, whose density is the mixtures'."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats as distributions

from jaxrg import flows
from jaxrg.flows import mixtures
from jaxrg.flows.drawing_order import Plan

WIDTHS = {"scale": 1.5, "num_pairs": 2, "num_features": 4}


def loud(params, size=1.0):
    """Parameters under which no part of the network is idle."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    moved = [
        leaf + 0.3 * size * jax.random.normal(key, leaf.shape, leaf.dtype)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, moved)


DENSITY, FLOW = flows.decimation_density((4, 4), **WIDTHS), flows.decimation_flow((4, 4), **WIDTHS)
PARAMS = loud(FLOW.init(jax.random.key(0)))
SHAPES = flows.latent_shapes(FLOW, (4, 4))


def as_row(latents) -> jax.Array:
    """``[16, *lanes]`` latents of all levels."""
    return jnp.concatenate(
        [latents[0].reshape(12, *latents[0].shape[3:]), latents[1].reshape(4, *latents[1].shape[2:])]
    )


def mixture_of(x64: bool = False) -> mixtures.Mixture:
    dtype = jnp.float64 if x64 else jnp.float32
    parts = ([[0.2], [0.8]], [[-1.0], [0.5]], [[-0.7], [0.1]])
    weights, means, log_scales = (jnp.asarray(part, dtype) for part in parts)
    return mixtures.Mixture(jnp.log(weights), means, log_scales)


def test_a_mixture_is_mapped_by_its_quantiles(x64):
    to_normal, from_normal = jax.jit(mixtures.to_normal), jax.jit(mixtures.from_normal)
    mixture = mixture_of(x64=True)
    x = jnp.linspace(-6, 6, 41)[:, None].T[0]
    wide = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (2, 41)), mixture)
    weights, scales = np.array([0.2, 0.8]), np.exp([-0.7, 0.1])
    cdf = sum(w * distributions.norm.cdf(x, m, s) for w, m, s in zip(weights, [-1.0, 0.5], scales, strict=True))
    pdf = sum(w * distributions.norm.pdf(x, m, s) for w, m, s in zip(weights, [-1.0, 0.5], scales, strict=True))
    z, log_slope = to_normal(wide, x)
    np.testing.assert_allclose(z, distributions.norm.ppf(cdf), atol=1e-6)
    np.testing.assert_allclose(log_slope, np.log(pdf) - distributions.norm.logpdf(z), atol=1e-9)
    np.testing.assert_allclose(mixtures.log_density(wide, x), np.log(pdf), atol=1e-12)
    back, log_det = from_normal(wide, z)
    np.testing.assert_allclose(back, x, atol=1e-9)
    np.testing.assert_allclose(log_det, -log_slope, atol=1e-8)


def test_derivatives_through_the_quantile_are_exact(x64):
    @jax.jit
    def at(values):
        mixture = mixtures.Mixture(jax.nn.log_softmax(values[:2])[:, None], values[2:4, None], values[4:6, None])
        return mixtures.from_normal(mixture, values[6:7])[0][0]

    values = jnp.array([0.3, -0.4, -1.0, 0.5, -0.7, 0.1, 0.6])
    step = 1e-6 * jnp.eye(7)
    numerical = jax.vmap(lambda d: (at(values + d) - at(values - d)) / 2e-6)(step)
    np.testing.assert_allclose(jax.jit(jax.grad(at))(values), numerical, atol=1e-5)


def test_far_tails_in_single_precision_come_back():
    z = jnp.array([-9.0, -5.0, 0.0, 5.0, 9.0])
    wide = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (2, 5)), mixture_of())
    x, _ = mixtures.from_normal(wide, z)
    np.testing.assert_allclose(mixtures.to_normal(wide, x)[0], z, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_determinant_is_that_of_the_jacobian_and_the_inverse_exact():
    latents, _ = flows.gaussian(SHAPES).sample(jax.random.key(1), (), 1)
    latents = jax.tree.map(lambda part: part[0], latents)
    field, log_det = FLOW.forward(PARAMS, latents)
    back, other = FLOW.inverse(PARAMS, field)
    chex.assert_trees_all_close(back, latents, atol=1e-4)
    np.testing.assert_allclose(other, -log_det, atol=1e-4)
    jacobian = jax.jit(jax.jacfwd(lambda x: as_row(FLOW.inverse(PARAMS, x)[0])))(field).reshape(16, 16)
    sign, exact = np.linalg.slogdet(np.asarray(jacobian, np.float64))
    assert abs(sign) == 1  # levels are listed in an order of their own
    np.testing.assert_allclose(other, exact, atol=1e-4)


@pytest.mark.slow
def test_the_density_is_that_of_the_flow_and_even():
    fields = 1.5 * jax.random.normal(jax.random.key(9), (6, 4, 4))
    log_prob = DENSITY.log_prob(PARAMS, fields)
    np.testing.assert_allclose(DENSITY.log_prob(PARAMS, -fields), log_prob, rtol=1e-5)
    latents, log_det = FLOW.inverse(PARAMS, jnp.moveaxis(fields, 0, -1))
    normal = np.sum(distributions.norm.logpdf(np.asarray(as_row(latents), np.float64)), axis=0)
    np.testing.assert_allclose(normal + np.asarray(log_det), log_prob, rtol=1e-4)


@pytest.mark.slow
def test_draws_come_with_their_density_and_lanes_are_side_by_side():
    draws, log_prob = DENSITY.sample(jax.random.key(2), PARAMS, 6)
    np.testing.assert_allclose(DENSITY.log_prob(PARAMS, draws), log_prob, rtol=1e-5)
    np.testing.assert_allclose(DENSITY.log_prob(PARAMS, -draws), log_prob, rtol=1e-5)
    flow = flows.density(FLOW, flows.gaussian(SHAPES))
    np.testing.assert_allclose(flow.log_prob(flows.FlowParams(PARAMS, ()), draws), log_prob, rtol=1e-5)
    lanes = jnp.moveaxis(draws, 0, -1)
    one = jax.vmap(lambda x: FLOW.inverse(PARAMS, x)[1])(draws)
    np.testing.assert_allclose(FLOW.inverse(PARAMS, lanes)[1], one, rtol=1e-5)


@pytest.mark.slow
def test_draws_have_the_quantiles_of_normal_numbers():
    draws, _ = DENSITY.sample(jax.random.key(3), PARAMS, 2000)
    latents, _ = FLOW.inverse(PARAMS, jnp.moveaxis(draws, 0, -1))
    assert distributions.kstest(np.asarray(as_row(latents), np.float64).ravel(), "norm").pvalue > 1e-4


def test_a_larger_flow_comes_back_and_every_site_knows_only_earlier_ones():
    for side in (4, 8, 16):
        plan, drawn = Plan(side, 1, 1, 3.2), set()
        for group in plan.groups:
            for targets, inputs, is_input, is_known in zip(*group[:3], group.is_known, strict=True):
                assert set(group.sites[is_known]) == drawn & set(group.sites)
                assert set(inputs[is_input].ravel()) <= drawn
                assert not set(targets) & drawn
                drawn |= set(targets)
        assert drawn == set(range(side**2))
    inputs = plan.groups[-1].is_input.sum(1)
    assert list(inputs) == [28, 32, 32, 36]  # of 36 sites within 3.2


@pytest.mark.exhaustive
def test_derivatives_of_draws_are_those_at_fixed_latents():
    def by_draws(params):
        return jnp.sum(DENSITY.sample(jax.random.key(4), params, 2)[0] ** 2)

    draws, _ = DENSITY.sample(jax.random.key(4), PARAMS, 2)
    latents, _ = FLOW.inverse(PARAMS, jnp.moveaxis(draws, 0, -1))
    expected = jax.grad(lambda params: jnp.sum(FLOW.forward(params, latents)[0] ** 2))(PARAMS)
    found = jax.grad(by_draws)(PARAMS)
    scale = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(expected))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3 * scale)


def test_a_flow_on_a_larger_lattice_begins_with_what_a_smaller_one_knows():
    small, large = (flows.decimation_density((side, side), **WIDTHS) for side in (8, 16))
    shapes, numbers = jax.eval_shape(small.init, jax.random.key(0)), np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(numbers.normal(size=leaf.shape), jnp.float32), shapes)
    found = flows.extended_decimation(params)
    expected = jax.eval_shape(large.init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(lambda leaf: leaf.shape, expected)
    fine = params["groups"][-1]["kernels"].reshape(4, 2, 8, 8)
    wide = found["groups"][-1]["kernels"].reshape(4, 2, 16, 16)
    np.testing.assert_array_equal(wide[..., :4, -4:], fine[..., :4, -4:])  # up to three sites away
    assert np.all(np.asarray(wide[..., 5:11, :]) == 0)
    with pytest.raises(ValueError, match="params: expected those of a decimation of side 8 or more"):
        flows.extended_decimation(PARAMS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flows.decimation_flow((6, 6)), r"shape: expected two equal sides, a power of two"),
        (lambda: flows.decimation_flow((4, 8)), r"shape: expected two equal sides"),
        (lambda: flows.decimation_density((4, 4), scale=0.0), r"scale: expected a number between 0"),
        (lambda: flows.decimation_density((4, 4), radius=5.0), r"radius: expected a number between 0 and 4"),
        (lambda: FLOW.inverse(PARAMS, jnp.zeros((8, 8))), r"event: expected shape \(4, 4\), and lanes"),
        (lambda: DENSITY.log_prob(PARAMS, jnp.zeros((2, 8, 4))), r"configurations: expected shape \(2, 4, 4\)"),
        (
            lambda: FLOW.forward({"groups": ()}, {0: jnp.zeros((3, 2, 2)), 1: jnp.zeros((2, 2))}),
            r"params: expected those of 4 groups",
        ),
        (lambda: FLOW.forward(PARAMS, jnp.zeros((4, 4))), r"latents: expected a dictionary of the levels \[0, 1\]"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
