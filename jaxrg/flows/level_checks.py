"""Checks of densities that are drawn level by level."""

from typing import Any

import jax
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_count, check_shape, kind_of


def as_level(level: Any, top: int, minimum: int = 1) -> int:
    """A level; ValueError beyond the top."""
    if as_count("level", level, minimum=minimum) > top:
        raise ValueError(f"level: expected at most {top}, the top, got {level}")
    return int(level)


def check_params(params: PyTree, expected: PyTree, num_levels: int, parts: str = "levels") -> None:
    """ValueError for parameters of another density."""
    if jax.tree.structure(params) != jax.tree.structure(expected):
        raise ValueError(f"params: expected those of {num_levels} {parts}, as init makes them, got others")
    for (path, leaf), like in zip(jax.tree.leaves_with_path(params), jax.tree.leaves(expected), strict=True):
        check_shape(f"params{jax.tree_util.keystr(path)}", leaf, like.shape)


def check_configurations(name: str, values: Array, shape: tuple[int, ...]) -> None:
    """ValueError for what is not ``[num_samples, *shape]`` with a sample or more."""
    if values.ndim != len(shape) + 1 or not len(values):
        sides = ", ".join(map(str, shape))
        raise ValueError(f"{name}: expected [num_samples, {sides}] with at least one sample, got {kind_of(values)}")
    check_shape(name, values, (len(values), *shape))
