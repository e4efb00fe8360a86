"""The fixed point of optimised loops, left alone by a step of the flow; its local operators and their products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact
from jaxrg.rg import tensor as networks
from jaxrg.rg.tensor.fixed_tensor import halves_of
from jaxrg.rg.tensor.loops import joined

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def found():
    """The fixed tensor of four states a leg, with numbers of 64 bits."""
    with jax.enable_x64(True):
        start = networks.loop_tnr(networks.ising_tensor(exact.critical_coupling), 4, 8).tensor
        return networks.fixed_tensor(start, num_steps=8)


@pytest.fixture
def board(found):
    return found.tensor


def test_the_fixed_point_of_the_critical_ising_model(found):
    residuals = np.asarray(found.residuals)
    assert residuals[0] > 1e-3
    assert residuals[-1] < 1e-12
    levels = networks.transfer_spectrum(found.tensor, 5, num_tensors=4)
    np.testing.assert_allclose(levels.dimensions, [0, 1 / 8, 1, 9 / 8, 9 / 8], rtol=0.005)
    # The energy is the relevant operator, sqrt(2)^(2 - 1).
    assert np.min(np.abs(np.asarray(found.eigenvalues) - np.sqrt(2))) < 0.01
    # A step of the flow, whose fit knows nothing of Newton's method, changes neither levels nor distance.
    flow = networks.loop_tnr(found.tensor, 4, 1)
    later = networks.transfer_spectrum(flow.tensor, 5, num_tensors=4)
    np.testing.assert_allclose(later.dimensions, levels.dimensions, atol=1e-6)
    np.testing.assert_allclose(flow.truncation[0], found.distance, rtol=1e-6)


def test_what_is_no_checkerboard_is_refused():
    plain = networks.ising_tensor(0.3)
    with pytest.raises(ValueError, match="board: expected a Checkerboard, as loop_tnr returns it, got a Tensor"):
        networks.fixed_tensor(plain)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"board.entries: expected entries that reflection in the first diagonal"):
        networks.fixed_tensor(networks.Checkerboard(plain.entries.at[0, 1, 0, 1].add(0.1), 0.0, 1.0))
    with pytest.raises(ValueError, match="expected legs of dimension 2 or more, got shape"):
        networks.fixed_tensor(networks.Checkerboard(jnp.ones((1,) * 4), 0.0, 1.0))
    with pytest.raises(ValueError, match="board: expected a Hessian of 32768 entries of halves within"):
        networks.fixed_tensor(networks.Checkerboard(jnp.ones((32,) * 4), 0.0, 1.0))


def dilated(halves, hole):
    """A step written out, with all eight legs of a hole ``[d, c, d, c, ...]``."""
    grown = np.einsum("ltd,mtc->dclm", halves, halves)
    return np.einsum("abcdefgh,ABbc,CDde,EFfg,GHha->ABCDEFGH", hole, *[grown] * 4, optimize=True)


def ring_of_four(entries):
    """Four tensors in a hole."""
    legs = np.asarray(entries)
    return np.einsum("abcd,befg,ehij,halm->dcgfjiml", legs, legs, legs, legs, optimize=True)


def test_the_tensors_themselves_are_the_identity(board):
    hole = ring_of_four(board.entries)
    halves = np.asarray(halves_of(board.entries, True))
    grown = dilated(halves, hole)
    norm = np.linalg.norm(joined(jnp.asarray(halves)))
    np.testing.assert_allclose(np.linalg.norm(grown - norm**4 * hole), 0, atol=0.01 * float(np.linalg.norm(grown)))


@pytest.mark.slow
def test_all_states_of_a_pair_are_the_step_written_out():
    """With legs of two states, 256 of a hole: all eigenvalues of the dense step."""
    start = networks.loop_tnr(networks.ising_tensor(exact.critical_coupling), 2, 4).tensor
    halves = np.asarray(halves_of(start.entries, True))
    columns = [dilated(halves, unit.reshape((2,) * 8)).reshape(-1) for unit in np.eye(256)]
    values = np.linalg.eigvals(np.array(columns).T)
    expected = np.sort(-2 * np.log2(np.abs(values[np.abs(values) > 1e-9]) / np.max(np.abs(values))))
    found = networks.dilatation_spectrum(start, 6, num_states=4)
    np.testing.assert_allclose(found.dimensions, expected[:6], atol=1e-5)


def test_operators_of_the_critical_ising_model(board):
    found = networks.dilatation_spectrum(board, 5, num_states=12)
    np.testing.assert_allclose(found.dimensions, [0, 1 / 8, 1, 9 / 8, 9 / 8], atol=0.02)
    np.testing.assert_allclose(np.sort(found.spins), [-1, 0, 0, 0, 1], atol=1e-6)
    assert float(found.change) < 1e-5
    products = networks.operator_products(board, 3, num_states=12)
    np.testing.assert_allclose(products.change, found.change, atol=1e-9)
    known = np.zeros((3, 3, 3))
    for one, two, three, value in ((0, 0, 0, 1), (0, 1, 1, 1), (0, 2, 2, 1), (1, 1, 2, 0.5)):
        for places in {(one, two, three), (two, three, one), (three, one, two), (one, three, two), (two, one, three)}:
            known[places] = value
    np.testing.assert_allclose(products.coefficients, known, atol=0.01)
    np.testing.assert_allclose(products.dimensions, found.dimensions[:3], atol=1e-6)


@pytest.mark.slow
def test_operators_of_one_dimension_are_unit_states_and_taken_together(board):
    products = networks.operator_products(board, 5, num_states=8).coefficients  # to both of 9/8
    np.testing.assert_allclose(products[:, 0, :], np.eye(5), atol=0.03)
    cut = np.asarray(networks.operator_products(board, 4, num_states=8).coefficients)
    assert np.all(np.isfinite(cut[:3, :3, :3]))
    assert np.all(np.isnan(cut[3]))


@pytest.mark.exhaustive
def test_in_float32_operators_are_good_to_a_few_percent(board):
    """On a plateau's tensor, as Newton's method is not needed for it."""
    single = networks.Checkerboard(board.entries.astype(jnp.float32), jnp.float32(0), jnp.float32(1))
    found = networks.dilatation_spectrum(single, 5, num_states=12)
    assert found.dimensions.dtype == jnp.float32
    np.testing.assert_allclose(found.dimensions, [0, 1 / 8, 1, 9 / 8, 9 / 8], atol=0.03)
    products = networks.operator_products(single, 3, num_states=12).coefficients
    np.testing.assert_allclose([products[2, 1, 1], products[1, 2, 1], products[2, 2, 2]], [0.5, 0.5, 0], atol=0.03)


def test_traced_entries_have_their_parity_seen():
    start = networks.loop_tnr(networks.ising_tensor(exact.critical_coupling), 2, 4).tensor
    levels = jax.jit(lambda board: networks.dilatation_spectrum(board, 2, num_states=4))(start)
    np.testing.assert_allclose(levels.spins, [0, 0], atol=1e-9)


def test_a_flow_off_the_critical_point_is_not_fixed():
    flow = networks.loop_tnr(networks.ising_tensor(0.4), 4, 8)
    assert float(networks.dilatation_spectrum(flow.tensor, 5, num_states=12).change) > 0.05


def test_what_has_no_such_operators_is_refused(board):
    with pytest.raises(ValueError, match="board: expected a Checkerboard, as loop_tnr returns it, got a Tensor"):
        networks.dilatation_spectrum(networks.ising_tensor(0.3), 3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="num_levels: expected at most 20, got 21"):
        networks.dilatation_spectrum(board, 21)
    with pytest.raises(ValueError, match="num_operators: expected at most 19, got 20"):
        networks.operator_products(board, 20)
    wide = networks.Checkerboard(jnp.pad(board.entries, [(0, 20)] * 4), 0.0, 1.0)
    with pytest.raises(ValueError, match=r"board: expected 80 vectors of 8\^4 states of legs of 24 within"):
        networks.operator_products(wide, 3, num_states=8)
    large = networks.Checkerboard(jnp.pad(board.entries, [(0, 4)] * 4), 0.0, 1.0)
    with pytest.raises(ValueError, match=r"board: expected 80 vectors of 64\^4 states of legs of 8 within"):
        networks.operator_products(large, 3, num_states=64)
