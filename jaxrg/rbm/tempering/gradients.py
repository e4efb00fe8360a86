"""Training with tempered chains: the model's term comes from the last machine of ladders that never restart."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.checks import as_count, check_function, check_key, check_shape, kind_of
from jaxrg.closures import as_partial
from jaxrg.rbm.energy import RBM, as_machine, as_visible, unchecked_visible_hamiltonian
from jaxrg.rbm.tempering.chains import TemperedState, step_ladder
from jaxrg.rbm.tempering.ladders import as_ladder
from jaxrg.training import GradientFn


def tempered_gradient(ladder: Callable[[RBM], RBM], *, num_steps: int = 1) -> GradientFn:
    r"""Persistent chains by parallel tempering: the gradient of the likelihood from chains that cross between phases.

    .. math:: g = \langle \partial H(v) \rangle_\mathrm{data} - \langle \partial H(v) \rangle_\mathrm{last\ machine}

    Args:
        ladder: ``machines = ladder(machine)``, a stack whose last is the machine in training. In temperature
            ``lambda machine: tempered(machine, reference, inverse_temperatures)``; along a trajectory a function that
            puts the machine after earlier checkpoints. Arrays it holds are traced.
        num_steps: steps of `tempered_gibbs_sampler` of every ladder.

    Returns:
        A `jaxrg.training.GradientFn` whose ``aux`` are the ladders, at first from `tempered_chains`. It reports the
        root mean square difference between the visible means of data and chains, the mean probability of a swap of
        the pair where it is smallest, and changes of sign of the magnetisation a step.

    Raises:
        ValueError: a ladder that is no function, or ``num_steps`` no positive integer.

    Example:
        >>> from jaxrg import rbm
        >>> from jaxrg.rbm.tempering import independent_units, tempered, tempered_chains
        >>> machine = rbm.init(jax.random.key(0), 4, 2, scale=0.5)
        >>> ladder = lambda machine: tempered(machine, independent_units(machine), [0.0, 0.5, 1.0])
        >>> chains = tempered_chains(jax.random.key(1), ladder(machine), 10)
        >>> gradient_fn = tempered_gradient(ladder)
        >>> gradients, chains, metrics = gradient_fn(jax.random.key(2), machine, chains, jnp.ones((5, 4)))
        >>> gradients.weights.shape, sorted(metrics)
        ((4, 2), ['magnetization_gap', 'swap_acceptance', 'tunnelling'])

    Reference:
        Desjardins et al., AISTATS (2010); for the trajectory Béreux et al., arXiv:2405.15376.
    """
    check_function("ladder", ladder, of="a machine")
    return Partial(_TemperedGradient(as_count("num_steps", num_steps)), as_partial(ladder))


class _TemperedGradient(NamedTuple):
    """The gradient as a function that compares by its number of steps, so that another ladder does not recompile."""

    num_steps: int

    def __call__(self, ladder: Callable, key: Array, machine: RBM, chains: TemperedState, batch: Array):
        check_key("key", key)
        machine = as_machine(machine)
        batch = as_visible("batch", batch, machine, is_batch=True)
        machines = as_ladder("ladder", ladder(machine))
        if not isinstance(chains, TemperedState):
            raise ValueError(
                "chains: expected ladders as aux, such as rbm.tempering.tempered_chains(key, ladder(machine), "
                f"num_chains), got {kind_of(chains)}"
            )
        shape = (machines.weights.shape[0], machine.num_hidden)
        check_shape("chains.hidden", chains.hidden, (*chains.hidden.shape[:1], *shape))
        return _gradient(self, key, machine, machines, chains, batch)


@functools.partial(jax.jit, static_argnums=0, inline=True)
def _gradient(
    gradient: _TemperedGradient, key: Array, machine: RBM, machines: RBM, chains: TemperedState, batch: Array
) -> tuple[RBM, TemperedState, dict[str, Array]]:
    num_chains = chains.hidden.shape[0]

    def step(chains: TemperedState, key: Array):
        keys = jax.random.split(key, num_chains)
        after, info = jax.vmap(step_ladder, (None, 0, 0))(machines, keys, chains)
        return after._replace(step=chains.step + 1), (info.swap_acceptance, info.has_tunnelled)

    keys = jax.random.split(key, gradient.num_steps)
    chains, (swaps, tunnellings) = jax.lax.scan(step, chains, keys)
    energies = jax.vmap(unchecked_visible_hamiltonian, (None, 0))

    def contrast(machine: RBM) -> Array:
        return jnp.mean(energies(machine, batch)) - jnp.mean(energies(machine, chains.visible[:, -1]))

    gradients = jax.grad(contrast)(machine)
    metrics = {
        "magnetization_gap": jnp.sqrt(jnp.mean(gradients.visible_bias**2)),
        "swap_acceptance": jnp.min(jnp.mean(swaps, axis=(0, 1))),
        "tunnelling": jnp.mean(tunnellings, dtype=gradients.visible_bias.dtype),
    }
    return gradients, chains, metrics
