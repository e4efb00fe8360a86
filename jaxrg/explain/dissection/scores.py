"""Scores of units as detectors of concepts, from the counts of a `Dissection`, and the detectors among them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_floating, as_integers, check_number, check_shape, kind_of
from jaxrg.explain.dissection._batches import as_result
from jaxrg.explain.dissection.overlaps import Dissection


class Detectors(NamedTuple):
    """What each unit detects, and how many units and distinct concepts of each category there are among detectors."""

    concepts: Array  # int32 [units], the best concept of each
    scores: Array  # [units], its score
    is_detector: Array  # bool [units], whether that is above the minimum
    num_units: Array  # int32 [categories], detectors
    num_unique: Array  # int32 [categories], distinct concepts that have a detector


def iou(found: Dissection) -> Array:
    r"""Intersection over union, a unit's pixels counted in images that carry a label of the concept's category.

    .. math:: \mathrm{IoU}_{kc} = \frac{\sum_x |M_k(x) \cap L_c(x)|}
        {\sum_{x \in X_{\kappa(c)}} |M_k(x)| + \sum_x |L_c(x)| - \sum_x |M_k(x) \cap L_c(x)|}

    This is the published rule: of data sets that are each labelled in some categories only, an image without labels of
    the category says nothing about its concepts. An IoU is at most the ratio of the two areas: of a unit that is active
    at a share 1 - q of all pixels and a concept that covers a share s of them, (1 - q)/s where s is the larger; and
    where both cover much, chance alone is far above 0.04: see `shuffled_iou`.

    Returns:
        ``[units, concepts]``; zero where there is nothing to overlap with, NaN for a unit with a NaN.

    Reference:
        Bau, Zhou, Khosla, Oliva & Torralba, CVPR 2017.
    """
    return _iou(found, lambda counts: counts.labelled_pixels[:, counts.categories])


def iou_all_images(found: Dissection) -> Array:
    """`iou` with a unit's pixels counted in all images: never above the published rule."""
    return _iou(found, lambda counts: counts.unit_pixels[:, None])


def iou_touched_images(found: Dissection) -> Array:
    """`iou` with a unit's pixels counted where they touch a label of the category: never below the published rule.

    The light implementation of the authors counts so. Images in which a unit is active beside all labels do not count
    against it, which inflates its score: compare it with `iou` only.

    Reference:
        NetDissect-Lite, ``feature_operation.py`` of github.com/CSAILVision/NetDissect-Lite.
    """
    return _iou(found, lambda counts: counts.touched_pixels[:, counts.categories])


def _iou(found: Dissection, areas: Any) -> Array:
    if not isinstance(found, Dissection):
        raise ValueError(f"found: expected a Dissection, got {kind_of(found)}")
    union = areas(found) + found.concept_pixels - found.intersections
    ratio = found.intersections / np.maximum(union, 1)
    return as_result(np.where(np.isnan(found.thresholds)[:, None], np.nan, ratio))


def f1(iou: Any) -> Array:
    r"""F1 score, also called Dice's coefficient, of an intersection over union by whichever rule.

    .. math:: F_1 = \frac{2 |M \cap L|}{|M| + |L|} = \frac{2\,\mathrm{IoU}}{1 + \mathrm{IoU}}

    It orders units as the IoU does: an IoU of 0.04 is an F1 of 0.077.

    Example:
        >>> float(f1(1 / 3))
        0.5
    """
    return _f1(as_floating("iou", iou))


@jax.jit
def _f1(iou: Array) -> Array:
    return 2 * iou / (1 + iou)


def detectors(scores: Any, categories: Any, *, minimum: float = 0.04) -> Detectors:
    """The best concept of every unit, which it detects if the score is above a minimum.

    Args:
        scores: ``[units, concepts]``, as by `iou`.
        categories: integers ``[concepts]`` from 0 up.
        minimum: of the score; 0.04 as published.

    Returns:
        `Detectors`. A unit with a NaN score has no best one, and is no detector.

    Raises:
        ValueError: other shapes, or a minimum that is no number.

    Example:
        >>> found = detectors(jnp.array([[0.5, 0.1], [0.3, 0.2], [0.01, 0.02]]), [0, 1])
        >>> found.concepts.tolist(), found.num_units.tolist(), found.num_unique.tolist()
        ([0, 0, 1], [2, 0], [1, 0])

    Reference:
        Bau, Zhou, Khosla, Oliva & Torralba, CVPR 2017.
    """
    values = as_floating("scores", scores)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"scores: expected [units, concepts], got shape {tuple(values.shape)}")
    groups = np.asarray(as_integers("categories", categories, minimum=0))
    check_shape("categories", groups, values.shape[1:])
    check_number("minimum", minimum)
    membership = groups[:, None] == np.arange(groups.max() + 1)[None]
    return _detectors(values, membership, as_floating("minimum", minimum).astype(values.dtype))


@jax.jit
def _detectors(scores: Array, membership: Array, minimum: Array) -> Detectors:
    best, concepts = jnp.max(scores, axis=1), jnp.argmax(scores, axis=1).astype(jnp.int32)
    is_detector = best > minimum
    per_concept = jnp.zeros(scores.shape[1], jnp.int32).at[concepts].add(is_detector.astype(jnp.int32))
    in_category = membership.astype(jnp.int32)
    num_unique = jnp.sum(jnp.where(per_concept[:, None] > 0, in_category, 0), axis=0)
    return Detectors(concepts, best, is_detector, jnp.sum(per_concept[:, None] * in_category, axis=0), num_unique)
