"""HOTRG with two states against its closed form, a map of four entries.

Leg 1 is odd, T_0000 = 1, and reflections leave (left right, up down, a corner, all four) = (a, b, c, d). Of two tensors
joined by their vertical legs the states kept are 00 cos φ + 11 sin φ and (01 + 10)/√2, with φ from the even block of
the Gram matrix.
"""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rg
from jaxrg.rg import tensor as networks

pytestmark = pytest.mark.usefixtures("x64")

LEGS = {"a": [(1, 0, 1, 0)], "b": [(0, 1, 0, 1)], "c": [(1, 1, 0, 0), (0, 1, 1, 0), (0, 0, 1, 1), (1, 0, 0, 1)]}
START = np.array([0.3, 0.3, 0.43, 0.28])


def closed_form(entries):
    """One joining, then the axes are exchanged."""
    a, b, c, d = entries
    outer = 1 + b**4 + 2 * c**4 + 2 * c**2 * (1 + b**2)
    inner = a**4 + d**4 + 2 * c**4 + 2 * c**2 * (a**2 + d**2)
    mixed = c**2 * (1 + a**2 + b**2 + d**2 + 2 * a * b + 2 * d)
    angle = np.arctan2(2 * mixed, outer - inner) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    norm = cos**2 + sin**2 * a**2 + 2 * cos * sin * c**2
    down = cos**2 * b**2 + sin**2 * d**2 + 2 * cos * sin * c**2
    corner = c * (cos * (1 + b) + sin * (a + d)) / np.sqrt(2)
    return np.stack([down, a + c**2, corner, b * d + c**2]) / norm


def of_library(num_steps, entries):
    tensor = jnp.zeros((2, 2, 2, 2)).at[0, 0, 0, 0].set(1.0).at[1, 1, 1, 1].set(entries[3])
    for value, legs in zip(entries, LEGS.values(), strict=False):
        tensor = tensor.at[tuple(np.transpose(legs))].set(value)
    flow = networks.hotrg(networks.Tensor(tensor, num_sites=1.0), 2, num_steps)
    found = jnp.stack([flow.tensor.entries[legs[0]] for legs in [*LEGS.values(), [(1, 1, 1, 1)]]])
    return jnp.abs(found) / flow.tensor.entries[0, 0, 0, 0]  # a state may come with either sign


@pytest.mark.parametrize("num_steps", [1, 2])
@pytest.mark.parametrize("entries", [[0.4, 0.3, 0.35, 0.2], [0.41, 0.41, 0.41, 0.41**2], [0.1, 0.6, 0.3, 0.05]])
def test_entries(num_steps, entries):
    expected = np.array(entries)
    for _ in range(num_steps):
        expected = closed_form(expected)
    np.testing.assert_allclose(of_library(num_steps, jnp.array(entries)), expected, rtol=1e-12)


def test_fixed_point_and_exponent():
    """The closed form linearised by central differences at Newton's fixed point of the library's block."""
    found = rg.fixed_point(functools.partial(of_library, 2), START)
    star = np.asarray(found.couplings)
    np.testing.assert_allclose(closed_form(star), star, rtol=1e-13)
    shifts = 1e-5 * np.eye(4)
    block = lambda entries: closed_form(closed_form(entries))  # noqa: E731
    slopes = np.stack([(block(star + shift) - block(star - shift)) / 2e-5 for shift in shifts], axis=1)
    np.testing.assert_allclose(found.matrix, slopes, atol=1e-9)
    exponent = rg.scaling(found.matrix, 2).exponents[0].real
    assert float(1 / exponent) == pytest.approx(0.9626375, abs=1e-7)
    one_step = rg.fixed_point(functools.partial(of_library, 1), START)
    np.testing.assert_allclose(rg.scaling(one_step.matrix, np.sqrt(2)).exponents[0].real, exponent, rtol=1e-9)


def test_critical_coupling():
    """The closed form bisected; the library's flow ends in one phase below it and in two above."""
    low, high = 0.3, 0.6
    while high - low > 1e-9:
        middle = (low + high) / 2
        entries = np.tanh(middle) ** np.array([1, 1, 1, 2])
        for _ in range(60):
            entries = closed_form(entries)
        low, high = (low, middle) if entries[0] > 0.5 else (middle, high)
    assert low == pytest.approx(0.399421, abs=1e-6)
    tensors = [networks.hotrg(networks.ising_tensor(k), 2, 40).tensor for k in (low - 1e-4, high + 1e-4)]
    traces = [np.einsum("luLU,lL,uU->", each.entries, np.eye(2), np.eye(2)) for each in tensors]
    np.testing.assert_allclose(traces, [1, np.sqrt(2)], atol=1e-3)
