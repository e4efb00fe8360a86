"""Monte Carlo renormalisation with a block filter that a machine has learnt, shared by all blocks."""

import functools
from typing import Any, NamedTuple

import _mcrg as mcrg
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrg import exact, lattice, models, rbm, rg, samplers, training
from jaxrg.rg import monte_carlo

SIDE = 16  # of the lattice that filters learn from


class Scale(NamedTuple):
    """Size of the training and of the runs."""

    num_samples: int = 8_192
    num_epochs: int = 40
    side: int = 32
    num_levels: int = 3
    num_operators: tuple[int, int] = (5, 4)  # even and odd
    num_chains: int = 128
    num_sweeps: int = 8
    num_sets: int = 2_048  # samples of each chain
    warmup: int = 8_000
    num_bins: int = 64
    widths: tuple[int, ...] = (2, 4)  # of the filters that are learnt


SMOKE = Scale(
    widths=(2,),
    num_samples=256,
    num_epochs=2,
    side=8,
    num_levels=2,
    num_chains=32,
    num_sets=32,
    warmup=200,
    num_bins=16,
)


def critical_samples(key: jax.Array, side: int, count: int) -> jax.Array:
    """Configurations of as many Wolff chains side by side as there are blocks of 64, ten clusters apart."""
    sampler = samplers.replicas(samplers.wolff(models.Ising(lattice.hypercubic((side, side)), CRITICAL)), 64)
    start = samplers.warm_up(key, sampler, sampler.init(key), 200)
    thinned = samplers.thin(sampler, 10)
    run = samplers.run(jax.random.fold_in(key, 1), thinned, start, -(-count // 64), observe=lambda spins: spins)
    return run.trace.reshape(-1, side * side)[:count]


CRITICAL = exact.critical_coupling


def build(filters: jax.Array) -> rbm.RBM:
    """A machine of spins without biases, one block spin in every block of four."""
    num_filters = len(filters)
    return rbm.convolutional(rbm.Filters(filters, jnp.zeros(()), jnp.zeros(num_filters)), (SIDE, SIDE), stride=2)


def learnt_filter(width: int, samples: jax.Array, seed: int, num_epochs: int) -> jax.Array:
    """``[width, width]`` a filter trained on samples by persistent chains of the whole machine."""
    start = 0.1 * jax.random.normal(jax.random.key(seed), (1, width, width))
    gradient_fn = rbm.through(rbm.persistent_contrastive_divergence_gradient(num_steps=2), build)
    run = training.fit(
        jax.random.key(seed + 1),
        gradient_fn,
        optax.chain(optax.adam(0.01), training.moving_average(0.95)),
        start,
        samples,
        aux=rbm.persistent_chains(jax.random.key(seed + 2), build(start), 256),
        num_epochs=num_epochs,
        batch_size=256,
    )
    weights = np.asarray(training.averaged_params(run.optimizer_state))[0]
    return jnp.asarray(weights * np.sign(weights.sum()))


def draw_blocks(weights: jax.Array, key: jax.Array, spins: jax.Array) -> jax.Array:
    """Block spins of p(h|v): what the machine's hidden layer is, on a lattice of any size."""
    field = jnp.zeros(spins.shape, weights.dtype)
    for row, column in np.ndindex(*weights.shape):
        field = field + weights[row, column] * jnp.roll(spins.astype(weights.dtype), (-row, -column), (0, 1))
    probability = (1 + jnp.tanh(field[::2, ::2])) / 2
    return jnp.where(jax.random.bernoulli(key, probability), 1, -1).astype(jnp.int8)


def exponents(seed: int, blocking, scale: Scale) -> list[dict[str, mcrg.Sector]]:
    """y_T and y_h of every level, at the critical coupling, of block spins by a rule."""
    num_even, num_odd = scale.num_operators
    basis = mcrg.basis(scale.side, mcrg.first(mcrg.EVEN, num_even), mcrg.first(mcrg.ODD, num_odd))
    steps = monte_carlo.ladder(basis, blocking, scale.num_levels)
    size = mcrg.SquareScale(
        side=scale.side,
        num_operators=scale.num_operators,
        num_levels=scale.num_levels,
        num_chains=scale.num_chains,
        num_sweeps=scale.num_sweeps,
        num_samples=scale.num_sets,
        warmup=scale.warmup,
        num_bins=scale.num_bins,
    )
    moments = mcrg.ising_moments(seed, scale.side, CRITICAL, steps, size)
    return [mcrg.sectors(moments, 2, num_even, level) for level in range(1, scale.num_levels)]


def rules(scale: Scale) -> dict[str, tuple[jax.Array | None, Any]]:
    """Learnt filters and rules by hand."""
    samples = critical_samples(jax.random.key(7), SIDE, scale.num_samples)
    filters = {
        f"learnt {width}x{width} filter": learnt_filter(width, samples, 11 + width, scale.num_epochs)
        for width in scale.widths
    }
    by_hand: dict[str, tuple[jax.Array | None, Any]] = {
        "majority": (None, lambda key, spins: rg.majority(key, spins, 2)),
        "Kadanoff, p = 0.766": (None, functools.partial(draw_blocks, jnp.full((2, 2), 0.765983))),
        "filter by chance": (None, functools.partial(draw_blocks, jax.random.normal(jax.random.key(3), (2, 2)))),
    }
    learnt = {name: (weights, functools.partial(draw_blocks, weights)) for name, weights in filters.items()}
    return {**learnt, **by_hand}
