"""Packed chains against plain ones: the same words must give the same spins, and the kernel must leave P invariant."""

import itertools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, random, samplers
from jaxrg.closures import as_partial
from jaxrg.samplers import SpinInfo, multispin, packed, packed_measures
from jaxrg.samplers.multispin import multispin_heat_bath, multispin_metropolis
from tests.rows import some_now
from tests.samplers.plain_multispin import (
    as_integers,
    exact_distribution,
    half_sweep_matrix,
    neighbour_sums,
    plain_sweep,
)

SAMPLERS = {"heat_bath": multispin_heat_bath, "metropolis": multispin_metropolis}
identity = jax.tree_util.Partial(lambda spins: spins)


@jax.jit
def advance(sampler, key, state, num_steps=1):
    """Some steps and the last info: one compilation for every use of a sampler."""

    def body(carry):
        state, _, left = carry
        return *sampler.step(key, state), left - 1

    info = SpinInfo(jnp.zeros(1, jnp.float32), jnp.zeros(1, jnp.uint32))
    state, info, _ = jax.lax.while_loop(lambda carry: carry[2] > 0, body, (state, info, num_steps))
    return state, jax.tree.map(lambda leaf: leaf[0], info)  # of all chains together


@jax.jit
def configurations(sampler, state):
    return sampler.measure(identity, state)


def random_spins(shape, seed=0):
    return np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), size=shape)


LATTICES = {
    "square": ((4, 6), True),
    "smallest_torus": ((2, 2), True),
    "cylinder": ((4, 2), (True, False)),
    "strip": ((3, 4), (False, True)),
    "cubic": ((2, 4, 4), True),
    "open_cubic": ((3, 3, 2), False),
    "chain": ((6,), True),
    "four_dimensional": ((2, 2, 2, 2), True),
    "open_four_dimensional": ((2, 2, 2, 2), False),  # with 16 draws so many comparisons that they are a loop
}


@pytest.mark.parametrize(
    ("name", "case"),
    some_now(itertools.product(SAMPLERS, LATTICES), ("heat_bath", "square"), ("metropolis", "open_four_dimensional")),
)
def test_decides_as_plain_integers_do(name, case):
    shape, periodic = LATTICES[case]
    coupling = -0.4 if case in ("cylinder", "cubic") else 0.3
    num_draws = {"square": 8, "open_four_dimensional": 16}.get(case, 4)
    model = models.Ising(lattice.hypercubic(shape, periodic=periodic), coupling, -0.1)
    sampler = SAMPLERS[name](model, num_chains=64, num_draws=num_draws)
    before = random_spins((64, *shape))
    state, info = advance(sampler, jax.random.key(2), sampler.init(jax.random.key(1), before))
    after = np.asarray(configurations(sampler, state))
    assert np.array_equal(after, plain_sweep(name, model, jax.random.fold_in(jax.random.key(2), 0), before, num_draws))
    np.testing.assert_allclose(info.acceptance, (before != after).mean(), rtol=1e-6)
    assert int(info.status) == 0
    assert int(state.step) == 1


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(
    ("shape", "periodic", "coupling", "field"),
    [((2, 4), True, 0.3, 0.2), ((2, 2, 2), False, 1.5, -0.3)],  # two more than in tests/contracts
)
def test_leaves_the_boltzmann_distribution_invariant(name, shape, periodic, coupling, field):
    model = models.Ising(lattice.hypercubic(shape, periodic=periodic), coupling, field)
    states, target = exact_distribution(model)
    sweep = np.eye(len(states))
    for colour in range(2):
        half = half_sweep_matrix(name, model, 12, states, colour)
        np.testing.assert_allclose(half.sum(axis=1), 1, atol=1e-12)
        np.testing.assert_allclose(target @ half, target, atol=1e-6)
        sweep = sweep @ half
    np.testing.assert_allclose(target @ sweep, target, atol=1e-6)


