"""Couplings of the marginal by quadrature against Walsh transforms, means over states, and known models."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, rbm, rg
from jaxrg.rbm import couplings, units
from jaxrg.rbm.exact import visible_energies

NUM_VISIBLE, NUM_HIDDEN = 6, 3
HIDDEN = {"spins": units.Spins(), "binary": units.Binary(), "gaussian": units.Gaussian(0.25)}


def random_machine(visible_units, hidden_units, dtype, num_visible=NUM_VISIBLE, scale=1.0) -> rbm.RBM:
    generator = np.random.default_rng(0)
    size = num_visible * visible_units.num_features
    arrays = (scale * generator.normal(size=shape) for shape in ((size, NUM_HIDDEN), size, NUM_HIDDEN))
    return rbm.RBM(*(jnp.asarray(array, dtype) for array in arrays), visible_units, hidden_units)


def index_of(sets) -> np.ndarray:
    return np.array([sum(1 << unit for unit in units) for units in sets])


def check_all_orders(machine: rbm.RBM, tolerance: float) -> None:
    energies = visible_energies(machine)
    expected, of_gas = rg.ising_couplings(energies), rg.lattice_gas_couplings(energies)
    for order in (1, 2, 3, 4):
        sets = list(itertools.combinations(range(NUM_VISIBLE), order))
        np.testing.assert_allclose(couplings.of_sets(machine, sets), expected[index_of(sets)], atol=tolerance)
    found = couplings.pairs(machine)
    for i, j in itertools.permutations(range(NUM_VISIBLE), 2):
        assert abs(float(found[i, j] - expected[(1 << i) + (1 << j)])) < tolerance
    assert not np.any(np.diag(found))
    np.testing.assert_allclose(couplings.lattice_gas(machine, sets), of_gas[index_of(sets)], atol=20 * tolerance)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("visible", [units.Spins(), units.Binary()])
def test_couplings_are_the_walsh_transform_of_the_marginal(visible, hidden):
    check_all_orders(random_machine(visible, HIDDEN[hidden], jnp.float64), 1e-13)


def test_couplings_in_float32():
    check_all_orders(random_machine(units.Spins(), units.Spins(), jnp.float32, scale=2.0), 4e-6)


def zero_sum_table(energies: np.ndarray, units: tuple[int, ...]) -> np.ndarray:
    """Couplings of a set of q-state units by the definition: means over the others, less what smaller sets explain."""
    others = tuple(axis for axis in range(energies.ndim) if axis not in units)
    table = -energies.mean(axis=others)
    for axis in range(len(units)):
        table = table - table.mean(axis=axis, keepdims=True)
    return table


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("visible", [units.Potts(3), units.GreyLevels(4)])
def test_couplings_of_units_of_several_states(visible, hidden):
    machine = random_machine(visible, HIDDEN[hidden], jnp.float64, num_visible=4)
    table = np.asarray(visible_energies(machine)).reshape((visible.num_states,) * 4).T  # unit 0 is the lowest digit
    for chosen in ((0,), (2,), (0, 2), (1, 3), (0, 1, 3)):
        found = couplings.of_sets(machine, [chosen])[0]
        np.testing.assert_allclose(found, zero_sum_table(table, chosen), atol=1e-13)
    pairs = couplings.pairs(machine)
    np.testing.assert_allclose(pairs[1, :, 3], zero_sum_table(table, (1, 3)), atol=1e-13)
    np.testing.assert_allclose(pairs[3, :, 1], pairs[1, :, 3].T, atol=1e-14)
    assert not np.any(pairs[2, :, 2])


@pytest.mark.parametrize("strength", [0.4, -1.3])
def test_a_lattice_of_256_spins_has_its_couplings_back(strength):
    torus = lattice.hypercubic((16, 16))
    machine = rg.bond_machine(torus, strength)
    bonds = torus.edges()
    found = np.array(couplings.pairs(machine))
    np.testing.assert_allclose(found[bonds[:, 0], bonds[:, 1]], strength, rtol=3e-6)
    found[bonds[:, 0], bonds[:, 1]] = found[bonds[:, 1], bonds[:, 0]] = 0
    assert np.abs(found).max() < 1e-6
    np.testing.assert_allclose(couplings.of_sets(machine, bonds[:5]), strength, rtol=3e-6)
    assert np.abs(couplings.of_sets(machine, [[0, 1, 2, 3], [0, 1, 16, 17]])).max() < 1e-6


@pytest.mark.usefixtures("x64")
def test_the_gaussian_approximation_is_that_of_the_field():
    machine = random_machine(units.Spins(), units.Spins(), jnp.float64)
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    expected = 0.0
    for unit in range(NUM_HIDDEN):
        row = np.asarray(machine.weights[:, unit])
        deviation = math.sqrt(sum(row[2:] ** 2))
        for signs in itertools.product([-1, 1], repeat=2):
            field = float(machine.hidden_bias[unit]) + row[:2] @ signs + deviation * nodes
            expected += np.prod(signs) / 4 * weights @ np.logaddexp(field, -field)
    np.testing.assert_allclose(couplings.gaussian_approximation(machine, [[0, 1]])[0], expected, atol=1e-6)
    # Its error falls as the number of weights grows, at a fixed sum of their squares.
    errors = []
    for num_visible in (4, 16, 64):
        alike = rbm.RBM(jnp.full((num_visible, 1), 1.5 / math.sqrt(num_visible)), jnp.zeros(num_visible), jnp.zeros(1))
        exact, found = couplings.of_sets(alike, [[0, 1]]), couplings.gaussian_approximation(alike, [[0, 1]])
        errors.append(abs(float(found[0] / exact[0]) - 1))
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_couplings_are_differentiable_and_traced_with_a_bound():
    machine = random_machine(units.Spins(), units.Spins(), jnp.float32, scale=0.5)
    sets = jnp.array([[0, 1], [2, 3]])

    @jax.jit
    def total(machine):
        return couplings.of_sets(machine, sets, max_field=8.0).sum()

    np.testing.assert_allclose(total(machine), couplings.of_sets(machine, sets).sum(), rtol=1e-5)
    energies = jax.jit(lambda machine: rg.ising_couplings(visible_energies(machine))[index_of([[0, 1], [2, 3]])].sum())
    for found, expected in zip(
        jax.tree.leaves(jax.grad(total)(machine)), jax.tree.leaves(jax.grad(energies)(machine)), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.isnan(total(machine._replace(weights=machine.weights * 20)))
    with pytest.raises(ValueError, match="max_field: expected a bound"):
        jax.jit(lambda machine: couplings.of_sets(machine, sets))(machine)
    with pytest.raises(ValueError, match="max_field: expected at least the largest hidden field"):
        couplings.of_sets(machine, sets, max_field=0.1)


@pytest.mark.parametrize("kind", [units.Spins(), units.Binary()])
def test_lattice_gas_couplings_of_large_layers_keep_their_digits(kind):
    generator = np.random.default_rng(0)
    arrays = 0.05 * generator.normal(size=(500, 400)), generator.normal(size=500), generator.normal(size=400)
    found, expected = [], []
    for sets in ([[0, 1], [2, 3]], [[4], [5]]):
        machine = rbm.RBM(*(jnp.asarray(array, jnp.float32) for array in arrays), kind, kind)
        found.append(couplings.lattice_gas(machine, sets))
        with jax.enable_x64(True):
            machine = rbm.RBM(*(jnp.asarray(array, jnp.float64) for array in arrays), kind, kind)
            expected.append(couplings.lattice_gas(machine, sets))
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), rtol=1e-4, atol=1e-5)


def test_wrong_sets_are_nan_inside_a_jit():
    machine = random_machine(units.Spins(), units.Spins(), jnp.float32, scale=0.5)
    sets = jnp.array([[0, 1], [2, 2], [0, 6]])
    for function in (couplings.of_sets, couplings.gaussian_approximation):
        found = jax.jit(lambda sets, function=function: function(machine, sets, max_field=16))(sets)
        assert np.isnan(found).tolist() == [False, True, True]
    assert np.isnan(jax.jit(lambda sets: couplings.lattice_gas(machine, sets))(sets)).tolist() == [False, True, True]
    many = random_machine(units.Spins(), units.Spins(), jnp.float32, num_visible=40)
    with pytest.raises(ValueError, match=r"sets.*2\*\*40 states of a set"):
        couplings.lattice_gas(many, [range(40)])


def test_wrong_sets_and_machines_are_refused():
    machine = random_machine(units.Spins(), units.Spins(), jnp.float32)
    for sets, message in (
        ([[0, 0]], r"different units in a set, got \[0, 0\]"),
        ([[0, 6]], "from 0 to 5, got 6"),
        ([0, 1], r"expected \[num_sets, k\]"),
        ([[0.5, 1]], "expected integers"),
    ):
        with pytest.raises(ValueError, match=message):
            couplings.of_sets(machine, sets)
        with pytest.raises(ValueError, match=message):
            couplings.lattice_gas(machine, sets)
    with pytest.raises(ValueError, match="visible units of few states"):
        couplings.pairs(random_machine(units.Gaussian(), units.Spins(), jnp.float32))
    with pytest.raises(ValueError, match="hidden Spins, Binary or Gaussian"):
        couplings.pairs(random_machine(units.Spins(), units.Spins(), jnp.float32)._replace(hidden_units=units.Potts(3)))
    with pytest.raises(ValueError, match="expected finite parameters"):
        couplings.pairs(machine._replace(weights=machine.weights.at[0, 0].set(jnp.nan)))
    with pytest.raises(ValueError, match="expected Spins or Binary in both layers"):
        couplings.gaussian_approximation(machine._replace(hidden_units=units.Gaussian()), [[0, 1]])
