"""Where the positions of a layer's maps lie in the image, and maps brought to its size by bilinear interpolation."""

import functools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_count, as_floating, as_sides, check_shape, kind_of


class Anchor(NamedTuple):
    """Pixels (row, column) at which the positions of a map lie; the centre of the first pixel is (0, 0)."""

    offset: Any  # two numbers, where position (0, 0) lies
    stride: Any  # two numbers, pixels from one position to the next


class Interpolation(NamedTuple):
    """Of every pixel along one axis, the two positions it lies between."""

    index: Array  # int32 [pixels], the lower one
    weight: Array  # float32 [pixels], of the upper one


def receptive_field_anchor(layers: Sequence[tuple[int, int, int]]) -> Anchor:
    r"""The centres of receptive fields, from the convolutions and pools that lead to a map.

    .. math:: \text{offset} = \sum_l \Bigl(\frac{k_l - 1}{2} - p_l\Bigr) \prod_{m < l} s_m, \qquad
        \text{stride} = \prod_l s_l

    Args:
        layers: size k, stride s and padding p before the first pixel of every layer, the first one first. A 3x3
            convolution of flax with ``padding="SAME"`` is (3, 1, 1), its 2x2 pool (2, 2, 0).

    Returns:
        The same offset and stride for rows and columns.

    Raises:
        ValueError: no such triples of integers.

    Example:
        >>> receptive_field_anchor([(3, 1, 1), (2, 2, 0), (3, 1, 1), (2, 2, 0)])
        Anchor(offset=(1.5, 1.5), stride=(4.0, 4.0))

    Reference:
        Bau, Zhou, Khosla, Oliva & Torralba, CVPR 2017; their code rounds the centre of an even field up to a pixel.
    """
    offset, stride = 0.0, 1
    for layer in layers:
        if not isinstance(layer, Sequence) or isinstance(layer, str) or len(layer) != 3:
            raise ValueError(f"layers: expected (size, stride, padding) of every layer, got {layer!r}")
        size, step, padding = (as_count("layers", value, minimum=least) for value, least in zip(layer, (1, 1, 0)))  # noqa: B905
        offset += ((size - 1) / 2 - padding) * stride
        stride *= step
    return Anchor((offset, offset), (float(stride), float(stride)))


def as_anchor(anchor: Any) -> Anchor | None:
    """An anchor as arrays, so that another one does not compile anew, or ValueError."""
    if anchor is None:
        return None
    if not isinstance(anchor, Anchor):
        raise ValueError(f"anchor: expected an Anchor with two offsets and two strides, got {kind_of(anchor)}")
    offset, stride = (as_floating("anchor", part).astype(jnp.float32) for part in anchor)
    for part in (offset, stride):
        check_shape("anchor", part, (2,))
    if not np.all(np.isfinite(offset)) or not np.all(np.asarray(stride) > 0):
        raise ValueError(f"anchor: expected finite offsets and strides above zero, got {anchor}")
    return Anchor(offset, stride)


def check_covers(maps_shape: Sequence[int], image_shape: Sequence[int], anchor: Anchor | None) -> None:
    """ValueError unless maps of so many rows and columns can lie in an image of so many."""
    if anchor is None:
        _check_stride(maps_shape, image_shape)
    else:
        _check_positions(maps_shape, image_shape, anchor)


def _check_stride(maps_shape: Sequence[int], image_shape: Sequence[int]) -> None:
    """ValueError unless one stride of 1 or more makes the positions of both axes, both rounded up or both down."""
    sides = list(zip(maps_shape, image_shape, strict=True))
    exact = [Fraction(pixels, positions) for positions, pixels in sides]
    below = [Fraction(pixels, positions + 1) for positions, pixels in sides]
    above = [Fraction(pixels, positions - 1) for positions, pixels in sides if positions > 1]
    is_rounded_up = max(exact) < min(above, default=max(exact) + 1)  # exact <= stride < above
    is_rounded_down = max(below) < min(exact)  # below < stride <= exact
    if min(exact) < 1 or not (is_rounded_up or is_rounded_down):
        (rows, columns), (height, width) = maps_shape, image_shape
        raise ValueError(
            f"concepts: expected rows and columns as of maps with {rows} x {columns} positions, times one stride of 1 "
            f"or more, got {height} x {width}; other maps take an anchor"
        )


