"""What the packed kernels do, chain by chain with Python integers, and their whole transition matrices."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg import random
from jaxrg.lattice import inside
from jaxrg.samplers import multispin, packed

EXPANSIONS = {
    "heat_bath": jax.jit(multispin.heat_bath_expansions, static_argnums=1),
    "metropolis": jax.jit(multispin.metropolis_expansions, static_argnums=1),
}
bits = jax.jit(random.bits, static_argnums=2)


def as_integers(expansion, num_planes):
    """Thresholds as exact Python integers out of 2^(K+32)."""
    whole = 2 ** (num_planes + 32)
    parts = zip(*(np.asarray(part).tolist() for part in expansion), strict=True)
    return np.array([whole if certain else head * 2**32 + tail for head, tail, certain in parts], object)


def neighbour_sums(grid, spins, bonds=None):
    """Sums over neighbours of ``[chains, *shape]`` spins, and the number of neighbours, by rolling int8 arrays.

    Of a glass, with ``[directions, *shape]`` signs or ``[chains, directions, *shape]``, sums of J s.
    """
    total, degree = np.zeros(spins.shape, int), np.zeros(spins.shape[1:], int)
    axes = tuple(range(1, spins.ndim))
    for direction, bond in enumerate(grid.bonds):
        back = tuple(-component for component in bond)
        signs = 1 if bonds is None else bonds[..., direction, *[slice(None)] * grid.ndim]
        total += np.where(inside(grid, bond), signs * np.roll(spins, back, axes), 0)
        total += np.where(inside(grid, back), np.roll(signs * spins, bond, axes), 0)
        degree += inside(grid, bond).astype(int) + inside(grid, back)
    return total, degree


def plain_thresholds(name, model, num_planes, spins, bonds=None):
    """``[chains, *shape]`` integer threshold of each site's decision, looked up from the sampler's own tables."""
    grid = model.lattice
    tables = [as_integers(table, num_planes) for table in EXPANSIONS[name](model, num_planes)]
    total, degree = neighbour_sums(grid, spins, bonds)
    total = total if name == "heat_bath" else total * spins
    is_odd = np.broadcast_to(degree % 2 == 1, total.shape)
    index = (total - is_odd + 2 * grid.ndim) // 2
    if name == "metropolis":
        index = index + np.where(spins > 0, 0, 2 * grid.ndim + 1)
    return np.where(is_odd, tables[-1][index], tables[0][index])


def rotated(word, amount):
    return ((word << amount) | (word >> (32 - amount))) & 0xFFFFFFFF


def plain_uniforms(layout, key, num_draws, bits=bits):
    """The integers ``[num_chains, *shape]`` that decide the spins, taken from the words bit by bit."""
    sites = jnp.arange(layout.places.num_sites, dtype=jnp.uint32)
    uniforms = []
    for word in range(layout.num_words):
        words = bits(key, sites, num_draws, replicas=jnp.full_like(sites, word))
        words = [np.asarray(word).astype(object) for word in words]
        further = [rotated(words[k], 11) ^ rotated(words[k + 1], 22) for k in range(0, num_draws, 2)]
        settle = 0
        for shift, drawn in enumerate(words):
            settle = settle ^ rotated(drawn, shift)
        for lane in range(32):
            digits = sum((1 - ((plane >> lane) & 1)) << digit for digit, plane in enumerate([*further, *words]))
            uniforms.append(digits * 2**32 + settle)
    return np.array(uniforms).reshape(layout.num_chains, *layout.lattice.shape)


def plain_sweep(name, model, key, spins, num_draws, *, bonds=None, bits=bits):
    """One sweep of int8 spins ``[chains, *shape]``, chain by chain and with integers, from the same random words."""
    grid = model.lattice
    uniforms = plain_uniforms(packed.Layout(grid, len(spins)), key, num_draws, bits)
    colours = np.indices(grid.shape).sum(axis=0) % 2
    spins = spins.astype(int)
    for colour in range(2):
        is_true = uniforms < plain_thresholds(name, model, num_draws * 3 // 2, spins, bonds)
        drawn = np.where(is_true, 1, -1) if name == "heat_bath" else np.where(is_true, -spins, spins)
        spins = np.where(colours == colour, drawn, spins)
    return spins


def exact_distribution(model):
    """All states ``[2^N, *shape]`` and their probabilities, in float64."""
    grid = model.lattice
    bits = (np.arange(2**grid.num_sites)[:, None] >> np.arange(grid.num_sites)) & 1
    states = (2 * bits - 1).reshape(-1, *grid.shape)
    total, _ = neighbour_sums(grid, states)
    axes = tuple(range(1, states.ndim))
    weight = np.exp(float(model.coupling) * (states * total).sum(axes) / 2 + float(model.field) * states.sum(axes))
    return states, weight / weight.sum()


def half_sweep_matrix(name, model, num_planes, states, colour):
    """Transition matrix of one half-sweep, from the sampler's integer thresholds."""
    grid = model.lattice
    accept = (plain_thresholds(name, model, num_planes, states) / 2 ** (num_planes + 32)).astype(float)
    accept, flat = accept.reshape(len(states), -1), states.reshape(len(states), -1)
    colours = (np.indices(grid.shape).sum(axis=0) % 2).ravel()
    matrix = np.zeros((len(states), len(states)))
    active = np.flatnonzero(colours == colour)
    for choice in itertools.product((0, 1), repeat=len(active)):
        new, probability = flat.copy(), np.ones(len(states))
        for site, is_true in zip(active, choice, strict=True):
            probability = probability * (accept[:, site] if is_true else 1 - accept[:, site])
            if name == "heat_bath":
                new[:, site] = 1 if is_true else -1
            elif is_true:
                new[:, site] = -flat[:, site]
        target = ((new + 1) // 2) @ (1 << np.arange(grid.num_sites))
        np.add.at(matrix, (np.arange(len(states)), target), probability)
    return matrix
