"""Latents by scale: from fields and back, exchanged between fields, moved one at a time, and summed up by level."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import Bijector, PyTree
from jaxrg.checks import as_count, as_floating, as_sides, is_traced, kind_of
from jaxrg.closures import as_functions
from jaxrg.flows.bijectors.making import as_event
from jaxrg.flows.passes import FACTOR, by_level


def as_batch(name: str, value: Any) -> PyTree:
    """Arrays that share a leading axis, finite where that can be seen."""
    tree = as_event(value, name)
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(tree)}
    if len(sizes) != 1 or sizes == {()}:
        raise ValueError(f"{name}: expected arrays that share a leading axis of samples, got axes {sorted(sizes)}")
    if sizes == {(0,)}:
        raise ValueError(f"{name}: expected at least one sample, got none")
    check_finite(name, tree)
    return tree


def check_finite(name: str, tree: PyTree) -> None:
    """Raise ValueError where NaN or infinities can be seen."""
    if not is_traced(tree) and not all(np.all(np.isfinite(np.asarray(leaf))) for leaf in jax.tree.leaves(tree)):
        raise ValueError(f"{name}: expected finite values, got NaN or infinite entries")


def to_lanes(tree: PyTree) -> PyTree:
    """The leading axis of every array last."""
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), tree)


def to_batch(tree: PyTree) -> PyTree:
    """The last axis of every array first."""
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), tree)


def encode(flow: Bijector, params: PyTree, fields: Any) -> tuple[PyTree, Array]:
    r"""Latents of many fields: renormalisation, with the batch in front.

    Args:
        flow: any bijector; from `rg_flow`, one with latents by level.
        params: of the flow.
        fields: ``[num_samples, *shape]``.

    Returns:
        ``{level: [num_samples, ...]}`` and ``[num_samples]`` :math:`\ln|\det\partial z/\partial x|`.

    Raises:
        ValueError: NaN, infinities, or another shape than that of the flow.
    """
    return _encode(flow, params, as_batch("fields", fields))


@jax.jit
def _encode(flow: Bijector, params: PyTree, fields: Array) -> tuple[PyTree, Array]:
    return _of_batch("fields", fields, flow.inverse(params, to_lanes(fields)))


def _of_batch(name: str, given: PyTree, result: tuple[PyTree, Array]) -> PyTree:
    """What a bijector made of lanes, with the lanes in front."""
    if result[1].ndim != 1:
        shapes = [leaf.shape for leaf in jax.tree.leaves(given)]
        raise ValueError(f"{name}: expected [num_samples, *shape] of a shape of the flow, got {shapes}")
    return to_batch(result)


def decode(flow: Bijector, params: PyTree, latents: Any) -> tuple[Array, Array]:
    r"""Fields of many latents: generation, with the batch in front; the inverse of `encode`.

    Args:
        flow: any bijector; from `rg_flow`, one with latents by level.
        params: of the flow.
        latents: ``{level: [num_samples, ...]}``.

    Returns:
        ``[num_samples, *shape]`` and ``[num_samples]`` :math:`\ln|\det\partial x/\partial z|`.

    Raises:
        ValueError: NaN, infinities, or other levels or shapes than those of the flow.
    """
    return _decode(flow, params, as_batch("latents", latents))


@jax.jit
def _decode(flow: Bijector, params: PyTree, latents: PyTree) -> tuple[Array, Array]:
    return _of_batch("latents", latents, flow.forward(params, to_lanes(latents)))


def mix(fine: PyTree, coarse: PyTree, level: int) -> PyTree:
    """Latents with the details of one field and the large scales of another.

    Args:
        fine: ``{level: array}``, taken below ``level``.
        coarse: the same, taken from ``level`` upwards.
        level: where the one ends and the other begins, from 0 to the number of levels.

    Raises:
        ValueError: latents of different levels or shapes, NaN or infinities in them, or no such level.

    Example:
        >>> mix({0: jnp.zeros(3), 1: jnp.zeros(1)}, {0: jnp.ones(3), 1: jnp.ones(1)}, 1)[1].tolist()
        [1.0]
    """
    fine, coarse = as_levels("fine", fine), as_levels("coarse", coarse)
    check_finite("fine", fine)
    check_finite("coarse", coarse)
    shapes = [{key: leaf.shape for key, leaf in part.items()} for part in (fine, coarse)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"coarse: expected latents of shapes {shapes[0]}, got {shapes[1]}")
    if isinstance(level, bool) or not isinstance(level, int | np.integer) or not 0 <= level <= len(fine):
        raise ValueError(f"level: expected an integer from 0 to {len(fine)}, got {level!r}")
    return {key: fine[key] if key < level else coarse[key] for key in fine}


def as_levels(name: str, latents: Any) -> dict[int, Array]:
    if not isinstance(latents, dict) or sorted(latents) != list(range(len(latents))):
        got = sorted(latents) if isinstance(latents, dict) else kind_of(latents)
        raise ValueError(f"{name}: expected a dictionary of levels 0, 1, ..., got {got}")
    return {key: as_floating(name, latents[key]) for key in sorted(latents)}


def as_level(latents: dict[int, Any], level: Any) -> int:
    """One of the levels of latents."""
    if isinstance(level, bool) or not isinstance(level, int | np.integer) or level not in latents:
        raise ValueError(f"level: expected one of {sorted(latents)}, got {level!r}")
    return int(level)


def one_latent(shapes: dict[int, tuple[int, ...]], level: Any, index: Any) -> dict[int, np.ndarray]:
    """``{level: [*shape]}`` bool, True at one entry, given its level and one number an axis."""
    shape = shapes[as_level(shapes, level)]
    numbers = (index,) if isinstance(index, int | np.integer) else index
    if not isinstance(numbers, Sequence) or len(numbers) != len(shape):
        raise ValueError(f"index: expected one number of each axis of {shape}, got {index!r}")
    for number, side in zip(numbers, shape, strict=True):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or not 0 <= number < side:
            raise ValueError(f"index: expected an entry of an array of shape {shape}, got {index!r}")
    masks = {key: np.zeros(one, bool) for key, one in shapes.items()}
    masks[level][tuple(numbers)] = True
    return masks


def traverse(flow: Bijector, params: PyTree, latents: Any, level: int, index: Any, values: Any) -> Array:
    """Fields in which one latent takes other values and all the others stay.

    Args:
        flow: from `rg_flow`.
        params: of the flow.
        latents: ``{level: array}`` of one field.
        level: of the latent that moves.
        index: of that latent, one number an axis; another one, of any level, does not compile anew.
        values: ``[num_values]``.

    Returns:
        ``[num_values, *shape]``.

    Raises:
        ValueError: latents that do not fit, no such level or index, values in more than one axis, or numbers that are
            not finite.
    """
    levels = as_levels("latents", latents)
    masks = one_latent({key: leaf.shape for key, leaf in levels.items()}, level, index)
    moved = as_floating("values", values)
    if moved.ndim != 1 or not moved.size:
        raise ValueError(f"values: expected one axis of at least one number, got shape {moved.shape}")
    check_finite("latents", levels)
    check_finite("values", moved)
    return _traverse(flow, params, levels, masks, moved)


@jax.jit
def _traverse(flow: Bijector, params: PyTree, latents: PyTree, masks: PyTree, values: Array) -> Array:
    def lanes(leaf: Array, mask: Array) -> Array:
        return jnp.where(mask[..., None], values.astype(leaf.dtype).reshape((1,) * leaf.ndim + (-1,)), leaf[..., None])

    return to_batch(flow.forward(params, jax.tree.map(lanes, latents, masks))[0])


def latent_sites(sides: Sequence[int], num_levels: int) -> dict[int, np.ndarray]:
    """The site of the field at which each latent stays behind.

    Args:
        sides: of the lattice, without channels.
        num_levels: of the latents.

    Returns:
        ``{level: [*shape of the level without channels]}`` sites of the flattened lattice. The published codes keep all
        latents in one array of the shape of the field: there they are at these sites.

    Raises:
        ValueError: sides that cannot be halved so often.

    Example:
        >>> latent_sites((4, 4), 2)[1].tolist()
        [[0, 2], [8, 10]]
    """
    lattice, count = as_sides("sides", sides), as_count("num_levels", num_levels)
    if not lattice or any(side % FACTOR ** (count - 1) for side in lattice):
        raise ValueError(f"num_levels: expected sides that can be halved {count - 1} times, got {lattice}")
    return by_level(np.arange(math.prod(lattice)).reshape(lattice), count, len(lattice))


def latent_shapes(flow: Bijector, shape: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Shapes of the latents of a field, such as a prior asks for; nothing is computed.

    Args:
        flow: a bijector with latents by level.
        shape: of the field, its channels included.

    Returns:
        ``{level: shape}``.

    Raises:
        ValueError: a shape that is not that of the flow, or a flow without latents by level.

    Example:
        >>> from jaxrg.flows import decimation_flow
        >>> latent_shapes(decimation_flow((8, 8)), (8, 8))
        {0: (3, 4, 4), 1: (3, 2, 2), 2: (2, 2)}
    """
    bijector, sides = as_functions("flow", flow, Bijector), as_sides("shape", shape)

    def latents(key: Array) -> PyTree:
        return bijector.inverse(bijector.init(key), jnp.zeros(sides, jnp.result_type(float)))[0]

    found = jax.eval_shape(latents, jax.random.key(0))
    if not isinstance(found, dict) or sorted(found) != list(range(len(found))):
        raise ValueError(f"flow: expected one with latents by level, got latents that are {kind_of(found)}")
    return {level: part.shape for level, part in sorted(found.items())}


