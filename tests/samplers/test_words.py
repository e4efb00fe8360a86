"""Strips of one lattice, ±J glasses and light bits in the words of the multispin samplers, against plain arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.peers import c_multispin
from jaxrg import exact, lattice, models, random, samplers, stats
from jaxrg.base import Status
from jaxrg.closures import as_partial
from jaxrg.samplers import packed
from jaxrg.samplers.multispin import multispin_heat_bath, multispin_metropolis
from tests.samplers.plain_multispin import neighbour_sums, plain_sweep


def random_spins(shape, seed=0):
    return np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), size=shape)


def unpacked(layout, even, odd):
    return np.stack([layout.joined(word) for word in packed.expand(even, odd)])


STRIPS = [((64, 4), True), ((128, 2), (False, True)), ((64, 2, 4), (True, False, True)), ((128,), True)]


@pytest.mark.parametrize(("shape", "periodic"), STRIPS)
def test_strips_are_joined_at_their_seams(shape, periodic):
    """Every neighbour of every spin, the seams and open boundaries among them, is the one of the whole lattice."""
    grid = lattice.hypercubic(shape, periodic=periodic)
    layout = packed.Layout(grid, 3)
    spins = random_spins((3, *shape), 1)
    words = packed.compact(layout.pack(jnp.asarray(spins)))
    assert [part.shape for part in words] == [(3, *layout.compact_shape)] * 2
    assert np.array_equal(unpacked(layout, *words), spins)
    sums, counts = neighbour_sums(grid, spins)
    found = {}
    for colour in range(2):
        values, masks = jax.jit(packed.neighbours, static_argnums=0)(layout, words[1 - colour], jnp.uint32(colour))
        masks = [jnp.zeros_like(values[0]) if mask is None else mask for mask in masks]
        found[colour] = [value & ~mask for value, mask in zip(values, masks, strict=True)], masks
    up, absent = (
        np.sum([unpacked(layout, found[0][part][k], found[1][part][k]) > 0 for k in range(2 * grid.ndim)], axis=0)
        for part in range(2)
    )
    assert np.all(2 * grid.ndim - absent == counts)
    assert np.array_equal(2 * up - counts, sums)


def glasses(num, grid, coupling, field=0.0):
    signs = jnp.asarray(random_spins((num, len(grid.bonds), *grid.shape), 3), jnp.float32)
    return jax.vmap(lambda bonds: models.Glass(grid, bonds, coupling, field))(signs)


CASES = {  # model, chains, sampler, generator
    "strips": (models.Ising(lattice.hypercubic((64, 4)), 0.4), 1, "heat_bath"),
    "strips_field": (models.Ising(lattice.hypercubic((64, 2)), 0.4, 0.2), 3, "metropolis"),
    "open_strips": (models.Ising(lattice.hypercubic((64, 4), periodic=False), 0.4, 0.1), 1, "heat_bath"),
    "glasses": (glasses(64, lattice.hypercubic((4, 6)), 0.7), 64, "heat_bath"),
    "cubic_glasses": (glasses(32, lattice.hypercubic((2, 4, 4), periodic=(True, True, False)), 0.5), 32, "metropolis"),
    "one_glass": (models.plus_minus_glass(jax.random.key(4), lattice.hypercubic((4, 4)), 0.6), 64, "heat_bath"),
    "glass_of_strips": (models.plus_minus_glass(jax.random.key(4), lattice.hypercubic((64, 2)), 0.6), 1, "heat_bath"),
    "free": (models.Ising(lattice.hypercubic((4, 6)), -0.3), 64, "heat_bath"),
    "free_cubic": (models.Ising(lattice.hypercubic((2, 2, 4)), 0.3), 32, "heat_bath"),
}
SLOW = ("open_strips", "cubic_glasses", "one_glass", "strips_field", "free_cubic")


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CASES]
)
def test_words_decide_as_plain_integers_do(case):
    model, num_chains, name = CASES[case]
    make = {"heat_bath": multispin_heat_bath, "metropolis": multispin_metropolis}[name]
    sampler = make(model, num_chains=num_chains, num_draws=4, generator=random.light_bits)
    grid = model.lattice
    before = random_spins((num_chains, *grid.shape), 2)
    state, info = jax.jit(sampler.step)(jax.random.key(2), sampler.init(jax.random.key(1), before))
    after = np.asarray(jax.jit(sampler.measure)(jax.tree_util.Partial(jnp.asarray), state))
    bonds = np.asarray(model.bonds).astype(int) if isinstance(model, models.Glass) else None
    common = models.Ising(grid, *(jnp.ravel(jnp.asarray(leaf))[0] for leaf in (model.coupling, model.field)))
    key = jax.random.fold_in(jax.random.key(2), 0)
    assert np.array_equal(after, plain_sweep(name, common, key, before, 4, bonds=bonds, bits=random.light_bits))
    np.testing.assert_allclose(info.acceptance, (before != after).mean(), rtol=1e-6)
    assert int(info.status[0]) == 0


def test_every_chain_has_the_energy_of_its_own_glass():
    stack = glasses(32, lattice.hypercubic((4, 4), periodic=(True, False)), 0.7)
    sampler = multispin_heat_bath(stack, num_chains=32, num_draws=4)
    state = sampler.init(jax.random.key(0))
    spins = sampler.measure(jax.tree_util.Partial(jnp.asarray), state)
    found = samplers.run(jax.random.key(1), sampler, state, 1, observe=stack.observables)
    spins = sampler.measure(jax.tree_util.Partial(jnp.asarray), found.state)
    expected = jax.vmap(models.Glass.observables)(stack, spins)
    for a, b in zip(found.trace, expected, strict=True):
        np.testing.assert_allclose(a[:, 0], b, rtol=1e-6)
    for a, b in zip(sampler.measure(stack.observables, found.state), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.slow
def test_each_realisation_has_the_distribution_of_its_enumeration():
    grid, copies, num_samples = lattice.hypercubic((2, 4), periodic=(False, True)), 64, 60
    stack = jax.tree.map(lambda leaf: jnp.repeat(leaf, copies, axis=0), glasses(32, grid, 0.6, 0.1))
    sampler = samplers.thin(multispin_heat_bath(stack, num_chains=32 * copies, generator=random.light_bits), 20)
    run = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), num_samples, observe=jnp.asarray)
    numbers = ((np.asarray(run.trace).reshape(32, -1, 8) + 1) // 2) @ (1 << np.arange(8))
    observed = np.stack([np.bincount(chain, minlength=256) for chain in numbers])
    table = (((np.arange(256)[:, None] >> np.arange(8)) & 1) * 2 - 1).reshape(256, 2, 4)
    energies = jax.vmap(lambda glass: jax.vmap(glass.hamiltonian)(jnp.asarray(table, jnp.int8)))
    weights = np.exp(-np.asarray(energies(jax.tree.map(lambda leaf: leaf[::copies], stack)), float))
    expected = copies * num_samples * weights / weights.sum(axis=1, keepdims=True)
    assert np.abs(expected - expected[0]).max() > 20  # the realisations differ
    for counts, means in zip(observed, expected, strict=True):
        rare = means < 5
        counts, means = (np.append(part[~rare], part[rare].sum()) for part in (counts, means))
        freedom = len(means) - 1
        assert abs(((counts - means) ** 2 / means).sum() - freedom) < 5 * np.sqrt(2 * freedom)


@pytest.mark.slow
@pytest.mark.parametrize("num_chains", [1, 32])
def test_strips_and_light_bits_have_the_energy_of_kaufman(num_chains):
    grid = lattice.hypercubic((64, 64))
    coupling = jnp.float32(0.35)
    ising = models.Ising(grid, coupling)
    sampler = multispin_heat_bath(ising, num_chains=num_chains, generator=random.light_bits)
    start = samplers.run(jax.random.key(0), sampler, sampler.init(jax.random.key(1)), 2_000).state
    run = samplers.run(jax.random.key(2), sampler, start, 60_000 // num_chains, observe=ising.observables)
    found = stats.summary(run.trace.energy)
    exact_energy = float(exact.torus_energy(coupling, (64, 64)))
    assert abs(float(found.mean) - exact_energy) < 5 * float(found.error)
    # The specific heat, K^2 N var(e), from blocks of chains and times.
    deviations = np.asarray(run.trace.energy, float) - exact_energy
    squares = (deviations.reshape(-1) ** 2).reshape(20, -1).mean(axis=1) * float(coupling) ** 2 * grid.num_sites
    heat = float(exact.torus_specific_heat(coupling, (64, 64)))
    assert abs(squares.mean() - heat) < 5 * squares.std(ddof=1) / np.sqrt(20)


def test_observables_of_strips_are_those_of_spins():
    grid = lattice.hypercubic((64, 6), periodic=(True, False))
    ising = models.Ising(grid, 0.3)
    sampler = multispin_heat_bath(ising, num_chains=2)
    state = sampler.init(jax.random.key(0))
    spins = sampler.measure(jax.tree_util.Partial(jnp.asarray), state)
    found = jax.jit(sampler.measure)(as_partial(ising.observables), state)
    for a, b in zip(found, jax.vmap(ising.observables)(spins), strict=True):
        assert np.array_equal(a, b)


def test_a_chain_of_strips_is_stored_and_resumed(tmp_path):
    ising = models.Ising(lattice.hypercubic((64, 4)), 0.4)
    sampler = multispin_heat_bath(ising, num_chains=1, num_draws=4)
    store = samplers.sample(tmp_path / "store", jax.random.key(1), sampler, 3)
    state = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(2)), 2).state
    samplers.save(tmp_path / "state.npz", state)
    assert all(map(np.array_equal, samplers.load(tmp_path / "state.npz"), state))
    assert np.asarray(store.read(0, 3)).shape == (1, 3, 64, 4)


def test_a_word_of_strips_does_not_depend_on_the_chains_beside_it():
    ising = models.Ising(lattice.hypercubic((64, 4)), 0.4)
    spins = random_spins((3, 64, 4), 5)
    found = []
    for chains in (spins[:1], spins):
        sampler = multispin_heat_bath(ising, num_chains=len(chains), generator=random.light_bits)
        state, _ = jax.jit(sampler.step)(jax.random.key(3), sampler.init(jax.random.key(0), chains))
        found.append(state)
    assert np.array_equal(found[0].even[0], found[1].even[0])
    assert np.array_equal(found[0].odd[0], found[1].odd[0])


@pytest.mark.skipif(not c_multispin.is_available(), reason="no gcc")
def test_the_kernel_in_c_draws_the_same_spins():
    """The peer of the benchmark does the same work, to the bit."""
    ising = models.Ising(lattice.hypercubic((6, 10)), 0.44)
    sampler = multispin_heat_bath(ising, num_chains=64, generator=random.light_bits)
    start = sampler.init(jax.random.key(0))
    kernel = c_multispin.CMultispin(start.even, start.odd, 0.44)
    kernel.sweep(c_multispin.step_keys(jax.random.key(5), 3))
    state = samplers.run(jax.random.key(5), sampler, start, 3).state
    assert all(map(np.array_equal, kernel.spins, state.spins))


GRID = lattice.hypercubic((4, 4))
ONES = jnp.ones((2, 4, 4))


@pytest.mark.parametrize(
    ("make", "num_chains", "message"),
    [
        (lambda: models.Ising(GRID, 0.3), 1, r"num_chains: expected a multiple of 32, .* got 1 chains of \(4, 4\)"),
        (lambda: models.Ising(lattice.hypercubic((96, 4)), 0.3), 2, "to cut it into 32 strips, got 2 chains"),
        (lambda: models.gaussian_glass(jax.random.key(0), GRID), 32, r"bonds: expected all \+1 or -1"),
        (lambda: glasses(32, GRID, 0.3), 64, "one for each of 64 chains, got a stack of 32"),
        (
            lambda: jax.vmap(lambda k: models.Glass(GRID, ONES, k))(jnp.arange(32.0)),
            32,
            "coupling: expected one for all",
        ),
    ],
)
def test_what_does_not_fit_into_words_is_refused(make, num_chains, message):
    with pytest.raises(ValueError, match=message):
        multispin_heat_bath(make(), num_chains=num_chains)


def test_traced_bonds_that_are_no_signs_are_reported():
    def status(bonds):
        glass = models.Glass(GRID, bonds)
        sampler = multispin_heat_bath(glass, num_chains=32, num_draws=4)
        return sampler.step(jax.random.key(0), sampler.init(jax.random.key(1)))[1].status

    assert [int(jax.jit(status)(bonds)[0]) for bonds in (ONES, 2 * ONES)] == [0, Status.NOT_FINITE]
    sampler = multispin_heat_bath(models.Glass(GRID, ONES), num_chains=32)
    with pytest.raises(ValueError, match="observe: expected a glass for each of 32 chains, got 64"):
        sampler.measure(as_partial(glasses(64, GRID, 0.3).observables), sampler.init(jax.random.key(0)))
