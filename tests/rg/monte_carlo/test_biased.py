"""The heat bath with a bias on block spins: its fields against differences of energy, its averages against sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, rg, samplers
from jaxrg.rg import monte_carlo
from jaxrg.rg.monte_carlo import biased as kernels

SETS = {
    "field": [(0,)],
    "near": [(0,), (1,)],
    "far": [(0, 0), (2, 1)],
    "plaquette": [(0, 0), (1, 0), (0, 1), (1, 1)],
    "corner": [(0, 0), (1, 0), (0, 1)],
}


def model_on(shape, couplings, names=tuple(SETS)) -> models.OperatorModel:
    basis = lattice.operators(lattice.hypercubic(shape), {name: SETS[name] for name in names})
    return models.OperatorModel(basis, jnp.asarray(couplings))


MODEL = model_on((18, 9), [0.1, 0.3, 0.05, -0.02, 0.03])
BIAS = model_on((6, 3), [0.05, -0.3, 0.2], ("field", "near", "plaquette"))


def energy(model, bias, spins):
    return model.hamiltonian(spins) + bias.hamiltonian(rg.majority(None, spins, (3,) * spins.ndim))


def test_every_spin_feels_the_difference_of_energy():
    """Of all sites of a random configuration, class by class, as a sweep moves the lattice past the first one."""
    sampler = monte_carlo.biased_heat_bath(MODEL, BIAS, block=3, num_chains=2)
    chains = sampler.init.args[0]
    assert chains.period == 9
    spins = jax.random.rademacher(jax.random.key(0), (2, *MODEL.shape), jnp.int8)
    seen = []

    def logits(key, counters, logit):
        jax.debug.callback(lambda value: seen.append(np.asarray(value)), logit, ordered=True)
        return logit < jnp.inf  # every spin is set up

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels.random, "bernoulli_logit", logits)
        state, _ = jax.jit(lambda state: kernels._sweep(chains, jax.random.key(1), state))(
            sampler.init(jax.random.key(0), spins)
        )
        jax.effects_barrier()
    assert not np.asarray(state.down).any()
    current, number = np.array(spins), 0
    for row in range(9):
        for column in range(9):
            found = seen[number]  # [2 cells, 1 cell, chains]
            number += 1
            for cell in range(2):
                x, y = row + 9 * cell, column
                up, down = current.copy(), current.copy()
                up[:, x, y], down[:, x, y] = 1, -1
                difference = jax.vmap(lambda s: energy(MODEL, BIAS, s))(jnp.asarray(np.concatenate([down, up])))
                np.testing.assert_allclose(found[cell, 0], difference[:2] - difference[2:], rtol=1e-4, atol=1e-4)
            current[:, row::9, column::9] = 1
    assert number == len(seen)


CASES = {
    "chain, biased": (model_on((9,), [0.1, 0.4], ("field", "near")), model_on((3,), [0.3, -0.4], ("field", "near"))),
    "square": (model_on((4, 4), [0.05, 0.3, 0.1], ("field", "near", "plaquette")), None),
}


@pytest.mark.parametrize("name", CASES)
def test_averages_are_those_of_enumeration(name):
    model, bias = CASES[name]
    sampler = monte_carlo.biased_heat_bath(model, bias, block=3 if bias else 1, num_chains=512)

    def total(spins):
        return energy(model, bias, spins) if bias else model.hamiltonian(spins)

    def observe(spins):
        return jnp.stack([jnp.sum(spins.astype(jnp.float32)), total(spins), jnp.prod(spins.astype(jnp.float32))])

    start = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 30).state
    trace = samplers.run(jax.random.key(2), sampler, start, 200, observe=observe).trace
    means = np.asarray(trace, np.float64).mean(axis=1)  # of independent chains
    expected = exact.expectation(total, observe, model.shape)
    scores = (means.mean(axis=0) - np.asarray(expected)) / (means.std(axis=0) / np.sqrt(len(means)))
    assert np.abs(scores).max() < 4


def test_given_spins_are_started_from():
    sampler = monte_carlo.biased_heat_bath(MODEL, num_chains=3)
    spins = jax.random.rademacher(jax.random.key(0), (3, *MODEL.shape), jnp.int8)
    for given, expected in ((spins, spins), (spins[0], jnp.stack([spins[0]] * 3))):
        state = sampler.init(jax.random.key(1), given)
        np.testing.assert_array_equal(sampler.measure(lambda s: s, state), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block": 2}, "block: expected an odd side"),
        ({"block": 9}, "bias: expected the periodic lattice"),
        ({"model": 3}, "model: expected a models.OperatorModel"),
        ({"bias": 3}, "bias: expected a models.OperatorModel"),
        ({"num_chains": 0}, "num_chains: expected an integer >= 1"),
    ],
)
def test_what_cannot_be_sampled_is_refused(change, message):
    arguments = {"model": MODEL, "bias": BIAS, "block": 3, "num_chains": 2} | change
    with pytest.raises(ValueError, match=message):
        monte_carlo.biased_heat_bath(**arguments)


def test_an_open_lattice_is_refused():
    open_lattice = lattice.hypercubic((9,), periodic=False)
    model = models.OperatorModel(lattice.operators(open_lattice, {"near": [(0,), (1,)]}), [0.1])
    with pytest.raises(ValueError, match="model: expected a periodic lattice"):
        monte_carlo.biased_heat_bath(model, num_chains=2)


def test_orbits_of_more_products_than_a_byte_counts():
    """Six spins in three dimensions, in 48 orientations: a site is in 288 products."""
    six = [(0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0), (0, 2, 1), (2, 1, 1)]
    basis = lattice.operators(lattice.hypercubic((5, 5, 5)), {"six": six})
    model = models.OperatorModel(basis, jnp.asarray([0.01]))
    assert sum(len(others) for others in kernels._others(basis)) > 255
    spins = jax.random.rademacher(jax.random.key(0), model.shape, jnp.int8)
    others = spins.at[0, 0, 0].set(-spins[0, 0, 0])
    down = (jnp.stack([spins, -jnp.ones_like(spins)], axis=-1) < 0).astype(jnp.uint8)  # and all spins down
    found = jax.jit(lambda down: kernels._local_field(model, kernels._of_class(down, 5)))(down)[0, 0, 0]
    energies = jax.jit(jax.vmap(model.hamiltonian))(jnp.stack([others, spins]))
    expected = float(energies[0] - energies[1]) / 2 * int(spins[0, 0, 0])
    np.testing.assert_allclose(found, [expected, -0.01 * 288], rtol=1e-5)
