"""Attributions where a difference vanishes, of numbers of any type, and with outputs that are none."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.explain import attributions as at
from jaxrg.explain import reallocations as ra
from jaxrg.interactions.masking import ALWAYS_PRESENT

ZERO = np.zeros(2, np.float32)


def dense(weight, bias, activation=at.identity):
    return at.Layer(np.asarray(weight, np.float32), np.asarray(bias, np.float32), activation)


def square(y):
    return y * (1 + y)


# f = 3 (x0 + x1), and f = 2 tanh(x0 + x1 + 0.3): their inputs cancel in the hidden unit.
LINEAR = [dense([[1], [1]], [0]), dense([[3]], [0])]
TANH = [dense([[1], [1]], [0.3], jnp.tanh), dense([[2]], [0])]
# f = 2 (y + y^2) with y = x0 + x1 + 0.25, of slope 2 (1 + 2 y) = 3 at the baseline.
SQUARE = [dense([[1], [1]], [0.25]), dense([[1]], [0], square), dense([[2]], [0])]
SHARES = {
    "rescale": ra.fixed_shares(ra.integrated_shares),
    "reveal cancel": ra.reveal_cancel_shares,
    "deep shap": ra.fixed_shares(ra.shapley_shares),
}


def by_difference(name, layers, sample, output=0):
    if name == "deep shap":
        return at.deep_shap(layers, sample, ZERO[None], output=output)
    if name == "rescale":
        return at.deeplift_rescale(layers, sample, ZERO, output=output)
    if name == "reveal cancel":
        return at.deeplift_reveal_cancel(layers, sample, ZERO, output=output)
    return ra.reallocate_differences(
        layers, sample, ZERO, output=output, shares=SHARES[name.removeprefix("reallocated ")], max_degree=2
    )


DIFFERENCES = [*SHARES, *(f"reallocated {name}" for name in SHARES)]


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_chain_goes_on_through_a_unit_that_does_not_differ(name):
    found = by_difference(name, LINEAR, np.array([1.0, -1.0]))
    np.testing.assert_allclose(found.values, [3.0, -3.0], rtol=1e-6)
    assert abs(float(found.completeness_gap)) < 1e-6
    np.testing.assert_allclose(by_difference(name, SQUARE, np.array([1.0, -1.0])).values, [3.0, -3.0], rtol=1e-6)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_and_is_continuous_there(name):
    """A hidden unit that differs by a few units in the last place has the multiplier of one that does not."""
    for last in (-0.9999999, -0.999999, -0.9999, -0.99):
        change = 1 + float(np.float32(last))
        slope = 2 * (1 + 2 * 0.25 + change)  # of the mean over the way, of a square
        found = by_difference(name, SQUARE, np.array([1.0, last]))
        np.testing.assert_allclose(found.values, slope * np.array([1, last]), rtol=3e-5)


def test_a_difference_lost_in_rounding_is_a_derivative():
    at_zero = 2 * (1 - math.tanh(0.3) ** 2)
    for last in (-1.0, -0.9999999, -0.999999):
        for name in ("rescale", "deep shap"):
            if name == "deep shap" and last == -0.999999:
                continue  # of one layer its inputs differ by much, and nothing is lost
            layers = TANH if name == "rescale" else [dense([[1], [1]], [0.3]), dense([[1]], [0], jnp.tanh), TANH[1]]
            found = by_difference(name, layers, np.array([1.0, last]))
            np.testing.assert_allclose(found.values, [at_zero, -at_zero], rtol=3e-6)


@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.relu, jax.nn.relu6, jax.nn.softplus])
def test_rescale_multipliers_of_any_step(activation):
    """Against differences in float64 of the same float32 places; relu and relu6 have kinks, also inside of a step."""
    exact = {
        jnp.tanh: np.tanh,
        jax.nn.relu: lambda y: np.maximum(y, 0),
        jax.nn.relu6: lambda y: np.clip(y, 0, 6),
        jax.nn.softplus: lambda y: np.log1p(np.exp(y)),
    }[activation]
    starts, steps = np.meshgrid(
        np.float32([0, 0.3, -2, -10]), np.float32([1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 10, 17])
    )
    starts, steps = starts[starts + steps != starts], steps[starts + steps != starts]
    starts64, changes = starts.astype(np.float64), (starts + steps).astype(np.float64) - starts
    slopes = (exact(starts64 + changes) - exact(starts64)) / changes

    @jax.jit
    @jax.vmap
    def multipliers(start, change):
        layers = [at.Layer(jnp.ones((1, 1)), start[None], activation)]
        return at.deeplift_rescale(layers, change[None], jnp.zeros(1), output=0).values[0] / change

    # XLA's tanh is a rational function, which ends 1.8e-7 below one where the compiler joins no products and sums.
    np.testing.assert_allclose(multipliers(starts, changes.astype(np.float32)), slopes, rtol=2e-4, atol=4e-7)


def test_relevance_goes_on_through_a_unit_that_is_zero():
    """LRP-0 without biases is the gradient times the input, also where a hidden sum is 0."""
    for found in (
        at.lrp_epsilon(LINEAR, np.array([1.0, -1.0]), output=0),
        ra.reallocate_relevance(LINEAR, np.array([1.0, -1.0]), output=0, shares=ra.epsilon_shares(), max_degree=1),
    ):
        np.testing.assert_allclose(found.values, [3.0, -3.0], rtol=1e-6)
    # Whatever is not linear has the derivative at zero: f = 2 (y + y^2), y = x0 + x1.
    layers = [dense([[1], [1]], [0]), dense([[1]], [0], square), dense([[2]], [0])]
    np.testing.assert_allclose(at.lrp_epsilon(layers, [1.0, -1.0], output=0).values, [2.0, -2.0], rtol=1e-6)
    # With ε a sum of 0 keeps nothing of a relevance of 0.
    assert not np.any(at.lrp_epsilon(LINEAR, [1.0, -1.0], output=0, epsilon=0.1).values)


def test_a_unit_of_reveal_cancel_that_does_not_differ_has_the_mean_of_both_sides():
    """σ = y^3 of y = 1 - 2 + 0 from 0. Plus: [σ(1) - σ(0)] and [σ(-1) - σ(-2)], mean 4; minus: [σ(-2) - σ(0)] / -2
    and [σ(-1) - σ(1)] / -2, mean 2.5; the mean of both is 3.25."""
    into = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]
    layers = [dense(into, np.zeros(3)), dense([[1], [1], [1]], [0], lambda y: y * y * y)]
    given = layers, np.array([1.0, -2.0, 1.0, -1.0]), np.zeros(4)
    expected = [4.0, -5.0, 3.25, -3.25]
    np.testing.assert_allclose(at.deeplift_reveal_cancel(*given, output=0).values, expected, rtol=1e-6)
    terms = ra.reallocate_differences(*given, output=0, shares=ra.reveal_cancel_shares, max_degree=3)
    np.testing.assert_allclose(terms.values, expected, rtol=1e-5)


FUNCTIONS = {
    "shapley": at.shapley,
    "integrated": at.integrated_gradients,
    "occlusion": at.occlusion,
    "patch": lambda f, x, b: at.occlusion_patch(f, x, b, [0, 1]),
    "gradient": at.gradient_times_input,
    "expected": lambda f, x, b: at.expected_gradients(f, x, [b, b]),
    "difference": lambda f, x, b: at.prediction_difference(f, x, [b, b]),
}
# Of f = x0 + 2 x1 + x0 x1 at (1, 2) about 0, by hand.
EXPECTED = {
    "shapley": [2, 5],
    "integrated": [2, 5],
    "occlusion": [3, 6],
    "patch": [3, 6],
    "gradient": [3, 6],
    "expected": [2, 5],
    "difference": [3, 6],
}


def product(x):
    return x[0] + 2 * x[1] + x[0] * x[1]


FORMS = {
    "list": lambda numbers: numbers,
    **{name: lambda numbers, name=name: np.array(numbers, name) for name in ("float64", "int8", "uint8", "int64")},
    **{name: lambda numbers, name=name: jnp.array(numbers, name) for name in ("int32", "float16", "bfloat16")},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numbers_of_any_type_are_numbers(name):
    for form in FORMS.values():
        found = FUNCTIONS[name](product, form([1, 2]), form([0, 0]))
        assert found.values.dtype == jnp.float32
        np.testing.assert_allclose(found.values, EXPECTED[name], rtol=1e-5)
        gap = sum(EXPECTED[name]) - 7  # f(1, 2) = 7
        assert float(found.completeness_gap) == pytest.approx(gap, abs=1e-5)


def test_booleans_are_ones_and_zeros():
    found = at.shapley(product, np.array([True, True]), np.array([False, False]))
    np.testing.assert_allclose(found.values, [1.5, 2.5], rtol=1e-6)
    layers = [at.Layer(np.array([[1], [2]]), np.array([1]), jnp.tanh), at.Layer([[3]], [0], at.identity)]
    plain = at.lrp_epsilon(layers, np.array([True, True]), output=0)
    assert float(plain.values.sum()) == pytest.approx(3 * math.tanh(4) * 3 / 4, rel=1e-6)


def test_outputs_that_are_none_are_refused_or_nan():
    two = [dense(np.ones((2, 2)), np.zeros(2))]
    methods = {
        "lrp_epsilon": lambda output: at.lrp_epsilon(two, np.ones(2), output=output),
        "deep_taylor": lambda output: at.deep_taylor(two, np.ones(2), output=output),
        "lrp_alpha_beta": lambda output: at.lrp_alpha_beta(two, np.ones(2), output=output),
        **{name: lambda output, name=name: by_difference(name, two, np.ones(2), output) for name in DIFFERENCES},
    }
    for method in methods.values():
        for output in (3, 2, -1):
            with pytest.raises(ValueError, match=f"output: expected integers from 0 to 1, got {output}"):
                method(output)
    for name in ("lrp_epsilon", "rescale"):
        traced = jax.jit(methods[name])
        np.testing.assert_allclose(traced(1).values, [1.0, 1.0], rtol=1e-6)
        for output in (3, 2, -1):
            assert np.isnan(traced(output).values).all()
            assert np.isnan(traced(output).completeness_gap)


def test_entries_of_no_patch_are_given_nothing():
    sample = np.array([1.0, 2.0, 3.0])
    found = at.occlusion_patch(jnp.sum, sample, np.zeros(3), np.array([0, ALWAYS_PRESENT, 1]))
    np.testing.assert_allclose(found.values, [1.0, 0.0, 3.0])


def test_the_gap_of_integrated_gradients_is_what_quadrature_loses():
    """Along the way from 0 to (1, 1), f = relu(x0 + x1 - 0.6) turns at t = 0.3: 1.4, half of it to each input."""
    function = lambda x: jax.nn.relu(x[0] + x[1] - 0.6)  # noqa: E731
    places, weights = np.polynomial.legendre.leggauss(64)
    quadrature = 2 * np.sum(0.5 * weights[0.5 * (places + 1) > 0.3])
    found = at.integrated_gradients(function, np.ones(2), np.zeros(2))
    assert float(found.completeness_gap) == pytest.approx(quadrature - 1.4, abs=1e-6)
    assert abs(quadrature - 1.4) > 1e-3
    finer = at.integrated_gradients(function, np.ones(2), np.zeros(2), num_nodes=400)
    assert abs(float(finer.completeness_gap)) < 2 * np.pi / 800  # the largest weight of that rule, where f' jumps by 2
    # Opposite gaps of two baselines cancel in their mean, as they do in what is returned.
    both = at.expected_gradients(function, np.ones(2), np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert float(both.completeness_gap) == pytest.approx(0.5 * (quadrature - 1.4), abs=1e-6)


def test_gradients_pass_through_attributions():
    """d/dx of (x - b) times the slope of a chord, by hand for the square: a = x (1 + x), a' = 1 + 2 x."""
    layers = [dense([[1]], [0], square)]
    for method in (
        lambda x: at.deeplift_rescale(layers, x, np.zeros(1), output=0),
        lambda x: at.deep_shap(layers, x, np.zeros((1, 1)), output=0),
        lambda x: at.integrated_gradients(lambda y: square(y)[0], x, np.zeros(1), num_nodes=4),
        lambda x: at.shapley(lambda y: square(y)[0], x, np.zeros(1)),
    ):
        slopes = jax.jit(jax.vmap(jax.grad(lambda x: method(x[None]).values[0])))  # noqa: B023
        np.testing.assert_allclose(slopes(jnp.array([0.0, 1e-7, 0.5])), [1.0, 1.0, 2.0], atol=1e-5)


def test_what_is_no_number_is_refused():
    for function, message in (
        (lambda x: x, r"function: expected one number of an input, got shape \(2,\)"),
        (lambda x: jnp.int32(3), "function: expected a floating number"),
        (3, "function: expected a function of one input, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            at.integrated_gradients(function, np.ones(2), np.zeros(2))
    with pytest.raises(ValueError, match=r"sample: expected one input \[n\] with n >= 1"):
        at.shapley(jnp.sum, np.ones((2, 2)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"backgrounds: expected \[1 or more, 2\], got shape \(2,\)"):
        at.expected_gradients(jnp.sum, np.ones(2), np.zeros(2))
    with pytest.raises(ValueError, match="epsilon: expected a number of at least 0, got -1"):
        at.lrp_epsilon(LINEAR, np.ones(2), output=0, epsilon=-1.0)
    with pytest.raises(ValueError, match=r"layers: expected 3 inputs to layer 1, got 1"):
        at.forward([LINEAR[0], dense(np.ones((3, 1)), [0])], np.ones(2))
