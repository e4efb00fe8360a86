"""Derivatives of truncated decompositions where values are degenerate, lost, or beyond what is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.rg.tensor import decompositions

pytestmark = pytest.mark.usefixtures("x64")


def path(size, num_values):
    """A matrix of falling values, the first two alike, or of that rank, as it moves along a line."""
    random = np.random.default_rng(size)
    left, right, turn, other = (np.linalg.qr(random.normal(size=(size, size)))[0] for _ in range(4))
    values = np.where(np.arange(size) < num_values, 0.7 ** np.arange(size), 0.0)
    values[1] = values[0]
    bend = jnp.asarray((turn - turn.T) / 2), jnp.asarray((other - other.T) / 2)

    def matrix(t):
        return (jnp.eye(size) + 0.1 * t * bend[0]) @ (left * values @ right.T * (1 + t)) @ (jnp.eye(size) + t * bend[1])

    return matrix


CASES = [  # size, values that are not zero, rank, weights; 64 goes by subspace iteration, 12 in full
    (64, 64, 6, True),
    (12, 3, 5, True),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in [(64, 64, 6, False), (64, 5, 6, True), (12, 12, 4, False)]
    ),
]


@pytest.mark.parametrize(("size", "num_values", "rank", "is_weighted"), CASES)
def test_derivatives_of_a_split(size, num_values, rank, is_weighted):
    """First and second, and backward, of full rank and with values that vanish; two values are alike."""
    matrix = path(size, num_values)

    def measures(t):
        halves = decompositions.split(matrix(t), rank, is_weighted=is_weighted)
        weight = halves.half_weight @ halves.half_weight
        kept = halves.left @ weight @ halves.right.T
        return jnp.stack([jnp.sum(jnp.sin(kept)), jnp.sum((halves.left.T @ halves.left) ** 2), jnp.sum(weight**2)])

    @jax.jit
    def jet(t):
        (value, slope), (_, curvature) = jax.jvp(lambda t: jax.jvp(measures, (t,), (1.0,)), (t,), (1.0,))
        return jnp.stack([value, slope, curvature])

    step = 1e-4
    before, found, after = (np.asarray(jet(shift)) for shift in (-step, 0.0, step))
    np.testing.assert_allclose(found[1:], (after - before)[:2] / (2 * step), rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.jacrev(measures))(0.0), found[1], rtol=1e-9, atol=1e-12)


def test_subspace_iteration_is_the_decomposition():
    matrix = path(64, 64)(0.0)
    left, core, right = decompositions.truncated_svd(matrix, 6)
    truth = np.linalg.svd(np.asarray(matrix))
    np.testing.assert_allclose(jnp.diag(core), truth[1][:6], rtol=1e-13)
    np.testing.assert_allclose(left @ core @ right.T, truth[0][:, :6] * truth[1][:6] @ truth[2][:6], atol=1e-13)


def test_a_multiplet_that_is_cut_has_a_finite_derivative():
    cut = jax.jvp(lambda t: decompositions.split(jnp.eye(3) + t * jnp.ones((3, 3)), 2).left, (0.0,), (1.0,))[1]
    assert np.all(np.isfinite(cut))