def test_histogram_of_all_states_matches_enumeration():
    model = models.Ising(lattice.hypercubic((2, 4), periodic=(False, True)), 0.5, 0.1)
    _, target = exact_distribution(model)
    sampler = multispin_heat_bath(model, num_chains=32 * 2048, num_draws=4)
    state, _ = advance(sampler, jax.random.key(6), sampler.init(jax.random.key(5)), 200)
    final = np.asarray(configurations(sampler, state)).reshape(-1, 8)
    observed = np.bincount(((final + 1) // 2).astype(int) @ (1 << np.arange(8)), minlength=256)
    expected = target * len(final)
    rare = expected < 10
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    statistic = ((observed - expected) ** 2 / expected).sum()
    freedom = len(expected) - 1
    assert abs(statistic - freedom) / np.sqrt(2 * freedom) < 5


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLERS)
def test_energy_and_magnetisation_match_kaufman(name):
    # L = 4 at Kc; Metropolis started at random reaches every closed class with the weights of the uniform distribution,
    # not of P, so it is given a field, which breaks the symmetry that makes it reducible.
    field = 0.0 if name == "heat_bath" else 0.05
    model = models.Ising(lattice.hypercubic((4, 4)), exact.critical_coupling, field)
    states, target = exact_distribution(model)
    energies = -(states * neighbour_sums(model.lattice, states)[0]).sum((1, 2)) / 32
    squares = states.mean((1, 2)) ** 2
    if name == "heat_bath":
        np.testing.assert_allclose(target @ energies, -1.56562378764, rtol=2e-8)  # the coupling is a float32
        np.testing.assert_allclose(target @ squares, 0.7613589086, rtol=2e-8)
    sampler = SAMPLERS[name](model, num_chains=32 * 512, num_draws=4)
    start = sampler.init(jax.random.key(7), random_spins((4, 4)))
    state, _ = advance(sampler, jax.random.key(8), start, 400)
    final = np.asarray(configurations(sampler, state)).astype(int)
    for values, sampled in (
        (energies, -(final * neighbour_sums(model.lattice, final)[0]).sum((1, 2)) / 32),
        (squares, final.mean((1, 2)) ** 2),
    ):
        mean = target @ values
        error = np.sqrt((target @ values**2 - mean**2) / len(final))
        assert abs(sampled.mean() - mean) < 5 * error


@pytest.mark.slow
def test_no_coupling_is_a_fair_coin():
    model = models.Ising(lattice.hypercubic((8, 8)), 0.0)
    sampler = multispin_heat_bath(model, num_chains=1024, num_draws=4)
    state, _ = advance(sampler, jax.random.key(3), sampler.init(jax.random.key(0), np.ones((8, 8), np.int8)))
    spins = np.asarray(configurations(sampler, state)).reshape(1024, -1).astype(float)
    assert np.all(np.abs(spins.mean(axis=1)) < 5 / np.sqrt(64))
    assert np.all(np.abs(spins.mean(axis=0)) < 5 / np.sqrt(1024))
    correlations = spins.T @ spins / 1024 - np.eye(64)
    assert np.abs(correlations).max() < 5.5 / np.sqrt(1024)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("coupling", [30.0, -30.0])
def test_low_temperature_keeps_and_restores_order(name, coupling):
    grid = lattice.hypercubic((4, 6))
    sampler = SAMPLERS[name](models.Ising(grid, coupling), num_chains=32, num_draws=4)
    ordered = np.ones(grid.shape, np.int8)
    if coupling < 0:
        ordered = (1 - 2 * (np.indices(grid.shape).sum(axis=0) % 2)).astype(np.int8)
    damaged = ordered.copy()
    damaged[1, 2] *= -1
    for start in (ordered, damaged):
        state, _ = advance(sampler, jax.random.key(1), sampler.init(jax.random.key(0), start), 20)
        assert np.array_equal(configurations(sampler, state), np.broadcast_to(ordered, (32, 4, 6)))


@pytest.mark.slow
def test_rare_flips_keep_their_rate():
    # 1 - p is 6e-6 here and 5e-9 at coupling 2.4, where float32 cannot tell p from one.
    model = models.Ising(lattice.hypercubic((64, 64)), 1.5)
    sampler = multispin_heat_bath(model, num_chains=2048)
    _, info = advance(sampler, jax.random.key(9), sampler.init(jax.random.key(0), np.ones((64, 64), np.int8)))
    num_spins = 2048 * 64 * 64
    expected = num_spins / (1 + np.exp(12.0))
    assert abs(float(info.acceptance) * num_spins - expected) < 5 * np.sqrt(expected)
    cold = as_integers(multispin.heat_bath_expansions(models.Ising(model.lattice, 2.4), 12)[0], 12)
    assert cold[0] + cold[-1] == 2**44
    np.testing.assert_allclose(cold[0] / 2**44, 1 / (1 + np.exp(8 * 2.4)), rtol=1e-3)


def test_chains_are_bits_of_words_in_order():
    grid = lattice.hypercubic((3, 4, 2), periodic=False)
    sampler = multispin_heat_bath(models.Ising(grid, 0.1), num_chains=96)
    spins = np.where(np.random.default_rng(0).random((96, 3, 4, 2)) < 0.5, 1, -1).astype(np.int8)
    state = sampler.init(jax.random.key(0), spins)
    assert [(words.shape, words.dtype) for words in state.spins] == [((3, 3, 4, 1), jnp.uint32)] * 2
    assert np.array_equal(configurations(sampler, state), spins)
    sums = sampler.measure(lambda s: {"m": jnp.sum(s, dtype=jnp.int32)}, state)
    assert np.array_equal(sums["m"], spins.sum((1, 2, 3)))
    one = sampler.init(jax.random.key(0), spins[5])
    assert np.array_equal(configurations(sampler, one), np.broadcast_to(spins[5], spins.shape))


def test_each_word_of_spins_takes_its_planes_and_no_more():
    asked = []

    def counting(key, sites, num_words, **options):
        asked.append((num_words, sites.shape))
        return random.bits(key, sites, num_words, **options)

    model = models.Ising(lattice.hypercubic((4, 14)), 0.3)
    sampler = multispin_heat_bath(model, num_chains=64, generator=counting)
    jax.eval_shape(sampler.step, jax.random.key(0), sampler.init(jax.random.key(0)))
    assert asked == [(8, (2, 4, 7))] * 2  # of two colours


def test_double_precision_couplings_and_wide_keys(x64):
    model = models.Ising(lattice.hypercubic((2, 4)), jnp.float64(0.3), jnp.float64(0.1))
    sampler = multispin_heat_bath(model, num_chains=32, num_draws=4)
    before = random_spins((32, 2, 4))
    key = jax.random.key(2, impl="rbg")
    after, _ = advance(sampler, key, sampler.init(key, before))
    plain = plain_sweep("heat_bath", model, jax.random.fold_in(key, 0), before, 4)
    assert np.array_equal(configurations(sampler, after), plain)


@pytest.mark.parametrize("case", ["square", "open_cubic", "smallest_torus", "chain"])
def test_observables_of_bits_are_those_of_spins(case):
    shape, periodic = LATTICES[case]
    grid = lattice.hypercubic(shape, periodic=periodic)
    sampler = multispin_heat_bath(models.Ising(grid, 0.3), num_chains=64)
    spins = random_spins((64, *shape))
    other = models.Ising(grid, 0.7)  # an energy in units of J does not depend on it
    found = jax.jit(sampler.measure)(as_partial(other.observables), sampler.init(jax.random.key(0), spins))
    axes = tuple(range(1, spins.ndim))
    energies = -(spins * neighbour_sums(grid, spins)[0]).sum(axes) / (2 * grid.num_sites)
    np.testing.assert_allclose(found.energy, energies, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.magnetization, spins.mean(axes), rtol=1e-6, atol=1e-7)
    start = sampler.init(jax.random.key(0), spins)
    unpacked = packed_measures.unpacked(packed.Layout(grid, 64), as_partial(other.observables), start)
    for a, b in zip(found, unpacked, strict=True):
        assert np.array_equal(a, b)
        assert a.dtype == b.dtype


def test_a_packed_state_is_three_plain_arrays(tmp_path):
    sampler = multispin_heat_bath(models.Ising(lattice.hypercubic((4, 6)), 0.3), num_chains=64)
    state = sampler.init(jax.random.key(0))
    np.savez(tmp_path / "state.npz", **state._asdict())
    loaded = samplers.PackedState(**np.load(tmp_path / "state.npz"))
    assert np.array_equal(configurations(sampler, loaded), configurations(sampler, state))


def test_random_start_is_random():
    sampler = multispin_heat_bath(models.Ising(lattice.hypercubic((8, 8)), 0.3), num_chains=1024)
    spins = np.asarray(configurations(sampler, sampler.init(jax.random.key(3)))).reshape(1024, 64).astype(float)
    correlations = spins.T @ spins / 1024 - np.eye(64)
    assert np.abs(correlations).max() < 5.5 / np.sqrt(1024)
    assert abs(spins.mean()) < 5 / np.sqrt(spins.size)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.Ising(lattice.hypercubic((3, 4)), 0.1), "lattice: expected even periodic sides, got 3"),
        (lambda: models.Ising(lattice.hypercubic((4, 3), periodic=False), 0.1), "lattice: expected an even last side"),
        (lambda: models.Ising(lattice.triangular((4, 4)), 0.1), "lattice: expected a hypercubic lattice"),
        (lambda: models.Ising(lattice.hypercubic((4, 4)), jnp.ones(2)), "coupling: expected a scalar"),
        (lambda: models.Ising(lattice.hypercubic((4, 4)), 0.1, jnp.ones((4, 4))), "field: expected a scalar"),
        (
            lambda: models.gaussian_glass(jax.random.key(0), lattice.hypercubic((4, 4))),
            "bonds: expected all",
        ),
    ],
)
def test_unsupported_models_are_refused(make, message):
    for factory in SAMPLERS.values():
        with pytest.raises(ValueError, match=message):
            factory(make(), num_chains=32)


