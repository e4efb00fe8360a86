"""How the active pixels of units overlap with the pixels of concepts, counted image by image in one pass.

Masks are packed, 32 rows to a word: units along the last axis, so that every step is one operation of many units.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.checks import as_floating, check_shape
from jaxrg.explain.dissection._batches import as_aligned, check_labels, maps_and_masks
from jaxrg.explain.dissection.placement import (
    Anchor,
    Interpolation,
    enlarge,
    interpolation_matrix,
    interpolation_of,
)

WORD = 32


class Dissection(NamedTuple):
    """Pixels of units and concepts, counted over all images on the host; `iou` and its siblings make scores of them."""

    thresholds: np.ndarray  # float32 [units]; a unit is active above it, and unknown where it is NaN
    categories: np.ndarray  # int32 [concepts], the category of each
    intersections: np.ndarray  # int64 [units, concepts], pixels where a unit is active and a concept is
    concept_pixels: np.ndarray  # int64 [concepts]
    unit_pixels: np.ndarray  # int64 [units], active pixels in all images
    labelled_pixels: np.ndarray  # int64 [units, categories], those in images with a label of the category
    touched_pixels: np.ndarray  # int64 [units, categories], in images where an active pixel has such a label
    correlations: np.ndarray  # float64 [units, concepts], Pearson, of the map and the mask over all pixels
    num_pixels: int  # of all images


class Overlaps(NamedTuple):
    """The counts of one batch, int32."""

    intersections: Array  # [units, concepts]
    concept_pixels: Array  # [concepts]
    unit_pixels: Array  # [units]
    labelled_pixels: Array  # [units, categories]
    touched_pixels: Array  # [units, categories]


class Moments(NamedTuple):
    """Sums over all pixels of one batch, the threshold of a unit taken off its map."""

    values: Array  # [units]
    squares: Array  # [units]
    products: Array  # [units, concepts], with the mask


def dissect(
    maps_fn: Any,
    images: Any,
    concepts: Any,
    categories: Any,
    thresholds: Any,
    *,
    anchor: Anchor | None = None,
    batch_size: int = 32,
) -> Dissection:
    r"""Count where units are active and where concepts are: network dissection.

    .. math:: M_k(x) = \{p : A_k(x, p) > T_k\}, \qquad I_{kc} = \sum_x |M_k(x) \cap L_c(x)|

    with the maps A brought to the size of the masks as by `upsample`. Counts are exact integers.

    Args:
        maps_fn: ``maps = maps_fn(images)``, ``[batch, rows, columns, units]`` of a batch; taken in float32.
        images: ``[num_images, ...]``, given to it in batches, as floats.
        concepts: masks, bool ``[num_images, concepts, H, W]``, or labels, integers ``[num_images, maps, H, W]`` of the
            concept at each pixel and negative for none; or a function of a batch of images that gives one of them.
            Zeros and ones in as many maps as there are concepts are taken for masks that should be bool, and refused.
        categories: integers ``[concepts]`` from 0 up: the category of each.
        thresholds: T ``[units]``, as by `activation_quantiles`.
        anchor: where the positions of the maps lie in the masks, see `receptive_field_anchor`: around the middle, and
            at most a stride beyond the edges. By default maps and masks cover the same square, pixel centres aligned,
            with one stride for rows and columns, up to rounding to whole positions.
        batch_size: images at once.

    Returns:
        `Dissection`; memory is that of a batch.

    Raises:
        ValueError: no function, no images, concepts that are not aligned with the images or the maps or are none of the
            categories' concepts, thresholds of other units.

    Example:
        >>> images = jnp.zeros((2, 4, 4)).at[0, :2].set(1.0).at[1, 0].set(1.0)
        >>> masks = (images > 0)[:, None].at[:, :, 0, 0].set(False)
        >>> found = dissect(lambda images: images[..., None], images, masks, [0], [0.5])
        >>> found.intersections.tolist(), found.unit_pixels.tolist(), found.concept_pixels.tolist()
        ([[10]], [12], [10])

    Reference:
        Bau, Zhou, Khosla, Oliva & Torralba, CVPR 2017.
    """
    stream, given, place = as_aligned(maps_fn, images, concepts, categories, anchor, batch_size)
    levels = as_levels(thresholds)
    total, sums, num_pixels, is_nan = None, None, 0, np.zeros(len(levels), bool)
    for batch in stream.batches():
        counted, moments, pixels, has_nan, wrong = _overlaps_of_batch(
            stream.maps_fn, given.fn, stream.at(batch.index), given.at(batch.index), given.membership, levels,
            np.int32(batch.count), place,
        )  # fmt: skip
        check_labels(wrong, len(given.categories))
        total, sums = add(total, counted, np.int64), add(sums, moments, np.float64)
        is_nan |= np.asarray(has_nan)
        num_pixels += batch.count * int(pixels)
    assert total is not None  # as there is an image
    assert sums is not None
    return Dissection(
        np.where(is_nan, np.float32(np.nan), np.asarray(levels)),
        given.categories,
        *total,
        correlations=np.where(is_nan[:, None], np.nan, _pearson(sums, total.concept_pixels, num_pixels)),
        num_pixels=num_pixels,
    )


def as_levels(thresholds: Any) -> Array:
    """Thresholds of units in float32, or ValueError."""
    levels = as_floating("thresholds", thresholds)
    if levels.ndim != 1 or not levels.size:
        raise ValueError(f"thresholds: expected one for each unit, got shape {tuple(levels.shape)}")
    return levels.astype(jnp.float32)


def add(total: Any, part: Any, dtype: Any) -> Any:
    """The sum so far on the host."""
    values = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), part)
    if total is None:
        return values
    with np.errstate(invalid="ignore"):  # infinities of both signs
        return jax.tree.map(np.add, total, values)


def _pearson(sums: Any, concept_pixels: np.ndarray, num_pixels: int) -> np.ndarray:
    mean, share = sums.values / num_pixels, concept_pixels / num_pixels
    with np.errstate(invalid="ignore", divide="ignore"):  # of what does not vary, or is infinite
        variance = np.maximum(sums.squares / num_pixels - mean**2, 0)
        covariance = sums.products / num_pixels - mean[:, None] * share
        return covariance / np.sqrt(variance[:, None] * (share * (1 - share)))


def active_words(
    maps: Array, thresholds: Array, shape: tuple[int, ...], anchor: Any
) -> tuple[Array, tuple[Interpolation, Interpolation]]:
    """Active pixels, uint32 ``[images, words, units]``, and the interpolation between positions."""
    check_shape("thresholds", thresholds, maps.shape[-1:])
    between = interpolation_of(anchor, maps.shape[1:3], shape)

    def of_image(values: Array) -> Array:
        return pack(enlarge(values[None], between)[0] > thresholds[None, None], 0).reshape(-1, len(thresholds))

    return lax.map(of_image, maps), between  # one by one, so that the pixels of one stay in a cache


def pack(is_set: Array, axis: int) -> Array:
    """Bits along one axis to words of 32, filled up with zeros."""
    length = is_set.shape[axis]
    pad = [(0, -length % WORD if along == axis else 0) for along in range(is_set.ndim)]
    # Without the barrier, every bit of a word would be computed on its own.
    bits = jnp.moveaxis(lax.optimization_barrier(jnp.pad(is_set, pad)), axis, 0)
    words = [bits[bit::WORD].astype(jnp.uint32) << np.uint32(bit) for bit in range(WORD)]
    return jnp.moveaxis(functools.reduce(jnp.bitwise_or, words), 0, axis)


def concept_words(masks: Array) -> Array:
    """Uint32 ``[images, concepts, words]`` in the order of `active_words`."""
    return pack(masks, 2).reshape(*masks.shape[:2], -1)


def count(words: Array, axis: int) -> Array:
    """Set bits along an axis."""
    return jnp.sum(lax.population_count(words), axis=axis, dtype=jnp.int32)


def overlaps(active: Array, concepts: Array, membership: Array) -> Overlaps:
    """Counts of one batch; ``active[images, words, units]``, ``concepts[images, concepts, words]``."""

    def of_image(words: tuple[Array, Array]) -> Array:
        return lax.map(lambda concept: count(words[0] & concept[:, None], 0), words[1])

    shared, unit_pixels, concept_pixels = lax.map(of_image, (active, concepts)), count(active, 1), count(concepts, 2)
    has_label = _in_category(concept_pixels > 0, membership)[:, None]
    is_touched = _in_category(jnp.swapaxes(shared, 1, 2) > 0, membership)
    areas = unit_pixels[..., None]
    return Overlaps(
        jnp.sum(shared, axis=0).T,
        jnp.sum(concept_pixels, axis=0),
        jnp.sum(unit_pixels, axis=0),
        jnp.sum(jnp.where(has_label, areas, 0), axis=0),
        jnp.sum(jnp.where(is_touched, areas, 0), axis=0),
    )


def _in_category(has_concept: Array, membership: Array) -> Array:
    """Bool ``[..., categories]`` from ``[..., concepts]``."""
    return jnp.dot(has_concept.astype(jnp.float32), membership.astype(jnp.float32)) > 0


@jax.jit
def _overlaps_of_batch(
    maps_fn: Any,
    concepts_fn: Any,
    images: Array,
    given: Any,
    membership: Array,
    thresholds: Array,
    num_real: Array,
    anchor: Anchor | None,
) -> tuple[Overlaps, Moments, Array, Array, Array]:
    is_real = jnp.arange(len(images), dtype=jnp.int32) < num_real
    maps, masks, wrong = maps_and_masks(maps_fn, concepts_fn, images, given, membership)
    masks = masks & is_real[:, None, None, None]
    active, between = active_words(maps, thresholds, masks.shape[2:], anchor)
    active = jnp.where(is_real[:, None, None], active, 0)
    centred = jnp.where(is_real[:, None, None, None], maps - thresholds[None, None, None], 0)
    has_nan = jnp.any(jnp.isnan(maps), axis=(0, 1, 2))
    pixels = jnp.int32(masks[0, 0].size)
    found = overlaps(active, concept_words(masks), membership)
    return found, _moments(centred, masks, between), pixels, has_nan, wrong


def _moments(maps: Array, masks: Array, between: tuple[Interpolation, Interpolation]) -> Moments:
    """Interpolation is linear: masks are summed over what each position reaches, instead of maps being enlarged."""
    rows, columns = (interpolation_matrix(part, side) for part, side in zip(between, maps.shape[1:3], strict=True))
    everywhere = jnp.ones((len(masks), 1, *masks.shape[2:]), bool)
    pixels = jnp.concatenate([masks, everywhere], axis=1).astype(jnp.float32)
    reached = jnp.einsum("ncyx,yi,xj->cnij", pixels, rows, columns, precision="highest")
    sums = jnp.dot(reached.reshape(len(reached), -1), maps.reshape(-1, maps.shape[-1]), precision="highest")

    def squares(values: Array) -> Array:
        return jnp.sum(values * _with_neighbours(_with_neighbours(values, rows, 0), columns, 1), axis=(0, 1))

    return Moments(sums[-1], jnp.sum(lax.map(squares, maps), axis=0), sums[:-1].T)


def _with_neighbours(values: Array, matrix: Array, axis: int) -> Array:
    """Values ``[rows, columns, units]`` times the matrix's Gram matrix, which is tridiagonal, along an axis."""
    along = (1,) * axis + (-1,) + (1,) * (2 - axis)
    own = jnp.sum(matrix**2, axis=0).reshape(along)
    following = jnp.append(jnp.sum(matrix[:, :-1] * matrix[:, 1:], axis=0), 0).reshape(along)
    return values * own + jnp.roll(values, -1, axis) * following + jnp.roll(values * following, 1, axis)
