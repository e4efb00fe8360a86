"""Null models of learning: the same data with its labels or its pixels in the wrong place."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import as_count, as_floating, as_integers, as_labels, check_key, check_number, kind_of


class CorruptedLabels(NamedTuple):
    """Labels ``int[num_samples]`` and which of them are wrong, ``bool[num_samples]``."""

    labels: Array
    is_corrupted: Array


def corrupt_labels(key: Array, labels: Array, fraction: float, *, num_classes: int) -> CorruptedLabels:
    """Replace a fraction of the labels, rounded to whole samples, each by another class drawn uniformly.

    Args:
        key: typed key.
        labels: integers ``[num_samples]`` below ``num_classes``; narrow ones come back as int32.
        fraction: from 0 to 1; every chosen label is wrong afterwards.
        num_classes: at least 2.

    Raises:
        ValueError: a fraction outside [0, 1], fewer than two classes, labels that are none of them. A traced label out
            of range becomes ``num_classes``.

    Example:
        >>> corrupt_labels(jax.random.key(0), jnp.array([0, 1, 1, 0]), 1.0, num_classes=2).labels.tolist()
        [1, 0, 0, 1]
    """
    check_key("key", key)
    num_classes = as_count("num_classes", num_classes, minimum=2)
    labels = _one_axis("labels", as_labels("labels", labels, num_classes))
    check_number("fraction", fraction)
    if not 0 <= float(fraction) <= 1:
        raise ValueError(f"fraction: expected a number from 0 to 1, got {fraction}")
    return _corrupt_labels(key, labels, round(float(fraction) * labels.shape[0]), num_classes)


def _one_axis(name: str, array: Array) -> Array:
    if array.ndim != 1:
        raise ValueError(f"{name}: expected shape (num_samples,), got {array.shape}")
    return array


@jax.jit
def _corrupt_labels(key: Array, labels: Array, num_corrupted: Array, num_classes: Array) -> CorruptedLabels:
    # A label and a shift may add up to more than the labels' own type holds.
    labels = labels.astype(jnp.promote_types(labels.dtype, jnp.int32))
    num_classes = num_classes.astype(labels.dtype)
    choice_key, shift_key = jax.random.split(key)
    is_corrupted = jax.random.permutation(choice_key, labels.shape[0]) < num_corrupted
    shift = jax.random.randint(shift_key, labels.shape, 1, num_classes, labels.dtype)
    wrong = jnp.where(labels < num_classes, (labels + shift) % num_classes, num_classes)
    return CorruptedLabels(jnp.where(is_corrupted, wrong, labels), is_corrupted)


def shuffle_labels(key: Array, labels: Array) -> Array:
    """The labels in a random order: each class as often as before, and nothing to learn but the samples themselves."""
    check_key("key", key)
    return _permute(key, _one_axis("labels", as_integers("labels", labels)))


def shuffle_pixels(key: Array, inputs: Array) -> Array:
    """One random permutation of the entries, the same for every sample ``[num_samples, ...]``.

    A perceptron learns such images as well as the originals; what a patch means is gone.
    """
    check_key("key", key)
    return _permute_pixels(key, _as_samples(inputs), is_independent=False)


def shuffle_pixels_per_sample(key: Array, inputs: Array) -> Array:
    """A permutation of its own for every sample ``[num_samples, ...]``: only the histogram of each is left."""
    check_key("key", key)
    return _permute_pixels(key, _as_samples(inputs), is_independent=True)


def _as_samples(inputs: Any) -> Array:
    samples = as_floating("inputs", inputs)
    if samples.ndim == 0 or samples.size == 0:
        raise ValueError(f"inputs: expected samples [num_samples, ...] with entries, got {kind_of(samples)}")
    return samples


@jax.jit
def _permute(key: Array, values: Array) -> Array:
    return jax.random.permutation(key, values)


@functools.partial(jax.jit, static_argnames="is_independent")
def _permute_pixels(key: Array, inputs: Array, *, is_independent: bool) -> Array:
    flat = inputs.reshape(inputs.shape[0], -1)
    return jax.random.permutation(key, flat, axis=1, independent=is_independent).reshape(inputs.shape)
