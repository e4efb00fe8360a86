"""Samples, stacks and what is measured of them, for the study of Mehta and Schwab's stack."""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import ndimage

from jaxrg import lattice, models, rbm, samplers, stats

MOMENTUM = 0.9
DISTANCES = (1, 2, 4, 8)
SIDES = (1, 3, 5, 7, 9, 13)  # of the blocks that hidden spins are compared with
NUM_GROUPS = 10  # of samples, whose scatter is the error of correlations
EDGES = (2.0, 4.0, 6.0, 9.0, 13.0)  # of the distances of energies, lattice spacings


# Samples, [count, side, side] int8


def chains_of(key: Any, sampler: Any, warmup: int, between: int, count: int) -> np.ndarray:
    """``[chains, count, ...]`` configurations, so many steps apart."""
    start_key, run_key = jax.random.split(key)
    state = samplers.warm_up(run_key, sampler, sampler.init(start_key), warmup)
    thinned = samplers.thin(sampler, between)
    return np.asarray(samplers.run(run_key, thinned, state, count, observe=lambda spins: spins).trace)


def ising(key: Any, shape: tuple[int, int], coupling: float, num_chains: int, count: int, between: int) -> np.ndarray:
    """``[chains, count, *shape]`` from independent multispin chains."""
    sampler = samplers.multispin_heat_bath(models.Ising(lattice.hypercubic(shape), coupling), num_chains=num_chains)
    return chains_of(key, sampler, 10 * between, between, count)


def long_range(key: Any, side: int, strength: float, num_chains: int, count: int, between: int) -> np.ndarray:
    """Couplings r^-3 on a torus, all of a site together of the given strength."""
    places = np.indices((side, side)).reshape(2, -1)
    apart = np.abs(places[:, :, None] - places[:, None, :])
    squares = (np.minimum(apart, side - apart) ** 2).sum(axis=0)
    matrix = np.where(squares > 0, np.maximum(squares, 1) ** -1.5, 0)
    model = models.DensePairs(jnp.asarray(strength * matrix / matrix[0].sum(), jnp.float32))
    found = chains_of(key, samplers.replicas(samplers.heat_bath(model), num_chains), 10 * between, between, count)
    return found.reshape(*found.shape[:2], side, side)


def copies(generator: np.random.Generator, shape: tuple[int, ...], flips: float) -> tuple[np.ndarray, np.ndarray]:
    """Independent spins, and each of them once more with so much noise."""
    first = generator.choice(np.array([-1, 1], np.int8), shape)
    return first, first * generator.choice(np.array([-1, 1], np.int8), shape, p=[flips, 1 - flips])


