"""Variational renormalisation against exact couplings of block spins, and its Jacobian against their derivative."""

import jax
import jax.numpy as jnp
import pytest

from jaxrg import exact, lattice, models, rg
from jaxrg.rg import monte_carlo

CHAIN = lattice.operators(lattice.hypercubic((9,)), {"near": [(0,), (1,)]})
BLOCKS = lattice.operators(lattice.hypercubic((3,)), {"near": [(0,), (1,)]})


def flow(coupling):
    """K' of three blocks of three of a ring, exact: pairs are all even operators of three spins."""
    model = models.OperatorModel(CHAIN, coupling[None])
    table = exact.coarse_grain(model.hamiltonian, (9,), rg.majority_kernel(3), (3,)).hamiltonian
    return rg.project(table, BLOCKS).couplings[0]


def test_the_bias_is_minus_the_hamiltonian_of_block_spins():
    coupling = 0.6
    model = models.OperatorModel(CHAIN, [coupling])
    arguments = {"num_chains": 512, "num_iterations": 40, "num_sweeps": 5, "num_steps": 320, "num_bins": 32}
    found = monte_carlo.renormalise(jax.random.key(0), model, CHAIN, **arguments)
    with jax.enable_x64(True):
        expected, slope = jax.value_and_grad(flow)(jnp.float64(coupling))
    assert abs(found.couplings[0] - float(expected)) < 4 * found.errors[0]
    assert found.errors[0] < 0.02
    assert abs(found.means[0]) < 0.05  # free spins
    moved = monte_carlo.jacobian(found.moments)
    assert abs(moved.matrix[0, 0] - float(slope)) < 4 * moved.errors[0, 0]
    assert moved.errors[0, 0] < 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": 1}, "model: expected a models.OperatorModel"),
        ({"operators": 1}, "operators: expected"),
        ({"which": [1]}, "which: expected different indices of 1 operators"),
        ({"block": 2}, "blocking: expected|block: expected"),
        ({"num_steps": 0}, "num_steps: expected an integer"),
    ],
)
def test_what_cannot_be_renormalised_is_refused(change, message):
    arguments = {"model": models.OperatorModel(CHAIN, [0.1]), "operators": CHAIN, "num_chains": 32} | change
    with pytest.raises(ValueError, match=message):
        monte_carlo.renormalise(jax.random.key(0), num_iterations=1, num_sweeps=1, num_bins=2, **arguments)
