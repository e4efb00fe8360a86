"""Parts of a data set: some of its classes, and disjoint random samples."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import check_count
from jaxrg.datasets.loaders import Dataset


def select_classes(dataset: Dataset, classes: Sequence[int]) -> Dataset:
    """Only the samples of some classes, relabelled 0, 1, ... in the given order.

    Raises:
        ValueError: a class that the data set does not have, or one twice.
    """
    chosen = list(classes)
    if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(range(len(dataset.class_names))):
        raise ValueError(f"classes: expected distinct labels below {len(dataset.class_names)}, got {chosen}")
    labels = np.asarray(dataset.labels)
    renumbered = np.full(len(dataset.class_names), -1)
    renumbered[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(renumbered[labels] >= 0)
    return dataset._replace(
        inputs=dataset.inputs[rows],
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
    check_count("num_train", num_train)
    total = dataset.inputs.shape[0]
    num_test = total - num_train if num_test is None else num_test
    if num_test < 1 or num_train + num_test > total:
        raise ValueError(
            f"num_train, num_test: expected at least one each and {total} samples at most, got {num_train}, {num_test}"
        )
    order = jax.random.permutation(key, total)
    parts = order[:num_train], order[num_train : num_train + num_test]
    first, second = (dataset._replace(inputs=dataset.inputs[rows], labels=dataset.labels[rows]) for rows in parts)
    return first, second
