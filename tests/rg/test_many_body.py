"""The same transform reads the couplings of a Hamiltonian and the interactions of a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, interactions, lattice, models, rbm, rg

K = exact.critical_coupling


def random_energies(n: int, seed: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (2**n,), jnp.float64)


def test_couplings_give_back_the_hamiltonian_in_both_languages(x64):
    energies = random_energies(5)
    states = np.array([[(index >> i) & 1 for i in range(5)] for index in range(32)])
    members = states.astype(bool)
    ising, gas = rg.ising_couplings(energies), rg.lattice_gas_couplings(energies)
    spins = 2 * states - 1
    products = np.array([[np.prod(spins[s, members[a]]) for a in range(32)] for s in range(32)])
    occupied = np.array([[np.prod(states[s, members[a]]) for a in range(32)] for s in range(32)])
    np.testing.assert_allclose(-products @ np.asarray(ising), energies, atol=1e-12)
    np.testing.assert_allclose(-occupied @ np.asarray(gas), energies, atol=1e-12)


def test_the_two_languages_translate_into_each_other(x64):
    energies = random_energies(7)
    ising, gas = rg.ising_couplings(energies), rg.lattice_gas_couplings(energies)
    np.testing.assert_allclose(rg.ising_to_lattice_gas(ising), gas, atol=1e-11)
    np.testing.assert_allclose(rg.lattice_gas_to_ising(gas), ising, atol=1e-12)


def test_an_ising_model_has_its_own_couplings(x64):
    chain = lattice.hypercubic((5,))
    energies = exact.energies(models.Ising(chain, jnp.float64(0.3), jnp.float64(0.1)).hamiltonian, (5,))
    couplings = np.asarray(rg.ising_couplings(energies))
    expected = np.zeros(32)
    for i in range(5):
        expected[1 << i] = 0.1
        expected[1 << i | 1 << (i + 1) % 5] = 0.3
    np.testing.assert_allclose(couplings, expected, atol=1e-14)


@pytest.mark.parametrize("coupling", [0.1, K, 1.0, 3.0])
def test_decimating_a_chain_gives_half_the_log_cosh(coupling, x64):
    chain = models.Ising(lattice.hypercubic((12,)), jnp.float64(coupling))

    energies = exact.coarse_grain(chain.hamiltonian, (12,), rg.decimation_kernel(2), (6,)).hamiltonian
    couplings = np.array(rg.ising_couplings(energies))
    bonds = [1 << i | 1 << (i + 1) % 6 for i in range(6)]
    np.testing.assert_allclose(couplings[bonds], 0.5 * np.log(np.cosh(2 * coupling)), atol=1e-12)
    couplings[[0, *bonds]] = 0
    np.testing.assert_allclose(couplings, 0.0, atol=1e-12)


def test_a_hidden_unit_couples_the_spins_it_touches(x64):
    weights = jnp.asarray([[0.7], [-0.4], [0.0]])
    machine = rbm.RBM(weights, jnp.asarray([0.1, 0.2, -0.3]), jnp.asarray([0.25]))
    energies = exact.energies(lambda spins: rbm.visible_hamiltonian(machine, spins), (3,))
    couplings = rg.ising_couplings(energies)
    first, second, bias = 0.7, -0.4, 0.25

    def log_cosh(s, t):
        return np.log(np.cosh(bias + s * first + t * second))

    pair = (log_cosh(1, 1) + log_cosh(-1, -1) - log_cosh(1, -1) - log_cosh(-1, 1)) / 4
    field = (log_cosh(1, 1) + log_cosh(1, -1) - log_cosh(-1, 1) - log_cosh(-1, -1)) / 4
    np.testing.assert_allclose(couplings[0b011], pair, atol=1e-14)
    np.testing.assert_allclose(couplings[0b001], 0.1 + field, atol=1e-14)
    np.testing.assert_allclose(couplings[jnp.asarray([0b101, 0b110, 0b111])], 0.0, atol=1e-14)


def test_block_spins_have_the_couplings_of_their_symmetry_classes(x64):
    shape, coarse = (4, 4), (2, 2)
    ising = models.Ising(lattice.hypercubic(shape), jnp.float64(K))
    energies = exact.coarse_grain(ising.hamiltonian, shape, rg.majority_kernel(2), coarse).hamiltonian
    couplings = rg.ising_couplings(energies)
    basis = lattice.standard_operators(lattice.hypercubic(coarse))
    projection = rg.project(energies, basis)
    # On a 2 x 2 torus every neighbour is met twice and every diagonal four times, so the operators count bonds so.
    by_name = dict(zip(basis.names, projection.couplings, strict=True))
    sites = {"horizontal": 0b0011, "vertical": 0b0101, "diagonal": 0b1001, "plaquette": 0b1111}
    np.testing.assert_allclose(couplings[sites["horizontal"]], couplings[sites["vertical"]], atol=1e-12)
    assert float(couplings[sites["horizontal"]]) > float(couplings[sites["diagonal"]]) > 0
    np.testing.assert_allclose(couplings[sites["horizontal"]], 2 * by_name["nearest_neighbour"], atol=1e-12)
    odd = [s for s in range(16) if s.bit_count() % 2]
    np.testing.assert_allclose(couplings[jnp.asarray(odd)], 0.0, atol=1e-12)


def test_the_game_of_minus_a_hamiltonian_is_read_by_the_engine(x64):
    ising = models.Ising(lattice.hypercubic((6,)), jnp.float64(0.3))

    def game(masks):
        return jax.vmap(lambda mask: -ising.hamiltonian((2 * mask.astype(jnp.int8) - 1).astype(jnp.int8)))(masks)

    dividends = interactions.harsanyi(interactions.evaluate(interactions.game(game, 6)))
    np.testing.assert_allclose(dividends, rg.lattice_gas_couplings(exact.energies(ising.hamiltonian, (6,))), atol=1e-13)


@pytest.mark.parametrize("read", [rg.ising_couplings, rg.lattice_gas_couplings])
def test_energies_without_couplings_are_refused(read):
    with pytest.raises(ValueError, match="energies: expected finite values"):
        read(jnp.asarray([0.0, jnp.inf]))
    with pytest.raises(ValueError, match=r"expected a last axis of length 2\*\*n, got 3"):
        read(jnp.zeros(3))


@pytest.mark.parametrize("form", [np.float64, np.int64, np.float16, list])
def test_tables_of_any_numbers_are_translated(form):
    energies = np.array([-1, 1, 1, -1])  # H = -s_0 s_1, and in occupations -(1 - 2 n_0)(1 - 2 n_1)
    table = energies.tolist() if form is list else energies.astype(form)
    ising, gas = rg.ising_couplings(table), rg.lattice_gas_couplings(table)
    assert ising.dtype == gas.dtype == jnp.float32
    assert (ising.tolist(), gas.tolist()) == ([0, 0, 0, 1], [1, -2, -2, 4])
    couplings = [0, 0, 0, 1] if form is list else np.array([0, 0, 0, 1]).astype(form)
    assert rg.ising_to_lattice_gas(couplings).tolist() == [1, -2, -2, 4]
    back = [1, -2, -2, 4] if form is list else np.array([1, -2, -2, 4]).astype(form)
    assert rg.lattice_gas_to_ising(back).tolist() == [0, 0, 0, 1]
    with pytest.raises(ValueError, match="couplings: expected a last axis of length"):
        rg.ising_to_lattice_gas(couplings[:3])
    assert np.isnan(rg.ising_to_lattice_gas(jnp.array([0, jnp.nan]))).any()
