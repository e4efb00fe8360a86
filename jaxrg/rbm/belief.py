"""Deep belief networks: the generative model of a stack of machines."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Sampler, Status
from jaxrg.checks import check_key
from jaxrg.rbm.energy import RBM, as_visible, field_on_hidden, field_on_visible, hidden_features, visible_features
from jaxrg.rbm.gibbs import check_finite
from jaxrg.rbm.receptive_fields import as_stack
from jaxrg.samplers import SpinInfo, from_kernel


class BeliefState(NamedTuple):
    """A chain of the top machine, and the layers drawn down from it."""

    layers: tuple[Array, ...]  # [num_units] of every layer from the lowest up; the two upper ones are the chain
    step: Array  # [] uint32, steps taken


Stack = tuple[RBM, ...]


def _up(key: Array, stack: Stack, visible: Array) -> tuple[Array, ...]:
    layers = [visible]
    for level, machine in enumerate(stack):
        field = field_on_hidden(machine, visible_features(machine, layers[-1]))
        layers.append(machine.hidden_units.sample(jax.random.fold_in(key, level), field))
    return tuple(layers)


def _down(key: Array, stack: Stack, hidden: Array) -> tuple[tuple[Array, ...], Array]:
    """The layers below ``hidden``, the lowest first, and whether all fields on them were finite."""
    layers, is_finite = [hidden], jnp.bool_(True)
    for level, machine in reversed(list(enumerate(stack))):
        field = field_on_visible(machine, hidden_features(machine, layers[0]))
        layers.insert(0, machine.visible_units.sample(jax.random.fold_in(key, level), field))
        is_finite &= jnp.all(jnp.isfinite(field))
    return tuple(layers[:-1]), is_finite


def _init(stack: Stack, key: Array, spins: Array | None = None) -> BeliefState:
    check_key("key", key)
    return _start(stack, key, None if spins is None else as_visible("spins", spins, stack[0]))


@jax.jit
def _start(stack: Stack, key: Array, spins: Array | None) -> BeliefState:
    start_key, up_key = jax.random.split(key)
    drawn = stack[0].visible_units.sample(start_key, jnp.zeros_like(stack[0].visible_bias))
    visible = drawn if spins is None else spins.astype(drawn.dtype)
    return BeliefState(_up(up_key, stack, visible), jnp.uint32(0))


def _kernel(stack: Stack, key: Array, state: BeliefState) -> tuple[BeliefState, SpinInfo]:
    hidden_key, visible_key, down_key = jax.random.split(key, 3)
    top = stack[-1]
    to_hidden = field_on_hidden(top, visible_features(top, state.layers[-2]))
    hidden = top.hidden_units.sample(hidden_key, to_hidden)
    to_visible = field_on_visible(top, hidden_features(top, hidden))
    middle = top.visible_units.sample(visible_key, to_visible)
    below, is_finite = _down(down_key, stack[:-1], middle)
    is_finite &= jnp.all(jnp.isfinite(to_hidden)) & jnp.all(jnp.isfinite(to_visible))
    acceptance = jnp.mean(middle != state.layers[-2], dtype=jnp.float32)
    layers = (*below, middle, hidden)
    return state._replace(layers=layers), SpinInfo(acceptance, Status.NOT_FINITE.when(~is_finite))


def _measure_lowest(fn: Callable, state: BeliefState):
    return fn(state.layers[0])


def belief_sampler(stack: Sequence[RBM]) -> Sampler:
    r"""The deep belief network of a stack: Gibbs sampling of the top machine, and every layer below drawn from it.

    .. math:: p(v^0, \dots, v^n) = p_{top}(v^{n-1}, v^n) \prod_{l < n} p_l(v^{l-1} | v^l)

    It is what greedy training learns: the upper machine in place of the prior that the hidden layer of a machine has.
    Only the top machine is a Markov chain, so where it mixes the network does.

    Args:
        stack: machines from the lowest up, as `train_stack` returns them; leaves of the sampler.

    Returns:
        A sampler with `BeliefState` and `jaxrg.samplers.SpinInfo`, the fraction of changes in the top machine's visible
        layer; ``spins`` of its ``init`` and what it measures are the lowest layer.

    Raises:
        ValueError: machines that do not fit onto each other, or parameters that are not finite.

    Example:
        >>> from jaxrg import rbm
        >>> stack = rbm.init(jax.random.key(0), 8, 4), rbm.init(jax.random.key(1), 4, 2)
        >>> sampler = belief_sampler(stack)
        >>> state, _ = sampler.step(jax.random.key(2), sampler.init(jax.random.key(3)))
        >>> [layer.shape for layer in state.layers]
        [(8,), (4,), (2,)]

    Reference:
        Hinton, Osindero & Teh, Neural Computation 18, 1527 (2006).
    """
    machines = tuple(check_finite(machine) for machine in as_stack(stack))
    return from_kernel(Partial(_init, machines), Partial(_kernel, machines), _measure_lowest)
