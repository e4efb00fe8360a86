"""Every sampler of Ising models against Kaufman's torus: energies and their squares, and what chance gives.

``python -m pytest tests/samplers/test_kaufman.py -m slow -s`` prints how many z-scores are beyond 3.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, t

from jaxrg import exact, lattice, models, random, samplers
from tests.contracts.sampler_table import SAMPLERS

COUPLINGS = jnp.array([0.2, 0.35, exact.critical_coupling, 0.5, 0.6], jnp.float32)
SIDES = (16, 32, 64)
NUM_CHAINS = 64
NUM_STEPS = {"wolff": 60, "swendsen_wang": 60}  # 200 of all others
CASES = [(name, side) for name in SAMPLERS if name not in ("skeleton", "replicas", "mixture") for side in SIDES]


def _packed(make: Callable) -> Callable:
    return functools.partial(make, num_chains=NUM_CHAINS)


PACKED = {
    "multispin_heat_bath": _packed(samplers.multispin_heat_bath),
    "multispin_metropolis": _packed(samplers.multispin_metropolis),
    "multispin_light": functools.partial(_packed(samplers.multispin_heat_bath), generator=random.light_bits),
}


def ising(side: int, coupling) -> models.Ising:
    return models.Ising(lattice.hypercubic((side, side)), coupling)


@functools.cache
def equilibration(side: int) -> Callable:
    """Of keys and couplings ``[num_couplings, num_chains, side, side]``, half from order and half from noise."""

    @jax.jit
    @jax.vmap
    def chains(key, coupling):
        sampler = samplers.swendsen_wang(ising(side, coupling))

        def chain(key, number):
            noise = jnp.where(jax.random.bernoulli(key, 0.5, (side, side)), jnp.int8(1), jnp.int8(-1))
            state = sampler.init(key, jnp.where(number % 2 == 0, jnp.int8(1), noise))
            return samplers.warm_up(key, sampler, state, 100).spins

        return jax.vmap(chain)(jax.random.split(key, NUM_CHAINS), jnp.arange(NUM_CHAINS))

    return chains


@functools.cache
def z_scores(name: str, side: int) -> np.ndarray:
    """``[num_couplings, 2]`` of the mean energy and of its mean square, errors from the scatter of the chains.

    Every case has starts and keys of its own: one that is far from the mean by chance counts once.
    """
    start_key, run_key = jax.random.split(jax.random.fold_in(jax.random.key(7), CASES.index((name, side))))
    starts = equilibration(side)(jax.random.split(start_key, len(COUPLINGS)), COUPLINGS)

    @jax.jit
    @jax.vmap
    def moments(key, coupling, spins):
        model = ising(side, coupling)

        def energy(spins):
            return model.observables(spins).energy

        def of(sampler, key, spins):
            run = samplers.run(key, sampler, sampler.init(key, spins), NUM_STEPS.get(name, 200), observe=energy)
            return jnp.mean(run.trace, axis=-1), jnp.mean(run.trace**2, axis=-1), run.trace[:, -1]

        if name in PACKED:
            return of(PACKED[name](model), key, spins)
        sampler = SAMPLERS[name].make(model)
        return jax.vmap(lambda key, spins: of(sampler, key, spins))(jax.random.split(key, NUM_CHAINS), spins)

    *found, last = moments(jax.random.split(run_key, len(COUPLINGS)), COUPLINGS, starts)
    energy = jax.vmap(lambda spins: ising(side, COUPLINGS[0]).observables(spins).energy)(starts[0])
    assert np.mean(energy == np.ravel(last[0])) < 0.5  # one that stands still has the right energy too
    couplings = np.asarray(COUPLINGS, float)
    energies = np.array([exact.torus_energy(coupling, (side, side)) for coupling in COUPLINGS], float)
    heats = np.array([exact.torus_specific_heat(coupling, (side, side)) for coupling in COUPLINGS], float)
    wanted = energies, heats / couplings**2 / side**2 + energies**2
    scores = []
    for values, mean in zip(found, wanted, strict=True):
        chains = np.asarray(values, float).reshape(len(couplings), NUM_CHAINS)
        scores.append((chains.mean(axis=1) - mean) / (chains.std(axis=1, ddof=1) / np.sqrt(NUM_CHAINS)))
    return np.stack(scores, axis=1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side"), CASES)
def test_energies_are_kaufmans(name, side):
    assert np.abs(z_scores(name, side)).max() < 4.5


@pytest.mark.slow
def test_as_many_scores_are_large_as_chance_gives():
    scores = np.concatenate([z_scores(name, side) for name, side in CASES])
    by_chance = t(NUM_CHAINS - 1)
    energies, squares = scores.T  # the two of one run go together, so each is counted alone
    for label, some in (("energy", energies), ("its square", squares)):
        beyond, square = int(np.sum(np.abs(some) > 3)), float(np.mean(some**2))
        chance = 2 * by_chance.sf(3)
        print(f"\n{label}: {beyond} of {some.size} z-scores beyond 3 ({chance * some.size:.1f} by chance)", end="")
        error = np.sqrt((by_chance.moment(4) - by_chance.var() ** 2) / some.size)
        print(f", mean square {square:.3f} ({by_chance.var():.3f} +- {error:.3f})")
        assert binom.sf(beyond - 1, some.size, chance) > 1e-3
        assert abs(square - by_chance.var()) < 4 * error
