"""Block-spin transformations of configurations; `jaxrg.rg.kernels` has the same rules for exact sums."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg import random
from jaxrg.checks import (
    as_array,
    as_count,
    as_floating,
    as_floating_alike,
    as_parameter,
    as_sides,
    as_spins,
    check_key,
    check_shape,
    is_traced,
)
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


def as_strength(parameter: Array | float) -> Array:
    """Kadanoff's p as a scalar, which may be infinite.

    Raises:
        ValueError: no real number, or NaN.
    """
    strength = as_floating("parameter", parameter)
    check_shape("parameter", strength, ())
    if not is_traced(strength) and np.isnan(np.asarray(strength)):
        raise ValueError("parameter: expected a number or infinity, got nan")
    return strength


def tilt(parameter: Array, sums: Array) -> Array:
    """p times sums of spins; a tie is one for every p, also an infinite one."""
    values = sums.astype(parameter.dtype)
    is_tie = sums == 0
    return jnp.where(is_tie, 0, parameter * jnp.where(is_tie, 1, values))


def kadanoff(key: Array, spins: Array, parameter: Array | float, block: int | Sequence[int] = 2) -> Array:
    r"""Coarse spins drawn from Kadanoff's kernel, :math:`P(h_B = 1) = 1 / (1 + \exp(-2p \sum_{i \in B} s_i))`.

    Args:
        key: typed key.
        spins: ``[*shape]`` ±1, one configuration.
        parameter: scalar p, traced; infinity gives the majority rule with coins.
        block: side of the square blocks of a lattice of two dimensions; of others a tuple with an equal side for each.

    Returns:
        ``[*coarse_shape]`` int8.

    Raises:
        ValueError: as `majority`, or a parameter that is no number.

    Example:
        >>> kadanoff(jax.random.key(0), jnp.array([[1, 1, -1, -1], [1, -1, -1, 1]]), jnp.inf).tolist()
        [[1, -1]]
    """
    check_key("key", key)
    spins = as_spins("spins", spins)
    return _kadanoff(key, spins, as_strength(parameter), _as_side("spins", spins, block))


@functools.partial(jax.jit, static_argnums=3)
def _kadanoff(key: Array, spins: Array, parameter: Array, block: int) -> Array:
    sums = jnp.sum(to_blocks(spins, block).astype(jnp.int32), axis=-1)
    chances = jax.nn.sigmoid(2 * tilt(parameter, sums)).astype(jnp.float32)
    sites = jnp.arange(sums.size, dtype=jnp.uint32).reshape(sums.shape)
    return jnp.where(random.bernoulli(key, sites, chances), 1, -1).astype(jnp.int8)


def as_linear(factor: Array | float, width: Array | float) -> tuple[Array, Array]:
    """Factor and width of a linear block transformation.

    Raises:
        ValueError: no finite scalars, or a negative width.
    """
    scale, noise = as_floating_alike(factor=as_parameter("factor", factor), width=as_parameter("width", width))
    check_shape("factor", scale, ())
    check_shape("width", noise, ())
    if not is_traced(noise) and np.asarray(noise) < 0:
        raise ValueError(f"width: expected a number >= 0, got {float(noise)}")
    return scale, noise


def block_means(
    key: Array | None,
    field: Array,
    factor: Array | float,
    width: Array | float = 0.0,
    block: int | Sequence[int] = 2,
) -> Array:
    r"""The linear block transformation of a field, :math:`\varphi'_B = c\, \bar\varphi_B + w\, \xi_B`.

    Args:
        key: typed key of the Gaussian noise ξ, whose kernel is `gaussian_kernel`; None for none.
        field: ``[*shape]`` real numbers, one configuration.
        factor: scalar c.
        width: scalar w >= 0.
        block: side of the square blocks of a lattice of two dimensions; of others a tuple with an equal side for each.

    Returns:
        ``[*coarse_shape]`` of the floating type of the field.

    Raises:
        ValueError: other axes than the blocks have, a side that is no multiple of them, or no finite numbers.

    Example:
        >>> block_means(None, jnp.array([[0.0, 1.0], [2.0, 1.0]]), 2.0).tolist()
        [[2.0]]
    """
    values = as_floating("field", field)
    side = _as_side("field", values, block)
    if key is not None:
        check_key("key", key)
    elif not is_traced(width) and np.any(np.asarray(as_array("width", width)) != 0):
        raise ValueError(f"key: expected a typed key for noise of width {width}, got None")
    return _block_means(key, values, *as_linear(factor, width), side)


@functools.partial(jax.jit, static_argnums=4)
def _block_means(key: Array | None, field: Array, factor: Array, width: Array, block: int) -> Array:
    means = factor.astype(field.dtype) * jnp.mean(to_blocks(field, block), axis=-1)
    if key is None:
        return means
    return means + width.astype(field.dtype) * jax.random.normal(key, means.shape, means.dtype)


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
