"""Tables of strips against sums over all columns, longer environments, and levels of the transfer matrix."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, tables
from jaxrg.rg import information

K = float(exact.critical_coupling)


def columns_of(width):
    """``[2**width, width]`` spins of a column."""
    return np.asarray(tables.all_spins(width, jnp.float32), float)


def transfer_matrix(width, along=K, across=K, field=0.0):
    """Symmetric, by the definition."""
    spins = columns_of(width)
    own = across * np.sum(spins * np.roll(spins, 1, axis=1), axis=1) + field * spins.sum(axis=1)
    return np.exp(along * spins @ spins.T + (own[:, None] + own[None, :]) / 2)


def chain_probabilities(transfer, length):
    """``[states] * length`` probabilities of columns in a row of an infinite strip."""
    values, vectors = np.linalg.eigh(transfer)
    end = np.abs(vectors[:, -1])
    table = end
    for _ in range(length - 1):
        table = table[..., None] * transfer / values[-1]
    table = table * end
    return table / table.sum()


@pytest.mark.parametrize("field", [0.0, 0.3])
def test_a_strip_by_summing_all_columns(x64, field):
    """Width 2, buffer 1: environment, buffer, two block columns of which one site is seen, buffer, environment."""
    table = chain_probabilities(transfer_matrix(2, field=field), 6)
    seen = table.reshape(4, 4, 2, 2, 2, 2, 4, 4)  # a column's second bit is the slower one
    expected = np.einsum("labcdefr->ecrl", seen)
    found = information.strip_joint(K, 2, (2, 1), buffer=1, field=field)
    np.testing.assert_allclose(found, expected.reshape(4, 16), atol=1e-13)


def test_nothing_beyond_the_nearest_columns_is_told(x64):
    """I of two columns on either side is that of one."""
    table = chain_probabilities(transfer_matrix(2), 6)  # e, e, v, buffer, e, e with no buffer before the block
    near = np.einsum("abcdef->cbe", table).reshape(4, -1)
    far = np.einsum("abcdef->cabef", table).reshape(4, -1)
    coarse = information.spin_filter([[1.0], [0.5]])
    for filters in (None, coarse):
        np.testing.assert_allclose(
            information.filter_information(far, filters), information.filter_information(near, filters), rtol=1e-11
        )


def test_a_torus_by_brute_force(x64):
    """A pair of spins of a 3 x 3 torus and the six of the other columns, with the Boltzmann weights of the model."""
    model = models.Ising(lattice.hypercubic((3, 3)), K)
    spins = tables.all_spins(9)
    weights = np.exp(-np.array([float(model.hamiltonian(state.reshape(3, 3))) for state in spins]))
    joint = np.zeros((4, 64))
    bits = (np.asarray(spins) > 0).astype(int)
    block, around = bits[:, 0] + 2 * bits[:, 1], bits[:, 3:] @ 2 ** np.arange(6)
    np.add.at(joint, (block, around), weights)
    # The same by columns: the environment is both others.
    transfer = transfer_matrix(3)
    powers = np.einsum("ab,bc,ca->abc", transfer, transfer, transfer).reshape(2, 4, 64).sum(axis=0)
    expected = powers.reshape(4, 8, 8).swapaxes(1, 2).reshape(4, 64)
    np.testing.assert_allclose(joint / joint.sum(), expected / expected.sum(), atol=1e-14)
    np.testing.assert_allclose(
        information.filter_information(joint), information.filter_information(expected), rtol=1e-12
    )


@pytest.mark.parametrize("num_sides", [1, 2])
def test_any_transfer_matrix_gives_the_same_strip(x64, num_sides):
    expected = information.strip_joint([0.3, 0.5], 3, (2, 2), buffer=2, num_sides=num_sides)
    found = information.column_joint(
        transfer_matrix(3, 0.3, 0.5), np.arange(8) % 4, length=2, buffer=2, num_sides=num_sides
    )
    np.testing.assert_allclose(found, expected, atol=1e-14)
    assert float(jnp.sum(found)) == pytest.approx(1)


def test_a_matrix_that_is_not_symmetric(x64):
    """Directed columns: left and right vectors differ."""
    transfer = np.random.default_rng(0).uniform(0.1, 1, (3, 3))
    values, right = np.linalg.eig(transfer)
    leading = np.argmax(values.real)
    left = np.linalg.eig(transfer.T)[1][:, np.argmax(np.linalg.eig(transfer.T)[0].real)].real
    expected = np.einsum("a,ab,bc,c->bca", left, transfer, transfer, right[:, leading].real).reshape(3, 9)
    found = information.column_joint(transfer, [0, 1, 2], length=1, buffer=0)
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-13)


@pytest.mark.parametrize("buffer", [0, 3])
def test_correlations_of_whole_columns_are_levels_of_the_transfer_matrix(x64, buffer):
    width = 4
    values = np.sort(np.abs(np.linalg.eigvalsh(transfer_matrix(width))))[::-1]
    joint = information.strip_joint(K, width, (1, width), buffer, num_sides=1)
    found = information.relevant_functions(joint, 5)
    np.testing.assert_allclose(found.correlations, (values[1:6] / values[0]) ** (buffer + 1), rtol=1e-8)


def test_single_precision_holds_and_two_phases_are_nan():
    single = information.filter_information(information.strip_joint(jnp.float32(K), 6, (2, 2), buffer=1))
    assert single.dtype == jnp.float32
    assert float(single) == pytest.approx(0.449206, rel=2e-5)
    assert bool(jnp.isnan(information.column_joint(jnp.eye(2), [0, 1], length=1, buffer=0)).all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 11}, "width: expected at most 10"),
        ({"block": (2, 5)}, "block: expected sides"),
        ({"block": (9, 4)}, "block: expected 16"),
        ({"buffer": -1}, "buffer: expected an integer >= 0"),
        ({"num_sides": 3}, "num_sides: expected 1 or 2"),
    ],
)
def test_refusals_of_strips(arguments, message):
    with pytest.raises(ValueError, match=message):
        information.strip_joint(**({"coupling": 0.4, "width": 4, "block": (2, 2), "buffer": 1} | arguments))


def test_refusals_of_columns():
    for arguments, message in (
        ({"transfer": jnp.ones((2, 3))}, "transfer: expected a square"),
        ({"transfer": -jnp.ones((2, 2))}, "transfer: expected finite weights >= 0"),
        ({"labels": [0]}, "labels: expected 2 integers"),
    ):
        given = {"transfer": jnp.ones((2, 2)), "labels": [0, 1], "length": 1, "buffer": 0} | arguments
        with pytest.raises(ValueError, match=message):
            information.column_joint(**given)
