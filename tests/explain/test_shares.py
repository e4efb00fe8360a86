"""Shares against what a method does: read off its definition, and summed over the inputs of a term and the others."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.explain import attributions as at
from jaxrg.explain import reallocations as ra

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from _fourteen_pairs import polynomial

PATCHES = np.array([0, 0, 1, 1])
QUADRATIC = polynomial([0.0, 1.0, 0.4])
ONE_LAYER, TWO_LAYERS = (QUADRATIC, at.identity), (QUADRATIC, QUADRATIC, at.identity)


def make_layers(activations):
    random = np.random.default_rng(0)
    widths = (4, 5, 3, 2) if len(activations) == 3 else (4, 5, 2)
    return [
        at.Layer(
            jnp.asarray(random.normal(size=(inputs, outputs)) / np.sqrt(inputs)),
            jnp.asarray(0.2 * random.normal(size=outputs)),
            activation,
        )
        for inputs, outputs, activation in zip(widths[:-1], widths[1:], activations, strict=True)
    ]


def inputs():
    random = np.random.default_rng(5)
    return jnp.asarray(random.normal(size=4)), jnp.asarray(random.normal(size=4))


def given_away(powers, shares):
    """Of each term: the sum of its own inputs' shares, and of the absolute shares of all others."""
    return np.where(powers > 0, shares, 0).sum(1), np.abs(np.where(powers > 0, 0, shares)).sum(1)


MEASURED = {
    "Gradient x Input": (lambda f, b: lambda x: at.gradient_times_input(f, x, b), ra.gradient_shares),
    "Occlusion-1": (lambda f, b: lambda x: at.occlusion(f, x, b), ra.occlusion_shares),
    "Occlusion-patch": (
        lambda f, b: lambda x: at.occlusion_patch(f, x, b, PATCHES),
        lambda powers: ra.patch_shares(powers, PATCHES),
    ),
    "Shapley": (lambda f, b: lambda x: at.shapley(f, x, b), ra.shapley_shares),
    "Integrated Gradients": (
        lambda f, b: lambda x: at.integrated_gradients(f, x, b, num_nodes=4),
        ra.integrated_shares,
    ),
}


@pytest.mark.parametrize("method", MEASURED)
def test_shares_can_be_read_off_the_definition(method, x64):
    layers = make_layers(TWO_LAYERS)
    sample, baseline = inputs()
    function = lambda x: at.forward(layers, x)[1]  # noqa: E731
    make, shares = MEASURED[method]
    found = ra.measured_shares(make(function, baseline), function, sample, baseline, max_degree=4)
    is_there = ~np.isnan(found.shares[:, 0])
    assert is_there.sum() > 50
    assert found.misfit < 1e-11
    np.testing.assert_allclose(found.shares[is_there], shares(found.powers)[is_there], atol=1e-6)


def test_rescale_shares_are_fixed_by_exponents_in_one_layer_only(x64):
    sample, baseline = inputs()
    spread = {}
    for name, activations, degree in (("one", ONE_LAYER, 2), ("two", TWO_LAYERS, 4)):
        layers = make_layers(activations)
        found = ra.measured_shares(
            lambda x, layers=layers: at.deeplift_rescale(layers, x, baseline, output=1),
            lambda x, layers=layers: at.forward(layers, x)[1],
            sample,
            baseline,
            max_degree=degree,
        )
        assert found.misfit < 1e-9
        is_there = ~np.isnan(found.shares).any(1)
        members, others = given_away(found.powers[is_there], found.shares[is_there])
        np.testing.assert_allclose(members, 1.0, atol=1e-6)
        np.testing.assert_allclose(others, 0.0, atol=1e-6)
        spread[name] = np.nanmax(np.abs(found.shares - ra.integrated_shares(found.powers)))
    assert spread["one"] < 1e-6
    assert spread["two"] > 0.01


def test_alpha_beta_has_no_fixed_shares(x64):
    layers = make_layers(ONE_LAYER)
    sample, _ = inputs()
    function = lambda x: at.forward(layers, x)[1]  # noqa: E731
    attribution = lambda x: at.lrp_alpha_beta(layers, x, output=1)  # noqa: E731
    found = ra.measured_shares(attribution, function, sample, jnp.zeros(4), max_degree=2)
    assert found.misfit > 0.01


# name: (shares, smallest and largest sum of a term's own inputs, largest of the others)
WHOLE = {
    "gradient": (ra.gradient_shares, 1, 3, 0),
    "first order": (ra.first_order_shares, 0, 1, 0),
    "occlusion": (ra.occlusion_shares, 1, 3, 0),
    "patch": (lambda powers: ra.patch_shares(powers, PATCHES), 1, 3, 2),
    "shapley": (ra.shapley_shares, 1, 1, 0),
    "integrated": (ra.integrated_shares, 1, 1, 0),
}
SUM, UP = 0.5 - 0.3 + 0.8 - 0.4, 0.5 + 0.8
NEURON = {
    "epsilon without bias": (ra.epsilon_shares(), 4, 1, 1, 0),
    "epsilon": (ra.epsilon_shares(0.5), 4, SUM / (SUM + 0.5), SUM / (SUM + 0.5), 0),
    "alpha beta": (ra.alpha_beta_shares(), 4, -1, 2, 2),
    "deep taylor": (ra.deep_taylor_shares, 5, 0, 1, 1),
    "reveal cancel": (ra.reveal_cancel_shares, 4, 1, 1, 0),
}


@pytest.mark.parametrize("name", WHOLE)
def test_who_gets_what_of_a_term(name):
    shares, least, most, to_others = WHOLE[name]
    powers = ra.multi_indices(4, 3)
    members, others = given_away(powers, shares(powers))
    np.testing.assert_allclose([members.min(), members.max(), others.max()], [least, most, to_others], atol=1e-12)


@pytest.mark.parametrize("name", NEURON)
def test_who_gets_what_of_a_term_of_a_neuron(name, x64):
    shares, num_inputs, least, most, to_others = NEURON[name]
    contributions = jnp.array([0.5, -0.3, 0.8, -0.4, 0.0])[:num_inputs].reshape(-1, 1)
    powers = ra.multi_indices(4, 3)
    if num_inputs == 5:  # the bias, here 0, is a fifth input
        powers = np.pad(powers, ((0, 0), (0, 1)))
    found = np.asarray(jax.jit(lambda values: shares(powers, values))(contributions))
    members, others = given_away(powers, found[..., 0])
    np.testing.assert_allclose([members.min(), members.max(), others.max()], [least, most, to_others], atol=1e-12)


def test_shares_of_other_terms_are_refused():
    terms = ra.TaylorTerms(np.array([[1, 1]]), jnp.ones(1))
    with pytest.raises(ValueError, match=r"shares: expected shape \(1, 2\), got \(1, 3\)"):
        ra.reallocate(terms, np.ones((1, 3)))
