"""Average precision of units as detectors of concepts, pixel by pixel, over all thresholds at once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.checks import as_count
from jaxrg.explain.dissection._batches import as_aligned, as_result, check_labels, maps_and_masks
from jaxrg.explain.dissection.placement import Anchor, enlarge, interpolation_of
from jaxrg.explain.dissection.quantiles import check_size


def average_precision(
    maps_fn: Any,
    images: Any,
    concepts: Any,
    categories: Any,
    *,
    num_bits: int = 12,
    anchor: Anchor | None = None,
    batch_size: int = 8,
) -> Array:
    r"""Area under the precision-recall curve of every unit's map for every concept's pixels.

    .. math:: \mathrm{AP}_{kc} = \sum_t (R_t - R_{t-1})\, P_t, \qquad
        P_t = \frac{|\{A_k \ge t\} \cap L_c|}{|\{A_k \ge t\}|}, \quad R_t = \frac{|\{A_k \ge t\} \cap L_c|}{|L_c|}

    over all pixels of all images and all values t of the map. Values are cut to their leading bits (sign, exponent and
    3 bits after the leading one, of the default 12: steps of 12 %), and are ties where these agree; the counts, and
    with them the result for such values, are exact. 16 bits are bfloat16. A map that says nothing has the share of the
    concept among all pixels, not one half.

    Args:
        maps_fn, images, concepts, categories, anchor: as `dissect` takes them.
        num_bits: of a value that are kept, 10 to 16.
        batch_size: images at once.

    Returns:
        ``[units, concepts]``; NaN for a concept without pixels or a unit with a NaN. Memory, on the host: 4 bytes for
        each unit, concept and of ``2**num_bits`` values.

    Raises:
        ValueError: as `dissect`, or a number of bits out of range.

    Reference:
        Davis & Goadrich, ICML 2006; Oikarinen, Yan & Weng, ICML 2025 (measures of which it is one of few that pass
        their tests).
    """
    stream, given, place = as_aligned(maps_fn, images, concepts, categories, anchor, batch_size)
    bits = as_count("num_bits", num_bits, minimum=10)
    if bits > 16:
        raise ValueError(f"num_bits: expected 10 to 16, got {bits}")
    num_concepts, table, is_nan = len(given.categories), np.zeros((0, 0, 0), np.uint32), np.zeros(0, bool)
    for number, batch in enumerate(stream.batches()):
        found, masks, has_nan, wrong = _keys_and_masks(
            stream.maps_fn, given.fn, stream.at(batch.index), given.at(batch.index), given.membership, place
        )
        check_labels(wrong, num_concepts)
        keys = np.asarray(found)[: batch.count] >> np.uint16(16 - bits)
        units = keys.shape[-1]
        check_size(len(stream.values) * (keys[0].size // units))
        if number == 0:
            table, is_nan = np.zeros((1 + num_concepts, units, 2**bits), np.uint32), np.zeros(units, bool)
        is_nan |= np.asarray(has_nan)
        _count(table, keys.reshape(-1, units), np.asarray(masks)[: batch.count])
    per_concept = [_average_precision(counts, table[0]) for counts in table[1:]]
    return as_result(np.where(is_nan[:, None], np.nan, np.stack(per_concept, axis=1)))


@jax.jit
def _keys_and_masks(
    maps_fn: Any, concepts_fn: Any, images: Array, given: Any, membership: Array, anchor: Anchor | None
) -> tuple[Array, Array, Array, Array]:
    maps, masks, wrong = maps_and_masks(maps_fn, concepts_fn, images, given, membership)
    values = enlarge(maps, interpolation_of(anchor, maps.shape[1:3], masks.shape[2:]))
    bits = lax.bitcast_convert_type(jnp.where(values == 0, 0, values), jnp.uint32)  # both zeros are one number
    keys = jnp.where(bits >> 31 > 0, ~bits, bits | np.uint32(2**31))  # ordered as the numbers are
    return (keys >> 16).astype(jnp.uint16), masks, jnp.any(jnp.isnan(maps), axis=(0, 1, 2)), wrong


def _count(table: np.ndarray, keys: np.ndarray, masks: np.ndarray) -> None:
    """Add keys ``[pixels, units]`` to the counts of all pixels and of those of each concept."""
    units, size = table.shape[1:]
    cells = keys + np.arange(0, units * size, size)
    np.add.at(table[0].reshape(-1), cells.reshape(-1), np.uint32(1))
    for counts, mask in zip(table[1:], masks.swapaxes(0, 1), strict=True):
        np.add.at(counts.reshape(-1), cells[mask.reshape(-1)].reshape(-1), np.uint32(1))


def _average_precision(positives: np.ndarray, everything: np.ndarray) -> np.ndarray:
    """``[units]`` from counts ``[units, values]``."""
    found = np.cumsum(positives[:, ::-1], axis=1, dtype=np.int64)
    seen = np.cumsum(everything[:, ::-1], axis=1, dtype=np.int64)
    area = np.sum(positives[:, ::-1] * (found / np.maximum(seen, 1)), axis=1)
    with np.errstate(invalid="ignore"):
        return area / found[:, -1]
