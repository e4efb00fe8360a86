"""What makes a training run the run it is, for the folder that remembers it."""

import os
from collections.abc import Collection
from typing import Any

import jax
from jax import Array

from jaxrg.base import PyTree
from jaxrg.store import RunFolder, describe, program_fingerprint
from jaxrg.training.epoch import GradientFn, Optimizer, update
from jaxrg.training.result import Fit

CHANGEABLE = (
    "batch_size",
    "data",
    "gradient_fn",
    "key",
    "optimizer",
    "run_id",
    "steps_per_epoch",
    "validation_fn",
    "weights",
)
SETTINGS = ("jax_default_matmul_precision", "jax_threefry_partitionable")  # of JAX, which no program shows


def as_changed(changed: str | Collection[str]) -> tuple[str, ...]:
    """Names of arguments of a run that may differ from those of its folder.

    Raises:
        ValueError: another name.
    """
    names = (changed,) if isinstance(changed, str) else changed
    if not isinstance(names, list | tuple | set | frozenset) or not all(name in CHANGEABLE for name in names):
        raise ValueError(f"changed: expected some of {', '.join(CHANGEABLE)}, got {changed!r}")
    return tuple(names)


def run_folder(
    folder: str | os.PathLike,
    key: Array,
    gradient_fn: GradientFn,
    validation_fn: Any,
    optimizer: Optimizer,
    start: Fit,
    data: PyTree,
    *,
    sizes: dict[str, int | None],
    is_weighted: bool,
    run_id: str | None,
    changed: tuple[str, ...],
) -> RunFolder:
    """The folder of this run; two runs with the same description have the same bits.

    Args:
        folder, key, gradient_fn, validation_fn, optimizer: of the run.
        start: how it begins, with the metrics of one epoch.
        data: with the weights of the samples, if they have any.
        sizes: ``batch_size`` of a run with data, ``num_steps`` of an epoch of one without.
        is_weighted, run_id: of the run.
        changed: arguments that may be others than those the folder knows.
    """
    samples, weights = data if is_weighted else (data, None)
    batch_size = sizes["batch_size"]
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((batch_size, *leaf.shape[1:]), leaf.dtype), data)
    description = {
        "run_id": run_id,
        "batch_size": batch_size,
        "key": describe(key),
        "params": describe(start.params),
        "aux": describe(start.aux),
        "data": describe(samples),
        "weights": describe(weights),
        "optimizer": describe(start.optimizer_state),
        "arrays of optimizer": describe(jax.tree.leaves(optimizer)),
        "arrays of gradient_fn": describe(jax.tree.leaves(gradient_fn)),
        "arrays of validation_fn": describe(jax.tree.leaves(validation_fn)),
    }
    if data is None:
        description = description | {"steps_per_epoch": sizes["num_steps"]}
    programs = {
        "program of optimizer": program_fingerprint(
            _optimizer_step, optimizer, start.params, start.optimizer_state, _loss_in(start.metrics)
        ),
        "program of gradient_fn": program_fingerprint(_call, gradient_fn, key, start.params, start.aux, batch),
        "setting": {f" {name}": str(getattr(jax.config, name)) for name in SETTINGS},
    }
    if validation_fn is not None:
        programs["program of validation_fn"] = program_fingerprint(_call, validation_fn, start.params, start.aux)
    items = {item for name in changed for item in (name, f"arrays of {name}", f"program of {name}")}
    if {"batch_size", "data", "weights"} & set(changed):
        items.add("program of gradient_fn")  # which is one for the shapes of its batch
    return RunFolder(folder, description, programs=programs, changed=items, name="checkpoint_dir")


def _call(fn: Any, *arguments: PyTree) -> PyTree:
    return fn(*arguments)


def _loss_in(metrics: PyTree) -> Any:
    return metrics.get("loss") if isinstance(metrics, dict) else None


def _optimizer_step(optimizer: Optimizer, params: PyTree, state: PyTree, loss: Any) -> PyTree:
    """A step along the parameters themselves; what the optimiser does with a loss, any loss shows."""
    extra = {}
    if loss is not None:
        extra = {"value": loss, "value_fn": lambda params: sum(leaf.sum() for leaf in jax.tree.leaves(params))}
    return update(optimizer, params, state, params, **extra)
