"""Energies and Hamiltonians of small machines against sums over every configuration."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rbm
from jaxrg.rbm.units.spins import log_two_cosh
from jaxrg.tables import all_spins

NUM_VISIBLE, NUM_HIDDEN = 5, 3


@pytest.mark.usefixtures("x64")
def test_energy_and_both_hamiltonians_agree_with_the_definition(random_machine, reference_energies):
    machine = random_machine(0)
    visible, hidden = all_spins(NUM_VISIBLE), all_spins(NUM_HIDDEN)
    expected = reference_energies(machine)

    @jax.jit
    def everything(machine):
        energies = jax.vmap(jax.vmap(rbm.energy, (None, None, 0)), (None, 0, None))(machine, visible, hidden)
        of_visible = jax.vmap(rbm.visible_hamiltonian, (None, 0))(machine, visible)
        return energies, of_visible, jax.vmap(rbm.hidden_hamiltonian, (None, 0))(machine, hidden)

    energies, visible_hamiltonian, hidden_hamiltonian = everything(machine)
    np.testing.assert_allclose(energies, expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(visible_hamiltonian, -np.log(np.exp(-expected).sum(1)), rtol=0, atol=1e-13)
    np.testing.assert_allclose(hidden_hamiltonian, -np.log(np.exp(-expected).sum(0)), rtol=0, atol=1e-13)


@pytest.mark.usefixtures("x64")
def test_log_two_cosh_and_three_derivatives():
    points = jnp.array([-800.0, -3.0, -1e-9, 0.0, 1e-300, 0.2, 9.999999, 10.000001, 800.0])
    expected = [abs(x) + math.log1p(math.exp(-2 * abs(x))) for x in points.tolist()]
    np.testing.assert_allclose(log_two_cosh(points), expected, rtol=1e-15)
    first, second = jax.grad(log_two_cosh), jax.grad(jax.grad(log_two_cosh))
    third = jax.grad(second)
    tanh = np.tanh(np.asarray(points))
    found = jax.jit(lambda x: [jax.vmap(derivative)(x) for derivative in (first, second, third)])(points)
    np.testing.assert_allclose(found[0], tanh, rtol=1e-14)
    np.testing.assert_allclose(found[1], 1 - tanh**2, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found[2], -2 * tanh * (1 - tanh**2), rtol=1e-9, atol=1e-15)


def test_hamiltonian_has_no_jump_and_no_overflow_in_float32():
    machine = rbm.RBM(jnp.array([[300.0]]), jnp.zeros(1), jnp.zeros(1))
    assert float(rbm.visible_hamiltonian(machine, jnp.ones(1, jnp.int8))) == -300.0
    field = jnp.linspace(9.0, 11.0, 201)
    slopes = jnp.diff(log_two_cosh(field)) / jnp.diff(field)
    # Beyond x = 9 the slope is 1 to 3e-8; a value near 10 is rounded at 5e-7, which a step of 0.01 makes 1e-4.
    np.testing.assert_allclose(slopes, 1.0, atol=2e-4)


def test_gradient_at_zero_field_is_zero_and_curvature_is_not():
    machine = rbm.RBM(jnp.zeros((2, 1)), jnp.zeros(2), jnp.zeros(1))
    spins = jnp.array([1, -1], jnp.int8)

    @jax.jit
    def of_hidden_bias(bias):
        return rbm.visible_hamiltonian(machine._replace(hidden_bias=bias), spins)

    assert jax.grad(of_hidden_bias)(machine.hidden_bias).tolist() == [0.0]
    assert jax.hessian(of_hidden_bias)(machine.hidden_bias).tolist() == [[-1.0]]


@pytest.mark.usefixtures("x64")
def test_binary_units_have_the_same_distribution_and_shifted_energy(random_machine, reference_energies):
    binary = random_machine(1, scale=1.5)._replace(visible_units=rbm.units.Binary(), hidden_units=rbm.units.Binary())
    machine, shift = rbm.from_binary(binary)
    spins = np.asarray(all_spins(NUM_VISIBLE)), np.asarray(all_spins(NUM_HIDDEN))
    x, y = ((1 + s.astype(float)) / 2 for s in spins)
    binary_energy = -(x @ binary.visible_bias)[:, None] - (y @ binary.hidden_bias)[None, :] - x @ binary.weights @ y.T
    np.testing.assert_allclose(reference_energies(machine) + float(shift), binary_energy, rtol=0, atol=1e-13)
    boltzmann = np.exp(-np.asarray(binary_energy)).sum(1)
    np.testing.assert_allclose(rbm.visible_distribution(machine), boltzmann / boltzmann.sum(), rtol=1e-12)
    np.testing.assert_allclose(rbm.log_partition(machine) - shift, np.log(boltzmann.sum()), rtol=1e-14)

    back, same_shift = rbm.to_binary(machine)
    for found, expected in zip(jax.tree.leaves(back), jax.tree.leaves(binary), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(same_shift, shift, rtol=1e-14)


def test_init_is_symmetric_and_scaled():
    machine = rbm.init(jax.random.key(0), 50, 40, scale=0.2)
    assert not machine.visible_bias.any()
    assert not machine.hidden_bias.any()
    assert abs(float(machine.weights.std()) - 0.2) < 5 * 0.2 / math.sqrt(2 * 2000)
    assert rbm.init(jax.random.key(0), 2, 2, dtype=jnp.bfloat16).weights.dtype == jnp.bfloat16


def test_bad_input_is_refused(random_machine):
    machine = random_machine(2)
    spins = jnp.ones(NUM_VISIBLE, jnp.int8), jnp.ones(NUM_HIDDEN, jnp.int8)
    with pytest.raises(ValueError, match=r"visible: expected shape \(5,\), got \(4,\)"):
        rbm.visible_hamiltonian(machine, jnp.ones(4))
    with pytest.raises(ValueError, match=r"visible: expected spins \+1 or -1, got 0"):
        rbm.visible_hamiltonian(machine, jnp.zeros(NUM_VISIBLE))
    with pytest.raises(ValueError, match=r"hidden: expected spins \+1 or -1, got nan"):
        rbm.energy(machine, spins[0], jnp.full(NUM_HIDDEN, jnp.nan))
    with pytest.raises(ValueError, match=r"hidden: expected shape \(3,\)"):
        rbm.hidden_hamiltonian(machine, spins[0])
    with pytest.raises(ValueError, match=r"hidden_bias: expected shape \(3,\), got \(5,\)"):
        rbm.energy(machine._replace(hidden_bias=machine.visible_bias), *spins)
    with pytest.raises(ValueError, match="weights: expected shape"):
        rbm.log_partition(jax.tree.map(lambda x: x[None], machine))
    with pytest.raises(ValueError, match="num_hidden: expected an integer >= 1, got 0"):
        rbm.init(jax.random.key(0), 3, 0)
