"""Stacks of machines, trained greedily from the lowest layer up, as in deep belief networks."""

import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxrg import training
from jaxrg.base import Progress, PyTree
from jaxrg.checks import as_count, as_sides, check_key, is_traced
from jaxrg.progress import reporting
from jaxrg.rbm.energy import (
    RBM,
    as_float_dtype,
    as_machine,
    as_units,
    as_visible,
    check_units,
    field_on_hidden,
    field_on_visible,
    hidden_features,
    init,
    visible_features,
)
from jaxrg.rbm.gradients import (
    contrastive_divergence_gradient,
    persistent_chains,
    persistent_contrastive_divergence_gradient,
)
from jaxrg.rbm.receptive_fields import as_stack
from jaxrg.rbm.units.spins import SPINS, Units
from jaxrg.store import RunFolder, describe, program_fingerprint
from jaxrg.store.run_folder import RUN_FILE
from jaxrg.training.epoch import as_optimizer, initial_state, update

MAP_BATCH = 1024  # samples lifted to the next layer at once: as floats they take four times the memory of their int8


@jax.jit
def _lift(key: Array, machine: RBM, data: Array) -> Array:
    """Samples of p(h | v), one for each row, in blocks of rows."""

    def draw(block):
        index, rows = block
        fields = jax.vmap(field_on_hidden, (None, 0))(machine, visible_features(machine, rows))
        return machine.hidden_units.sample(jax.random.fold_in(key, index), fields)

    num_samples = data.shape[0]
    num_blocks = -(-num_samples // MAP_BATCH)
    padded = jnp.pad(data, ((0, num_blocks * MAP_BATCH - num_samples), (0, 0)), constant_values=1)
    blocks = (jnp.arange(num_blocks, dtype=jnp.uint32), padded.reshape(num_blocks, MAP_BATCH, -1))
    return jax.lax.map(draw, blocks).reshape(num_blocks * MAP_BATCH, -1)[:num_samples]


def lift(key: Array, machine: RBM, data: Array) -> Array:
    """Draw a hidden layer for every sample: the data of the next machine of a stack.

    Returns:
        ``[num_samples, num_hidden]`` samples of p(h | v), not means, as `sample_hidden` gives them.
    """
    check_key("key", key)
    machine = as_machine(machine)
    return _lift(key, machine, as_visible("data", data, machine, is_batch=True))


def _stack_folder(
    folder: str | os.PathLike, optimizer: optax.GradientTransformation, machine: RBM, **described: Any
) -> RunFolder:
    """The folder of the stack as a whole: what the machines above the lowest learn depends on all of it."""
    opened = as_optimizer(optimizer)
    state = initial_state(opened, machine)
    return RunFolder(
        folder,
        described | {"optimizer": describe((opened, state))},
        programs={
            "program of optimizer": program_fingerprint(functools.partial(update, opened), machine, state, machine)
        },
        name="checkpoint_dir",
    )


@contextmanager
def _claimed(folder: RunFolder | None) -> Iterator[None]:
    """The folder is this stack's from here on; a failure before anything is saved leaves it to others."""
    if folder is None:
        yield
        return
    folder.claim()
    try:
        yield
    except BaseException:
        if [path.name for path in folder.folder.iterdir()] == [RUN_FILE]:
            (folder.folder / RUN_FILE).unlink()
        raise


@jax.jit
def _keys_of(key: Array, level: Array | np.uint32) -> tuple[Array, Array, Array, Array]:
    """Keys to start a machine, to start its chains, to train it, and to lift its data."""
    init_key, chain_key, fit_key, lift_key = jax.random.split(jax.random.fold_in(key, level), 4)
    return init_key, chain_key, fit_key, lift_key


def train_stack(
    key: Array,
    data: Array,
    layer_sizes: Sequence[int],
    *,
    num_epochs: int,
    batch_size: int = 100,
    optimizer: optax.GradientTransformation | None = None,
    num_steps: int = 1,
    num_chains: int | None = None,
    visible_units: Units = SPINS,
    scale: float = 0.01,
    dtype=None,
    checkpoint_dir: str | os.PathLike | None = None,
    checkpoint_every: int = 1,
    progress: Progress | bool | None = None,
) -> tuple[tuple[RBM, ...], tuple[PyTree, ...]]:
    """Train machines one on top of the other, each on hidden samples of the one below.

    A machine sees samples of p(h | v) drawn once from its data, not the means: the distribution the next layer has to
    model is that of spins.

    Args:
        key: typed PRNG key of the whole stack.
        data: ``[num_samples, num_visible]`` of the visible units; spins as int8 take the least memory.
        layer_sizes: hidden units of each machine from the lowest up, such as ``(400, 100, 25)``.
        num_epochs: of each machine.
        batch_size: samples of a step.
        optimizer: of optax; plain momentum, ``optax.sgd(0.01, momentum=0.9)``, unless given. Chain it after
            `l1_penalty` for sparse receptive fields.
        num_steps: Gibbs steps of contrastive divergence.
        num_chains: this many persistent chains instead of contrastive divergence.
        visible_units: of the lowest layer, spins ±1 unless given; all hidden ones are spins.
        scale: standard deviation of the initial weights.
        dtype: of the parameters; the default float of JAX unless given.
        checkpoint_dir: folder with a subfolder of checkpoints per machine; the same call after a crash goes on where it
            stopped. It remembers the stack as a whole: another call, one with more epochs too, is refused before
            anything is touched, since a machine trained on changes what those above it have learnt from.
        checkpoint_every: epochs between checkpoints.
        progress: as for `jaxrg.training.fit`, with the epochs of all machines together.

    Returns:
        The machines, and for each the history of the metrics of its training.

    Raises:
        ValueError: no layers, wrong sizes, or data that are not ±1.
        FolderError: a ValueError for a checkpoint folder of another stack or run.
        FloatingPointError: a training diverged.

    Example:
        >>> spins = jnp.where(jax.random.bernoulli(jax.random.key(0), shape=(50, 8)), 1, -1)
        >>> stack, _ = train_stack(jax.random.key(1), spins, (8, 8), num_epochs=1, batch_size=10)
        >>> [machine.weights.shape for machine in stack]
        [(8, 8), (8, 8)]

    Reference:
        Hinton, Osindero & Teh, Neural Computation 18, 1527 (2006).
    """
    check_key("key", key)
    check_units("visible_units", visible_units)
    data = as_units("data", data, (None, None), visible_units)
    if is_traced((key, data)):
        raise ValueError("data: expected arrays with values, got tracers: a stack is trained outside of jit")
    layer_sizes = as_sides("layer_sizes", layer_sizes)
    if len(layer_sizes) == 0:
        raise ValueError("layer_sizes: expected at least one number of hidden units, got none")
    num_epochs, batch_size = as_count("num_epochs", num_epochs, minimum=0), as_count("batch_size", batch_size)
    num_chains = None if num_chains is None else as_count("num_chains", num_chains)
    dtype = as_float_dtype("dtype", dtype)
    optimizer = _DEFAULT_OPTIMIZER if optimizer is None else optimizer
    if num_chains is None:
        gradient_fn = contrastive_divergence_gradient(num_steps=as_count("num_steps", num_steps))
    else:
        gradient_fn = persistent_contrastive_divergence_gradient(num_steps=as_count("num_steps", num_steps))
    folder = None
    if checkpoint_dir is not None:
        folder = _stack_folder(
            checkpoint_dir,
            optimizer,
            init(key, data.shape[1], layer_sizes[0], visible_units=visible_units, scale=scale, dtype=dtype),
            layer_sizes=layer_sizes,
            num_epochs=num_epochs,
            batch_size=batch_size,
            num_steps=int(num_steps),
            num_chains=num_chains,
            scale=float(scale),
            dtype=str(dtype),
            key=describe(key),
            data=describe(data),
        )
    machines, histories = [], []
    with _claimed(folder), reporting(progress, "training") as report:
        for level, size in enumerate(layer_sizes):
            init_key, chain_key, fit_key, lift_key = _keys_of(key, np.uint32(level))
            units = visible_units if level == 0 else SPINS
            machine = init(init_key, data.shape[1], size, visible_units=units, scale=scale, dtype=dtype)

            def report_machine(done: int, total: int, text: str, level=level) -> None:
                report(level * total + done, len(layer_sizes) * total, f"machine {level + 1}: {text}")

            result = training.fit(
                fit_key,
                gradient_fn,
                optimizer,
                machine,
                data,
                aux=None if num_chains is None else persistent_chains(chain_key, machine, num_chains),
                num_epochs=num_epochs,
                batch_size=batch_size,
                checkpoint_dir=None if folder is None else folder.folder / f"machine_{level + 1}",
                checkpoint_every=checkpoint_every,
                progress=report_machine,
            )
            machines.append(result.params)
            histories.append(result.metrics)
            if level + 1 < len(layer_sizes):
                data = lift(lift_key, result.params, data)
    return tuple(machines), tuple(histories)


_DEFAULT_OPTIMIZER = optax.sgd(0.01, momentum=0.9)  # one object, so that every stack shares its compiled epochs


def reconstruct(key: Array, stack: Sequence[RBM], visible: Array) -> Array:
    """Send a configuration to the top of a stack and back down, sampling every layer on the way.

    Args:
        stack: machines from the lowest up.

    Returns:
        ``[num_visible]`` means of the lowest layer given the hidden layer above it, as `visible_mean`; `sample_visible`
        of that layer has these means. NaN where, inside a jit, units are none of the machine's.

    Raises:
        ValueError: machines that do not fit onto each other, units that are none, or a derivative with respect to
            the machines, which drawn spins do not carry.
    """
    check_key("key", key)
    machines = as_stack(stack)
    return _reconstruct(key, machines, as_visible("visible", visible, machines[0]))


@jax.jit
def _reconstruct(key: Array, stack: tuple[RBM, ...], visible: Array) -> Array:
    units = visible
    for level, machine in enumerate(stack):
        field = field_on_hidden(machine, visible_features(machine, units))
        units = machine.hidden_units.sample(jax.random.fold_in(key, level), field)
    for level, machine in reversed(list(enumerate(stack[1:], 1))):
        field = field_on_visible(machine, hidden_features(machine, units))
        units = machine.visible_units.sample(jax.random.fold_in(key, len(stack) + level), field)
    field = field_on_visible(stack[0], hidden_features(stack[0], units))
    return stack[0].visible_units.mean(field)
