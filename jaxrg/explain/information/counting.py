"""Exact information in a deterministic layer, by counting which inputs it maps to the same values."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_array, as_count, as_integers, as_operands, check_shape, is_traced

# Odd multipliers of two hashes (of MurmurHash3 and xxHash): what they put together is compared in full.
MULTIPLIERS = (0x85EBCA6B, 0xC2B2AE35), (0x9E3779B1, 0x27D4EB2F)


def entropy_bits(values: Any) -> Array:
    r"""Entropy of a deterministic layer T over equally likely inputs, in bits: exact, by counting equal rows.

    .. math:: H(T) = \log_2 N - \frac1N \sum_t n_t \log_2 n_t = I(X; T)

    with :math:`n_t` of the N inputs at the value t. This is the information that T has about X where X takes these N
    values; for a continuous X it is infinite, and any finite figure is one of the binning. Values are equal if all of
    their bits are: nothing is binned unless `binned` did it before. 0.0 and -0.0 are equal. Rows are put next to each
    other by 64 bits of hash and compared in full, so that two rows that share a hash cannot pass for equal: should they
    ever stand between each other (1 in 10^12 at 4,096 inputs), the answer is NaN.

    Args:
        values: ``[num_inputs, ...]`` of the layer at every input, floats of any precision or integers; float64 of
            NumPy is counted as such where JAX has none.

    Returns:
        Scalar; NaN where any value is NaN.

    Raises:
        ValueError: no real numbers, or no inputs.

    Example:
        >>> inputs = jnp.arange(8.0)
        >>> entropy_bits(inputs).tolist(), entropy_bits(inputs >= 4).tolist(), entropy_bits(0 * inputs).tolist()
        (3.0, 1.0, 0.0)

    Reference:
        Lorenzen, Igel & Nielsen, ICLR 2022.
    """
    return _entropy(_as_rows("values", values))


def information_bits(values: Any, labels: Any) -> Array:
    r"""Information of a deterministic layer T about a label Y over equally likely inputs, in bits: exact.

    .. math:: I(T; Y) = H(T) + H(Y) - H(T, Y)

    Args:
        values: ``[num_inputs, ...]`` as in `entropy_bits`.
        labels: ``[num_inputs]`` integers, one for each input.

    Returns:
        Scalar between 0 and H(Y), up to rounding; NaN where any value is NaN.

    Raises:
        ValueError: as `entropy_bits`; labels that are no integers, or not one for each input.

    Example:
        >>> information_bits(jnp.array([1.0, 2.0, 2.0, 3.0]), jnp.array([0, 0, 1, 1])).tolist()
        0.5
    """
    rows = _as_rows("values", values)
    found = as_integers("labels", labels)
    check_shape("labels", found, (len(rows),))
    return _information(rows, found)


def binned(values: Any, num_bins: int, *, lower: Any, upper: Any) -> Array:
    r"""Values put into bins of equal width, of which `entropy_bits` is the binned estimate of information.

    .. math:: b = \Bigl\lfloor \mathrm{bins} \cdot \frac{v - \mathrm{lower}}{\mathrm{upper} - \mathrm{lower}}
        \Bigr\rfloor

    For a deterministic network this measures how the activations cluster on the scale of the bins, and not I(X; T).

    Args:
        values: ``[num_inputs, ...]`` floats.
        num_bins: how many bins.
        lower, upper: what the bins cover, of any shape that goes with that of the values; what is outside goes into
            the first and the last bin.

    Returns:
        Whole numbers from 0 to ``num_bins`` - 1 as floats, so that NaN stays NaN.

    Raises:
        ValueError: no real numbers, no bins, or no range where it can be seen.

    Example:
        >>> binned(jnp.array([-1.0, -0.1, 0.0, 1.0]), 4, lower=-1.0, upper=1.0).tolist()
        [0.0, 1.0, 2.0, 3.0]

    Reference:
        Saxe et al., J. Stat. Mech. 124020 (2019); Goldfeld et al., ICML 2019.
    """
    count = np.float32(as_count("num_bins", num_bins))
    found, low, high = as_operands(values=values, lower=lower, upper=upper)
    if not is_traced((low, high)) and not np.all(np.asarray(low) < np.asarray(high)):
        raise ValueError("lower, upper: expected lower < upper, got others")
    return _binned(found, count, low, high)


@jax.jit
def _binned(values: Array, num_bins: Array, lower: Array, upper: Array) -> Array:
    num_bins = num_bins.astype(values.dtype)
    return jnp.clip(jnp.floor(num_bins * ((values - lower) / (upper - lower))), 0, num_bins - 1)


def _as_rows(name: str, value: Any) -> Array:
    array = as_array(name, _with_all_bits(value))
    if not array.ndim or not array.size:
        raise ValueError(f"{name}: expected [num_inputs, ...], got shape {tuple(array.shape)}")
    return array.reshape(len(array), -1)


def _with_all_bits(value: Any) -> Any:
    """Doubles of NumPy, which JAX would cut to single precision, as two words each; all NaN if one of them is."""
    if not isinstance(value, np.ndarray) or value.dtype != np.float64 or not value.ndim or not value.size:
        return value
    if jax.dtypes.canonicalize_dtype(value.dtype) == value.dtype:
        return value
    if np.isnan(value).any():
        return np.full(value.shape, np.nan, np.float32)
    rows = np.ascontiguousarray(value.reshape(len(value), -1))
    return (rows + 0.0).view(np.uint32)  # -0.0 + 0.0 is 0.0


@jax.jit
def _entropy(rows: Array) -> Array:
    one_label = jnp.zeros(len(rows), jnp.int32)
    return _entropies(rows, one_label)[0]


@jax.jit
def _information(rows: Array, labels: Array) -> Array:
    of_values, of_both = _entropies(rows, labels)
    ordered = jnp.sort(labels)
    return of_values + _entropy_of_groups(ordered[1:] != ordered[:-1]) - of_both


def _words(rows: Array) -> Array:
    """The bits of each row as uint32 ``[num_inputs, num_words]``, alike where the values are equal."""
    if jnp.issubdtype(rows.dtype, jnp.floating):
        rows = rows if rows.dtype.itemsize >= 4 else rows.astype(jnp.float32)
        rows = jnp.where(rows == 0, 0, rows)  # -0.0
    elif rows.dtype.itemsize < 4:
        rows = rows.astype(jnp.int32)
    words = jax.lax.bitcast_convert_type(rows, jnp.uint32)
    return words.reshape(len(rows), -1)


def _entropies(rows: Array, labels: Array) -> tuple[Array, Array]:
    """Of the rows, and of the rows with their labels."""
    words = _words(rows)
    hashes = (_hash(words, *pair) for pair in MULTIPLIERS)
    first, second, labels, order = jax.lax.sort((*hashes, labels, jnp.arange(len(rows))), num_keys=3)
    words = words[order]
    is_other = jnp.any(words[1:] != words[:-1], axis=1)
    is_clash = is_other & (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    is_wrong = jnp.any(is_clash) | jnp.any(rows != rows)
    groups = is_other, is_other | (labels[1:] != labels[:-1])
    of_values, of_both = (jnp.where(is_wrong, jnp.nan, _entropy_of_groups(group)) for group in groups)
    return of_values, of_both


def _entropy_of_groups(is_other: Array) -> Array:
    """Entropy of groups of equal neighbours, from where the next one begins."""
    num_rows = len(is_other) + 1
    group = jnp.cumsum(jnp.pad(is_other, (1, 0)).astype(jnp.int32))
    counts = jnp.zeros(num_rows, jnp.result_type(float)).at[group].add(1)
    return np.log2(num_rows) - jnp.sum(counts * jnp.log2(jnp.maximum(counts, 1))) / num_rows


def _hash(words: Array, first: int, second: int) -> Array:
    """32 bits ``[num_rows]`` of all words of each row and of their places."""
    places = np.arange(1, words.shape[1] + 1, dtype=np.uint32) * np.uint32(second)
    mixed = words ^ places[None]
    for multiplier in (first, second):
        mixed = (mixed ^ (mixed >> 16)) * np.uint32(multiplier)
    return jnp.sum(mixed ^ (mixed >> 15), axis=1, dtype=jnp.uint32)
