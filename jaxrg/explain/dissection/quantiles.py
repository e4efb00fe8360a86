"""The level that each unit exceeds at a given share of all positions, exact in two passes and constant memory."""

import math
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import check_number
from jaxrg.explain.dissection._batches import Images, as_images
from jaxrg.explain.dissection.placement import as_maps

HALF = 16  # bits of a key that a histogram resolves
SIGN = np.uint32(2**31)
INFINITE = np.uint32(0xFF800000)  # key of the largest number; NaN comes above
AT_ONCE = 2**20  # numbers looked at together: their indices fit a cache


def activation_quantiles(maps_fn: Any, images: Any, *, quantile: float = 0.995, batch_size: int = 32) -> Array:
    r"""Thresholds of all units: the smallest value that a unit exceeds at a share of at most 1 - q of all positions.

    .. math:: T_k = \min\{t \in \{a_k\} : |\{(x, i, j) : a_k(x)_{ij} > t\}| \le (1 - q)\, n\}

    which is ``np.quantile(a_k, q, method="inverted_cdf")`` over all images and positions, with n of them. The first
    pass counts the upper 16 bits of keys that are ordered as the numbers are, the second one the lower 16 bits of those
    in the bin that holds the quantile; what lies below a bin that is known to be too low is left out. A rectified unit
    that is active at fewer positions than the share has T = 0.

    Args:
        maps_fn: ``maps = maps_fn(images)``, ``[batch, rows, columns, units]`` of a batch; taken in float32.
        images: ``[num_images, ...]``, given to it in batches, as floats.
        quantile: q, between 0 and 1, read as the decimal number it is written as.
        batch_size: images at once.

    Returns:
        float32 ``[units]``; NaN for a unit with a NaN anywhere. Memory: a batch, and 256 kB for each unit.

    Raises:
        ValueError: no function, no images, maps of another shape, or no quantile.

    Example:
        >>> maps = jnp.arange(1000.0).reshape(10, 10, 10, 1)
        >>> activation_quantiles(lambda images: images, maps).tolist()
        [994.0]

    Reference:
        Bau, Zhou, Khosla, Oliva & Torralba, CVPR 2017.
    """
    stream = as_images(maps_fn, images, batch_size)
    check_number("quantile", quantile, above=0, below=1)
    share = Fraction(str(float(quantile)))
    counts, num_values, is_nan = _count_upper(stream, share)
    upper, above = _bin_of(counts, _rank(share, num_values))
    lower, _ = _bin_of(_count_lower(stream, upper), _rank(share, num_values) - above)
    return jax.device_put(np.where(is_nan, np.float32(np.nan), _numbers((upper << HALF) | lower)))


@jax.jit
def _maps(maps_fn: Any, images: Array) -> tuple[Array, Array]:
    maps = as_maps("maps_fn", maps_fn(images), len(images))
    # Both zeros are one number, and get one key.
    return jnp.where(maps == 0, 0, maps), jnp.any(jnp.isnan(maps), axis=(0, 1, 2))


def _rank(share: Fraction, num_values: int) -> int:
    """The quantile is the so-manieth largest value."""
    return num_values - math.ceil(share * num_values) + 1


def _count_upper(stream: Images, share: Fraction) -> tuple[np.ndarray, int, np.ndarray]:
    """Counts ``[units, 2**16]``, complete from the bin of the quantile up; values of a unit; where there is a NaN."""
    counts, lowest, is_nan, positions = np.zeros((0, 0), np.uint32), np.zeros(0), np.zeros(0, bool), 0
    for number, batch in enumerate(stream.batches(), 1):
        maps, has_nan = _maps(stream.maps_fn, stream.at(batch.index))
        values = np.asarray(maps)[: batch.count]
        units, positions = values.shape[-1], values[0].size // values.shape[-1]
        if number == 1:
            check_size(positions * len(stream.values))
            counts, lowest = np.zeros((units, 2**HALF), np.uint32), np.full(units, -np.inf, np.float32)
            is_nan = np.zeros(units, bool)
        is_nan |= np.asarray(has_nan)
        _count(counts, values, lowest, None, keep=HALF)
        if number & (number - 1) == 0:  # as often as the number of images has doubled
            # What comes can only move the quantile up from the same rank among what has been seen.
            seen, _ = _bin_of(counts, _rank(share, positions * len(stream.values)))
            lowest = _numbers(np.maximum(seen << HALF, ~INFINITE))
    return counts, positions * len(stream.values), is_nan


def check_size(num_values: int) -> None:
    """ValueError if a count may not fit 32 bits."""
    if num_values >= 2**32:
        raise ValueError(f"images: expected fewer than 2**32 positions or pixels in all, got {num_values}")


def _count_lower(stream: Images, upper: np.ndarray) -> np.ndarray:
    """Counts ``[units, 2**16]`` of the lower bits of all keys with these upper bits."""
    first = upper << HALF
    low, high = _numbers(np.maximum(first, ~INFINITE)), _numbers(np.minimum(first | np.uint32(0xFFFF), INFINITE))
    counts = np.zeros((len(upper), 2**HALF), np.uint32)
    for batch in stream.batches():
        maps, _ = _maps(stream.maps_fn, stream.at(batch.index))
        _count(counts, np.asarray(maps)[: batch.count], low, high, keep=0)
    return counts


def _count(counts: np.ndarray, values: np.ndarray, low: np.ndarray, high: np.ndarray | None, *, keep: int) -> None:
    """Add the 16 bits from bit ``keep`` on of the keys of all values in a range of each unit."""
    units = len(counts)
    flat, table = values.reshape(-1, units), counts.reshape(-1)
    rows = max(1, AT_ONCE // units)
    for start in range(0, len(flat), rows):
        part = flat[start : start + rows]
        is_inside = part >= low
        if high is not None:
            is_inside &= part <= high
        where = np.flatnonzero(is_inside)
        keys = (_keys(part.reshape(-1)[where]) >> np.uint32(keep)) & np.uint32(0xFFFF)
        np.add.at(table, (where % units << HALF) | keys, np.uint32(1))


def _bin_of(counts: np.ndarray, ranks: Any) -> tuple[np.ndarray, np.ndarray]:
    """The bin of every unit that holds the so-manieth largest value, the lowest if none does, and the count above."""
    found = np.zeros((2, len(counts)), np.int64)
    for unit, rank in enumerate(np.broadcast_to(ranks, len(counts))):
        from_top = np.cumsum(counts[unit, ::-1], dtype=np.int64)
        place = min(int(np.searchsorted(from_top, rank)), len(from_top) - 1)
        found[:, unit] = len(from_top) - 1 - place, from_top[place] - counts[unit, ::-1][place]
    return found[0].astype(np.uint32), found[1]


def _keys(values: np.ndarray) -> np.ndarray:
    """Unsigned integers ordered as the floats are."""
    bits = values.view(np.uint32)
    return np.where(bits & SIGN, ~bits, bits | SIGN)


def _numbers(keys: np.ndarray) -> np.ndarray:
    """The floats of keys."""
    return np.where(keys & SIGN, keys ^ SIGN, ~keys).view(np.float32)
