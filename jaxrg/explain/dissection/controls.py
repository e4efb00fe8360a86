"""What scores are worth: masks of other images, whose scores are chance, and rotations that leave no unit its axis."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.checks import as_count, as_floating, check_key, check_number
from jaxrg.explain.dissection._batches import Concepts, Images, as_aligned, as_result, check_labels, masks_of
from jaxrg.explain.dissection.overlaps import (
    Overlaps,
    active_words,
    add,
    as_levels,
    concept_words,
    overlaps,
)
from jaxrg.explain.dissection.placement import Anchor, as_maps


def shuffled_iou(
    key: Array,
    maps_fn: Any,
    images: Any,
    concepts: Any,
    categories: Any,
    thresholds: Any,
    *,
    num_draws: int = 20,
    anchor: Anchor | None = None,
    batch_size: int = 32,
) -> Array:
    r"""`iou` of units with masks that belong to other images: what an IoU comes to by chance.

    .. math:: L^{(r)}_c(x_i) = L_c(x_{i + s_r \bmod N}), \qquad s_r \in \{1, \dots, N - 1\} \text{ distinct}

    Every image gets the masks of another one, all concepts of it at once, so that sizes, shapes and places of concepts
    stay what they are, and what a unit gains by where it likes to be active is part of the null. The shifts are drawn
    from a group, with the identity as the measured masks, so `null_p_values` are valid where masks do not depend on the
    maps and the order of the images says nothing; images in an order, as of a Markov chain, are shuffled before.

    Args:
        key: typed key, for the shifts.
        maps_fn, images, concepts, categories, thresholds, anchor, batch_size: as `dissect` takes them.
        num_draws: shifts, below the number of images; the smallest p-value is 1 / (1 + num_draws).

    Returns:
        ``[num_draws, units, concepts]`` by the published rule, NaN for a unit with a NaN. Memory: a bit for each pixel
        of each mask, on the host and on the device, a batch, and a few results.

    Raises:
        ValueError: as `dissect`, no key, or as many draws as images.

    Reference:
        Hemerik & Goeman, TEST 27, 811 (2018): tests with random transformations from a group.
    """
    check_key("key", key)
    stream, given, place = as_aligned(maps_fn, images, concepts, categories, anchor, batch_size)
    num_images, levels = len(stream.values), as_levels(thresholds)
    num_draws = as_count("num_draws", num_draws)
    if num_draws >= num_images:
        raise ValueError(f"num_draws: expected fewer than the {num_images} images, got {num_draws}")
    shifts = 1 + np.asarray(_distinct(key, num_images - 1), np.int32)[:num_draws]
    words, shape = _all_words(stream, given)
    on_device = jax.device_put(words)
    total, is_nan = None, np.zeros(len(levels), bool)
    for batch in stream.batches():
        counted, has_nan = _shuffled_overlaps(
            stream.maps_fn, stream.at(batch.index), on_device, batch.index.astype(np.int32), shifts, given.membership,
            levels, np.int32(batch.count), place, shape=shape,
        )  # fmt: skip
        total, is_nan = add(total, counted, np.int64), is_nan | np.asarray(has_nan)
    assert total is not None  # as there is an image
    union = total.labelled_pixels[..., given.categories] + total.concept_pixels[:, None] - total.intersections
    is_unknown = is_nan | np.isnan(np.asarray(levels))
    null = np.where(is_unknown[:, None], np.nan, total.intersections / np.maximum(union, 1))
    return as_result(null)


@jax.jit(static_argnames="size")
def _distinct(key: Array, size: int) -> Array:
    return jax.random.permutation(key, size)


def _all_words(stream: Images, given: Concepts) -> tuple[np.ndarray, tuple[int, ...]]:
    """Packed masks of all images, on the host, and their rows and columns."""
    words, shape = np.zeros((0, 0, 0), np.uint32), ()
    for batch in stream.batches():
        packed, wrong, sides = _words(given.fn, stream.at(batch.index), given.at(batch.index), given.membership)
        check_labels(wrong, len(given.categories))
        if not len(words):
            words, shape = (
                np.zeros((len(stream.values), *packed.shape[1:]), np.uint32),
                tuple(np.asarray(sides).tolist()),
            )
        words[batch.index] = packed
    return words, shape


@jax.jit
def _words(concepts_fn: Any, images: Array, given: Any, membership: Array) -> tuple[Array, Array, Array]:
    masks, wrong = masks_of(concepts_fn, images, given, len(membership))
    return concept_words(masks), wrong, jnp.array(masks.shape[2:])


@functools.partial(jax.jit, static_argnames="shape")
def _shuffled_overlaps(
    maps_fn: Any,
    images: Array,
    words: Array,
    index: Array,
    shifts: Array,
    membership: Array,
    thresholds: Array,
    num_real: Array,
    anchor: Anchor | None,
    *,
    shape: tuple[int, ...],
) -> tuple[Overlaps, Array]:
    is_real = (jnp.arange(len(images), dtype=jnp.int32) < num_real)[:, None, None]
    maps = as_maps("maps_fn", maps_fn(images), len(images))
    active, _ = active_words(maps, thresholds, shape, anchor)
    active = jnp.where(is_real, active, 0)

    def of_draw(shift: Array) -> Overlaps:
        others = words[(index + shift) % len(words)]
        return overlaps(active, jnp.where(is_real, others, 0), membership)

    return lax.map(of_draw, shifts), jnp.any(jnp.isnan(maps), axis=(0, 1, 2))


def null_p_values(observed: Any, null: Any) -> Array:
    r"""How likely a score as high as a unit's best one is by chance, whichever concept it is for.

    .. math:: p_k = \frac{1 + |\{r : \max_c s^{(r)}_{kc} \ge \max_c s_{kc}\}|}{1 + R}

    The maximum over concepts makes it a test of the unit; over units, multiply by their number.

    Args:
        observed: ``[units, concepts]`` scores.
        null: ``[num_draws, units, concepts]`` of the same score, as by `shuffled_iou`.

    Returns:
        ``[units]``; NaN where a score is.

    Raises:
        ValueError: shapes that do not go together.

    Example:
        >>> null_p_values([[0.5]], [[[0.1]], [[0.6]], [[0.2]]]).tolist()
        [0.5]
    """
    scores, drawn = as_floating("observed", observed), as_floating("null", null)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"observed: expected [units, concepts], got shape {tuple(scores.shape)}")
    if drawn.ndim != 3 or drawn.shape[1:] != scores.shape or not drawn.size:
        raise ValueError(f"null: expected [num_draws, *{tuple(scores.shape)}], got shape {tuple(drawn.shape)}")
    return _p_values(scores, drawn)


@jax.jit
def _p_values(observed: Array, null: Array) -> Array:
    best, by_chance = jnp.max(observed, axis=1), jnp.max(null, axis=2)
    above = jnp.sum(by_chance.astype(best.dtype) >= best[None], axis=0, dtype=jnp.int32).astype(best.dtype)
    is_known = ~jnp.isnan(best) & ~jnp.any(jnp.isnan(by_chance), axis=0)
    return jnp.where(is_known, (1 + above) / (1 + len(null)), jnp.nan)


def rotation(key: Array, num_units: int, power: float = 1.0) -> Array:
    r"""A power of a random rotation of the basis of a layer: a representation as good, whose units mean less.

    .. math:: Q = V e^{i\Theta} V^\dagger \in SO(n) \text{ by Haar's measure}, \qquad
        Q^\alpha = V e^{i\alpha\Theta} V^\dagger, \quad \Theta \in (-\pi, \pi)

    so that :math:`Q^\alpha Q^\beta = Q^{\alpha + \beta}`, and a linear readout of the rotated layer can do what one of
    the layer does. If single units align with concepts no more than any direction does, rotated ones do it as well.

    Args:
        key: typed key; the same one gives powers of the same rotation.
        num_units: n.
        power: α; 0 leaves everything as it is, 1 is Q.

    Returns:
        ``[n, n]``, of maps in ``maps @ rotation(key, n)``.

    Raises:
        ValueError: no key, no count, no finite number.

    Example:
        >>> halves = rotation(jax.random.key(0), 5, 0.5)
        >>> bool(jnp.allclose(halves @ halves, rotation(jax.random.key(0), 5), atol=1e-6))
        True

    Reference:
        Bau, Zhou, Khosla, Oliva & Torralba, CVPR 2017; Diaconis, Not. Am. Math. Soc. 52, 1348 (2005).
    """
    from scipy.linalg import schur  # a dependency of JAX, needed here alone

    check_key("key", key)
    size = as_count("num_units", num_units)
    check_number("power", power)
    exponent = float(as_floating("power", power))
    normal = np.asarray(jax.random.normal(key, (size, size), jnp.float32), np.float64)
    orthogonal, triangle = np.linalg.qr(normal)
    orthogonal *= np.sign(np.diagonal(triangle))  # without which it is not Haar's
    if np.linalg.det(orthogonal) < 0:
        orthogonal[:, 0] *= -1
    diagonal, vectors = schur(orthogonal, output="complex")[:2]
    phases = np.exp(1j * exponent * np.angle(np.diagonal(diagonal)))
    return as_result(((vectors * phases) @ vectors.conj().T).real)
