"""When to stop a run early, as functions of its history."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxrg.checks import as_count, check_function


def early_stopping(values_fn: Callable[[Any], Any], *, patience: int) -> Callable[[Any], bool]:
    """A callback of `jaxrg.training.fit` that stops once the last epochs have brought no smaller value.

    It looks at the history alone, so a run that goes on from a checkpoint stops where it would have stopped.

    Args:
        values_fn: ``values = values_fn(run)``: one number an epoch, such as ``run.validation["loss"]``; NaN is no
            smaller value.
        patience: this many epochs after the smallest value the run stops.

    Example:
        >>> stop = early_stopping(lambda losses: losses, patience=2)
        >>> [stop([3.0, 1.0, 2.0]), stop([3.0, 1.0, 2.0, 1.5])]
        [False, True]
    """
    check_function("values_fn", values_fn, of="a run")
    patience = as_count("patience", patience)

    def is_stale(run: Any) -> bool:
        values = np.asarray(values_fn(run), float)
        if values.ndim != 1:
            raise ValueError(f"values_fn: expected one number an epoch, got shape {values.shape}")
        if np.all(np.isnan(values)):
            return len(values) > patience
        return len(values) - 1 - int(np.nanargmin(values)) >= patience

    return is_stale
