"""Multicanonical sampling: many chains with a weight of their own for every energy, site by site."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import Partial

from jaxrg.base import IntegerSites, PyTree, Sampler, Status
from jaxrg.checks import as_count, as_floating, check_key, check_shape, is_traced, kind_of
from jaxrg.models import pytree
from jaxrg.models.sites import States
from jaxrg.samplers.derivatives import without_derivatives
from jaxrg.samplers.spins import check_model, sites_of

# What a level outside of the energies weighs less than the last one inside, as a logarithm: too little to be entered,
# and a way back for a start that is there.
PULL = 1e4


class MulticanonicalState(NamedTuple):
    """Chains side by side."""

    spins: Array  # [num_chains, *shape] int8
    step: Array  # [] uint32, sweeps taken


class MulticanonicalInfo(NamedTuple):
    """Every chain after a sweep."""

    energy: Array  # [num_chains] H(s)
    log_weight: Array  # [num_chains] ln W of it; below that of the last level by 10,000 for every level outside
    status: Array  # [1] uint32 `Status`


@pytree(data_fields=("model", "neighbours", "strengths", "onsite", "lowest", "spacing"), meta_fields=("num_chains",))
@dataclasses.dataclass(frozen=True)
class Levels:
    """A model site by site, and its levels."""

    model: Any
    neighbours: Any  # [num_sites, most] int32, the site itself where it has fewer
    strengths: Array  # [num_sites, most] J of the bonds to them, 0 where it has fewer
    onsite: Array  # [num_values, num_sites] energy of every value in the field of a site
    lowest: Any  # [] energy of level 0
    spacing: Any  # [] of the levels
    num_chains: int

    def values(self) -> range | tuple[int, int]:
        """The values of a site, in the order of `onsite`."""
        space = sites_of(self.model)
        return range(space.num_states) if isinstance(space, States) else (-1, 1)

    def place(self, energies: Array) -> Array:
        """``[...]`` the number of the level of each energy, as a float, also of one outside."""
        return jnp.round((energies - self.lowest) / self.spacing)

    def pairs(self, value: Any, others: Array) -> Array:
        """What a bond of unit strength between a value and others takes off the energy."""
        if isinstance(sites_of(self.model), States):
            return (others == value).astype(self.strengths.dtype)
        return (others * value).astype(self.strengths.dtype)


def log_weight_of(levels: Levels, log_weights: Array, energies: Array) -> Array:
    """``[...]`` ln W of energies."""
    place = levels.place(energies)
    inside = jnp.clip(place, 0, log_weights.size - 1)
    found = log_weights.at[inside.astype(jnp.int32)].get(mode="promise_in_bounds")
    return found - PULL * jnp.abs(place - inside).astype(log_weights.dtype)


def site_energies(levels: Levels, rows: Array, energies: Array, site: Array) -> Array:
    """``[num_values, num_chains]`` energies of all chains ``[num_sites, num_chains]`` for every value of a site."""
    here = lax.dynamic_index_in_dim(rows, site, 0, keepdims=False)
    around = [
        lax.dynamic_index_in_dim(rows, other, 0, keepdims=False) for other in jnp.asarray(levels.neighbours)[site]
    ]
    strengths = levels.strengths[site]

    def energy_of(value: int) -> Array:
        bonds = [strengths[k] * levels.pairs(jnp.int8(value), other) for k, other in enumerate(around)]
        return levels.onsite[number_of[value], site] - functools.reduce(jnp.add, bonds)

    number_of = {value: number for number, value in enumerate(levels.values())}
    local = jnp.stack([energy_of(value) for value in levels.values()])
    return energies[None] + (local - chosen(levels, here, local)[None])


def chosen(levels: Levels, values: Array, table: Array) -> Array:
    """``[num_chains]`` the entries of a table ``[num_values, num_chains]`` that belong to values."""
    found = table[0]
    for number, value in enumerate(levels.values()):
        found = jnp.where(values == value, table[number], found)
    return found


def visit(levels: Levels, log_weights: Array, keys: Array, rows: Array, energies: Array, site: Array):
    """The value of a site of all chains drawn anew, given everything else: rows and energies after it."""
    candidates = site_energies(levels, rows, energies, site)
    weights = log_weight_of(levels, log_weights, candidates)
    space = sites_of(levels.model)
    field = weights if isinstance(space, States) else (weights[1] - weights[0]) / 2

    def draw(key: Array, field: Array) -> Array:
        return space.draw(key, site.astype(jnp.uint32), field)[0]

    drawn = jax.vmap(draw, (0, -1))(keys, field)
    return lax.dynamic_update_index_in_dim(rows, drawn, site, 0), chosen(levels, drawn, candidates)


def keys_of_chains(levels: Levels, key: Array, step: Array) -> Array:
    """``[num_chains]`` keys of a sweep: a chain of a run is the same however many there are."""
    numbers = jnp.arange(levels.num_chains, dtype=jnp.uint32)
    return jax.vmap(lambda number: jax.random.fold_in(jax.random.fold_in(key, number), step))(numbers)


def as_rows(levels: Levels, spins: Array) -> tuple[Array, Array]:
    """``[num_sites, num_chains]`` spins, and the energies of the chains."""
    return spins.reshape(levels.num_chains, -1).T, jax.vmap(levels.model.hamiltonian)(spins)


def as_spins(levels: Levels, rows: Array) -> Array:
    """``[num_chains, *shape]``."""
    return rows.T.reshape(levels.num_chains, *levels.model.shape)


def _step(levels: Levels, log_weights: Array, key: Array, state: MulticanonicalState):
    check_key("key", key)
    levels, log_weights, state = without_derivatives((levels, log_weights, state))
    keys = keys_of_chains(levels, key, state.step)
    rows, energies = as_rows(levels, state.spins)

    def update(site: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        return visit(levels, log_weights, keys, *carry, site)

    rows, energies = lax.fori_loop(0, len(rows), update, (rows, energies))
    is_finite = jnp.all(jnp.isfinite(energies)) & jnp.all(jnp.isfinite(log_weights))
    info = MulticanonicalInfo(
        energies, log_weight_of(levels, log_weights, energies), Status.NOT_FINITE.when(~is_finite)[None]
    )
    return MulticanonicalState(as_spins(levels, rows), state.step + 1), info


@jax.jit
def random_start(levels: Levels, key: Array) -> Array:
    """``[num_chains, *shape]`` random configurations."""
    space = cast(IntegerSites, sites_of(levels.model))
    return jax.vmap(lambda key: space.random(key, tuple(levels.model.shape)))(
        keys_of_chains(levels, key, jnp.uint32(0))
    )


def _init(levels: Levels, key: Array, spins: Any = None) -> MulticanonicalState:
    check_key("key", key)
    shape = tuple(levels.model.shape)
    if spins is None:
        return MulticanonicalState(random_start(levels, key), jnp.uint32(0))
    check_shape("spins", spins, shape if np.ndim(spins) == len(shape) else (levels.num_chains, *shape))
    given = sites_of(levels.model).checked("spins", spins, tuple(np.shape(spins))).astype(jnp.int8)
    return MulticanonicalState(jnp.broadcast_to(given, (levels.num_chains, *shape)), jnp.uint32(0))


def _measure(fn: Callable, state: MulticanonicalState) -> PyTree:
    return jax.tree.map(jnp.asarray, jax.vmap(fn)(state.spins))


def as_levels(model: Any, energies: Any, num_chains: Any) -> Levels:
    """A model site by site with evenly spaced levels, or ValueError."""
    check_model(model)
    if not (hasattr(model, "bond_couplings") and hasattr(model, "bond_ends") and sites_of(model).is_integer):
        raise ValueError(f"model: expected a model of pairs, as Ising, Glass and Potts are, got {kind_of(model)}")
    grid = as_floating("energies", energies)
    if grid.ndim != 1 or grid.size < 2:
        raise ValueError(f"energies: expected a list of at least two numbers, got shape {grid.shape}")
    if not is_traced(grid):
        steps = np.diff(np.asarray(grid, float))
        if not (np.all(np.isfinite(steps)) and steps[0] > 0 and np.allclose(steps, steps.mean(), rtol=1e-3)):
            raise ValueError(f"energies: expected numbers that rise in equal steps, got {np.asarray(grid).tolist()}")
    neighbours, bonds = _neighbours_of(model)
    num_chains = as_count("num_chains", num_chains)
    strengths, onsite = _strengths_and_fields(model, bonds)
    host = grid if is_traced(grid) else np.asarray(grid)
    spacing = (host[-1] - host[0]) / np.float32(grid.size - 1)
    return Levels(model, neighbours, strengths, onsite, host[0], spacing, num_chains)


@jax.jit
def _ends(model: Any) -> tuple[Array, Array]:
    """One more than the sites at both ends of every bond, 0 beyond an open boundary."""
    return model.bond_ends(jnp.arange(1, int(np.prod(model.shape)) + 1, dtype=jnp.int32).reshape(model.shape))


def _neighbours_of(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """``[num_sites, most]`` neighbours of every site, and the numbers of the bonds to them, -1 where there is none."""
    size = int(np.prod(model.shape))
    ends = _ends(model)
    if is_traced(ends):  # inside a traced function, where the sites of a lattice are still numbers
        with jax.ensure_compile_time_eval():
            ends = _ends(model)
    if is_traced(ends):
        raise ValueError("model: expected edges whose sites can be seen, got traced ones")
    first, second = (np.asarray(end).ravel() - 1 for end in ends)
    bonds = np.flatnonzero((first >= 0) & (second >= 0))  # a bond that would leave the lattice ends in nothing
    here = np.concatenate([first[bonds], second[bonds]])
    order = np.argsort(here, kind="stable")
    here, there = here[order], np.concatenate([second[bonds], first[bonds]])[order]
    counts = np.bincount(here, minlength=size)
    column = np.arange(len(here)) - np.repeat(np.cumsum(counts) - counts, counts)
    neighbours = np.repeat(np.arange(size)[:, None], max(counts.max(initial=0), 1), axis=1)
    numbers = np.full(neighbours.shape, -1)
    neighbours[here, column], numbers[here, column] = there, np.concatenate([bonds, bonds])[order]
    return neighbours.astype(np.int32), numbers.astype(np.int32)


@jax.jit
def _strengths_and_fields(model: Any, bonds: Array) -> tuple[Array, Array]:
    couplings = model.bond_couplings().reshape(-1)
    strengths = jnp.where(bonds >= 0, couplings[bonds], 0)
    space, size = sites_of(model), len(bonds)
    if not isinstance(space, States):
        field = model.field_array().reshape(-1).astype(couplings.dtype)
        return strengths, jnp.stack([field, -field])
    fields = model.state_fields()
    onsite = jnp.zeros((space.num_states, size)) if fields is None else -fields.reshape(space.num_states, -1)
    return strengths, onsite.astype(couplings.dtype)


def multicanonical(model: Any, energies: Array, log_weights: Array, *, num_chains: int = 64) -> Sampler:
    r"""Many chains with a weight of their own for every energy: flat across energies where W is one over their number.

    .. math:: \pi(s) \propto W(H(s)), \qquad
        \langle O \rangle_K = \frac{\langle O\, e^{-K H} / W(H) \rangle_\pi}{\langle e^{-K H} / W(H) \rangle_\pi}

    The model has coupling 1, so that H is the energy in units of J. At a transition of first order a canonical chain
    does not leave its phase, and this one walks through the states between both. Weights of any origin give exact
    averages, of which good ones, as from `wang_landau`, have the smaller errors. A step is a sweep over all sites in
    order, each drawn by heat bath from its values: it keeps the distribution and, where the levels are
    those of all energies, reaches every configuration; within a narrow window single sites may not join all of them.

    The canonical mean at any K is a ratio, with its error by `jaxrg.stats.gamma_method`::

        weights = jnp.exp(shift - K * run.info.energy - run.info.log_weight)
        stats.gamma_method(lambda mean: mean["wo"] / mean["w"], {"w": weights, "wo": weights * observed})

    Args:
        model: Ising, Glass, Potts, or another model of pairs; its H(s) is what the levels are of.
        energies: ``[num_levels]`` levels that rise in equal steps; others belong to the nearest. No chain leaves them,
            and one that starts outside is drawn in.
        log_weights: ``[num_levels]`` ln W; they are leaves, so that others do not recompile.
        num_chains: side by side, each with random numbers of its own; a hundred cost little more than ten.

    Returns:
        A sampler with `MulticanonicalState` and `MulticanonicalInfo`. ``init`` takes one configuration for all chains
        or ``[num_chains, *shape]``; random ones without.

    Raises:
        ValueError: no model of pairs, levels that do not rise in equal steps, weights of another shape, or
            ``num_chains`` no positive integer.

    Example:
        >>> from jaxrg import exact, lattice, models, samplers
        >>> levels = jnp.arange(-32.0, 33.0, 4.0)
        >>> counts = np.array(exact.torus_state_counts((4, 4)))
        >>> flat = -np.log(np.maximum(counts, 1))
        >>> sampler = multicanonical(models.Ising(lattice.hypercubic((4, 4)), 1.0), levels, flat)
        >>> run = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 200)
        >>> seen = np.mean(np.asarray(run.info.energy)[..., None] == np.asarray(levels), axis=(0, 1))
        >>> bool(np.all(np.abs(seen - (counts > 0) / 15) < 0.02))
        True

    Reference:
        Berg & Neuhaus, Phys. Rev. Lett. 68, 9 (1992).
    """
    levels = as_levels(model, energies, num_chains)
    weights = as_floating("log_weights", log_weights)
    check_shape("log_weights", weights, np.shape(energies))
    return Sampler(Partial(_init, levels), Partial(_step, levels, weights), Partial(_measure))