def independent_pairs(side: int, count: int, flips: float) -> np.ndarray:
    """Neighbours in a row, two by two, that are equal but for noise and know nothing of others."""
    generator = np.random.default_rng(5)
    return np.stack(copies(generator, (count, side, side // 2), flips), axis=-1).reshape(count, side, side)


def with_dimers(columns: np.ndarray, flips: float) -> np.ndarray:
    """Ising samples ``[count, side, side / 2]`` as even columns, dimers along the odd ones between them."""
    count, side, width = columns.shape
    dimers = np.stack(copies(np.random.default_rng(6), (count, side // 2, width), flips), axis=2)
    return np.stack([columns, dimers.reshape(count, side, width)], axis=-1).reshape(count, side, side)


# Stacks


class Recipe(NamedTuple):
    """How machines are trained; the strength of L1 is that of spins ±1."""

    num_epochs: int
    rate: float
    strength: float
    is_proximal: bool = False


@functools.cache
def optimizer(rate: float, strength: float, is_proximal: bool) -> optax.GradientTransformation:
    """One object for each, so that programs are shared. A steady force moves weights by rate / (1 - momentum)."""
    descent = optax.sgd(rate, momentum=MOMENTUM)
    if is_proximal:
        return optax.chain(descent, rbm.soft_threshold(rate * strength / (1 - MOMENTUM)))
    return optax.chain(rbm.l1_penalty(strength), descent)


def train(samples: np.ndarray, layers: tuple[int, ...], recipe: Recipe, seed: int = 1) -> tuple[rbm.RBM, ...]:
    data = jnp.asarray(samples.reshape(len(samples), -1))
    rule = optimizer(recipe.rate, recipe.strength, recipe.is_proximal)
    return rbm.train_stack(jax.random.key(seed), data, layers, num_epochs=recipe.num_epochs, optimizer=rule)[0]


def hidden_samples(stack: tuple[rbm.RBM, ...], samples: np.ndarray) -> list[np.ndarray]:
    """Spins of every hidden layer, each drawn given those below."""
    data, found = jnp.asarray(samples.reshape(len(samples), -1)), []
    for level, machine in enumerate(stack):
        data = rbm.lift(jax.random.fold_in(jax.random.key(8), level), machine, data)
        found.append(np.asarray(data))
    return found


# Receptive fields


class Level(NamedTuple):
    """Receptive fields of a level: mean and error over its units."""

    radius: tuple[float, float]  # of the squared field
    core_radius: tuple[float, float]  # of its sites at half of the peak or more
    core_sites: tuple[float, float]  # how many there are
    moved_core_radius: float  # of the same fields on shuffled sites
    moved_radius: float
    uniform_radius: float


def over_units(values: Any) -> tuple[float, float]:
    """Mean and its standard error of those that are no NaN."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if not len(known):
        return np.nan, np.nan
    return float(known.mean()), float(known.std() / np.sqrt(max(len(known) - 1, 1)))


def cores(fields: np.ndarray) -> np.ndarray:
    """Fields at the sites where they reach half of their peak, zero elsewhere."""
    return np.where(np.abs(fields) >= np.abs(fields).max(axis=0) / 2, fields, 0)


def level_of(fields: Any, side: int) -> Level:
    fields = np.asarray(fields)
    shape, order = (side, side), np.random.default_rng(7).permutation(side * side)
    whole, core = rbm.locality(jnp.asarray(fields), shape), cores(fields)
    moved = [rbm.locality(jnp.asarray(each[order]), shape) for each in (fields, core)]
    return Level(
        over_units(whole.radius),
        over_units(rbm.locality(jnp.asarray(core), shape).radius),
        over_units((core != 0).sum(axis=0)),
        over_units(moved[1].radius)[0],
        over_units(moved[0].radius)[0],
        float(whole.uniform_radius),
    )


def levels_of(stack: tuple[rbm.RBM, ...], side: int) -> list[Level]:
    return [level_of(fields, side) for fields in rbm.receptive_fields(stack)]


def share_on(fields: Any, side: int, is_here: np.ndarray) -> tuple[float, float]:
    """Share of the squared field on some of the columns."""
    squares = np.asarray(fields, float).reshape(side, side, -1) ** 2
    return over_units(squares[:, is_here].sum(axis=(0, 1)) / squares.sum(axis=(0, 1)))


# Samples and dreams


def observables(spins: Any) -> Any:
    """Energy per site, m² and correlations along both axes, of one configuration ``[side, side]``."""
    values = jnp.asarray(spins, jnp.float32)
    at = [jnp.mean(values * (jnp.roll(values, r, 0) + jnp.roll(values, r, 1))) / 2 for r in DISTANCES]
    return jnp.stack([-2 * at[0], jnp.mean(values) ** 2, *at])


OBSERVED = ("energy per site", "m²", *(f"C({r})" for r in DISTANCES))


class Measured(NamedTuple):
    """Means of what is observed with errors in which autocorrelations count; ``tau_int`` in samples."""

    mean: np.ndarray
    error: np.ndarray
    tau_int: np.ndarray
    is_converged: bool


def summarized(trace: Any) -> Measured:
    found = stats.summary(jnp.asarray(trace))
    mean, error, tau_int = (np.asarray(each) for each in (found.mean, found.error, found.tau_int))
    return Measured(mean, error, tau_int, bool(np.all(found.is_converged)))


def of_samples(chains: np.ndarray) -> Measured:
    return summarized(jax.jit(jax.vmap(jax.vmap(observables)))(jnp.asarray(chains)))


def dreams(sampler: Any, side: int, num_chains: int, num_steps: int, start: np.ndarray | None = None) -> Measured:
    """Of a network that samples itself, from chance or from given configurations."""
    chains = samplers.replicas(sampler, num_chains)
    spins = None if start is None else jnp.asarray(start[:num_chains].reshape(num_chains, -1))
    state = chains.init(jax.random.key(12), spins)
    state = samplers.warm_up(jax.random.key(13), chains, state, num_steps // 2)
    observe = _observer(side)
    return summarized(samplers.run(jax.random.key(13), chains, state, num_steps, observe=observe).trace)


@functools.cache
def _observer(side: int) -> Callable:
    return lambda spins: observables(spins.reshape(side, side))


class Back(NamedTuple):
    """What comes back from the top of a stack, or from block spins: means with errors over samples."""

    overlap: tuple[float, float]  # of the signs with the sample
    drawn: np.ndarray  # [2, 6] mean and error of what is observed of spins that are drawn


def back_of(samples: np.ndarray, means: np.ndarray) -> Back:
    signs = np.where(means >= 0, 1, -1)
    overlap = (signs * samples).mean(axis=(1, 2))
    uniform = np.random.default_rng(9).random(means.shape)
    drawn = np.where(uniform < (1 + means) / 2, 1, -1)
    values = np.asarray(jax.vmap(observables)(jnp.asarray(drawn)))
    return Back(over_units(overlap), np.array([values.mean(0), values.std(0) / np.sqrt(len(values) - 1)]))


def from_top(stack: tuple[rbm.RBM, ...], samples: np.ndarray) -> Back:
    keys = jax.random.split(jax.random.key(14), len(samples))
    flat = jnp.asarray(samples.reshape(len(samples), -1))
    means = jax.jit(jax.vmap(rbm.reconstruct, (0, None, 0)))(keys, stack, flat)
    return back_of(samples, np.asarray(means).reshape(samples.shape))


def block_spins(samples: np.ndarray, size: int) -> np.ndarray:
    """Majority of square blocks, ties by chance."""
    count, side = samples.shape[:2]
    sums = samples.reshape(count, side // size, size, side // size, size).sum(axis=(2, 4), dtype=np.int32)
    coins = np.random.default_rng(10).choice([-1, 1], sums.shape)
    return np.where(sums == 0, coins, np.sign(sums)).astype(np.int8)


def from_blocks(samples: np.ndarray, size: int) -> Back:
    """As many bits: every spin has the mean that spins have given the majority of their block."""
    blocks = np.repeat(np.repeat(block_spins(samples, size), size, axis=1), size, axis=2)
    return back_of(samples, blocks * float((blocks * samples).mean()))


# Are hidden spins block spins?


def centres(fields: np.ndarray, side: int) -> np.ndarray:
    """``[2, units]`` the site in the middle of each field's core."""
    share = (cores(fields) ** 2).reshape(side, side, -1)
    waves = np.exp(2j * np.pi * np.arange(side) / side)
    angles = np.angle([waves @ share.sum(axis=1), waves @ share.sum(axis=0)])
    return np.round(angles * side / (2 * np.pi)).astype(int) % side


class Likeness(NamedTuple):
    """Correlations of hidden spins with functions of the sample: mean and error over units."""

    blocks: list[tuple[float, float]]  # means of the blocks of `SIDES` around the centre
    far: tuple[float, float]  # of the best of them, half of the lattice away
    own: tuple[float, float]  # the unit's own receptive field


def likeness(hidden: np.ndarray, fields: Any, samples: np.ndarray) -> Likeness:
    fields, side = np.asarray(fields), samples.shape[1]
    spins = samples.astype(np.float32)
    own = _correlation(hidden, spins.reshape(len(spins), -1) @ fields)
    signs, (rows, columns) = np.sign(own), centres(fields, side)
    found, away = [], []
    for size in SIDES:
        means = ndimage.uniform_filter1d(spins, size, axis=1, mode="wrap")
        means = ndimage.uniform_filter1d(means, size, axis=2, mode="wrap")
        found.append(over_units(signs * _correlation(hidden, means[:, rows, columns])))
        other = means[:, (rows + side // 2) % side, (columns + side // 2) % side]
        away.append(over_units(signs * _correlation(hidden, other)))
    best = int(np.argmax([mean for mean, _ in found]))
    return Likeness(found, away[best], over_units(np.abs(own)))


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of each column with its partner; NaN of a constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        first, second = ((each - each.mean(0)) / each.std(0) for each in (np.asarray(first, float), second))
    return (first * second).mean(axis=0)


def energy_correlations(
    spins: np.ndarray, places: np.ndarray, side: int, nearest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Of the products of spins with their nearest neighbours, by distance between `EDGES`, with errors.

    Args:
        spins: ``[samples, units]``.
        places: ``[2, units]`` in lattice spacings.
        nearest: how far away a neighbour is at least, so that units of one place are none.
    """
    apart = np.abs(places[:, :, None] - places[:, None, :])
    distance = np.sqrt((np.minimum(apart, side - apart) ** 2).sum(axis=0))
    partner = np.argmin(np.where(distance < nearest, side, distance), axis=0)
    energies = (spins * spins[:, partner]).astype(np.float32)
    units = np.arange(len(partner))
    is_shared = (
        (units[:, None] == units)
        | (partner[:, None] == units)
        | (units[:, None] == partner)
        | (partner[:, None] == partner)
    )
    groups = []
    for group in np.array_split(energies, NUM_GROUPS):
        scaled = (group - group.mean(0)) / np.maximum(group.std(0), 1e-9)
        table = scaled.T @ scaled / len(group)
        bins = ((distance >= low) & (distance < high) & ~is_shared for low, high in itertools.pairwise(EDGES))
        groups.append([table[where].mean() if where.any() else np.nan for where in bins])
    found = np.array(groups)
    return found.mean(axis=0), found.std(axis=0) / np.sqrt(NUM_GROUPS - 1)


# What products of local weights do by themselves


def blind_product(stack: tuple[rbm.RBM, ...]) -> tuple[rbm.RBM, ...]:
    """The same machines, each on the units of the one below in a random order."""
    generator = np.random.default_rng(11)
    orders = [np.arange(stack[0].num_visible), *(generator.permutation(each.num_visible) for each in stack[1:])]
    return tuple(
        each._replace(weights=each.weights[order], visible_bias=each.visible_bias[order])
        for each, order in zip(stack, orders, strict=True)
    )


def scrambled(hidden: np.ndarray) -> np.ndarray:
    """Each unit's samples in an order of their own: means stay, and no unit knows of another."""
    return np.random.default_rng(12).permuted(hidden, axis=0)