def test_wrong_options_and_starts_are_refused():
    model = models.Ising(lattice.hypercubic((4, 4)), 0.1)
    with pytest.raises(ValueError, match="num_chains: expected a multiple of 32"):
        multispin_heat_bath(model, num_chains=33)
    with pytest.raises(ValueError, match="num_draws: expected 4, 8, 12 or 16, got 6"):
        multispin_heat_bath(model, num_chains=32, num_draws=6)
    sampler = multispin_heat_bath(model, num_chains=32)
    with pytest.raises(ValueError, match=r"spins: expected shape \(32, 4, 4\)"):
        sampler.init(jax.random.key(0), np.ones((31, 4, 4), np.int8))
    with pytest.raises(ValueError, match="spins: expected spins"):
        sampler.init(jax.random.key(0), np.zeros((4, 4), np.int8))


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxrg import lattice, models, samplers
from jaxrg.samplers import PackedState, multispin_heat_bath

model = models.Ising(lattice.hypercubic((4, 8)), 0.44, 0.03)
sampler = multispin_heat_bath(model, num_chains=256, num_draws=4)
step = jax.jit(lambda key, state: sampler.step(key, state))
results = []
for count in (1, 2, 8):
    mesh = Mesh(np.array(jax.devices()[:count]), ("words",))
    spread = NamedSharding(mesh, PartitionSpec("words"))
    whole = NamedSharding(mesh, PartitionSpec())
    state = sampler.init(jax.random.key(0))
    state = PackedState(*jax.device_put(state.spins, (spread, spread)), jax.device_put(state.step, whole))
    run = samplers.run(jax.device_put(jax.random.key(0), whole), sampler, state, 3, observe=model.observables)
    for _ in range(3):
        state, info = step(jax.device_put(jax.random.key(0), whole), state)
    for words in state.spins:
        assert len(words.sharding.device_set) == count, words.sharding
        assert words.addressable_shards[0].data.shape[0] == 8 // count
    assert np.array_equal(run.state.even, state.even)
    assert run.trace.energy.shape == (256, 3)
    results.append((np.asarray(state.spins), np.asarray(run.trace.energy), float(info.acceptance[0])))
assert all(np.array_equal(first, found) for row in results for first, found in zip(results[0][:2], row[:2]))
assert np.allclose([acceptance for *_, acceptance in results], results[0][2], rtol=1e-6)
print("identical")
"""


@pytest.mark.slow
def test_trajectory_does_not_depend_on_the_number_of_devices():
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SHARDED]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **environment})
    assert result.stdout.strip() == "identical", result.stderr
