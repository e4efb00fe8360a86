"""Leading eigenvalues of linear maps that are applied and never written out, by Arnoldi's iteration with blocks."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxrg.rg.tensor.contraction import matmul


class Leading(NamedTuple):
    """The eigenvalues of largest size, falling.

    Attributes:
        values: ``[num_values]`` complex.
        vectors: ``[num_values, size]`` complex, of norm one.
    """

    values: Array
    vectors: Array


def num_vectors(size: int, block: int, num_blocks: int) -> int:
    """Vectors that the iteration keeps."""
    return min(size, block * num_blocks)


def leading(
    matvec: Callable[[Array], Array], size: int, num_values: int, dtype: jnp.dtype, *, block: int, num_blocks: int
) -> Leading:
    """Eigenvalues from so many products with a block of vectors; of equal ones as many as a block has vectors.

    A map of no more than as many numbers is written out.
    """
    total = num_vectors(size, block, num_blocks)
    width = block if total < size else size
    keys = jax.random.split(jax.random.key(0), total // width + 1)
    small = 100 * float(jnp.finfo(dtype).eps)

    def drawn(key: Array) -> Array:
        return jax.random.normal(key, (width, size), dtype)

    def orthogonal(rows: Array) -> tuple[Array, Array]:
        vectors, mixed = jnp.linalg.qr(rows.T)
        return vectors.T, mixed

    def step(state: tuple[Array, Array], index: Array) -> tuple[tuple[Array, Array], None]:
        basis, matrix = state
        rows = lax.map(matvec, lax.dynamic_slice_in_dim(basis, index * width, width))
        inside = matmul(basis, rows.T)
        scale = jnp.linalg.norm(rows)
        vectors, mixed = orthogonal(rows - matmul(inside.T, basis))
        is_lost = jnp.abs(jnp.diag(mixed)) <= small * scale  # the space is invariant already
        vectors, mixed = (
            jnp.where(is_lost[:, None], drawn(keys[index + 1]), vectors),
            jnp.where(is_lost[:, None], 0, mixed),
        )
        again = matmul(basis, vectors.T)
        vectors, turned = orthogonal(vectors - matmul(again.T, basis))
        column = inside + matmul(again, mixed)
        column = lax.dynamic_update_slice_in_dim(column, matmul(turned, mixed), (index + 1) * width, 0)
        matrix = lax.dynamic_update_slice_in_dim(matrix, column, index * width, 1)
        return (lax.dynamic_update_slice_in_dim(basis, vectors, (index + 1) * width, 0), matrix), None

    basis = jnp.zeros((total + width, size), dtype).at[:width].set(orthogonal(drawn(keys[0]))[0])
    steps = jnp.arange(total // width, dtype=jnp.int32)
    (basis, matrix), _ = lax.scan(step, (basis, jnp.zeros((total + width, total), dtype)), steps)
    values, mixtures = jnp.linalg.eig(matrix[:total])
    order = jnp.argsort(-jnp.abs(values))[:num_values]
    return Leading(values[order], matmul(mixtures[:, order].T, basis[:total].astype(values.dtype)))