class LevelStatistics(NamedTuple):
    """Moments of all latents of one level; standard normal ones have 0, 1, 0, 0."""

    mean: Array  # [2], value and its standard error, as the others
    variance: Array
    skewness: Array
    excess_kurtosis: Array


def level_statistics(latents: Any) -> dict[int, LevelStatistics]:
    r"""How far the latents of each level are from independent standard normal numbers, one at a time.

    Errors come from a jackknife over the samples, which are taken as independent: latents of one sample may be
    correlated, those of two may not.

    Args:
        latents: ``{level: [num_samples, ...]}``, as from `encode`; at least two samples.

    Returns:
        ``{level: LevelStatistics}``, every entry a pair of value and standard error.

    Raises:
        ValueError: no such latents, or a single sample.

    Example:
        >>> normal = jax.random.normal(jax.random.key(0), (1000, 3, 4, 4))
        >>> value, error = level_statistics({0: normal})[0].variance
        >>> bool(abs(value - 1) < 5 * error)
        True
    """
    levels = as_levels("latents", latents)
    batch = as_batch("latents", levels)
    if levels[0].shape[0] < 2:
        raise ValueError("latents: expected at least two samples, got one")
    return _level_statistics(batch)


@jax.jit
def _level_statistics(latents: dict[int, Array]) -> dict[int, LevelStatistics]:
    return {level: _statistics_of(z.reshape(z.shape[0], -1)) for level, z in latents.items()}


def _statistics_of(z: Array) -> LevelStatistics:
    """Standardised moments from power sums, the whole and leaving out one sample at a time."""
    num_samples = z.shape[0]
    centre = jnp.mean(z)
    powers = jnp.stack([jnp.mean((z - centre) ** order, axis=1) for order in range(1, 5)])  # [4, num_samples]
    total = jnp.sum(powers, axis=1, keepdims=True)
    without = _standardised(centre, (total - powers) / (num_samples - 1))
    whole = _standardised(centre, total[:, 0] / num_samples)
    spread = jnp.sum((without - jnp.mean(without, axis=1, keepdims=True)) ** 2, axis=1)
    errors = jnp.sqrt(spread * (num_samples - 1) / num_samples)
    return LevelStatistics(*jnp.stack([whole, errors], axis=1))


def _standardised(centre: Array, powers: Array) -> Array:
    """``[4, ...]`` mean, variance, skewness and excess kurtosis of power sums about a centre near the mean."""
    first, second, third, fourth = powers
    variance = second - first**2
    skewness = (third - 3 * first * second + 2 * first**3) / variance**1.5
    kurtosis = (fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4) / variance**2 - 3
    return jnp.stack([centre + first, variance, skewness, kurtosis])
