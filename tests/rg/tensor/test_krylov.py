"""Arnoldi's iteration against all eigenvalues of dense matrices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.rg.tensor.krylov import leading, num_vectors

pytestmark = pytest.mark.usefixtures("x64")


@functools.partial(jax.jit, static_argnames="num_values")
def found_in(matrix, num_values):
    matvec = lambda vector: matrix @ vector  # noqa: E731
    return leading(matvec, len(matrix), num_values, matrix.dtype, block=3, num_blocks=12)


@pytest.mark.parametrize(("size", "rank"), [(2, 2), (7, 7), (36, 5), (60, 9)])
def test_values_and_vectors(size, rank):
    """Also where the blocks span everything, or the image is smaller than they are."""
    random = np.random.default_rng(size)
    matrix = random.normal(size=(size, rank)) @ random.normal(size=(rank, size))
    found = found_in(jnp.asarray(matrix), 2)
    expected = np.sort(np.abs(np.linalg.eigvals(matrix)))[::-1][:2]
    np.testing.assert_allclose(np.abs(found.values), expected, rtol=1e-10)
    for value, vector in zip(np.asarray(found.values), np.asarray(found.vectors), strict=True):
        np.testing.assert_allclose(matrix @ vector, value * vector, atol=1e-9 * abs(value))
        np.testing.assert_allclose(np.linalg.norm(vector), 1, rtol=1e-12)


def test_eigenvalues_alike_are_found_as_often_as_they_are():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(50, 50)))[0]
    values = np.append([3, 3, 3, 2, 2, 1], np.linspace(0, 0.5, 44))
    found = found_in(jnp.asarray(turn * values @ turn.T), 6)
    np.testing.assert_allclose(found.values, [3, 3, 3, 2, 2, 1], rtol=1e-6)


def test_vectors_kept():
    assert [num_vectors(size, 4, 16) for size in (2, 6, 16, 1000)] == [2, 6, 16, 64]
