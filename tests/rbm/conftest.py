"""Small machines and their energies from the definition, for every test of this folder."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rbm


def _random_machine(seed: int, num_visible: int = 5, num_hidden: int = 3, scale: float = 0.7) -> rbm.RBM:
    generator = np.random.default_rng(seed)
    shapes = (num_visible, num_hidden), (num_visible,), (num_hidden,)
    return rbm.RBM(*(jnp.asarray(scale * generator.normal(size=shape)) for shape in shapes))


def _reference_energies(machine: rbm.RBM) -> np.ndarray:
    weights, visible_bias, hidden_bias = map(np.asarray, machine[:3])
    num_visible, num_hidden = weights.shape
    table = np.zeros((2**num_visible, 2**num_hidden))
    for (i, v), (j, h) in itertools.product(_states(num_visible), _states(num_hidden)):
        table[i, j] = -(visible_bias @ v) - hidden_bias @ h - v @ weights @ h
    return table


def _states(num_units: int):
    """Index and spins of every state: spin k is +1 where bit k of the index is set."""
    return [
        (index, np.array([1.0 if index >> k & 1 else -1.0 for k in range(num_units)])) for index in range(2**num_units)
    ]


def _log_sum_exp(values: np.ndarray) -> float:
    # An exactly rounded sum, so that the reference has no error of its own.
    peak = values.max()
    return peak + math.log(math.fsum(np.exp(values - peak).ravel()))


@pytest.fixture(scope="session")
def random_machine():
    """``random_machine(seed, num_visible, num_hidden, scale)``: no symmetry, in the default float."""
    return _random_machine


@pytest.fixture(scope="session")
def reference_energies():
    """E(v, h) of all configurations of a machine, ``[2**num_visible, 2**num_hidden]``, state by state in numpy."""
    return _reference_energies


def _excess_chi_squared(counts: np.ndarray, expected: np.ndarray) -> float:
    is_rare = expected < 5  # too few for a normal limit: one cell together
    cells = [*zip(counts[~is_rare], expected[~is_rare], strict=True), (counts[is_rare].sum(), expected[is_rare].sum())]
    assert cells[-1][1] > 0 or cells[-1][0] == 0
    terms = [(float(count) - float(mean)) ** 2 / float(mean) for count, mean in cells if mean > 0]
    return (sum(terms) - (len(terms) - 1)) / math.sqrt(2 * (len(terms) - 1))


@pytest.fixture(scope="session")
def excess_chi_squared():
    """Chi squared of counts over its expectation, in its standard deviations; cells below 5 are pooled."""
    return _excess_chi_squared


@pytest.fixture(scope="session")
def log_sum_exp():
    """Log of a sum of exponentials in float64 with an exactly rounded sum."""
    return _log_sum_exp
