"""Splines on inputs that break others: exact knots, ends, far outside, huge and tiny parameters; and on the circle."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.flows import bijectors
from jaxrg.flows.bijectors.splines import MIN_SHARE

NUM_BINS = 8
BOUND = 4.0
HUGE = np.finfo(np.float32).max
TINY = np.finfo(np.float32).smallest_subnormal
INPUTS = [
    0.0,
    -0.0,
    TINY,
    1.0,
    1.0 + 2**-23,
    1.0 - 2**-24,
    BOUND,
    -BOUND,
    4.0 - 2**-22,
    4.0 + 2**-21,
    -7.0,
    1e30,
    -HUGE,
    HUGE,
]
SIZES = [0.0, TINY, 1e-8, 1.0, 30.0, 1e4, 1e30, HUGE]
NUM_LANES = len(INPUTS) * len(SIZES)


def spline(outputs, *, is_circular=False):
    """A spline of one feature, with these outputs ``[outputs, lanes]`` of its conditioner."""
    if is_circular:
        return bijectors.circular_spline_coupling((2,), [True, False], lambda kept: outputs, num_bins=NUM_BINS)
    return bijectors.spline_coupling((2,), [True, False], lambda kept: outputs, num_bins=NUM_BINS, bound=BOUND)


def both_ways(values, outputs, *, is_circular=False):
    """As `_both_ways`, of fewer lanes with the program of many."""
    values = jnp.asarray(values, jnp.float32)
    rest = NUM_LANES - values.size
    found = _both_ways(jnp.pad(values, (0, rest)), jnp.pad(outputs, ((0, 0), (0, rest))), is_circular=is_circular)
    return jax.tree.map(lambda leaf: leaf[..., : values.size], found)


@functools.partial(jax.jit, static_argnames=("is_circular",), compiler_options={"xla_backend_optimization_level": 0})
def _both_ways(values, outputs, *, is_circular):
    """Values and log-determinants of both directions, and gradients of all four in values and outputs."""

    def of(direction, values, outputs):
        layer = spline(outputs, is_circular=is_circular)
        event, log_det = getattr(layer, direction)((), jnp.stack([jnp.zeros_like(values), values]))
        return event[1], log_det

    results, gradients = [], []
    for direction in ("forward", "inverse"):
        found, pull = jax.vjp(functools.partial(of, direction), values, outputs)
        ones, zeros = jnp.ones_like(values), jnp.zeros_like(values)
        results += found
        gradients += [pull((ones, zeros)), pull((zeros, ones))]
    return results, gradients


def adversaries(num_outputs):
    """``[lanes]`` inputs and ``[outputs, lanes]`` parameters, every size with every input."""
    rng = np.random.default_rng(0)
    pairs = list(itertools.product(INPUTS, SIZES))
    signs = rng.choice([-1.0, 0.0, 1.0], (num_outputs, len(pairs)))
    sizes = np.array([size for _, size in pairs])
    return jnp.asarray([value for value, _ in pairs], jnp.float32), jnp.asarray(signs * sizes, jnp.float32)


@pytest.mark.parametrize("is_circular", [False, True])
def test_no_number_gives_nan(is_circular):
    values, outputs = adversaries(3 * NUM_BINS + (1 if is_circular else -1))
    results, gradients = both_ways(values, outputs, is_circular=is_circular)
    for leaf in jax.tree.leaves((results, gradients)):
        assert np.all(np.isfinite(leaf))
    for log_det in results[1::2]:  # slopes are bounded by what bins and knots allow
        assert np.max(np.abs(log_det)) < 2 * math.log(2e6)
    if not is_circular:
        outside = np.abs(values) > BOUND
        np.testing.assert_array_equal(results[0][outside], values[outside])
        assert np.all(np.abs(results[0][~outside]) <= BOUND * (1 + 1e-6))


def test_what_is_no_number_stays_none():
    values = jnp.array([jnp.nan, jnp.inf, -jnp.inf, 1.0])
    outputs = jnp.zeros((3 * NUM_BINS - 1, 4)).at[3, 3].set(jnp.nan)
    results, _ = both_ways(values, outputs)
    for value, log_det in (results[:2], results[2:]):
        assert np.isnan(value[0])
        assert np.isnan(log_det[0])
        assert value[1] == jnp.inf
        assert value[2] == -jnp.inf
        assert np.isnan(value[3])


def test_zero_outputs_are_the_identity_on_knots_and_between():
    values = jnp.concatenate([jnp.linspace(-5.0, 5.0, 11), jnp.array([0.3, -2.7, 3.999])])
    results, _ = both_ways(values, jnp.zeros((3 * NUM_BINS - 1, values.size)))
    np.testing.assert_allclose(results[0], values, atol=1e-6)
    np.testing.assert_allclose(results[2], values, atol=1e-6)
    np.testing.assert_allclose(results[1], 0, atol=1e-6)


def test_it_rises_through_its_knots_and_comes_back():
    """On a grid that holds every knot and its neighbours in float32."""
    outputs = 0.7 * jax.random.normal(jax.random.key(0), (3 * NUM_BINS - 1,))
    shares = MIN_SHARE + (1 - NUM_BINS * MIN_SHARE) * np.asarray(jax.nn.softmax(outputs[:NUM_BINS]))
    knots = np.asarray([-BOUND, *BOUND * (2 * np.cumsum(shares)[:-1] - 1), BOUND], np.float32)
    near = [np.nextafter(knots, np.float32(side)) for side in (-9, 9)]
    values = np.sort(np.concatenate([knots, *near, np.linspace(-4.5, 4.5, 80, dtype=np.float32)]))
    repeated = jnp.broadcast_to(outputs[:, None], (outputs.size, values.size))
    (there, log_det, *_), gradients = both_ways(jnp.asarray(values), repeated)
    (_, _, back, log_det_back), gradients_back = both_ways(there, repeated)
    # Knots are where they are to a few last digits, which a slope takes from one axis to the other.
    slope = np.exp(np.asarray(log_det))
    assert np.all(np.abs(back - values) <= 2e-6 * (1 + 1 / slope))
    assert np.all(np.diff(there) > -2e-6 * (1 + slope[1:]))
    np.testing.assert_allclose(log_det_back, -log_det, atol=1e-4)
    np.testing.assert_allclose(gradients[0][0], slope, rtol=2e-4)
    np.testing.assert_allclose(gradients_back[2][0], np.exp(log_det_back), rtol=2e-4)


def test_the_circle_has_no_seam():
    """Values and slopes meet at minus and plus pi, whatever the parameters; whole turns change nothing."""
    outputs = jnp.broadcast_to(2 * jax.random.normal(jax.random.key(1), (3 * NUM_BINS + 1, 1)), (3 * NUM_BINS + 1, 4))
    values = jnp.array([-math.pi, math.pi, 1.3, 1.3 - 4 * math.pi], jnp.float32)
    (there, log_det, back, _), _ = both_ways(values, outputs, is_circular=True)
    for found in map(np.asarray, (there, back)):
        np.testing.assert_allclose(np.exp(1j * found[::2]), np.exp(1j * found[1::2]), atol=2e-5)
    np.testing.assert_allclose(log_det[::2], log_det[1::2], atol=2e-5)
    assert abs(there[0]) < 3.1  # pi itself is moved


def test_the_other_angles_matter_modulo_a_turn():
    layer = bijectors.circular_spline_coupling((2,), [True, False], bijectors.perceptron((4,)), num_bins=4)
    params = layer.init(jax.random.key(0))
    moved = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(1), leaf.shape), params)
    kept = jnp.array([0.5, 0.5 - 2 * math.pi, 1.0])
    (_, changed), _ = layer.forward(moved, jnp.stack([kept, jnp.full(3, 0.2)]))
    np.testing.assert_allclose(changed[0], changed[1], atol=1e-5)
    assert abs(changed[0] - changed[2]) > 1e-3
