"""Block-spin transformations of configurations; `jaxrg.rg.kernels` has the same rules for exact sums."""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg import random
from jaxrg.checks import check_spins
from jaxrg.lattice import block_shape, to_blocks


def majority(key: Array, spins: Array, block: int = 2) -> Array:
    """Majority rule: each block takes the sign of its sum; ties are broken by a fair coin for each block.

    Args:
        key: typed key of the coins.
        spins: ``[*shape]`` ±1.
        block: side of a block, a divisor of every side.

    Returns:
        ``[*coarse_shape]`` int8.

    Raises:
        ValueError: a side is not a multiple of ``block``.
    """
    check_spins("spins", spins)
    return _majority(key, spins, block)


@functools.partial(jax.jit, static_argnums=2)
def _majority(key: Array, spins: Array, block: int) -> Array:
    sums = jnp.sum(to_blocks(spins, block), axis=-1, dtype=jnp.int32)
    sites = jnp.arange(sums.size, dtype=jnp.uint32).reshape(sums.shape)
    coin = random.bernoulli(key, sites, jnp.full(sums.shape, 0.5, jnp.float32))
    is_up = (sums > 0) | ((sums == 0) & coin)
    return jnp.where(is_up, 1, -1).astype(jnp.int8)


def decimate(spins: Array, block: int = 2) -> Array:
    """Keep the first site of every block.

    Raises:
        ValueError: a side is not a multiple of ``block``.
    """
    block_shape(spins.shape, block)
    return spins[tuple(slice(None, None, block) for _ in spins.shape)]
