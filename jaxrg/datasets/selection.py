"""Parts of a data set: some of its classes, and disjoint random samples."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_count, as_integers, check_key, kind_of
from jaxrg.datasets.loaders import Dataset


def _check_dataset(dataset: Any) -> None:
    if not isinstance(dataset, Dataset):
        raise ValueError(f"dataset: expected a Dataset, got {kind_of(dataset)}")
    shapes = np.shape(dataset.inputs), np.shape(dataset.labels)
    if shapes[0][:1] != shapes[1]:
        raise ValueError(f"dataset: expected inputs and labels of the same samples, got shapes {shapes}")


@jax.jit
def _rows(array: Array, rows: Array) -> Array:
    return array[rows]


def select_classes(dataset: Dataset, classes: Sequence[int]) -> Dataset:
    """Only the samples of some classes, relabelled 0, 1, ... in the given order.

    Raises:
        ValueError: a class that the data set does not have, or one twice.
    """
    _check_dataset(dataset)
    num_classes = len(dataset.class_names)
    chosen = np.asarray(as_integers("classes", classes)).tolist() if np.size(classes) else []
    is_list = isinstance(chosen, list) and len(chosen) > 0
    if not is_list or len(set(chosen)) != len(chosen) or not set(chosen) <= set(range(num_classes)):
        raise ValueError(f"classes: expected distinct labels below {num_classes}, got {chosen}")
    labels = np.asarray(dataset.labels)
    renumbered = np.full(num_classes, -1)
    renumbered[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(renumbered[labels] >= 0)
    return dataset._replace(
        inputs=_rows(dataset.inputs, rows),
        labels=jnp.asarray(renumbered[labels[rows]].astype(np.int32)),
        class_names=tuple(dataset.class_names[label] for label in chosen),
    )


def split(key: Array, dataset: Dataset, num_train: int, num_test: int | None = None) -> tuple[Dataset, Dataset]:
    """Two disjoint random samples of a data set.

    Args:
        key: typed key; the same key gives the same samples.
        dataset: to draw from.
        num_train: samples of the first.
        num_test: samples of the second; by default all that remain.

    Raises:
        ValueError: a count below one, or more samples than there are.

    Example:
        >>> numbers = Dataset(jnp.arange(5.0), jnp.zeros(5, jnp.int32), ("none",))
        >>> train, test = split(jax.random.key(0), numbers, 3)
        >>> sorted([*train.inputs.tolist(), *test.inputs.tolist()])
        [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    check_key("key", key)
    _check_dataset(dataset)
    num_train = as_count("num_train", num_train)
    total = dataset.inputs.shape[0]
    num_test = total - num_train if num_test is None else as_count("num_test", num_test, minimum=0)
    if num_test < 1 or num_train + num_test > total:
        raise ValueError(
            f"num_train, num_test: expected at least one each and {total} samples at most, got {num_train}, {num_test}"
        )
    arrays = dataset.inputs, dataset.labels
    train, test = _split(key, arrays, num_train=num_train, num_test=num_test)
    return dataset._replace(inputs=train[0], labels=train[1]), dataset._replace(inputs=test[0], labels=test[1])


@functools.partial(jax.jit, static_argnames=("num_train", "num_test"))
def _split(key: Array, arrays: tuple[Array, Array], *, num_train: int, num_test: int) -> Any:
    order = jax.random.permutation(key, arrays[0].shape[0])
    parts = order[:num_train], order[num_train : num_train + num_test]
    return [tuple(array[rows] for array in arrays) for rows in parts]
