"""Null models of learning: the same data with its labels or its pixels in the wrong place."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import check_count


class CorruptedLabels(NamedTuple):
    """Labels ``int[num_samples]`` and which of them are wrong, ``bool[num_samples]``."""

    labels: Array
    is_corrupted: Array


def corrupt_labels(key: Array, labels: Array, fraction: float, *, num_classes: int) -> CorruptedLabels:
    """Replace a fraction of the labels, rounded to whole samples, each by another class drawn uniformly.

    Args:
        key: typed key.
        labels: integers ``[num_samples]`` below ``num_classes``.
        fraction: from 0 to 1; every chosen label is wrong afterwards.
        num_classes: at least 2.

    Raises:
        ValueError: a fraction outside [0, 1], fewer than two classes.

    Example:
        >>> corrupt_labels(jax.random.key(0), jnp.array([0, 1, 1, 0]), 1.0, num_classes=2).labels.tolist()
        [1, 0, 0, 1]
    """
    check_count("num_classes", num_classes, minimum=2)
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction: expected a number from 0 to 1, got {fraction}")
    choice_key, shift_key = jax.random.split(key)
    num_samples = labels.shape[0]
    order = jax.random.permutation(choice_key, num_samples)
    is_corrupted = order < round(fraction * num_samples)
    shift = jax.random.randint(shift_key, labels.shape, 1, num_classes, labels.dtype)
    wrong = (labels + shift) % num_classes
    return CorruptedLabels(jnp.where(is_corrupted, wrong, labels), is_corrupted)


def shuffle_labels(key: Array, labels: Array) -> Array:
    """The labels in a random order: each class as often as before, and nothing to learn but the samples themselves."""
    return jax.random.permutation(key, labels)


def shuffle_pixels(key: Array, inputs: Array) -> Array:
    """One random permutation of the entries, the same for every sample ``[num_samples, ...]``.

    A perceptron learns such images as well as the originals; what a patch means is gone.
    """
    flat = inputs.reshape(inputs.shape[0], -1)
    return jax.random.permutation(key, flat, axis=1).reshape(inputs.shape)


def shuffle_pixels_per_sample(key: Array, inputs: Array) -> Array:
    """A permutation of its own for every sample ``[num_samples, ...]``: only the histogram of each is left."""
    flat = inputs.reshape(inputs.shape[0], -1)
    return jax.random.permutation(key, flat, axis=1, independent=True).reshape(inputs.shape)
