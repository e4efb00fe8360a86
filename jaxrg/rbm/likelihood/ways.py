"""The way from independent units to a machine: stages, weights and moves of particles on it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.checks import as_count, as_floating, is_traced
from jaxrg.rbm.energy import RBM, as_machine, hidden_field, visible_field
from jaxrg.rbm.tempering.ladders import (
    between,
    change_of,
    check_same_shape,
    hamiltonian_change,
    independent_units,
)
from jaxrg.samplers.resampling import systematic
from jaxrg.sums import Double, add, double

MAX_STAGES = 4096
NUM_PILOTS = 200  # particles that choose the stages
BISECTIONS = 24  # of the width of a stage: as many as a float32 has digits
NOWHERE = 2  # an inverse temperature beyond the end


class Way(NamedTuple):
    """From independent units to a machine, and how particles move in between."""

    reference: RBM
    machine: RBM
    num_moves: Any  # [] int32 Gibbs steps a stage


def as_way(machine: RBM, reference: RBM | None, num_moves: int) -> Way:
    """A machine and where to start from, checked."""
    machine = as_machine(machine)
    if reference is None:
        reference = independent_units(machine)
    reference = as_machine(reference, name="reference")
    check_same_shape(machine, reference)
    check_independent("reference", reference.weights)
    return Way(reference, machine, np.int32(as_count("num_moves", num_moves)))


def check_independent(name: str, weights: Array) -> None:
    """Raise ValueError where weights can be seen and are not zero."""
    if not is_traced(weights) and np.any(np.asarray(weights) != 0):
        raise ValueError(
            f"{name}: expected a machine without weights, whose ln Z is known, got some; see "
            "rbm.tempering.independent_units"
        )


def _change(way: Way) -> RBM:
    return change_of(way.machine, way.reference)


def start(way: Way, key: Array, num_particles: int) -> Array:
    """``[num_particles, num_visible]`` draws of the reference."""
    bias = way.reference.visible_bias
    return way.reference.visible_units.sample(key, jnp.broadcast_to(bias, (num_particles, *bias.shape)))


def _slopes(way: Way, visible: Array) -> Array:
    """``[num_particles, num_hidden]`` d(field)/dβ on the hidden units: all that energies and moves ask of a layer."""
    return jax.vmap(hidden_field, (None, 0))(_change(way), visible)


def _move(way: Way, beta: Array, key: Array, visible: Array, slopes: Array) -> tuple[Array, Array]:
    """Block Gibbs of all particles at one temperature, which leaves its distribution invariant, and their slopes."""
    machine = between(way.reference, way.machine, beta)

    def step(number: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        visible, slopes = carry
        step_key = jax.random.fold_in(key, number)
        hidden = machine.hidden_units.sample(step_key, way.reference.hidden_bias[None] + beta * slopes)
        fields = jax.vmap(visible_field, (None, 0))(machine, hidden)
        visible = machine.visible_units.sample(step_key, fields, 1)
        return visible, _slopes(way, visible)

    return lax.fori_loop(0, way.num_moves, step, (visible, slopes))


def _gains(way: Way, before: Array, width: Array, visible: Array, slopes: Array) -> Array:
    """``[num_particles]`` ln of what weights are multiplied by from one temperature to another."""
    fields = way.reference.hidden_bias[None] + before * slopes
    change = jax.tree.map(lambda leaf: width * leaf, _change(way))
    changes = jax.vmap(hamiltonian_change, (None, None, 0, 0, 0))
    return -changes(way.reference, change, visible, fields, width * slopes)


class Weights(NamedTuple):
    """ln of weights, as what is common to all and what is not."""

    common: Double  # []
    rest: Array  # [num_particles]


def anneal(way: Way, key: Array, betas: Array, num_stages: Array, visible: Array) -> tuple[Weights, Array]:
    """Particles led through ``betas[0], betas[1], ..., betas[num_stages]``."""

    def stage(index: Array, carry: tuple[Weights, Array, Array]) -> tuple[Weights, Array, Array]:
        weights, visible, slopes = carry
        before, after = betas[index], betas[index + 1]
        gains = _gains(way, before, after - before, visible, slopes)
        visible, slopes = _move(way, after, jax.random.fold_in(key, index), visible, slopes)
        common = jnp.mean(gains)
        return Weights(add(weights.common, common), weights.rest + (gains - common)), visible, slopes

    nothing = Weights(double(jnp.zeros((), betas.dtype)), jnp.zeros(visible.shape[0], betas.dtype))
    weights, visible, _ = lax.fori_loop(0, num_stages, stage, (nothing, visible, _slopes(way, visible)))
    return weights, visible


class _Pilot(NamedTuple):
    """Particles that choose the stages."""

    stage: Array  # [] int32
    beta: Array  # []
    visible: Array  # [NUM_PILOTS, num_visible]
    slopes: Array  # [NUM_PILOTS, num_hidden]
    betas: Array  # [MAX_STAGES]


def _effective(log_weights: Array) -> Array:
    """Effective share of the particles."""
    once, twice = jax.nn.logsumexp(log_weights), jax.nn.logsumexp(2 * log_weights)
    return jnp.exp(2 * once - twice) / log_weights.size


def _widest(way: Way, fraction: Array, pilot: _Pilot) -> tuple[Array, Array]:
    """The next temperature, as far as this fraction of the particles stays effective, and their log-weights there."""

    def log_weights(width: Array) -> Array:
        # At zero fields the first derivative vanishes, so a slope of the energy would not do.
        return _gains(way, pilot.beta, width, pilot.visible, pilot.slopes)

    def halve(_, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        is_fine = _effective(log_weights(middle)) > fraction
        return jnp.where(is_fine, middle, low), jnp.where(is_fine, high, middle)

    # The whole way is tried first, as the middle of twice of it.
    left = 1 - pilot.beta
    low, _ = lax.fori_loop(0, BISECTIONS, halve, (jnp.zeros_like(left), 2 * left))
    width = jnp.minimum(low, left)
    beta = jnp.where(width == left, 1, pilot.beta + width)
    return jnp.where(width == 0, NOWHERE, beta), log_weights(width)


def choose_stages(way: Way, key: Array, fraction: Array) -> tuple[Array, Array]:
    """``[MAX_STAGES]`` temperatures up to 1, and their number, so that this fraction of particles stays effective.

    The number is 0 where they lead nowhere: of NaN, or of more stages than there is room for.
    """
    start_key, key = jax.random.split(key)
    dtype = way.machine.weights.dtype

    def stage(pilot: _Pilot) -> _Pilot:
        resample_key, move_key = jax.random.split(jax.random.fold_in(key, pilot.stage))
        beta, log_weights = _widest(way, fraction.astype(dtype), pilot)
        copied = systematic(resample_key, log_weights)
        visible, slopes = _move(way, beta, move_key, pilot.visible[copied], pilot.slopes[copied])
        return _Pilot(pilot.stage + 1, beta, visible, slopes, pilot.betas.at[pilot.stage].set(beta))

    def is_on_its_way(pilot: _Pilot) -> Array:
        return (pilot.beta < 1) & (pilot.stage < MAX_STAGES)

    visible = start(way, start_key, NUM_PILOTS)
    first = _Pilot(jnp.int32(0), jnp.zeros((), dtype), visible, _slopes(way, visible), jnp.ones(MAX_STAGES, dtype))
    pilot = lax.while_loop(is_on_its_way, stage, first)
    return pilot.betas, jnp.where(pilot.beta == 1, pilot.stage, 0)


def as_stages(name: str, inverse_temperatures: Array | Sequence[float]) -> Array:
    """Temperatures of one's own, or those of a result.

    Raises:
        ValueError: no list that rises to 1.
    """
    betas = as_floating(name, inverse_temperatures)
    if betas.ndim != 1 or not betas.size:
        raise ValueError(f"{name}: expected a list of numbers, got shape {betas.shape}")
    if not is_traced(betas):
        host = np.asarray(betas)
        steps = np.diff(host, prepend=0)
        if not (np.all((steps > 0) | (host == 1)) and np.all(steps >= 0) and host[-1] == 1):
            raise ValueError(f"{name}: expected numbers that rise from above 0 to 1, got {host.tolist()}")
    return betas


def counted_stages(way: Way, betas: Array) -> tuple[Array, Array]:
    """Given temperatures in the machine's precision, and how many of them are needed."""
    return betas.astype(way.machine.weights.dtype), jnp.sum(betas < 1).astype(jnp.int32) + 1
