"""Stacks of machines, trained greedily from the lowest layer up, as in deep belief networks."""

import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxrg import training
from jaxrg.base import Progress, PyTree
from jaxrg.checks import check_count, check_spins
from jaxrg.progress import reporting
from jaxrg.rbm.energy import RBM, check_machine, hidden_field, init, visible_field
from jaxrg.rbm.gibbs import sample_spins
from jaxrg.rbm.gradients import (
    contrastive_divergence_gradient,
    persistent_chains,
    persistent_contrastive_divergence_gradient,
)
from jaxrg.rbm.receptive_fields import check_stack

MAP_BATCH = 1024  # samples lifted to the next layer at once: as floats they take four times the memory of their int8


@jax.jit
def _lift(key: Array, machine: RBM, data: Array) -> Array:
    """Samples of p(h | v), one for each row, in blocks of rows."""

    def draw(block):
        index, rows = block
        fields = jax.vmap(hidden_field, (None, 0))(machine, rows)
        return sample_spins(jax.random.fold_in(key, index), jnp.tanh(fields))

    num_samples = data.shape[0]
    num_blocks = -(-num_samples // MAP_BATCH)
    padded = jnp.pad(data, ((0, num_blocks * MAP_BATCH - num_samples), (0, 0)), constant_values=1)
    blocks = (jnp.arange(num_blocks, dtype=jnp.uint32), padded.reshape(num_blocks, MAP_BATCH, -1))
    return jax.lax.map(draw, blocks).reshape(num_blocks * MAP_BATCH, -1)[:num_samples]


def lift(key: Array, machine: RBM, data: Array) -> Array:
    """Draw a hidden layer for every sample: the data of the next machine of a stack.

    Returns:
        ``[num_samples, num_hidden]`` int8 samples of p(h | v), not means.
    """
    num_visible, _ = check_machine(machine)
    check_spins("data", data, (data.shape[0], num_visible))
    return _lift(key, machine, data)


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
        data: ``[num_samples, num_visible]`` spins ±1; int8 takes the least memory.
        layer_sizes: hidden units of each machine from the lowest up, such as ``(400, 100, 25)``.
        num_epochs: of each machine.
        batch_size: samples of a step.
        optimizer: of optax; plain momentum, ``optax.sgd(0.01, momentum=0.9)``, unless given. Chain it after
            `l1_penalty` for sparse receptive fields.
        num_steps: Gibbs steps of contrastive divergence.
        num_chains: this many persistent chains instead of contrastive divergence.
        scale: standard deviation of the initial weights.
        dtype: of the parameters; the default float of JAX unless given.
        checkpoint_dir: folder with a subfolder of checkpoints per machine; a call after a crash goes on where it
            stopped.
        checkpoint_every: epochs between checkpoints.
        progress: as for `jaxrg.training.fit`, with the epochs of all machines together.

    Returns:
        The machines, and for each the history of the metrics of its training.

    Raises:
        ValueError: no layers, wrong sizes, or data that are not ±1.
        FloatingPointError: a training diverged.

    Example:
        >>> spins = jnp.where(jax.random.bernoulli(jax.random.key(0), shape=(50, 8)), 1, -1)
        >>> stack, _ = train_stack(jax.random.key(1), spins, (8, 8), num_epochs=1, batch_size=10)
        >>> [machine.weights.shape for machine in stack]
        [(8, 8), (8, 8)]

    Reference:
        Hinton, Osindero & Teh, Neural Computation 18, 1527 (2006).
    """
    if data.ndim != 2:
        raise ValueError(f"data: expected shape (num_samples, num_visible), got {tuple(data.shape)}")
    check_spins("data", data)
    if len(layer_sizes) == 0:
        raise ValueError("layer_sizes: expected at least one number of hidden units, got none")
    for size in layer_sizes:
        check_count("layer_sizes", size)
    optimizer = _DEFAULT_OPTIMIZER if optimizer is None else optimizer
    if num_chains is None:
        gradient_fn = contrastive_divergence_gradient(num_steps=num_steps)
    else:
        gradient_fn = persistent_contrastive_divergence_gradient(num_steps=num_steps)

    machines, histories = [], []
    with reporting(progress, "training") as report:
        for level, size in enumerate(layer_sizes):
            init_key, chain_key, fit_key, lift_key = jax.random.split(jax.random.fold_in(key, level), 4)
            machine = init(init_key, data.shape[1], size, scale=scale, dtype=dtype)

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
                checkpoint_dir=None if checkpoint_dir is None else Path(checkpoint_dir) / f"machine_{level + 1}",
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
        ``[num_visible]`` means of the lowest layer given the hidden layer above it, in [-1, 1]; `sample_visible` of
        that layer has these means.
    """
    check_stack(stack)
    check_spins("visible", visible, (stack[0].visible_bias.shape[0],))
    spins = visible
    for level, machine in enumerate(stack):
        spins = sample_spins(jax.random.fold_in(key, level), jnp.tanh(hidden_field(machine, spins)))
    for level, machine in reversed(list(enumerate(stack))):
        means = jnp.tanh(visible_field(machine, spins))
        if level == 0:
            return means
        spins = sample_spins(jax.random.fold_in(key, len(stack) + level), means)
    raise AssertionError("an empty stack has been refused above")
