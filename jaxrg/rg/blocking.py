"""Block-spin transformations of configurations; `jaxrg.rg.kernels` has the same rules for exact sums."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg import random
from jaxrg.checks import as_array, as_count, as_sides, as_spins, check_key
from jaxrg.lattice import block_shape, to_blocks


def _as_side(name: str, spins: Array, block: int | Sequence[int]) -> int:
    """The side of the blocks of one configuration, whose rank ``block`` has to say: an axis of a batch is no side."""
    sides = as_sides("block", block) if isinstance(block, Sequence) else (as_count("block", block),) * 2
    if len(set(sides)) != 1:
        raise ValueError(f"block: expected equal sides, got {sides}")
    if spins.ndim != len(sides):
        raise ValueError(
            f"{name}: expected one configuration with {len(sides)} axes, as blocks {sides} have, got shape "
            f"{tuple(spins.shape)}; use jax.vmap over a batch, and give blocks of another rank as a tuple such as "
            f"{(sides[0],) * max(spins.ndim, 1)}"
        )
    block_shape(spins.shape, sides[0])
    return sides[0]


def majority(key: Array | None, spins: Array, block: int | Sequence[int] = 2) -> Array:
    """Majority rule: each block takes the sign of its sum; ties are broken by a fair coin for each block.

    Args:
        key: typed key of the coins. With None a tie takes the first site of its block: a rule without chance, which
            commutes with the flip of all spins too, for an ``observe`` of `jaxrg.samplers.run`, which gets no key.
        spins: ``[*shape]`` ±1, one configuration.
        block: side of the square blocks of a lattice of two dimensions; of others a tuple with an equal side for each.

    Returns:
        ``[*coarse_shape]`` int8; 0 where, inside a jit, a spin of the block is not ±1.

    Raises:
        ValueError: spins that are not ±1 or have other axes than the blocks, or a side that is no multiple of them.

    Example:
        >>> majority(None, jnp.array([[1, 1, 1, -1], [1, -1, -1, -1]])).tolist()
        [[1, -1]]
        >>> majority(None, jnp.array([1, -1, -1, -1]), (2,)).tolist()  # a tie, and a majority
        [1, -1]
    """
    if key is not None:
        check_key("key", key)
    spins = as_spins("spins", spins)
    return _majority(key, spins, _as_side("spins", spins, block))


@functools.partial(jax.jit, static_argnums=2)
def _majority(key: Array | None, spins: Array, block: int) -> Array:
    blocks = to_blocks(spins, block)
    sums = jnp.sum(blocks.astype(jnp.int32), axis=-1)
    if key is None:
        is_up_at_ties = blocks[..., 0] > 0
    else:
        sites = jnp.arange(sums.size, dtype=jnp.uint32).reshape(sums.shape)
        is_up_at_ties = random.bernoulli(key, sites, jnp.full(sums.shape, 0.5, jnp.float32))
    is_up = (sums > 0) | ((sums == 0) & is_up_at_ties)
    are_spins = jnp.all((blocks == 1) | (blocks == -1), axis=-1)
    return jnp.where(are_spins, jnp.where(is_up, 1, -1), 0).astype(jnp.int8)


def decimate(spins: Array, block: int | Sequence[int] = 2) -> Array:
    """Keep the first site of every block.

    Args:
        spins: ``[*shape]`` of any values, one configuration.
        block: side of the square blocks of a lattice of two dimensions; of others a tuple with an equal side for each.

    Returns:
        ``[*coarse_shape]`` of the dtype of the spins.

    Raises:
        ValueError: other axes than the blocks have, or a side that is no multiple of them.
    """
    spins = as_array("spins", spins)
    return first_sites(spins, _as_side("spins", spins, block))


@functools.partial(jax.jit, static_argnums=1)
def first_sites(spins: Array, block: int) -> Array:
    """The first site of every block, in any number of dimensions."""
    return spins[tuple(slice(None, None, block) for _ in spins.shape)]