def _check_positions(maps_shape: Sequence[int], image_shape: Sequence[int], anchor: Anchor) -> None:
    """ValueError unless positions lie around the middle of the image, and a stride beyond its edges at most."""
    for positions, pixels, offset, stride in zip(maps_shape, image_shape, *map(np.asarray, anchor), strict=True):
        last, middle = offset + stride * (positions - 1), (pixels - 1) / 2
        is_around = offset - stride <= middle <= last + stride
        if not is_around or offset < -stride or last > pixels - 1 + stride:
            raise ValueError(
                f"anchor: expected positions around the middle of {pixels} pixels and at most a stride beyond them, "
                f"got {positions} from {offset:g} to {last:g}"
            )


def interpolation_of(
    anchor: Anchor | None, maps_shape: Sequence[int], image_shape: Sequence[int]
) -> tuple[Interpolation, Interpolation]:
    """Interpolation of rows and columns; beyond the outermost positions the map goes on as it is at its edge."""
    if anchor is None:
        stride = np.divide(image_shape, maps_shape).astype(np.float32)
        anchor = Anchor(jnp.asarray((stride - 1) / 2), jnp.asarray(stride))
    between = []
    for axis, (positions, pixels) in enumerate(zip(maps_shape, image_shape, strict=True)):
        place = (jnp.arange(pixels, dtype=jnp.float32) - anchor.offset[axis]) / anchor.stride[axis]
        place = jnp.clip(place, 0, positions - 1)
        lower = jnp.minimum(jnp.floor(place), max(positions - 2, 0))
        between.append(Interpolation(lower.astype(jnp.int32), place - lower))
    return between[0], between[1]


def upsample(maps: Any, shape: Sequence[int], *, anchor: Anchor | None = None) -> Array:
    r"""Maps at the size of the image, by bilinear interpolation between positions.

    .. math:: A_k(y, x) = \sum_{ij} w_i(y)\, w_j(x)\, a_k(i, j)

    Args:
        maps: ``[images, rows, columns, units]``; worked on in float32.
        shape: rows and columns of pixels of the image.
        anchor: where the positions lie, as by `receptive_field_anchor`; by default the map covers the image with pixel
            centres aligned, as in ``jax.image.resize(..., "bilinear")``.

    Returns:
        ``[images, *shape, units]``; beyond the outermost positions the value at the edge.

    Raises:
        ValueError: other maps, no two sides, no anchor, or one that does not lie in the image (as `dissect`).

    Example:
        >>> upsample(jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1), (1, 4)).ravel().tolist()
        [0.0, 1.0, 3.0, 4.0]
    """
    values = as_maps("maps", maps)
    sides = as_sides("shape", shape)
    if len(sides) != 2:
        raise ValueError(f"shape: expected rows and columns, got {shape}")
    place = as_anchor(anchor)
    if place is not None:
        check_covers(values.shape[1:3], sides, place)
    return _upsample(values, place, shape=sides)


def as_maps(name: str, value: Any, num_images: int | None = None) -> Array:
    """Maps ``[images, rows, columns, units]`` in float32, or ValueError."""
    maps = as_floating(name, value)
    if maps.ndim != 4 or not maps.size or num_images not in (None, maps.shape[0]):
        of = "" if num_images is None else f" of {num_images} images"
        raise ValueError(f"{name}: expected [images, rows, columns, units]{of}, got shape {tuple(maps.shape)}")
    return maps.astype(jnp.float32)


@functools.partial(jax.jit, static_argnames="shape")
def _upsample(maps: Array, anchor: Anchor | None, *, shape: tuple[int, ...]) -> Array:
    return enlarge(maps, interpolation_of(anchor, maps.shape[1:3], shape))


def enlarge(maps: Array, between: tuple[Interpolation, Interpolation]) -> Array:
    """Maps interpolated along columns, then along rows."""
    return _between(_between(maps, between[1], 2), between[0], 1)


def _between(values: Array, between: Interpolation, axis: int) -> Array:
    """Values between the positions along one axis."""
    weight = between.weight.reshape([-1 if along == axis else 1 for along in range(values.ndim)])
    lower, upper = (jnp.take(values, between.index + step, axis=axis, mode="clip") for step in (0, 1))
    return lower * (1 - weight) + upper * weight


def interpolation_matrix(between: Interpolation, num_positions: int) -> Array:
    """``[pixels, positions]`` with which interpolation along one axis multiplies."""
    position = jnp.arange(num_positions, dtype=jnp.int32)[None]
    index, weight = between.index[:, None], between.weight[:, None]
    upper = jnp.minimum(index + 1, num_positions - 1)
    return jnp.where(position == index, 1 - weight, 0) + jnp.where(position == upper, weight, 0)
