"""Conditional distributions of the two layers, block Gibbs sampling, and the machine as a Markov chain."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Sampler, Status
from jaxrg.checks import as_parameter, check_key
from jaxrg.rbm.energy import (
    RBM,
    as_hidden,
    as_machine,
    as_visible,
    field_on_hidden,
    field_on_visible,
    hidden_features,
    hidden_field,
    visible_features,
    visible_field,
)
from jaxrg.samplers import SpinInfo, from_kernel


class GibbsState(NamedTuple):
    """One configuration of both layers; ``hidden`` is the one that ``visible`` was drawn from."""

    visible: Array  # [num_visible] spins as int8, states as int32, real units as floats
    hidden: Array  # [num_hidden]
    step: Array  # [] uint32, steps taken


def hidden_mean(machine: RBM, visible: Array) -> Array:
    r"""Mean of each hidden unit given the visible layer.

    .. math:: \langle h_a \rangle = \tanh\Big(b_a + \sum_i v_i W_{ia}\Big)

    Returns:
        ``[num_hidden]``, of spins in [-1, 1], where the probability of +1 is (1 + mean) / 2; of Potts units the
        probabilities of their states, ``[num_hidden * q]``.

    Example:
        >>> machine = RBM(jnp.full((2, 1), 0.5), jnp.zeros(2), jnp.zeros(1))
        >>> round(float(hidden_mean(machine, jnp.array([1, 1]))[0]), 4)  # tanh 1
        0.7616
    """
    machine = as_machine(machine)
    return _hidden_mean(machine, as_visible("visible", visible, machine))


@jax.jit
def _hidden_mean(machine: RBM, visible: Array) -> Array:
    return machine.hidden_units.mean(field_on_hidden(machine, visible_features(machine, visible)))


def visible_mean(machine: RBM, hidden: Array) -> Array:
    r"""Mean of each visible unit given the hidden layer, :math:`\tanh(c_i + \sum_a W_{ia} h_a)`; see `hidden_mean`."""
    machine = as_machine(machine)
    return _visible_mean(machine, as_hidden("hidden", hidden, machine))


@jax.jit
def _visible_mean(machine: RBM, hidden: Array) -> Array:
    return machine.visible_units.mean(field_on_visible(machine, hidden_features(machine, hidden)))


def sample_hidden(key: Array, machine: RBM, visible: Array) -> Array:
    """Draw the hidden layer from p(h | v).

    Returns:
        ``[num_hidden]``: spins ±1 as int8, states as int32, real units as floats. Where NaN parameters, or inside a jit
        units that are none, leave nothing to draw, 0 of spins, -1 of states and NaN of real units.

    Raises:
        ValueError: a derivative with respect to the machine, which drawn spins do not carry.
    """
    check_key("key", key)
    machine = as_machine(machine)
    return _sample_hidden(key, machine, as_visible("visible", visible, machine))


@jax.jit
def _sample_hidden(key: Array, machine: RBM, visible: Array) -> Array:
    return machine.hidden_units.sample(key, field_on_hidden(machine, visible_features(machine, visible)))


def sample_visible(key: Array, machine: RBM, hidden: Array) -> Array:
    """Draw the visible layer from p(v | h), ``[num_visible]`` int8; see `sample_hidden`."""
    check_key("key", key)
    machine = as_machine(machine)
    return _sample_visible(key, machine, as_hidden("hidden", hidden, machine))


@jax.jit
def _sample_visible(key: Array, machine: RBM, hidden: Array) -> Array:
    return machine.visible_units.sample(key, field_on_visible(machine, hidden_features(machine, hidden)), 1)


def gibbs_step(key: Array, machine: RBM, visible: Array) -> tuple[Array, Array]:
    """One step of block Gibbs sampling: the hidden layer from p(h | v), then the visible one from p(v | h).

    It leaves P(v), and with the hidden layer it returns P(v, h), invariant. Where phases coexist it slows down
    exponentially with the size of the machine.

    Returns:
        The new visible layer, and the hidden layer it was drawn from, as `sample_hidden` gives them.
    """
    check_key("key", key)
    machine = as_machine(machine)
    return _gibbs_step(key, machine, as_visible("visible", visible, machine))


@jax.jit
def _gibbs_step(key: Array, machine: RBM, visible: Array) -> tuple[Array, Array]:
    hidden = _sample_hidden(key, machine, visible)
    return _sample_visible(key, machine, hidden), hidden


def _init_chain(machine: RBM, key: Array, spins: Array | None = None) -> GibbsState:
    check_key("key", key)
    return _start_chain(machine, key, None if spins is None else as_visible("spins", spins, machine))


@jax.jit
def _start_chain(machine: RBM, key: Array, spins: Array | None) -> GibbsState:
    start_key, hidden_key = jax.random.split(key)
    drawn = machine.visible_units.sample(start_key, jnp.zeros_like(machine.visible_bias))
    visible = drawn if spins is None else spins.astype(drawn.dtype)
    return GibbsState(visible, _sample_hidden(hidden_key, machine, visible), jnp.uint32(0))


def _kernel(machine: RBM, key: Array, state: GibbsState) -> tuple[GibbsState, SpinInfo]:
    to_hidden = hidden_field(machine, state.visible)
    hidden = machine.hidden_units.sample(key, to_hidden)
    to_visible = visible_field(machine, hidden)
    visible = machine.visible_units.sample(key, to_visible, 1)
    is_finite = jnp.all(jnp.isfinite(to_hidden)) & jnp.all(jnp.isfinite(to_visible))
    acceptance = jnp.mean(visible != state.visible, dtype=jnp.float32)
    info = SpinInfo(acceptance, Status.NOT_FINITE.when(~is_finite))
    return state._replace(visible=visible, hidden=hidden), info


def check_finite(machine: RBM) -> RBM:
    """The machine, if its parameters are finite where that shows."""
    arrays = {name: as_parameter(name, getattr(machine, name)) for name in RBM._fields[:3]}
    for leaf in jax.tree.leaves(machine[3:]):
        as_parameter("log_precision", leaf)
    return machine._replace(**arrays)


def _measure_visible(fn: Callable, state: GibbsState):
    return fn(state.visible)


def gibbs_sampler(machine: RBM) -> Sampler:
    """Block Gibbs sampling of a machine as a Markov chain for `jaxrg.samplers.run`.

    Args:
        machine: the parameters; they are leaves of the sampler, so another machine of this shape does not recompile.

    Returns:
        A sampler with `GibbsState` and `jaxrg.samplers.SpinInfo`, the acceptance of the visible layer; ``spins`` of its
        ``init`` and what it measures are the visible layer.

    Raises:
        ValueError: arrays that do not fit together, or NaN or infinite parameters.

    Example:
        >>> from jaxrg import rbm
        >>> sampler = gibbs_sampler(rbm.init(jax.random.key(0), 9, 4))
        >>> state = sampler.init(jax.random.key(1))
        >>> state, info = sampler.step(jax.random.key(2), state)
        >>> state.visible.shape, state.hidden.shape
        ((9,), (4,))
    """
    machine = check_finite(as_machine(machine))
    return from_kernel(Partial(_init_chain, machine), Partial(_kernel, machine), _measure_visible)
