"""What the schemes of coarse-graining share: their input checked, their steps scanned, and what a flow returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_count, check_function
from jaxrg.closures import as_partial
from jaxrg.rg.tensor.network import Checkerboard, Tensor, as_tensor
from jaxrg.tables import MAX_BYTES, check_bytes


class Flow(NamedTuple):
    """A tensor coarse-grained step by step.

    Attributes:
        tensor: after the last step, with entries of norm one.
        log_partition: ``[num_steps]`` ln Z per site of the torus of one tensor after each step.
        truncation: ``[num_steps]`` relative Frobenius norm of what each step cut away, the larger of its cuts.
        observed: what ``observe`` gave after each step, leaves ``[num_steps, ...]``; None without.
    """

    tensor: Any
    log_partition: Array
    truncation: Array
    observed: PyTree


def nothing(tensor: Tensor | Checkerboard) -> None:
    """Observes nothing."""


def checked(
    tensor: Any,
    chi: Any,
    num_steps: Any,
    observe: Any,
    *,
    ndims: tuple[int, ...],
    words: Callable[[int, int], int],
    is_checkerboard: bool = False,
) -> tuple[Any, int, int, Any]:
    """Arguments of a scheme in these dimensions, whose step needs so many ``words(ndim, longest leg)`` of memory.

    Raises:
        ValueError: as the scheme's.
    """
    given = as_tensor("tensor", tensor, is_checkerboard=is_checkerboard)
    ndim = given.entries.ndim // 2
    if ndim not in ndims:
        legs = " or ".join(str(2 * each) for each in ndims)
        raise ValueError(f"tensor.entries: expected {legs} legs, got shape {given.entries.shape}")
    rank, count = as_count("chi", chi, minimum=2), as_count("num_steps", num_steps)
    largest = max(rank, *given.entries.shape)
    needed = given.entries.dtype.itemsize * words(ndim, largest)
    check_bytes("chi", needed, MAX_BYTES, f"a step with legs of {largest}")
    if observe is None:
        return given, rank, count, as_partial(nothing)
    check_function("observe", observe, of="a tensor")
    return given, rank, count, as_partial(observe)


def padded(entries: Array, size: int) -> Array:
    """Legs lengthened by zeros, so that all steps have one shape; longer ones stay."""
    return jnp.pad(entries, [(0, max(size - length, 0)) for length in entries.shape])


def stacked(first: list[PyTree], rest: PyTree) -> PyTree:
    """Results of the steps before the scan in front of those of it."""
    if not first:
        return rest
    return jax.tree.map(lambda *parts: jnp.concatenate([*(part[None] for part in parts[:-1]), parts[-1]]), *first, rest)
